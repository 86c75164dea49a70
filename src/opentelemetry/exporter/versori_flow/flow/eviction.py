"""The order in which traces leave a window: the one that was quiet for longest first. Pure.

A trace is as old as its latest end, whatever clock that is from, but never younger than now, and never more
than `CLOCKS_DIFFER` older than its arrival. So writers whose clocks are about right agree on the order, and
a clock that is wrong pins nothing: who came later outlives who was there, but for that difference.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush

from .entry import Trace

CLOCKS_DIFFER = 60_000_000_000
"""Nanoseconds. What the clocks of hosts, or of one host before and after it was set, are trusted to agree by."""

_OUT_OF_DATE = 64


_Order = list[tuple[int, int, Trace]]


class EvictionOrder:
    """Two heaps: traces without a pending span leave first.

    An entry is out of date when its trace has changed since; it is skipped when met, so that neither heap
    needs a search.
    """

    def __init__(self) -> None:
        self._delivered: _Order = []
        self._pending: _Order = []
        self._arrivals = 0
        self._latest_now = 0

    def __len__(self) -> int:
        return len(self._delivered) + len(self._pending)

    def end(self, end: int, now_ns: int, is_news: bool, traces: Iterable[Trace]) -> int:
        """When a span counts as having ended.

        Args:
            end: When it says that it has, in nanoseconds since the Unix epoch.
            now_ns: The time now, likewise.
            is_news: Whether it has just come; what a first read shows may have been there for long.
            traces: All that are in line: no end of theirs may lie ahead of a clock that was set back.
        """
        if now_ns < self._latest_now - CLOCKS_DIFFER:
            for trace in traces:
                trace.latest_end = min(trace.latest_end, now_ns)
            self._rebuild(traces)
            self._latest_now = now_ns
        elif now_ns > self._latest_now:
            self._latest_now = now_ns
        if is_news and end < now_ns - CLOCKS_DIFFER:
            return now_ns - CLOCKS_DIFFER
        return end if end < now_ns else now_ns

    def stirred(self, trace: Trace, end: int) -> None:
        """A span of the trace has come."""
        self._arrivals += 1
        trace.arrival = self._arrivals
        if end > trace.latest_end:
            trace.latest_end = end

    def line_up(self, trace: Trace, traces: Iterable[Trace], spans: int) -> None:
        """The trace has changed; `spans` are in line altogether."""
        order = self._pending if trace.pending else self._delivered
        heappush(order, (trace.latest_end, trace.arrival, trace))
        # A long trace that keeps growing leaves an out-of-date entry behind with every span.
        if len(order) > _OUT_OF_DATE + 4 * spans:
            self._rebuild(traces)

    def first(self) -> Trace:
        """Who leaves next; every trace stands in one of the two orders."""
        for order, wants_pending in ((self._delivered, False), (self._pending, True)):
            while order:
                latest_end, arrival, trace = heappop(order)
                is_here = trace.entries and bool(trace.pending) is wants_pending
                if is_here and (trace.latest_end, trace.arrival) == (latest_end, arrival):
                    return trace
        raise AssertionError

    def _rebuild(self, traces: Iterable[Trace]) -> None:
        self._delivered, self._pending = [], []
        for trace in traces:
            order = self._pending if trace.pending else self._delivered
            order.append((trace.latest_end, trace.arrival, trace))
        heapify(self._delivered)
        heapify(self._pending)
