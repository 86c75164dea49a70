"""How many spans came in, and what became of them, over several flows. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Totals(NamedTuple):
    """Spans over all flows: handed over = delivered + pending + dropped."""

    handed_over: int
    delivered: int
    pending: int
    dropped: Mapping[str, int]


def add_up(parts: Iterable[Totals]) -> Totals:
    """The totals of several."""
    handed_over = delivered = pending = 0
    dropped: Counter[str] = Counter()
    for part in parts:
        handed_over += part.handed_over
        delivered += part.delivered
        pending += part.pending
        dropped.update(part.dropped)
    return Totals(handed_over, delivered, pending, dropped)
