"""The desk: take what was left, say what is due, take in what came of it, answer.

    the courier's thread   waits for messages and for what is due, and gives attempts to the crew
    a thread of the crew   makes an attempt, tells what came of it, and takes the next one along

One thread at a time is at the desk, and nobody else touches the flows. It is left for every wait and every
request; an application's thread never waits for it.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator

from ..flow.flows import Flows, FlowStep
from ..flow.ledger import DropReason
from ..flow.notice import Notice
from ..flow.report import error_type
from ..flow.steps import Reading
from ..http.answers import failed_by
from ..intake import NOTHING, Intake
from ..native import allocate_lock, monotonic
from .attempt import Attempt
from .crew import Crew
from .gathering import Gathering
from .keeper import Keeper
from .log import AFTER_A_FAULT, Faults, is_the_callers, say
from .question import Kind, OpenQuestions, Question, at_rest
from .turns import Turn

_IDLE_BEFORE_WARM_UP = 1.0
_IDLE_BEFORE_REST = 10.0
_IN_ORDER = 2 * AFTER_A_FAULT
"""Seconds after the last call: whatever fails for longer is not asked any more, and all that is left is counted."""

_FOREVER = float("inf")
_LOOK = object()  # a message: there may be something to do that the courier doesn't wait for


class Dispatcher:
    """What the courier and the crew do at the desk.

    Args:
        intake: Where application threads leave things.
        keeper: Between the flows and the store, and where attempts wait for their turn.
        faults: What has gone wrong in the exporter's own work until now.

    Attributes:
        crew: The threads that make attempts, and their way to the platform.
        flows: What there is to deliver.
        over: True once all has ended: the flows do not change any more.
    """

    def __init__(self, intake: Intake, flows: Flows, crew: Crew, keeper: Keeper, faults: Faults) -> None:
        self.crew = crew
        self.over = False
        self.flows = flows
        self._desk = allocate_lock()
        self._intake = intake
        self._keeper = keeper
        self._gathering = Gathering(intake, flows)
        self._wakes_at = _FOREVER
        self._questions = OpenQuestions(flows)
        self._faults = faults

    # -- who comes to the desk -----------------------------------------------------------------------------

    def go_round(self, until: float, *read: object) -> None:
        """Waits for something to do, `until` at most (seconds of the monotonic clock), or has `read` it; does it.

        A fault of ours, a log handler that raises or memory that has run out costs the round in which it happens.
        Only what interrupts the thread of a caller, such as Ctrl-C, is raised.
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
            self._feed(attempt, failed_by(error))
            raise

    def _visit(self, until: float, message: object = NOTHING, *, hand: bool = False) -> Attempt | None:
        """Does all there is to do at the desk; returns an attempt, if to be begun before `until`, for who has come.

        It has read a `message`, or is a `hand` of the crew that has made an attempt.
        """
        with self._desk:
            if hand:
                self.crew.count(-1, monotonic())
            while message is not NOTHING:
                self._read(message)
                message = self._intake.next_message(0)
            now = monotonic()
            if not self.over:
                notices = self._look(now)
                # Before the answers: what was taken is kept, and what an export failed for is said by then.
                say([*self._intake.remarks(), *notices, *self.flows.notices(now, self.over)])
            self._questions.give(self._keeper.is_safe)
            attempt = self._hand_out(min(until, self._questions.last_call), hand)
            if hand and self._next_wake(now) < self._wakes_at:
                self._wakes_at = now
                self._intake.messages.put(_LOOK)
            return attempt

    def _look(self, now: float) -> list[Notice]:
        if mended := self._faults.unmended:
            if now >= self._questions.last_call + _IN_ORDER:
                return self._end(in_order=False)
            self._mend(now)
        if self._gathering.look_at <= now < self._questions.last_call:
            self._gathering.take()
        if (moving := self._questions.owed()) is not None:
            self._gathering.hand_over(moving)
        self._keeper.inherit(now, self._questions.last_call)
        self._questions.expire(now)
        return self._end() if self._is_done(now) else self._keeper.keep(now, mended)

    # -- what comes in -------------------------------------------------------------------------------------

    def _wait(self, until: float) -> object:
        with self._desk:
            now = monotonic()
            wake = self._wakes_at = self._next_wake(now)
        if wake != _FOREVER or until != _FOREVER:
            return self._intake.next_message(max(0.0, min(wake, until) - now))
        message = self._intake.next_message(_IDLE_BEFORE_WARM_UP if self.crew.nobody else _IDLE_BEFORE_REST)
        if message is NOTHING:
            with self._desk:
                self.crew.rest()
            message = self._intake.next_message(None)
        return message

    def _next_wake(self, now: float) -> float:
        start = self._next_start()
        if start <= now:  # for a thread of the crew
            start = now + self.crew.patience
        return min(start, self._gathering.look_at, self._keeper.next_look(), self._questions.next_end)

    def _next_start(self) -> float:
        due = self.flows.next_due()
        return self._keeper.turns.next_look if due is None else min(due, self._keeper.turns.next_look)

    def _read(self, message: object) -> None:
        if message is None:
            self._gathering.told()
        elif isinstance(message, Question):
            self._ask(message)

    def _feed(self, attempt: Attempt, answer: Reading) -> None:
        """Takes what came of a step, and sets the attempt's next one."""
        with self._desk:
            job = attempt.job
            if job is None or self.over:
                attempt.job = None
                return
            now = monotonic()
            with self._or_put_off(job, None, now):
                following = self.flows.feed(job, answer, now, time.time_ns(), attempt.in_turn)
            if following is not None and self._keeper.may_go_on(attempt, following, now):
                attempt.job = following
                return
            attempt.job = None
            self._keeper.end_turn(job, answer, attempt.turn, now, self._questions.last_call)
            attempt.turn = None
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
                    with self._or_put_off(job, None, now):
                        self._keeper.turns.enter(job, now, until)
            else:
                with self._or_put_off(attempt.job, attempt.turn, now):
                    self._keeper.begin_turn(attempt, now, self._questions.last_call)
                    if hand:
                        self.crew.count(1, now)
                    if hand or self.crew.nobody:
                        return attempt
                    self.crew.give(attempt, self._work, now)
        return None

    @contextlib.contextmanager
    def _or_put_off(self, job: FlowStep | None, turn: Turn | None, now: float) -> Iterator[None]:
        """An attempt that ends by a fault of ours must not look busy for ever."""
        try:
            yield
        except BaseException:
            if turn is not None:
                turn.release()
            if job is not None and job.flow.busy:
                self.flows.put_off(job, now, now)
            raise

    def _ask(self, question: Question) -> None:
        if self.over:
            self.flows.memory.lose(len(question.spans), DropReason.SHUTDOWN)
            self._questions.answer(question, at_rest(question, self.flows))
            return
        now = monotonic()
        if question.kind in (Kind.SHUTDOWN, Kind.LET_GO):
            self._questions.add_end(question, now)
        try:
            self._take_in(question, now)
        except BaseException:
            self._questions.hit(question)
            raise

    def _take_in(self, question: Question, now: float) -> None:
        gathering = self._gathering
        try:
            gathering.take(question.until)
        except BaseException:
            self._intake.take_later(question.spans)  # of others', and nobody asks for these again
            raise
        match question.kind:
            case Kind.EXPORT | Kind.ACCEPT:
                receipts = gathering.hand_over(self._intake.encode(question.spans))
                self._questions.add(question, receipts, monotonic())
            case Kind.OFFER:
                for batch in self._questions.admit(question, self._intake.route(question.prepared)):
                    gathering.hand_over(batch)
            case Kind.FLUSH:
                self._questions.add(question, self.flows.hurry(now, question.until), now)
            case Kind.STATUS | Kind.TOTALS:
                self._questions.answer(question, at_rest(question, self.flows))

    def _mend(self, now: float) -> None:
        self.flows.mend(now)
        self._faults.unmended = False
        for question in self._questions.take_hit(now):
            self._ask(question)

    def _is_done(self, now: float) -> bool:
        if not self._questions.ending:
            return False
        due, last_call = self.flows.next_due(), self._questions.last_call
        idle = not (self.flows.busy or self._gathering.size) and (due is None or due >= last_call)
        return now >= last_call or (idle and self._keeper.gone(now, last_call))

    def _end(self, in_order: bool = True) -> list[Notice]:
        """The order: what is left is given up, the requests in flight are cut, only then every wait ends."""
        notices = self._keeper.end(in_order)
        self.over = True
        self._keeper.turns.end()
        self.crew.end()
        self.flows.memory.lose(self._gathering.give_up(), DropReason.SHUTDOWN)
        self._questions.end()
        while (message := self._intake.next_message(0)) is not NOTHING:
            self._read(message)
        self._intake.messages.put(_LOOK)  # the courier ends too
        return notices

    def _fault(self, error: BaseException) -> None:
        self._gathering.look_at = min(self._gathering.look_at, monotonic() + AFTER_A_FAULT)
        self._faults.bear(error)
        self._intake.messages.put(_LOOK)
