"""An exporter that says whether it has room: what it has taken is never pushed out by what comes later."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..encoded_span import EncodedSpan
from ..exporter import VersoriFlowSpanExporter

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from ..intake import Prepared

_PATIENCE = 1.0
"""Seconds that spans wait for room, so that one burst costs its sender no repetition."""

_BETWEEN_TRIES = 0.05
_ANSWERED_WITHIN = 5.0


class AdmittingExporter(VersoriFlowSpanExporter):
    """The exporter, for spans of others: `admit` instead of `export`."""

    _admits = True

    def admit(self, spans: Sequence[ReadableSpan]) -> int | None:
        """Takes spans that may wait in their windows until they are delivered; waits a moment for room.

        Returns:
            How many of them can't be taken ever: they are too large. None where there is no room now, or the store
            does not keep them; some may have been taken all the same, and count once when they come again.
        """
        courier = self._here()
        lost, until = 0, time.monotonic() + _PATIENCE
        for portion in self._portions(courier.prepare(spans)):
            lost += sum(not isinstance(made, EncodedSpan) for made, _ in portion)
            while (taken := courier.offer(portion, _ANSWERED_WITHIN)) is None:
                if courier.closing or time.monotonic() >= until:
                    return None
                time.sleep(_BETWEEN_TRIES)
            lost += taken.too_large
        return lost

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
