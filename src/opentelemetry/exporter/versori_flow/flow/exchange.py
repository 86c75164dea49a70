"""The exchange with the platform about one flow: read, merge, write, and what each answer leads to. Pure."""

from __future__ import annotations

import logging

from ..http.answers import Absent, Conflict, Found, Rejected, Stale, Stored, TooLarge
from .body import Body
from .holdings import Holdings
from .ledger import DropReason
from .outcomes import Absence, Attempt, SizeLimit, blame, may_come_late
from .policy import FlowPolicy
from .refusal_search import Search, Verdict
from .remote import KnownFlow
from .report import LOSES_AGAIN, Trouble, explain
from .schedule import MAX_CHECKS, Schedule
from .steps import Read, Reading, Step, Write
from .stored import StoredFlow
from .window import Key


class Exchange:
    """The attempts at one flow.

    Attributes:
        known: What the platform has.
        attempt: The attempt under way.
        settled_mark: Up to which hand-over everything is delivered or dropped.
        rewrite: Whether the platform has what it must not, or lacks what it had: it is written anew.
        alarmed: Whether something is missing there, or may be: the next look takes the turn.
    """

    def __init__(
        self, name: str, policy: FlowPolicy, spans: Holdings, schedule: Schedule, was_there: bool
    ) -> None:
        self.known = KnownFlow(name, policy.description, spans.window)
        self.attempt: Attempt | None = None
        self.settled_mark = 0
        self._policy = policy
        self._spans = spans
        self._schedule = schedule
        self._absence = Absence(policy.min_interval, was_there)
        self._search: Search | None = None
        self._size_limit = SizeLimit()
        # Whether the platform may still carry out a PUT that was given up.
        self._late_put = False
        self.rewrite = self.alarmed = False
        spans.leave_room(self.known.size)

    @property
    def waiting(self) -> bool:
        """True when there is something to write."""
        return bool(self._spans.window.pending or self.rewrite)

    @property
    def searching(self) -> bool:
        """True while it is not known who is refused."""
        return self._search is not None and self._spans.window.pending > 0

    @property
    def has_written(self) -> bool:
        """True when spans of this side should stand in the stored flow, and a read can show whether they do."""
        window = self._spans.window
        return self._policy.merge and self.known.exists and window.spans > window.foreign

    def moved_away(self, key: Key) -> bool:
        """A span belongs to another flow; True where it must leave the stored one for that."""
        self.known.banish(key)
        # That the platform has, or may have by the time the answer is here.
        leaves = key in self.known.keys or (self.attempt is not None and self.attempt.may_write)
        self.rewrite |= leaves
        return leaves

    def begin(self, now: float, mark: int) -> Step | None:
        """Begins an attempt, which settles everything up to that mark."""
        self.attempt = Attempt(now, mark, self._policy.merge and not self.waiting)
        if not self._policy.merge:
            if not self.waiting:
                self.rewrite, self._late_put, self._schedule.check_at = self._late_put, False, None
            return self._write(self.attempt, now)
        # A check reads everything: the same answer proves nothing about what is missing in it. It takes no turn.
        known = None if self.attempt.checking else self.known.digest
        looks, self.alarmed = self.attempt.checking and not self.alarmed, False
        return Read(self.known.name, known, self._absence.doubted, in_turn=not looks)

    def feed(self, step: Step, answer: Reading, now: float, now_ns: int, in_turn: bool) -> Step | None:
        """Takes the answer to a step; returns the next one, or None when the attempt is over."""
        if (attempt := self.attempt) is None:
            return None
        answer = self.known.checked(answer)
        if explain(answer) is None and not isinstance(answer, Stale):
            self._schedule.last_success = now
        if isinstance(step, Read):
            return self._after_read(attempt, step, answer, now, now_ns)
        if not isinstance(answer, Stored):
            self._spans.back()
            self.rewrite |= attempt.rewriting
        match answer:
            case Stored():
                return self._stored(attempt, answer, now, in_turn)
            case Stale():
                attempt.checking = False
                known = self.known.digest
                return Read(self.known.name, known) if self._policy.merge else self._write(attempt, now)
            case Rejected():
                return self._rejected(attempt, answer, now)
            case TooLarge():
                return self._too_large(attempt, answer, now)
            case Conflict() if self._policy.merge and not attempt.conflicted:
                attempt.conflicted, attempt.checking = True, False
                return Read(self.known.name, None)
        self.known.may_have_written(attempt.body, self._policy.merge)
        self._late_put |= may_come_late(answer)
        return self._fail(answer, now)

    def _after_read(
        self, attempt: Attempt, step: Read, answer: Reading, now: float, now_ns: int
    ) -> Step | None:
        if isinstance(answer, Found) or (isinstance(answer, StoredFlow) and not self.known.renamed(answer)):
            self._absence.clear()
        if attempt.confirming:
            return self._confirm(attempt, answer, now)
        match answer:
            case Absent():
                if not self._absence.believed(answer, self.known.exists, step.own_connection, now):
                    return self._look_again() if answer.own_form else self._fail(answer, now)
                self._forget()
            case StoredFlow() if self.known.renamed(answer) and not self._absence.sure(answer, step, now):
                return self._look_again()
            case StoredFlow() if not step.in_turn and self.known.is_wrong(answer):
                self.alarmed = True
                return self._try_again(now)
            case StoredFlow():
                self._merge(attempt, answer, now_ns)
            case _ if not isinstance(answer, Found):
                return self._fail(answer, now)
        if self.waiting and not step.in_turn:
            return self._try_again(now)
        if attempt.checking:
            self._schedule.check_at, self._late_put = None, False
        if self.waiting and self._spans.crowded:
            return self._fail(answer, now, Trouble("", logging.ERROR, self._spans.crowded, vain=1.0))
        return self._write(attempt, now) if self.waiting else self.over()

    def _merge(self, attempt: Attempt, stored: StoredFlow, now_ns: int) -> None:
        proven = self.known.proven(stored)
        if proven:
            self._schedule.check_at = None  # it was read back by that
            self._spans.deliver(proven)
        read_back = self._late_put or (attempt.checking and self._schedule.reads_back)
        self.known.read(stored, now_ns, read_back)
        self._spans.leave_room(self.known.size)
        self._spans.make_room_beside(stored)
        wrong = self.known.is_wrong(stored)
        self._late_put &= not wrong  # else it has come
        self.rewrite |= wrong and attempt.checking

    def _forget(self) -> None:
        self._absence.clear()
        gone = self.known.absent()
        if gone is not None:
            self.rewrite = False
            self._spans.leave_room(self.known.size)
            them = "1 delivered span is" if gone == 1 else f"{gone} delivered spans are"
            self._spans.report.remark(f"was deleted on the platform; {them} forgotten")

    def _look_again(self) -> Step | None:
        self.attempt = None  # no trouble: a pacing interval later a second read will tell
        self._schedule.wait_until(self._absence.next_read)
        return None

    def _write(self, attempt: Attempt, now: float) -> Step | None:
        self._spans.trim()
        entries = self._spans.window.in_order()
        carried = [entry for entry in entries if entry.pending]
        if self._search is not None:
            self._search.keep(entries, self.known.changes)
            if self._search.done:
                self._search = None
            else:
                carried, attempt.mark = self._search.testing, self._search.mark
                entries = self._search.body(entries)
        if not (carried or self.rewrite or self._search):
            return self.over()
        if not (entries or self.known.exists or self.known.keys or self._search):
            # All spans moved to another flow before this one was ever written: there is nothing to empty.
            self.rewrite = False
            return self.over()
        attempt.body, attempt.carried = entries, carried
        attempt.rewriting, self.rewrite = self.rewrite, False
        self._spans.send(carried)
        self._schedule.begun_write(now)
        return Write(self.known.name, Body(self.known.head, [entry.body for entry in entries]))

    def _stored(self, attempt: Attempt, answer: Stored, now: float, in_turn: bool) -> Step | None:
        if not answer.believed or self.known.is_without(attempt.carried, answer.digest):
            self.known.may_have_written(attempt.body, self._policy.merge, attempt.carried)
            attempt.confirming = True
            return Read(self.known.name, None)
        if self._schedule.closing and self._policy.merge and not in_turn:
            return self._stored_at_the_end(attempt, now)
        return self._taken(attempt, answer.digest, now, in_turn)

    def _confirm(self, attempt: Attempt, answer: Reading, now: float) -> Step | None:
        """Whether a PUT was taken whose answer was no flow, or the flow without it."""
        if isinstance(answer, StoredFlow):
            shown = self.known.proven(answer)
            if shown is not None and len(shown) == len(attempt.carried):
                return self._taken(attempt, None, now, True)  # others may be in it too: read it anew
        if isinstance(answer, StoredFlow) or (isinstance(answer, Absent) and answer.own_form):
            answer = Stored(200, None, believed=False)
        self._spans.back()
        self.rewrite |= attempt.rewriting
        return self._fail(answer, now)

    def _taken(self, attempt: Attempt, digest: bytes | None, now: float, in_turn: bool) -> Step | None:
        self._absence.clear()
        self._size_limit = SizeLimit()
        self._spans.deliver(attempt.carried)
        self._spans.back()
        self._spans.measure(attempt.size, now)
        self._schedule.last_delivery, self._schedule.check_at = now, None
        self.known.wrote(attempt.body, digest)
        if self._search is not None:
            self._search.accepted()
            # A delivered suspect is not in this body: it comes back, or is dropped.
            self.rewrite |= any(not entry.pending for entry in self._search.held_back)
            if self._search.done:
                self._search = None
        if self._search is None:
            self.settled_mark = attempt.mark
        others = self.known.others_seen or not in_turn
        if self._late_put and not self._schedule.closing:
            self._schedule.plan_check(now, self._policy.timeout, False)
        elif self._policy.merge and (others or self._schedule.closing):
            alone = not (others or self._spans.window.foreign)
            self._schedule.plan_check(now, now - attempt.begun, alone)
            if attempt.rewriting and not self._schedule.reads_back:
                self._spans.say_once("erased", LOSES_AGAIN)
        return self.over()

    def _stored_at_the_end(self, attempt: Attempt, now: float) -> Step | None:
        # Somebody may have written at the same time, and there will be no later attempt to put it right: what
        # it has carried waits until a read shows it.
        self.known.may_have_written(attempt.body, True, attempt.carried)
        self._spans.back()
        if self._schedule.checks >= MAX_CHECKS:
            self._schedule.give_up()
        else:
            self._schedule.plan_check(now, now - attempt.begun, False)
            self._schedule.wait_until(self._schedule.check_at or now)
        return self.over()

    def _rejected(self, attempt: Attempt, answer: Rejected, now: float) -> Step | None:
        self._spans.ledger.last_error = answer.message
        own, others = blame(answer, attempt.body)
        suspects = [*attempt.carried, *self.known.missing(attempt.body)]
        if not own and (others or not (suspects or self._search)):
            # Nothing of ours is to blame. A span that somebody else made is not ours to throw away.
            return self._fail(answer, now)
        self._search = self._search or Search(suspects, attempt.mark, self.known.changes)
        verdict = self._search.refused(own)
        if verdict is Verdict.GIVE_UP:
            return self._fail(answer, now)
        if verdict is Verdict.DROP:
            for entry in self._spans.drop(self._search.guilty, DropReason.REFUSED, answer.message):
                self.known.banish(entry.key)
            if self._search.done:
                self._search, self.settled_mark = None, attempt.mark
        return self._try_again(now)

    def _too_large(self, attempt: Attempt, answer: TooLarge, now: float) -> Step | None:
        closing = self._schedule.closing
        if not self._size_limit.meet(attempt.body, attempt.size, self._spans, answer, now, closing):
            return self._fail(answer, now)
        return self._try_again(now)

    def _try_again(self, now: float) -> Step | None:
        # The attempt was no success, but taught something: failures go on counting, the next is due at once.
        self.attempt = None
        self._schedule.try_again(now)
        return None if self.waiting or self._schedule.check_at is not None else self.over()

    def _fail(self, answer: Reading, now: float, why: Trouble | None = None) -> Step | None:
        trouble = why or explain(answer)
        trouble = trouble or Trouble("", logging.ERROR, f"{type(answer).__name__} was not asked for")
        self.attempt, retry_after = None, getattr(answer, "retry_after", None)
        if isinstance(answer, Rejected):  # what is to blame may be gone already, and only be kept here
            self._search, self.known.digest = None, None
        self._spans.fail(trouble, self._schedule.failed(now, retry_after, trouble.vain), now)
        return None

    def over(self) -> Step | None:
        self.attempt = None
        if self._schedule.failures:
            self._schedule.failures = 0
            self._spans.recover()
        return None
