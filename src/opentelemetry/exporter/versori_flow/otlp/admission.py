"""An exporter that says whether it has room: what it has taken is never pushed out by what comes later."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..encoded_span import EncodedSpan
from ..exporter import VersoriFlowSpanExporter

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from ..delivery.courier import Courier
    from ..intake import Prepared

_ANSWERED_WITHIN = 5.0


class AdmittingExporter(VersoriFlowSpanExporter):
    """The exporter, for spans of others: `admit` instead of `export`."""

    _admits = True

    def admit(self, spans: Sequence[ReadableSpan], flow: str | None = None) -> Offer:
        """Takes spans that may wait in their windows until they are delivered, as far as there is room now.

        Args:
            spans: In the order in which they are offered.
            flow: Where those belong that have no name of their own and whose ancestors have none; None: where the
                setting `flow_name` says.
        """
        courier = self._here()
        offer = Offer(courier, self._portions(courier.prepare(spans, flow)))
        offer.go_on()
        return offer

    def _portions(self, prepared: Sequence[Prepared]) -> Iterator[Sequence[Prepared]]:
        """As many at a time as a window takes whatever else is pending in it."""
        most_spans = max(1, self._settings.max_spans // 2)
        most_bytes = self._settings.max_bytes // 4  # the flow's other members have their part
        portion: list[Prepared] = []
        size = 0
        for one in prepared:
            added = len(one[0].body) + 1 if isinstance(one[0], EncodedSpan) else 0
            if portion and (len(portion) >= most_spans or size + added > most_bytes):
                yield portion
                portion, size = [], 0
            portion.append(one)
            size += added
        if portion:
            yield portion


class Offer:
    """Spans of one request, on their way into their windows.

    Attributes:
        left: Portions that there was no room for yet, or that the store did not keep.
        lost: Spans that can't be taken ever: they are too large, or no JSON.
    """

    def __init__(self, courier: Courier, portions: Iterator[Sequence[Prepared]]) -> None:
        self._courier = courier
        self.left = deque(portions)
        self.lost = 0

    def go_on(self) -> None:
        """Offers what is left; blocks for as long as the courier takes to answer."""
        while self.left and not self._courier.closing:
            taken = self._courier.offer(self.left[0], _ANSWERED_WITHIN)
            if taken is None:
                break
            unencodable = sum(not isinstance(made, EncodedSpan) for made, _ in self.left.popleft())
            self.lost += taken.too_large + unencodable
