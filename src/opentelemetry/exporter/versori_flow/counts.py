"""How many spans came in, and what became of them, over several flows. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple


class Totals(NamedTuple):
    """Spans over all flows: handed over = delivered + pending + dropped.

    A span that was delivered, and moves to another flow, is pending again; its export had finished all the
    same. `exported`, `inflight` and `failed` count it once, as what finished first: none but `inflight` ever
    falls, and handed over = exported + inflight + failed.

    Attributes:
        again: Those of the pending ones that had been delivered before.
        lost_again: Those of the dropped ones that had been delivered before, by reason.
    """

    handed_over: int
    delivered: int
    pending: int
    dropped: Mapping[str, int]
    again: int = 0
    lost_again: Mapping[str, int] = MappingProxyType({})

    @property
    def exported(self) -> int:
        """Spans that a PUT has carried, whatever became of them then."""
        return self.delivered + self.again + sum(self.lost_again.values())

    @property
    def inflight(self) -> int:
        """Spans that no PUT has carried, and that are not lost."""
        return self.pending - self.again

    @property
    def failed(self) -> dict[str, int]:
        """Spans that were lost before any PUT had carried them, by reason."""
        return {reason: lost - self.lost_again.get(reason, 0) for reason, lost in self.dropped.items()}


def add_up(parts: Iterable[Totals]) -> Totals:
    """The totals of several."""
    handed_over = delivered = pending = again = 0
    dropped: Counter[str] = Counter()
    lost_again: Counter[str] = Counter()
    for part in parts:
        handed_over += part.handed_over
        delivered += part.delivered
        pending += part.pending
        dropped.update(part.dropped)
        again += part.again
        lost_again.update(part.lost_again)
    return Totals(handed_over, delivered, pending, dropped, again, lost_again)
