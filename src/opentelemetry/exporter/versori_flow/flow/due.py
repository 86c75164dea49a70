"""Which flow is due next. Flows in trouble leave places to the others. Pure."""

from __future__ import annotations

from .flow import Flow
from .ranking import Ranking

MOST_IN_TROUBLE = 16
"""Attempts at a time at flows in trouble, half of those that the crew can make: a platform that hangs for some
flows holds up no other."""


class Due:
    """The flows, by the time since when each is due, or from when on it will be."""

    def __init__(self) -> None:
        # Those in no trouble, and those in trouble.
        self._lines = Ranking[float](), Ranking[float]()
        self._tried: set[str] = set()

    def put(self, flow: Flow, now: float) -> None:
        """Something happened to the flow: when is it due? It keeps its place among those that are."""
        due, name = flow.due(now), flow.name
        line, other = reversed(self._lines) if flow.in_trouble else self._lines
        before = line.rank(name)
        if before is None and (before := other.rank(name)) is not None:
            other.put(name, None)
        if due is not None and due <= now:
            due = before if before is not None and before <= now else now
        line.put(name, due)

    def leave(self, name: str) -> None:
        """The flow is not due any more."""
        for line in self._lines:
            line.put(name, None)

    def first(self) -> tuple[float, str] | None:
        """Which flow is the next to be tried, and since when it is due, or from when on."""
        lines = self._lines if len(self._tried) < MOST_IN_TROUBLE else self._lines[:1]
        return min(filter(None, [line.first() for line in lines]), default=None)

    def begun(self, flow: Flow) -> None:
        """An attempt at the flow begins."""
        if flow.in_trouble:
            self._tried.add(flow.name)

    def over(self, name: str) -> None:
        """The attempt is over."""
        self._tried.discard(name)
