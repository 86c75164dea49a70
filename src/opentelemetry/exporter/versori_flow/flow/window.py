"""What is kept for one flow, whole traces, and what leaves when it is too full. Pure.

The trace that was quiet for longest leaves first. A trace is as old as its latest end, whatever clock that is
from, but never younger than now, and never more than `CLOCKS_DIFFER` older than its arrival. So writers whose
clocks are about right agree on the order, and a clock that is wrong pins nothing: who came later outlives who
was there, but for that difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..encoded_span import EncodedSpan
from .ranking import Ranking

CLOCKS_DIFFER = 60_000_000_000
"""Nanoseconds. What the clocks of hosts, or of one host before and after it was set, are trusted to agree by."""

Key = tuple[str, str]
"""(trace id, span id): the same span handed over twice is one span."""


class Entry:
    """One span in a window; `pending` until a successful PUT has carried it.

    `is_own`: made by this exporter, and not by somebody else (another process, an earlier run).
    `older`: hashes of the last texts of this side whose place it took.
    """

    __slots__ = ("body", "is_own", "is_root", "key", "older", "pending", "start")

    def __init__(self, key: Key, start: int, is_root: bool, body: bytes, pending: bool, is_own: bool) -> None:
        self.key = key
        self.start = start
        self.is_root = is_root
        self.body = body
        self.pending = pending
        self.is_own = is_own
        self.older: tuple[int, ...] = ()

    def is_shown_by(self, text: bytes | None) -> bool:
        """Whether a stored text is this one, as the platform may write it in its own way: it is no older one."""
        return text is not None and (text == self.body or hash(text) not in self.older)


class _Trace:
    """The spans of one trace, by span id.

    `arrival` grows with each span that comes: who ends equally late leaves in this order.
    """

    __slots__ = ("arrival", "by_worth", "entries", "in_order", "latest_end", "pending")

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.in_order: list[Entry] | None = None
        # Who leaves first; kept for a trace that had to be cut once, and will have to be again.
        self.by_worth: Ranking[tuple[bool, int, int]] | None = None
        self.latest_end = 0
        self.arrival = 0
        self.pending = 0

    def sorted_entries(self) -> list[Entry]:
        if self.in_order is None:
            self.in_order = sorted(self.entries.values(), key=lambda entry: (entry.start, entry.key))
        return self.in_order

    def least_worth(self) -> Entry:
        """Delivered spans before pending ones, the oldest first, a root last."""
        if self.by_worth is None:
            self.by_worth = Ranking()
            for entry in self.entries.values():
                self.rank(entry)
        first = self.by_worth.first()
        assert first is not None  # noqa: S101 - a trace has spans
        return self.entries[first[1]]

    def rank(self, entry: Entry) -> None:
        if self.by_worth is not None:
            try:
                self.by_worth.put(entry.key[1], (entry.is_root, entry.pending, entry.start))
            except MemoryError:
                self.by_worth = None  # made anew when it is asked for


class Window:
    """The newest whole traces of one flow, bounded in spans and bytes by `trim`.

    Attributes:
        overhead: Bytes that the flow's other members take in the body.
        foreign: Spans that somebody else made.
        pending: Spans that no successful PUT has carried yet.
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
        self._traces: dict[str, _Trace] = {}
        # Delivered traces before those with a pending span.
        self._order = Ranking[tuple[bool, int, int]]()
        self._arrivals = 0
        self._latest_now = 0

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
        """Takes a span of this exporter as pending; True when it counts as handed over.

        It doesn't where it is here already: still pending (the newer text takes its place), or delivered with
        the same text.
        """
        trace_id, span_id, _, is_root, start, end, body, _ = span
        key = (trace_id, span_id)
        counts = True
        entry = Entry(key, start, is_root, body, True, True)
        before = self.get(key)
        if before is not None and before.is_own:
            if before.body == body:
                return False
            counts = not before.pending
            entry.older = (*before.older[-7:], hash(before.body))
        self._put(entry, self._end(end, now_ns, True))
        return counts

    def adopt(self, entry: Entry, end: int, now_ns: int, is_news: bool) -> None:
        """Takes a foreign span; `is_news` unless it may have been in the stored flow for long."""
        self._put(entry, self._end(end, now_ns, is_news))

    def restore(self, entry: Entry, end: int) -> None:
        """Takes an entry that another window gave up (see `remove`), as pending."""
        entry.pending = True
        self._put(entry, end)

    def deliver(self, entries: Iterable[Entry]) -> int:
        """Marks as delivered what a successful PUT has carried; returns how many were pending till now.

        An entry that has left the window since, or was replaced by a newer text, is passed over.
        """
        carried = dict.fromkeys([entry for entry in entries if entry.pending and self.holds(entry)])
        for trace_id in {entry.key[0] for entry in carried}:
            self._order.moved(trace_id)  # first, as in `_put`
        for entry in carried:
            entry.pending = False
            trace = self._traces[entry.key[0]]
            trace.rank(entry)
            trace.pending -= 1
            self.pending_size -= len(entry.body) + 1
        self.pending -= len(carried)
        return len(carried)

    def remove(self, entry: Entry) -> None:
        """Takes one span out."""
        trace_id, span_id = entry.key
        self._order.moved(trace_id)
        trace = self._traces[trace_id]
        del trace.entries[span_id]
        trace.in_order = None
        self._account(trace, entry, -1)
        if not trace.entries:
            del self._traces[trace_id]
        elif trace.by_worth is not None:
            trace.by_worth.put(span_id, None)

    def latest_end(self, trace_id: str) -> int:
        """When the trace last did something, in nanoseconds since the Unix epoch."""
        return self._traces[trace_id].latest_end

    def in_order(self) -> list[Entry]:
        """All spans as they stand in the body: by trace, the trace that began first first, then by start."""
        traces = [trace.sorted_entries() for trace in self._traces.values()]
        traces.sort(key=lambda entries: (entries[0].start, entries[0].key))
        return [entry for entries in traces for entry in entries]

    def trim(self) -> list[Entry]:
        """Makes the window fit its bounds; returns the pending spans that were pushed out.

        Traces leave whole, delivered ones before those with a pending span. Only the last one is cut.
        """
        lost: list[Entry] = []
        while self._full and (first := self._order.first(self._rank)):
            trace = self._traces[first[1]]
            if len(self._traces) > 1:
                leaving = list(trace.entries.values())
            elif len(trace.entries) > 1:
                leaving = [trace.least_worth()]
            else:
                # One span that is too large alone is the caller's case: it knows the reason to give.
                break
            for entry in leaving:
                self.remove(entry)
            lost += [entry for entry in leaving if entry.pending]
        return lost

    def age_out(self) -> None:
        """Makes the window fit its bounds as far as that goes without a pending span leaving.

        Delivered traces leave first, as in `trim`; then delivered spans of traces that have pending ones.
        """
        while self._full and (first := self._order.first(self._rank)) is not None and not first[0][0]:
            for entry in list(self._traces[first[1]].entries.values()):
                self.remove(entry)
        if self._full:
            delivered = [entry for entry in self if not entry.pending]
            for entry in sorted(delivered, key=lambda entry: (entry.is_root, entry.start)):
                if not self._full:
                    break
                self.remove(entry)

    @property
    def _full(self) -> bool:
        return self.spans > self.max_spans or self.size > self.max_bytes

    def _end(self, end: int, now_ns: int, is_news: bool) -> int:
        """When a span counts as having ended that says so; nanoseconds since the Unix epoch."""
        if now_ns < self._latest_now - CLOCKS_DIFFER:
            # The clock was set back: whatever is here has come before what comes now.
            for trace_id, trace in self._traces.items():
                trace.latest_end = min(trace.latest_end, now_ns - CLOCKS_DIFFER)
                self._order.moved(trace_id)
            self._latest_now = now_ns
        elif now_ns > self._latest_now:
            self._latest_now = now_ns
        # What was there before, from a clock that is ahead, has come before what was handed over a moment ago.
        if (end < now_ns - CLOCKS_DIFFER) if is_news else (end > now_ns + CLOCKS_DIFFER):
            return now_ns - CLOCKS_DIFFER
        return end if end < now_ns else now_ns

    def _put(self, entry: Entry, end: int) -> None:
        trace_id, span_id = entry.key
        trace = self._traces.get(trace_id) or _Trace()
        # What may find no memory comes first: half of a change would lose the span, or count it twice.
        self._order.moved(trace_id)
        before = trace.entries.get(span_id)
        trace.entries[span_id] = entry
        self._traces[trace_id] = trace
        if before is not None:
            self._account(trace, before, -1)
        trace.in_order = None
        trace.rank(entry)
        self._account(trace, entry, 1)
        self._arrivals += 1
        trace.arrival = self._arrivals
        if end > trace.latest_end:
            trace.latest_end = end

    def _rank(self, trace_id: str) -> tuple[bool, int, int] | None:
        trace = self._traces.get(trace_id)
        return None if trace is None else (trace.pending > 0, trace.latest_end, trace.arrival)

    def _account(self, trace: _Trace, entry: Entry, sign: int) -> None:
        size = sign * (len(entry.body) + 1)  # the comma
        self._size += size
        self.spans += sign
        if not entry.is_own:
            self.foreign += sign
        if entry.pending:
            trace.pending += sign
            self.pending += sign
            self.pending_size += size
