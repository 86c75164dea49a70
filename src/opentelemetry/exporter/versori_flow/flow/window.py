"""What is kept for one flow, and what leaves when it is too full.

A window holds whole traces. It is pure: no lock, no clock, no I/O; the caller says what time it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum
from heapq import heapify, heappop, heappush

from ..encoded_span import EncodedSpan

Key = tuple[str, str]
"""(trace id, span id): the same span handed over twice is one span."""


class Origin(Enum):
    """Who made a span: this exporter, or somebody else (another process, an earlier run)."""

    OWN = "own"
    FOREIGN = "foreign"


class Entry:
    """One span in a window. `pending` until a successful PUT has carried it; `again` where one had before."""

    __slots__ = ("again", "body", "is_root", "key", "origin", "pending", "start")

    def __init__(
        self, key: Key, start: int, is_root: bool, body: bytes, pending: bool, origin: Origin
    ) -> None:
        self.key = key
        self.start = start
        self.is_root = is_root
        self.body = body
        self.pending = pending
        self.origin = origin
        self.again = False


class _Trace:
    """The spans of one trace; `latest_end` says how long it has been quiet."""

    __slots__ = ("entries", "in_order", "latest_end", "pending")

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.in_order: list[Entry] | None = None
        self.latest_end = 0
        self.pending = 0

    def sorted_entries(self) -> list[Entry]:
        if self.in_order is None:
            self.in_order = sorted(self.entries.values(), key=lambda entry: (entry.start, entry.key))
        return self.in_order


class Window:
    """The newest whole traces of one flow, bounded in spans and bytes.

    Args:
        max_spans: Most spans held after `trim`.
        max_bytes: Most bytes of body held after `trim`, `overhead` included.

    Attributes:
        overhead: Bytes that the flow's other members take in the body.
        spans: Spans held.
        pending: Spans held that no successful PUT has carried yet.
        again: Those of them that had been delivered before, to another flow.
        pending_size: Bytes that those take in the body.
    """

    def __init__(self, max_spans: int, max_bytes: int) -> None:
        self.max_spans = max_spans
        self.max_bytes = max_bytes
        self.overhead = 0
        self.spans = 0
        self.pending = 0
        self.again = 0
        self.pending_size = 0
        self._size = 0
        self._traces: dict[str, _Trace] = {}
        # Traces by their latest end. An entry is out of date when its trace has changed since; it is skipped
        # when met, so that neither heap needs a search. Two heaps: delivered traces leave first.
        self._delivered_order: list[tuple[int, str]] = []
        self._pending_order: list[tuple[int, str]] = []

    @property
    def size(self) -> int:
        """Bytes of the body that this window makes."""
        return self._size + self.overhead

    def __contains__(self, key: Key) -> bool:
        return self.get(key) is not None

    def __iter__(self) -> Iterator[Entry]:
        for trace in self._traces.values():
            yield from trace.entries.values()

    def get(self, key: Key) -> Entry | None:
        """The span of that key, if it is here."""
        trace = self._traces.get(key[0])
        return None if trace is None else trace.entries.get(key[1])

    def add(self, span: EncodedSpan, now_ns: int) -> bool:
        """Takes a span of this exporter as pending.

        Args:
            span: The span.
            now_ns: The time, in nanoseconds since the Unix epoch. A trace that claims to end later counts as
                ending now: it would stay for ever otherwise.

        Returns:
            True when the span counts as handed over; False when it is here already: still pending (the
            newer text takes its place), or delivered with the same text.
        """
        trace_id, span_id, _, is_root, start, end, body, _ = span
        key = (trace_id, span_id)
        entry = Entry(key, start, is_root, body, True, Origin.OWN)
        counts = True
        before = self.get(key)
        if before is not None:
            if before.origin is Origin.OWN:
                if before.body == body:
                    return False
                counts = not before.pending
            entry.again = before.again
        self._put(entry, end if end < now_ns else now_ns)
        return counts

    def adopt(self, key: Key, start: int, end: int, is_root: bool, body: bytes, now_ns: int) -> None:
        """Takes a span that the stored flow has and this window has not; it counts as delivered."""
        self._put(Entry(key, start, is_root, body, False, Origin.FOREIGN), min(end, now_ns))

    def restore(self, entry: Entry, end: int) -> None:
        """Takes an entry that another window gave up (see `remove`), as pending."""
        entry.pending = True
        self._put(entry, end)

    def mark_again(self, entry: Entry) -> None:
        """Notes that an older text of a span was delivered before, if this one is still pending."""
        if entry.pending and not entry.again:
            entry.again = True
            self.again += 1

    def deliver(self, entries: Iterable[Entry]) -> int:
        """Marks as delivered what a successful PUT has carried; returns how many were pending till now.

        An entry that has left the window since, or was replaced by a newer text, is passed over.
        """
        marked = 0
        for entry in entries:
            if not entry.pending or self.get(entry.key) is not entry:
                continue
            self.again -= entry.again
            entry.pending = entry.again = False
            marked += 1
            trace = self._traces[entry.key[0]]
            trace.pending -= 1
            self.pending_size -= len(entry.body) + 1
            if not trace.pending:
                self._line_up(trace, entry.key[0])
        self.pending -= marked
        return marked

    def remove(self, entry: Entry) -> None:
        """Takes one span out."""
        trace = self._traces[entry.key[0]]
        del trace.entries[entry.key[1]]
        trace.in_order = None
        self._account(trace, entry, -1)
        if not trace.entries:
            del self._traces[entry.key[0]]
        elif entry.pending and not trace.pending:
            self._line_up(trace, entry.key[0])

    def latest_end(self, trace_id: str) -> int:
        """When the trace last did something, in nanoseconds since the Unix epoch."""
        return self._traces[trace_id].latest_end

    def in_order(self) -> list[Entry]:
        """All spans as they stand in the body: by trace, the trace that began first first, then by start."""
        traces = [trace.sorted_entries() for trace in self._traces.values()]
        traces.sort(key=lambda entries: (entries[0].start, entries[0].key))
        return [entry for entries in traces for entry in entries]

    def trim(self) -> list[Entry]:
        """Makes the window fit its bounds.

        The trace that was quiet for longest leaves first, whole: delivered traces before those with a pending
        span. The last trace is cut: delivered spans before pending ones, the oldest first, a root last.

        Returns:
            The pending spans that were pushed out, which nobody will see: they are lost.
        """
        lost: list[Entry] = []
        while self._too_full():
            if len(self._traces) > 1:
                leaving = list(self._traces[self._quiet_longest()].entries.values())
            else:
                (trace,) = self._traces.values()
                if len(trace.entries) == 1:
                    # One span that is too large alone is the caller's case: it knows the reason to give.
                    break
                leaving = self._to_cut(trace)
            for entry in leaving:
                self.remove(entry)
                if entry.pending:
                    lost.append(entry)
        return lost

    def _to_cut(self, trace: _Trace) -> list[Entry]:
        spans, size, leaving = self.spans, self.size, []
        by_worth = sorted(
            trace.entries.values(), key=lambda entry: (entry.is_root, entry.pending, entry.start, entry.key)
        )
        for entry in by_worth[:-1]:
            if spans <= self.max_spans and size <= self.max_bytes:
                break
            spans -= 1
            size -= len(entry.body) + 1
            leaving.append(entry)
        return leaving

    def _too_full(self) -> bool:
        return bool(self._traces) and (self.spans > self.max_spans or self.size > self.max_bytes)

    def _quiet_longest(self) -> str:
        for order, wants_pending in ((self._delivered_order, False), (self._pending_order, True)):
            while order:
                latest_end, trace_id = heappop(order)
                trace = self._traces.get(trace_id)
                if (
                    trace is not None
                    and trace.latest_end == latest_end
                    and bool(trace.pending) is wants_pending
                ):
                    return trace_id
        raise AssertionError("every trace stands in one of the two orders")

    def _put(self, entry: Entry, end: int) -> None:
        trace_id, span_id = entry.key
        trace = self._traces.get(trace_id)
        if trace is None:
            trace = self._traces[trace_id] = _Trace()
            trace.latest_end = end
        else:
            before = trace.entries.get(span_id)
            if before is not None:
                self._account(trace, before, -1)
            if end > trace.latest_end:
                trace.latest_end = end
        trace.entries[span_id] = entry
        trace.in_order = None
        self._account(trace, entry, 1)
        self._line_up(trace, trace_id)

    def _line_up(self, trace: _Trace, trace_id: str) -> None:
        order = self._pending_order if trace.pending else self._delivered_order
        heappush(order, (trace.latest_end, trace_id))
        # A long trace that keeps growing leaves an out-of-date entry behind with every span.
        if len(order) > 64 + 4 * self.spans:
            self._rebuild_orders()

    def _account(self, trace: _Trace, entry: Entry, sign: int) -> None:
        size = sign * (len(entry.body) + 1)  # the comma
        self._size += size
        self.spans += sign
        if entry.pending:
            trace.pending += sign
            self.pending += sign
            self.again += sign * entry.again
            self.pending_size += size

    def _rebuild_orders(self) -> None:
        self._delivered_order = [(t.latest_end, i) for i, t in self._traces.items() if not t.pending]
        self._pending_order = [(t.latest_end, i) for i, t in self._traces.items() if t.pending]
        heapify(self._delivered_order)
        heapify(self._pending_order)
