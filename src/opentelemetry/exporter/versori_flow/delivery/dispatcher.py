"""The desk: take what was left, say what is due, take in what came of it, answer.

    the courier's thread   waits for messages and for what is due, and gives attempts to the crew
    a thread of the crew   makes an attempt, tells what came of it, and takes the next one along

One thread at a time is at the desk, and nobody else touches the flows. It is left for every wait and every
request; an application's thread never waits for it.
"""

from __future__ import annotations

import logging
import time
from _queue import Empty

from ..flow.flows import Flows, FlowStep, Receipt
from ..flow.ledger import DropReason
from ..flow.notice import Notice
from ..flow.report import error_type
from ..flow.steps import Reading
from ..http.answers import failed_by
from ..intake import Batch, Intake
from ..native import allocate_lock, monotonic
from .attempt import Attempt
from .crew import Crew
from .keeper import Keeper
from .log import AFTER_A_FAULT, Faults, is_the_callers, say
from .question import Kind, OpenQuestions, Question, at_rest

_GATHERED = 0.03
"""Seconds between two looks into the intake while nobody asks: a look for each span costs more than the span."""

_LOOKS_FOR = 0.05
"""Seconds of one look: where spans come faster than they are taken, what was taken is delivered all the same."""

_IDLE_BEFORE_WARM_UP = 1.0
_IDLE_BEFORE_REST = 10.0
_FOREVER = float("inf")
_NOTHING = object()
_LOOK = object()  # a message: there may be something to do that the courier doesn't wait for


class Dispatcher:
    """What the courier and the crew do at the desk.

    Args:
        intake: Where application threads leave things.
        keeper: Between the flows and the store, and where attempts wait for their turn.

    Attributes:
        crew: The threads that make attempts, and their way to the platform.
        flows: What there is to deliver.
        over: True once all has ended: the flows do not change any more.
    """

    def __init__(self, intake: Intake, flows: Flows, crew: Crew, keeper: Keeper) -> None:
        self.crew = crew
        self.over = False
        self.flows = flows
        self._desk = allocate_lock()
        self._intake = intake
        self._keeper = keeper
        self._take_at = _FOREVER
        self._taken_at = -_FOREVER
        self._wakes_at = _FOREVER
        self._batch: Batch | None = None
        self._questions = OpenQuestions(flows)
        self._faults = Faults()

    # -- who comes to the desk -----------------------------------------------------------------------------

    def go_round(self, until: float, *read: object) -> None:
        """Waits for something to do, `until` at most (seconds of the monotonic clock), and does it.

        With a message that was `read` before, it waits for nothing. A fault of ours, a log handler that raises or
        memory that has run out costs the round in which it happens. Only what interrupts the thread of a caller,
        such as Ctrl-C, is raised.
        """
        try:
            attempt = self._visit(until, *read or (self._wait(until),))
            while attempt is not None:
                self._make(attempt)
                attempt = self._visit(until)
        except BaseException as error:
            if is_the_callers(error):
                raise
            self._fault(error)

    def _work(self, attempt: Attempt) -> Attempt | None:
        """Makes an attempt, on a thread of the crew; returns the next one for it."""
        following = None
        try:
            try:
                self._make(attempt)
            finally:
                following = self._visit(_FOREVER, hand=True)
        except BaseException as error:  # noqa: BLE001 - it must not end the thread
            self._fault(error)
        return following

    def _make(self, attempt: Attempt) -> None:
        try:
            self.crew.make(attempt, self._feed)
        except BaseException as error:
            self._feed(attempt, failed_by(error))  # no memory, say: the flow must not look busy for ever
            if is_the_callers(error):
                raise

    def _visit(self, until: float, message: object = _NOTHING, *, hand: bool = False) -> Attempt | None:
        """Does all that there is to do at the desk; returns an attempt for the thread that has come.

        Args:
            until: When no attempt is begun any more.
            message: What it has read.
            hand: Whether it is of the crew, and has made an attempt.
        """
        with self._desk:
            if hand:
                self.crew.count(-1, monotonic())
            while message is not _NOTHING:
                self._read(message)
                message = self._next(0)
            now = monotonic()
            if not self.over:
                if self._take_at <= now < self._questions.last_call:
                    self._take(now + _LOOKS_FOR)
                if (moving := self._questions.owed()) is not None:
                    self._hand_over(moving)
                self._keeper.inherit(now, self._questions.last_call)
                self._questions.expire(now)
                # Before the answers: what was taken is kept, and what an export failed for is said by then.
                notices = self._end() if self._is_done(now) else self._keeper.keep(now)
                say([*self._intake.remarks(), *notices, *self.flows.notices(now, self.over)])
            self._questions.give(self._keeper.is_safe)
            attempt = self._hand_out(min(until, self._questions.last_call), hand)
            if hand and self._next_wake(now) < self._wakes_at:
                self._wakes_at = now
                self._intake.messages.put(_LOOK)
            return attempt

    # -- what comes in -------------------------------------------------------------------------------------

    def _wait(self, until: float) -> object:
        with self._desk:
            now = monotonic()
            wake = self._wakes_at = self._next_wake(now)
        if wake != _FOREVER or until != _FOREVER:
            return self._next(max(0.0, min(wake, until) - now))
        message = self._next(_IDLE_BEFORE_WARM_UP if self.crew.nobody else _IDLE_BEFORE_REST)
        if message is _NOTHING:
            with self._desk:
                self.crew.rest()
            message = self._next(None)
        return message

    def _next_wake(self, now: float) -> float:
        start = self._next_start()
        if start <= now:  # for a thread of the crew
            start = now + self.crew.patience
        return min(start, self._take_at, self._keeper.next_look(), self._questions.next_end)

    def _next_start(self) -> float:
        due = self.flows.next_due()
        return self._keeper.turns.next_look if due is None else min(due, self._keeper.turns.next_look)

    def _next(self, seconds: float | None) -> object:
        try:
            return self._intake.messages.get(seconds != 0, seconds)
        except Empty:
            return _NOTHING

    def _read(self, message: object) -> None:
        if message is None:
            self._take_at = min(self._take_at, self._taken_at + _GATHERED)
        elif isinstance(message, Question):
            self._ask(message)

    def _take(self, until: float) -> None:
        """Takes what has been left by now, and hands it over. Where there was something, it looks again unasked."""
        self._take_at, found, left = _FOREVER, False, len(self._intake) + self._in_hand
        while (left > 0 or not found) and (batch := self._batch or self._intake.take()) is not None:
            self._hand_over(batch)
            found, left = True, left - batch.size
            if monotonic() >= until:
                break
        self._taken_at = monotonic()
        self._take_at = self._taken_at + _GATHERED if found else _FOREVER

    @property
    def _in_hand(self) -> int:  # what was taken, and could not be handed over
        return self._batch.size if self._batch else 0

    def _hand_over(self, batch: Batch) -> list[Receipt]:
        # Until it is over: what fails in the middle is done again, and nothing counts twice.
        self._batch = batch
        receipts = self.flows.hand_over(*batch, monotonic(), time.time_ns())
        self._batch = None
        return receipts

    def _feed(self, attempt: Attempt, answer: Reading) -> None:
        """Takes what came of a step, and sets the attempt's next one."""
        with self._desk:
            job = attempt.job
            if job is None or self.over:
                attempt.job = None
                return
            now = monotonic()
            following = self.flows.feed(job, answer, now, time.time_ns(), attempt.in_turn)
            if following is not None and self._keeper.may_go_on(attempt, following, now):
                attempt.job = following
                return
            attempt.job, turn, attempt.turn = None, attempt.turn, None
            self._keeper.end_turn(job, answer, turn, now, self._questions.last_call)
            if self.crew.metrics is not None:  # before anybody is told who waits for it
                self.crew.metrics.attempt(job.name, attempt.begun, error_type(answer), not job.flow.idle)
            self._questions.look(job.name, now)
            if problem := self.crew.api.take_problem():
                say([Notice(logging.ERROR, problem)])

    # -- what goes out -------------------------------------------------------------------------------------

    def _hand_out(self, until: float, hand: bool) -> Attempt | None:
        """Gives what is due to the crew; returns what is for whoever is at the desk."""
        while not self.over:
            now = monotonic()
            if now >= until or self._next_start() > now:
                break
            if not (self.crew.wanted if hand else self.crew.ready(now) or self.crew.nobody):
                break
            patient = self._questions.last_call == _FOREVER or not self._keeper.can_leave
            attempt = self._keeper.turns.leave(now, until, patient)
            if isinstance(attempt, FlowStep):
                self._keeper.leave(attempt, now, self._questions.last_call)
                self._questions.look(attempt.name, now)
                self._intake.messages.put(_LOOK)  # it may have been the last thing to do
            elif attempt is None:
                if (job := self.flows.begin_next(now)) is not None:
                    self._keeper.turns.enter(job, now, until)
            else:
                self._keeper.begin_turn(attempt, now, self._questions.last_call)
                if hand:
                    self.crew.count(1, now)
                    return attempt
                if self.crew.nobody:
                    return attempt
                self.crew.give(attempt, self._work, now)
        return None

    def _ask(self, question: Question) -> None:
        if self.over:
            self.flows.lose(len(question.spans), DropReason.SHUTDOWN)
            self._questions.answer(question, at_rest(question, self.flows))
            return
        now = monotonic()
        if question.kind in (Kind.SHUTDOWN, Kind.LET_GO):
            self._questions.add_end(question, now)
        try:
            self._take(question.until)
        except BaseException:
            self._intake.take_later(question.spans)  # of others', and nobody asks for these again
            raise
        match question.kind:
            case Kind.EXPORT | Kind.ACCEPT:
                receipts = self._hand_over(self._intake.encode(question.spans))
                self._questions.add(question, receipts, monotonic())
            case Kind.OFFER:
                for batch in self._questions.admit(question, self._intake.route(question.prepared)):
                    self._hand_over(batch)
            case Kind.FLUSH:
                self._questions.add(question, self.flows.hurry(now, question.until), now)
            case Kind.STATUS | Kind.TOTALS:
                self._questions.answer(question, at_rest(question, self.flows))

    def _is_done(self, now: float) -> bool:
        if not self._questions.ending:
            return False
        due, last_call = self.flows.next_due(), self._questions.last_call
        idle = not (self.flows.busy or len(self._intake) or self._in_hand) and (
            due is None or due >= last_call
        )
        return now >= last_call or (idle and self._keeper.gone(now, last_call))

    def _end(self) -> list[Notice]:
        """The order: what is left is given up, the requests in flight are cut, only then every wait ends."""
        notices = self._keeper.end()
        self.over = True
        self._keeper.turns.end()
        self.crew.end()
        self.flows.lose(self._intake.give_up() + self._in_hand, DropReason.SHUTDOWN)
        self._questions.end()
        while (message := self._next(0)) is not _NOTHING:
            self._read(message)
        self._intake.messages.put(_LOOK)  # the courier ends too
        return notices

    def _fault(self, error: BaseException) -> None:
        self._take_at = min(self._take_at, monotonic() + AFTER_A_FAULT)
        self._faults.bear(error)
        self._intake.messages.put(_LOOK)
