"""One flow's delivery as a state machine: clean, dirty, busy, backing off, searching. Pure.

    clean --a span--> dirty --begin--> busy --Stored--> clean
                        ^                |
                        |                +--400, 422--> searching --begin--> busy
                        +--wait is over--+--any other--> backing off

The courier asks when the flow is `due`, calls `begin`, carries out the step that it is given (a `Read` or a
`Write`), hands the answer to `feed`, and goes on with the next step until there is none. Time is an argument:
`now` in seconds of a monotonic clock, `now_ns` in nanoseconds since the Unix epoch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from ..encoded_span import EncodedSpan
from ..http.answers import (
    Absent,
    Conflict,
    Found,
    Rejected,
    Stored,
    TooLarge,
)
from .body import Body
from .ledger import DropReason, FlowStatus
from .policy import FlowPolicy
from .refusal_search import Search, Verdict
from .remote import KnownFlow
from .report import Reporter, concerns_all, explain
from .steps import Read, Reading, Step, Write
from .stored import StoredFlow
from .window import Entry, Key, Origin, Window

MAX_CHECKS = 4
"""Most times that one burst of PUTs is read back, and put right, before the other writer is left to win."""

_FOREVER = float("inf")


class Flow:
    """The window of one flow, and the state of its delivery.

    Args:
        name: The flow's name.
        policy: What holds for every flow.
        former: The counts of this flow before its window left memory.
    """

    def __init__(self, name: str, policy: FlowPolicy, former: FlowStatus | None = None) -> None:
        self.name = name
        self.window = Window(policy.max_spans, policy.max_bytes)
        self.report = Reporter(name)
        self.handed_over = former.handed_over if former else 0
        self.delivered = former.delivered if former else 0
        self.dropped: Counter[str] = Counter(former.dropped if former else {})
        # Those of them that a PUT had carried before: to another flow, or the platform changed its mind.
        self.lost_again: Counter[str] = Counter()
        self.busy = False
        self.failures = 0
        self.last_error = former.last_error if former else None
        self.last_delivery = -_FOREVER
        self._policy = policy
        self._known = KnownFlow(name, policy.description, self.window)
        # When the next attempt may be.
        self._urgent = False
        self._paced_until = -_FOREVER
        self._retry_at = -_FOREVER
        # What there is to do beside pending spans.
        self._rewrite = False
        self._rewriting = False
        self._check_at: float | None = None
        self._checks = 0
        self._search: Search | None = None
        self._search_mark = 0
        self._refusal = ""
        # The attempt under way.
        self._begun = 0.0
        self._body: list[Entry] = []
        self._carried: list[Entry] = []
        self._conflicted = False
        self._checking = False
        self._largest_accepted = 0
        # Marks: how many hand-overs there were, and up to which one everything is settled.
        self._mark = 0
        self._carried_mark = 0
        self._settled_mark = 0
        # The end.
        self._closing = False
        self._last_success = -_FOREVER
        self._tries_left = 0

    # -- spans come in -------------------------------------------------------------------------------------

    def hand_over(self, spans: Iterable[EncodedSpan], now_ns: int) -> int:
        """Takes spans of the application.

        Returns:
            A mark for `settled`.
        """
        # Of the limit that a 413 taught, if any: all the others would have to leave for a span beyond it.
        room = self.window.max_bytes - self.window.overhead
        for span in spans:
            if len(span.body) > room:
                self.handed_over += 1
                self._lose(1, DropReason.TOO_LARGE, f"{len(span.body)} bytes where {room} may be")
            elif self.window.add(span, now_ns):
                self.handed_over += 1
        self._mark += 1
        self._checks = 0
        self._trim()
        return self._mark

    def take(self, keys: Iterable[Key]) -> list[tuple[Entry, int]]:
        """Gives up spans that turn out to belong to another flow, each with its trace's latest end."""
        taken = []
        for key in keys:
            entry = self.window.get(key)
            if entry is None or entry.origin is Origin.FOREIGN:
                continue
            taken.append((entry, self.window.latest_end(key[0])))
            self.window.remove(entry)
            self._known.banish(key)
            self.handed_over -= 1
            if not entry.pending:
                self.delivered -= 1
                entry.again = True
            # A span that the platform has, or may have by the time the answer is here, must leave there too.
            if key in self._known.keys or self.busy:
                self._rewrite = True
                self._mark += 1
        return taken

    def give(self, entries: Iterable[tuple[Entry, int]]) -> int:
        """Takes spans that another flow gave up; returns a mark for `settled`."""
        for entry, latest_end in entries:
            self._known.pardon(entry.key)
            here = self.window.get(entry.key)
            if here is not None and here.origin is Origin.OWN:
                if entry.again:
                    self.window.mark_again(here)
                continue  # a newer text of it came here first
            self.handed_over += 1
            self.window.restore(entry, latest_end)
        self._mark += 1
        self._checks = 0
        self._trim()
        return self._mark

    def lose_unencodable(self, detail: str) -> int:
        """Counts a span that could not be encoded; returns a mark for `settled`."""
        self.handed_over += 1
        self._lose(1, DropReason.UNENCODABLE, detail)
        return self._mark

    def squeeze(self, max_bytes: int) -> None:
        """Makes the window smaller this once: all windows together hold too much."""
        before, spans = self.window.max_bytes, self.window.spans
        self.window.max_bytes = max_bytes
        self._trim()
        self.window.max_bytes = before
        if self.window.spans == spans == 1:
            (entry,) = self.window
            self.window.remove(entry)
            if entry.pending:
                self._lose(1, DropReason.WINDOW_FULL, self.last_error or "", entry.again)

    # -- what the courier asks -----------------------------------------------------------------------------

    @property
    def in_trouble(self) -> bool:
        """True when the last attempt failed, or what the platform refused is still searched for."""
        return self.failures > 0 or self._searching()

    @property
    def lost(self) -> int:
        """How many spans were dropped."""
        return sum(self.dropped.values())

    @property
    def idle(self) -> bool:
        """True when there is nothing to do, and nothing being done."""
        return not self.busy and not self._has_work()

    def settled(self, mark: int) -> bool:
        """True when everything up to that mark is delivered or dropped."""
        return self._settled_mark >= mark or not (self.window.pending or self._rewrite or self.busy)

    def verdict(self, mark: int, lost: int, now: float) -> bool | None:
        """Whether what was handed over at `mark` is delivered, or only waits for its pacing interval.

        Args:
            mark: From `hand_over`.
            lost: How many spans were lost before that.
            now: Seconds.

        Returns:
            True; False: some are lost, or the flow is in trouble; None while that is open.
        """
        if self.lost > lost:
            return False
        if self.settled(mark):
            return True
        if self.in_trouble:
            return False
        due = self.due(now)
        return True if due is not None and due > now else None

    def due(self, now: float) -> float | None:
        """When the next attempt is due, in seconds of the same clock as `now`; None: nothing to do."""
        if self.busy or not self._has_work():
            return None
        if self._closing and not self._tries_left:
            return None
        if self._urgent:
            return now
        if self.failures:
            return self._retry_at
        if self._searching():
            return now
        if self.window.pending or self._rewrite:
            return now if self._half_full() else self._paced_until
        return self._check_at

    def begin(self, now: float) -> Step | None:
        """Begins an attempt."""
        self.busy = True
        self._urgent = False
        self._begun = now
        self._conflicted = False
        self._carried_mark = self._mark
        if not self._policy.merge:
            return self._write(now)
        # A check reads everything: an answer like the last one proves nothing about what is missing in it.
        self._checking = not (self.window.pending or self._rewrite)
        return Read(self.name, None if self._checking else self._known.digest)

    def feed(
        self, step: Read | Write, answer: Reading, now: float, now_ns: int, in_turn: bool = True
    ) -> Step | None:
        """Takes the answer to a step; returns the next one, or None when the attempt is over."""
        if isinstance(answer, Stored | Absent | Found | StoredFlow):
            self._last_success = now
        if isinstance(step, Write) and not isinstance(answer, Stored):
            self._rewrite |= self._rewriting
        match answer:
            case Stored():
                return self._stored(answer, now)
            case Absent():
                self._absent()
                return self._write_if_needed(now)
            case Found():
                return self._write_if_needed(now)
            case StoredFlow():
                self._merge(answer, now_ns)
                return self._write_if_needed(now)
            case Rejected() if isinstance(step, Write):
                return self._rejected(answer, now)
            case TooLarge() if isinstance(step, Write):
                return self._too_large(answer, now)
            case Conflict() if isinstance(step, Write) and self._policy.merge and not self._conflicted:
                self._conflicted = True
                self._known.digest = None
                return Read(self.name, None)
        if isinstance(step, Write):
            # It may have been applied all the same.
            self._known.may_have_written(self._body, self._policy.merge)
        self._fail(answer, now)
        return None

    def hurry(self, now: float, until: float = _FOREVER) -> int:
        """Makes the flow due at once, whatever pacing, backoff and `Retry-After` say; returns a mark."""
        if self._has_work():
            self._urgent = True
        return self._mark

    def close(self, now: float, until: float = _FOREVER) -> None:
        """The exporter ends: deliver at once, read back, and try again only where that has a chance."""
        self._closing = True
        # The attempt under way, which may fail any moment, is not the one that is still to come.
        self._tries_left = (1 if self.in_trouble else 3) + self.busy
        if self._policy.merge and self._known.exists and any(e.origin is Origin.OWN for e in self.window):
            self._checks = 0 if self.window.pending or self._rewrite else 1
            self._check_at = now
        self.hurry(now)

    def flushed(self, mark: int) -> bool | None:
        """Whether all up to that mark is settled; None while that is open."""
        return True if self.settled(mark) else None

    def waited_in_vain(self) -> None:
        """A caller has waited for as long as it may."""

    def abandon(self) -> int:
        """The exporter has ended: what is pending is lost. Returns how many that are."""
        entries = [entry for entry in self.window if entry.pending]
        for entry in entries:
            self.window.remove(entry)
        if entries:
            again = sum(entry.again for entry in entries)
            self._lose(len(entries), DropReason.SHUTDOWN, self.last_error or "", again)
        return len(entries)

    def status(self, now: float) -> FlowStatus:
        """How the flow does."""
        due = self.due(now)
        if self.busy:
            state = "busy"
        elif self._searching():
            state = "searching"
        elif self.failures and self._has_work():
            state = "backing off"
        else:
            state = "dirty" if self._has_work() else "clean"
        return FlowStatus(
            self.name,
            state,
            self.handed_over,
            self.delivered,
            self.window.pending,
            dict(self.dropped),
            self.last_error,
            None if due is None else max(0.0, due - now),
        )

    # -- what an answer leads to ---------------------------------------------------------------------------

    def _write_if_needed(self, now: float) -> Step | None:
        if self._checking:
            self._check_at = None
            self._rewrite |= self._known.missing
        if not (self.window.pending or self._rewrite):
            self._over()
            return None
        return self._write(now)

    def _write(self, now: float) -> Step | None:
        self._trim()
        entries = self.window.in_order()
        self._carried = [entry for entry in entries if entry.pending]
        if self._search is not None:
            self._search.keep(self._carried)
            if self._search.done:
                self._search = None
            else:
                self._carried = self._search.testing
                self._carried_mark = self._search_mark
                tested = set(map(id, self._carried))
                entries = [entry for entry in entries if not entry.pending or id(entry) in tested]
        if not (self._carried or self._rewrite or self._search):
            self._over()
            return None
        if not (entries or self._known.exists or self._known.keys or self._search):
            # All spans moved to another flow before this one was ever written: there is nothing to empty.
            self._rewrite = False
            self._over()
            return None
        self._body = entries
        self._rewriting, self._rewrite = self._rewrite, False
        self._paced_until = now + self._policy.min_interval
        return Write(self.name, Body(self._known.head, [entry.body for entry in entries]))

    def _stored(self, answer: Stored, now: float) -> Step | None:
        self.delivered += self.window.deliver(self._carried)
        self.last_delivery = now
        self._known.wrote(self._body, answer.digest)
        self._largest_accepted = max(self._largest_accepted, self._body_size())
        if self._search is not None:
            self._conclude(self._search, self._search.accepted())
        if self._search is None:
            self._settled_mark = self._carried_mark
        self._plan_check(now)
        self._over()
        return None

    def _plan_check(self, now: float) -> None:
        # Two writers that read and write at the same time erase each other. Whoever looks again a moment
        # later sees it; a random moment, or both would look, and erase, at the same time again.
        self._check_at = None
        if not self._policy.merge or self._checks >= MAX_CHECKS:
            return
        took = now - self._begun
        if self._closing:
            alone = not self._known.others_seen and all(entry.origin is Origin.OWN for entry in self.window)
            self._check_at = now if alone else now + self._policy.uniform(1, 3) * took
        elif self._known.others_seen:
            self._check_at = now + max(self._policy.min_interval, self._policy.uniform(1, 3) * took)
        else:
            return
        self._checks += 1

    def _merge(self, stored: StoredFlow, now_ns: int) -> None:
        self._known.read(stored, now_ns)
        self._trim()
        self._known.look_for_missing()

    def _absent(self) -> None:
        gone = self._known.absent()
        if gone is not None:
            self._rewrite = False
            self.report.remark(f"was deleted on the platform; {gone} delivered spans are forgotten")

    def _rejected(self, answer: Rejected, now: float) -> Step | None:
        self.last_error = self._refusal = answer.message
        named = [self._body[index] for index in answer.spans if index < len(self._body)]
        # A span that somebody else made is not ours to throw away.
        own = [e for e in named if e.origin is Origin.OWN and self.window.get(e.key) is e]
        if own:
            self._refuse(own, answer.message)
        else:
            if self._search is None:
                if not self._carried:
                    self._fail(answer, now)
                    return None
                self._search = Search(self._carried)
                self._search_mark = self._carried_mark
            verdict = self._search.refused()
            self._conclude(self._search, verdict)
            if verdict is Verdict.GIVE_UP:
                self._fail(answer, now)
                return None
        self._try_again(now)
        return None

    def _conclude(self, search: Search, verdict: Verdict) -> None:
        if verdict is Verdict.DROP:
            self._refuse(search.guilty, self._refusal)
        if verdict is Verdict.GIVE_UP:
            self._search = None
        elif search.done:
            self._search = None
            self._settled_mark = self._carried_mark

    def _too_large(self, answer: TooLarge, now: float) -> Step | None:
        self.last_error = answer.message
        size = self._body_size()
        largest = max(self._body, key=lambda entry: len(entry.body), default=None)
        if largest is None or (len(self._body) == 1 and not largest.pending):
            self._fail(answer, now)
            return None
        known, room = self._largest_accepted, size - self.window.overhead
        too_large_alone = 2 * len(largest.body) > room and self.window.overhead + len(largest.body) > known
        if largest.pending and (len(self._body) == 1 or too_large_alone):
            if self.window.get(largest.key) is largest:
                self.window.remove(largest)
                self._lose(1, DropReason.TOO_LARGE, answer.message, largest.again)
        else:
            # Of the spans' part: the other members do not get smaller.
            half = size - room // 2
            self.window.max_bytes = known if half < known < size else half
            self._trim()
        self._try_again(now)
        return None

    def _try_again(self, now: float) -> None:
        # The attempt was no success, but taught something: failures go on counting, the next is due at once.
        self.busy = False
        self._paced_until = self._retry_at = now
        if not self._has_work():
            self._over()

    def _fail(self, answer: Reading, now: float) -> None:
        self.busy = False
        self.failures += 1
        if self._closing and now - self._last_success > self._policy.timeout:
            self._tries_left -= 1
        wait = max(self._policy.backoff(self.failures), getattr(answer, "retry_after", None) or 0.0)
        self._retry_at = now + wait
        level, self.last_error = explain(answer)
        if not concerns_all(answer):
            self.report.trouble(level, self.last_error, self.window.pending, wait, now)

    def _over(self) -> None:
        self.busy = False
        self._urgent &= self._has_work()
        if self.failures:
            self.failures = 0
            self.report.recovered(self.window.pending)

    # -- small things --------------------------------------------------------------------------------------

    def _has_work(self) -> bool:
        return bool(self.window.pending or self._rewrite) or self._check_at is not None

    def _searching(self) -> bool:
        return self._search is not None and self.window.pending > 0

    def _half_full(self) -> bool:
        window = self.window
        return 2 * window.pending >= window.max_spans or 2 * window.pending_size >= window.max_bytes

    def _body_size(self) -> int:
        return self.window.overhead + sum(len(entry.body) + 1 for entry in self._body)

    def _trim(self) -> None:
        lost = self.window.trim()
        if lost:
            detail = self.last_error or "" if self.failures else ""
            self._lose(len(lost), DropReason.WINDOW_FULL, detail, sum(entry.again for entry in lost))
        if self.window.spans == 1:
            # The flow's other members may have grown: what the platform has leaves no room even for one.
            (entry,) = self.window
            room = self._policy.max_bytes - self.window.overhead
            if len(entry.body) > room:
                self.window.remove(entry)
                if entry.pending:
                    detail = f"{len(entry.body)} bytes where {room} may be"
                    self._lose(1, DropReason.TOO_LARGE, detail, entry.again)

    def _refuse(self, entries: Sequence[Entry], message: str) -> None:
        # What left the window while the body was under way is counted already, or is another flow's.
        here = [entry for entry in entries if self.window.get(entry.key) is entry]
        for entry in here:
            self.window.remove(entry)
            self._known.banish(entry.key)
            if not entry.pending:
                self.delivered -= 1
        if here:
            again = sum(entry.again or not entry.pending for entry in here)
            self._lose(len(here), DropReason.REFUSED, message, again)

    def _lose(self, count: int, reason: DropReason, detail: str, again: int = 0) -> None:
        self.dropped[reason.value] += count
        self.lost_again[reason.value] += again
        self.report.lost(reason, count, detail)
