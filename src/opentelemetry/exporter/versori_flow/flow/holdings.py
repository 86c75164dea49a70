"""The spans of one flow: what comes in, what leaves, and how each is counted. Pure."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from ..encoded_span import EncodedSpan
from .journal import Change, Journal, Kept, News, kept
from .ledger import DropReason, FlowStatus, Ledger
from .policy import FlowPolicy
from .report import Reporter, Trouble, spans
from .stored import StoredFlow
from .window import Entry, Key, Window

_FULL_TWICE = 2
"""Times that a window may fill between two PUTs before it is said that it can't hold what comes."""


class Holdings:
    """The window of one flow, and the account of it.

    Attributes:
        trouble: Why nothing is delivered at the moment, if that is so.
        accepted: Bytes of the largest body that the platform has taken.
        crowded: What to say where the flow's other members leave no room for any span; else nothing.
        journal: What a store is to be told; None: it need not hear of this flow.
    """

    def __init__(self, name: str, policy: FlowPolicy, former: FlowStatus | None) -> None:
        self.window = Window(policy.max_spans, policy.max_bytes)
        self.ledger = Ledger(former)
        self.report = Reporter(name)
        self.trouble = ""
        self.accepted = 0
        self.crowded = ""
        self.journal: Journal | None = Journal() if policy.durable else None
        self._policy = policy
        # What a PUT carries is delivered if it succeeds, though newer spans have pushed it out meanwhile.
        self._under_way: set[int] = set()
        self._pushed_out: dict[Key, Entry] = {}
        self._last_put: tuple[float, int] | None = None
        self._said: set[str] = set()

    @property
    def pending(self) -> int:
        """Spans whose fate is open."""
        return self.window.pending + len(self._pushed_out)

    def hand_over(self, given: Iterable[EncodedSpan], now_ns: int, is_kept: bool = False) -> None:
        """Takes spans of the application; `is_kept`: a store has them already."""
        # Of the limit that a 413 taught, if any: all the others would have to leave for a span beyond it.
        room = self.window.max_bytes - self.window.overhead
        for span in given:
            if len(span.body) > room:
                self.ledger.handed_over += 1
                self.lose(1, DropReason.TOO_LARGE, self._no_room_for(len(span.body), room))
            else:
                again = bool(self._pushed_out) and self._supersedes((span.trace_id, span.span_id))
                self.ledger.handed_over += self.window.add(span, now_ns) - again
                if self.journal is not None and not is_kept:
                    self._note(self.journal, span)
        self.trim()

    def inherit(self, left: Sequence[Kept], now_ns: int) -> None:
        """Takes spans that another process has left, and that a store goes on keeping."""
        self.journal = self.journal or Journal()
        self.hand_over((span.encoded for span in left), now_ns, is_kept=True)
        for span in left:
            entry = self.window.get(span.key)
            if entry is None or not entry.pending:
                self.journal.leave(span.key, settled=entry is not None)

    def learn(self, news: News, now_ns: int) -> None:
        """Takes in what became of spans elsewhere."""
        window = self.window
        for span in news.delivered:
            here = window.get(span.key)
            if here is None or not (here.pending or (here.is_own and here.body == span.body)):
                entry = Entry(span.key, span.start, span.is_root, span.body, False, True)
                window.adopt(entry, span.end, now_ns, False)
        self.ledger.delivered += window.deliver(
            [e for key in news.settled if (e := window.get(key)) is not None]
        )
        lost: Counter[DropReason] = Counter()
        for key in (*news.dropped, *news.moved):
            left, reason = window.get(key), news.dropped.get(key)
            if left is None or id(left) in self._under_way or not (left.pending or reason is None):
                continue
            window.remove(left)
            if reason is not None:
                lost[reason] += 1
            elif left.pending:  # its process has it in another flow
                self.ledger.handed_over -= 1
        for reason, count in lost.items():
            self.lose(count, reason, self.trouble)
        self.trim()

    def give_up(self, key: Key) -> tuple[Entry, int] | None:
        """Gives up a span that belongs to another flow, with its trace's latest end."""
        entry = self.window.get(key)
        if entry is None or not entry.is_own:
            return None
        latest_end = self.window.latest_end(key[0])
        self.window.remove(entry)
        self._gone([entry])
        self.ledger.handed_over -= entry.pending
        return entry, latest_end

    def take_in(self, entry: Entry, latest_end: int) -> None:
        """Takes a span that another flow gave up."""
        here = self.window.get(entry.key)
        if here is None or not here.is_own:  # else a newer text of it came here first
            self.ledger.handed_over += 1 - self._supersedes(entry.key)
            self.window.restore(entry, latest_end)
            if self.journal is not None:
                self.journal.add(kept(entry, latest_end))

    def send(self, carried: Iterable[Entry]) -> None:
        """A PUT carries these."""
        self._under_way = set(map(id, carried))

    def deliver(self, carried: Sequence[Entry]) -> None:
        """A PUT has carried these."""
        came_through = [entry for entry in carried if self._pushed_out.get(entry.key) is entry]
        for entry in came_through:
            del self._pushed_out[entry.key]
        if self.journal is not None:
            for entry in (*(entry for entry in carried if self.window.holds(entry)), *came_through):
                self.journal.leave(entry.key, settled=True)
        self.ledger.delivered += self.window.deliver(carried) + len(came_through)

    def back(self) -> None:
        """The PUT is over: what was pushed out meanwhile, and is not delivered, is lost."""
        self._under_way = set()
        lost, self._pushed_out = self._pushed_out, {}
        if lost:
            self._gone(lost.values(), DropReason.WINDOW_FULL)
            self.lose(len(lost), DropReason.WINDOW_FULL, self.trouble)

    def measure(self, size: int, now: float) -> None:
        """A PUT with so many bytes of spans succeeded: did more come since the last than the window can hold?"""
        self.accepted = max(self.accepted, self.window.overhead + size)
        came, most = self.ledger.handed_over, self.window.max_spans
        if self._last_put is not None and not self.trouble:
            begun, before = self._last_put
            times, seconds = (came - before) / most, now - begun
            if times >= _FULL_TWICE and seconds > 0:
                self.say_once(
                    "rate",
                    f"{(came - before) / seconds:.0f} spans come in a second, and fill the window of {most} "
                    f"{times:.1f} times between two PUTs; raise VERSORI_FLOW_MAX_SPANS, or record fewer",
                )
        self._last_put = now, came

    def fail(self, trouble: Trouble, wait: float, now: float) -> None:
        """An attempt failed; the next is in so many seconds."""
        self.ledger.last_error = self.trouble = trouble.text
        if not trouble.of_all:  # else it is said once for all flows
            self.report.trouble(trouble.level, trouble.text, self.window.pending, wait, now)

    def recover(self) -> None:
        """The trouble is over."""
        self.trouble = ""
        self.report.recovered(self.window.pending)

    def leave_room(self, other_members: int) -> None:
        """The flow's other members take so many bytes."""
        self.crowded = ""
        if other_members >= self._policy.max_bytes:
            self.crowded = (
                f"the stored flow's other members alone take {other_members} bytes of max_bytes "
                f"{self._policy.max_bytes}: no span fits beside them; raise VERSORI_FLOW_MAX_BYTES, or make them "
                "smaller on the platform"
            )
        # Where they alone are too much nothing is written: what waits is kept, as if they were not there.
        self.window.overhead = 0 if self.crowded else other_members

    def make_room_beside(self, stored: StoredFlow) -> None:
        """Trims after a read; it is said once where spans of others leave since the stored flow is too large."""
        window = self.window
        before, count = window.foreign, len(stored.spans)
        self.trim()
        left = before - window.foreign
        if left and count > window.max_spans:
            setting, size = "SPANS", f"{count} spans where {window.max_spans}"
        elif left and (total := sum(len(s.body) + 1 for s in stored.spans)) > window.max_bytes:
            setting, size = "BYTES", f"{total} bytes of spans where {window.max_bytes}"
        else:
            return
        leaves, them = ("leaves", "the one that was") if left == 1 else ("leave", "those that were")
        self.say_once(
            "others",
            f"the stored flow has {size} may be: {spans(left)} that others wrote {leaves} it, {them} quiet for "
            f"longest; raise VERSORI_FLOW_MAX_{setting} to keep {'it' if left == 1 else 'them'}",
        )

    def trim(self, why: str = "") -> None:
        """Makes the window fit its bounds; `why` is what to say where no newer traces push anything out."""
        if self._policy.admits:
            self.window.age_out()
        self._push_out(self.window.trim(), DropReason.WINDOW_FULL, why or self.trouble)
        # The flow's other members may have grown: what the platform has leaves no room even for one.
        room = self._policy.max_bytes - self.window.overhead
        if self.window.spans == 1 and len(body := next(iter(self.window)).body) > room:
            self._empty(DropReason.TOO_LARGE, self._no_room_for(len(body), room))

    def squeeze(self, max_bytes: int) -> None:
        """Makes the window smaller this once: all windows together hold too much."""
        before, was_alone = self.window.max_bytes, self.window.spans == 1
        self.window.max_bytes = max_bytes
        if self._policy.admits:
            self.window.age_out()
            was_alone = False
        else:
            self.trim()
        self.window.max_bytes = before
        if was_alone:
            self._empty(DropReason.WINDOW_FULL, self.trouble)

    def drop(self, entries: Iterable[Entry], reason: DropReason, detail: str) -> list[Entry]:
        """Drops spans that are still here; returns them.

        One that was delivered before is counted as handed over anew: what finished stays finished.
        """
        # What left the window while the body was under way is counted already, or is another flow's.
        here = [entry for entry in entries if self.window.holds(entry)]
        for entry in here:
            self.window.remove(entry)
            self.ledger.handed_over += not entry.pending
        if here:
            self._gone(here, reason)
            self.lose(len(here), reason, detail)
        return here

    def waiting(self) -> list[Kept]:
        """All that is pending, oldest trace first."""
        return [kept(e, self.window.latest_end(e.key[0])) for e in self.window.in_order() if e.pending]

    def changes(self, flow: str) -> Change | None:
        """What a store is to be told; None: nothing."""
        return None if self.journal is None else self.journal.take(flow)

    def abandon(self, keeps: Callable[[Key], bool]) -> int:
        """What is pending is lost, but for what a store keeps; returns how many spans that are."""
        pending = [entry for entry in self.window if entry.pending]
        lost = [entry for entry in pending if not keeps(entry.key)]
        for entry in lost:
            self.window.remove(entry)
        under_way = {key: entry for key, entry in self._pushed_out.items() if keeps(key)}
        count, self._pushed_out = len(lost) + len(self._pushed_out) - len(under_way), under_way
        if count:
            self.lose(count, DropReason.SHUTDOWN, self.trouble)
        return self.pending

    def lose(self, count: int, reason: DropReason, detail: str) -> None:
        """Counts spans as dropped, and says so."""
        self.ledger.dropped[reason.value] = self.ledger.dropped.get(reason.value, 0) + count
        self.report.lost(reason, count, detail)

    def _empty(self, reason: DropReason, detail: str) -> None:
        entries = list(self.window)
        for entry in entries:
            self.window.remove(entry)
        self._push_out([entry for entry in entries if entry.pending], reason, detail)

    def _push_out(self, entries: Sequence[Entry], reason: DropReason, detail: str) -> None:
        under_way = [entry for entry in entries if id(entry) in self._under_way]
        self._pushed_out.update((entry.key, entry) for entry in under_way)
        if len(entries) > len(under_way):
            self._gone((entry for entry in entries if id(entry) not in self._under_way), reason)
            self.lose(len(entries) - len(under_way), reason, detail)

    def _supersedes(self, key: Key) -> bool:
        """Whether a text takes the place of one that a PUT carries, and that is here no longer: it is one span."""
        return self._pushed_out.pop(key, None) is not None

    def _note(self, journal: Journal, span: EncodedSpan) -> None:
        entry = self.window.get((span.trace_id, span.span_id))
        if entry is not None and entry.pending and entry.body is span.body:
            journal.add(kept(entry, span.end))

    def _gone(self, entries: Iterable[Entry], reason: DropReason | None = None) -> None:
        if self.journal is not None:
            for entry in entries:
                self.journal.leave(entry.key, settled=False, reason=reason)

    def _no_room_for(self, size: int, room: int) -> str:
        others = self.window.overhead
        detail = f"{size} bytes where {room} may be"
        if 2 * others > self._policy.max_bytes:
            detail += f"; the stored flow's other members take {others} of max_bytes {self._policy.max_bytes}"
        return detail

    def say_once(self, what: str, text: str) -> None:
        """Says what does not change soon."""
        if what not in self._said:
            self._said.add(what)
            self.report.remark(text, logging.WARNING)
