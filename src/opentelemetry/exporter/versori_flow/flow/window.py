"""What is kept for one flow, and what leaves when it is too full.

A window holds whole traces. It is pure: no lock, no clock, no I/O; the caller says what time it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..encoded_span import EncodedSpan
from .entry import Entry, Key, Origin, Trace
from .eviction import EvictionOrder


class Window:
    """The newest whole traces of one flow, bounded in spans and bytes.

    Args:
        max_spans: Most spans held after `trim`.
        max_bytes: Most bytes of body held after `trim`, `overhead` included.

    Attributes:
        overhead: Bytes that the flow's other members take in the body.
        spans: Spans held.
        foreign: Those of them that somebody else made.
        pending: Those of them that no successful PUT has carried yet.
        pending_size: Bytes that those take in the body.
    """

    def __init__(self, max_spans: int, max_bytes: int) -> None:
        self.max_spans = max_spans
        self.max_bytes = max_bytes
        self.overhead = 0
        self.spans = 0
        self.foreign = 0
        self.pending = 0
        self.pending_size = 0
        self._size = 0
        self._traces: dict[str, Trace] = {}
        self._order = EvictionOrder()

    @property
    def size(self) -> int:
        """Bytes of the body that this window makes."""
        return self._size + self.overhead

    @property
    def half_full(self) -> bool:
        """True when pending spans take half of it."""
        return 2 * self.pending >= self.max_spans or 2 * self.pending_size >= self.max_bytes

    def __contains__(self, key: Key) -> bool:
        return self.get(key) is not None

    def __iter__(self) -> Iterator[Entry]:
        for trace in self._traces.values():
            yield from trace.entries.values()

    def get(self, key: Key) -> Entry | None:
        """The span of that key, if it is here."""
        trace = self._traces.get(key[0])
        return None if trace is None else trace.entries.get(key[1])

    def holds(self, entry: Entry) -> bool:
        """True while just this text of the span is here."""
        return self.get(entry.key) is entry

    def add(self, span: EncodedSpan, now_ns: int) -> bool:
        """Takes a span of this exporter as pending.

        Args:
            span: The span.
            now_ns: The time, in nanoseconds since the Unix epoch.

        Returns:
            True when the span counts as handed over; False when it is here already: still pending (the
            newer text takes its place), or delivered with the same text.
        """
        trace_id, span_id, _, is_root, start, end, body, _ = span
        key = (trace_id, span_id)
        counts = True
        before = self.get(key)
        if before is not None and before.origin is Origin.OWN:
            if before.body == body:
                return False
            counts = not before.pending
        end = self._order.end(end, now_ns, True, self._traces.values())
        self._put(Entry(key, start, is_root, body, True, Origin.OWN), end)
        return counts

    def adopt(self, entry: Entry, end: int, now_ns: int, is_news: bool) -> None:
        """Takes a span that the stored flow has and this window has not.

        Args:
            entry: The span, a foreign one.
            end: Its end, in nanoseconds since the Unix epoch.
            now_ns: The time, likewise.
            is_news: Whether it has come since the flow was read before.
        """
        self._put(entry, self._order.end(end, now_ns, is_news, self._traces.values()))

    def restore(self, entry: Entry, end: int) -> None:
        """Takes an entry that another window gave up (see `remove`), as pending."""
        entry.pending = True
        self._put(entry, end)

    def deliver(self, entries: Iterable[Entry]) -> int:
        """Marks as delivered what a successful PUT has carried; returns how many were pending till now.

        An entry that has left the window since, or was replaced by a newer text, is passed over.
        """
        marked = 0
        for entry in entries:
            if not entry.pending or not self.holds(entry):
                continue
            entry.pending = False
            marked += 1
            trace = self._traces[entry.key[0]]
            trace.pending -= 1
            self.pending_size -= len(entry.body) + 1
            if not trace.pending:
                self._order.line_up(trace, self._traces.values(), self.spans)
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
            self._order.line_up(trace, self._traces.values(), self.spans)

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
            The pending spans that were pushed out.
        """
        lost: list[Entry] = []
        while self._traces and (self.spans > self.max_spans or self.size > self.max_bytes):
            if len(self._traces) > 1:
                leaving = list(self._order.first().entries.values())
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

    def _to_cut(self, trace: Trace) -> list[Entry]:
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

    def _put(self, entry: Entry, end: int) -> None:
        trace_id, span_id = entry.key
        trace = self._traces.get(trace_id)
        if trace is None:
            trace = self._traces[trace_id] = Trace(trace_id)
        else:
            before = trace.entries.get(span_id)
            if before is not None:
                self._account(trace, before, -1)
        trace.entries[span_id] = entry
        trace.in_order = None
        self._account(trace, entry, 1)
        self._order.stirred(trace, end)
        self._order.line_up(trace, self._traces.values(), self.spans)

    def _account(self, trace: Trace, entry: Entry, sign: int) -> None:
        size = sign * (len(entry.body) + 1)  # the comma
        self._size += size
        self.spans += sign
        if entry.origin is Origin.FOREIGN:
            self.foreign += sign
        if entry.pending:
            trace.pending += sign
            self.pending += sign
            self.pending_size += size
