"""The courier's work, in rounds: take what was left, hand out what is due, take in what came of it, answer.

One thread at a time goes round, and nobody else touches the flows: there is no lock.
"""

from __future__ import annotations

import logging
import time
from _queue import Empty
from collections.abc import Sequence
from typing import Any

from ..flow.flows import Flows, FlowStep, Receipt
from ..flow.report import Notice
from ..flow.steps import Reading
from ..http.answers import failed_by
from ..intake import Batch, Intake
from ..native import Waiter, get_ident
from .attempt import Attempt
from .crew import PATIENCE, Crew, Result, at_work
from .question import Kind, OpenQuestions, Question
from .turn_queue import TurnQueue

logger = logging.getLogger("opentelemetry.exporter.versori_flow")

_GATHERED = 0.03
"""Seconds between two looks into the intake while nobody asks: a look for each span costs more than the span."""

_IDLE_BEFORE_WARM_UP = 1.0
_IDLE_BEFORE_REST = 10.0
_AFTER_A_FAULT = 0.25
_BETWEEN_FAULT_LINES = 60.0
_FOREVER = float("inf")
_NOTHING = object()


class Dispatcher:
    """Goes round.

    Args:
        intake: Where application threads leave things.
        flows: What there is to deliver.
        crew: The threads that make attempts.
        turns: Where attempts wait for their turn.
        timeout: Seconds for one attempt.

    Attributes:
        over: True once all has ended: the flows do not change any more.
    """

    def __init__(self, intake: Intake, flows: Flows, crew: Crew, turns: TurnQueue, timeout: float) -> None:
        self.over = False
        self.flows = flows
        self._intake = intake
        self._crew = crew
        self._turns = turns
        self._timeout = timeout
        self._take_at = _FOREVER
        self._taken_at = -_FOREVER
        self._batch: Batch | None = None
        self._questions = OpenQuestions(flows)
        self._ending: list[Question] = []
        self._fault_said = -_FOREVER

    def go_round(self, until: float) -> None:
        """Waits for something to do, `until` at most (seconds of the monotonic clock), and does it.

        A fault of ours, a log handler that raises or memory that has run out costs the round in which it
        happens. Only what interrupts the thread of a caller, such as Ctrl-C, is raised.
        """
        try:
            self._go_round(until)
        except BaseException as error:
            if _is_the_callers(error):
                raise
            self._fault(error)

    def _go_round(self, until: float) -> None:
        message = self._wait(until)
        while message is not _NOTHING:
            self._read(message)
            message = self._next(0)
        now = time.monotonic()
        if now >= self._take_at:
            self._take(now)
        self._hand_out(min(until, self._last_call))
        now = time.monotonic()
        self._questions.expire(now)
        if self._is_done(now):
            self._end()
        # Before the answers: what an export failed for is said by then.
        _say([*self._intake.remarks(), *self._crew.remarks(), *self.flows.notices(now, self.over)])
        self._questions.give()

    # -- what comes in -------------------------------------------------------------------------------------

    def _wait(self, until: float) -> Any:
        now = time.monotonic()
        due = self.flows.next_due()
        if due is not None and due <= now:
            due = now + PATIENCE  # for a thread of the crew
        wake = min(until, self._take_at, self._turns.next_look, self._last_call, self._questions.next_end)
        wake = wake if due is None else min(wake, due)
        if wake != _FOREVER:
            return self._next(max(0.0, wake - now))
        if self._crew.nobody:
            message = self._next(_IDLE_BEFORE_WARM_UP)
            if message is _NOTHING:
                self._crew.hire(now)
            return message
        message = self._next(_IDLE_BEFORE_REST)
        if message is not _NOTHING:
            return message
        self._crew.rest()
        return self._next(None)

    def _next(self, seconds: float | None) -> Any:
        try:
            return (
                self._intake.messages.get(True, seconds)
                if seconds != 0
                else self._intake.messages.get_nowait()
            )
        except Empty:
            return _NOTHING

    def _read(self, message: object) -> None:
        if message is None:
            self._take_at = min(self._take_at, self._taken_at + _GATHERED)
        elif isinstance(message, Result):
            self._take_in(message)
        elif isinstance(message, Question):
            self._ask(message)

    def _take(self, now: float) -> None:
        """Takes all that was left, and hands it over."""
        self._take_at = _FOREVER
        while (batch := self._batch or self._intake.take()) is not None:
            self._hand_over(batch)
        self._taken_at = time.monotonic()

    def _hand_over(self, batch: Batch) -> list[Receipt]:
        self._batch = (
            batch  # until it is over: what fails in the middle is done again, and nothing counts twice
        )
        now = time.monotonic()
        receipts = self.flows.hand_over(batch.routed, batch.moves, batch.unencodable, now, time.time_ns())
        self._batch = None
        return receipts

    def _take_in(self, result: Result) -> None:
        attempt, job, answer, following = result.attempt, result.job, result.answer, None
        under_way = self._crew.has(attempt)
        try:
            if under_way:
                following = self._tell_flows(attempt, job, answer)
        except Exception as error:  # noqa: BLE001 - the flow must not look busy for ever
            answer = failed_by(error)
            following = self._tell_flows(attempt, job, answer)
        finally:
            if following is None:
                self._crew.done(attempt, time.monotonic())
            result.reply.put(following)
        if under_way and following is None:
            self._is_over(attempt, job, answer)

    def _feed(self, attempt: Attempt, job: FlowStep, answer: Reading) -> FlowStep | None:
        following = self._tell_flows(attempt, job, answer)
        if following is None:
            self._is_over(attempt, job, answer)
        return following

    def _tell_flows(self, attempt: Attempt, job: FlowStep, answer: Reading) -> FlowStep | None:
        return self.flows.feed(job, answer, time.monotonic(), time.time_ns(), attempt.in_turn)

    def _is_over(self, attempt: Attempt, job: FlowStep, answer: Reading) -> None:
        self._crew.tell(attempt, job, answer)
        self._questions.look(job.name, time.monotonic())

    # -- what goes out -------------------------------------------------------------------------------------

    def _hand_out(self, until: float) -> None:
        """Gives what is due to the crew; where there is no crew at all, does it here."""
        while not self.over:
            now = time.monotonic()
            due = self.flows.next_due()
            if min(self._turns.next_look, _FOREVER if due is None else due) > now or now >= until:
                return
            if not self._crew.ready(now) and not self._crew.nobody:
                return
            attempt = self._turns.leave(now, until)
            if attempt is not None:
                self._crew.give(attempt, self._feed)
            elif due is not None and due <= now:
                job = self.flows.begin_next(now)
                if job is not None:
                    self._turns.enter(job, min(until, now + self._timeout), now)

    # -- questions -----------------------------------------------------------------------------------------

    def _ask(self, question: Question) -> None:
        now = time.monotonic()
        self._take(now)
        match question.kind:
            case Kind.EXPORT | Kind.ACCEPT:
                receipts = self._hand_over(self._intake.encode(question.spans))
                self._questions.add(question, receipts, time.monotonic())
            case Kind.FLUSH:
                self._questions.add(question, self.flows.hurry(now, question.until), now)
            case Kind.SHUTDOWN:
                if self._last_call == _FOREVER:
                    self.flows.close(now, question.until)
                self._ending.append(question)
            case Kind.LET_GO:
                self._ending.append(question)
            case Kind.STATUS:
                self._questions.answer(question, self.flows.status(now))
            case Kind.TOTALS:
                self._questions.answer(question, self.flows.totals())

    # -- the end -------------------------------------------------------------------------------------------

    @property
    def _last_call(self) -> float:
        """When the exporter ends, whatever is left."""
        return min((question.until for question in self._ending), default=_FOREVER)

    def _is_done(self, now: float) -> bool:
        if self.over or not self._ending:
            return False
        due = self.flows.next_due()
        nothing_left = (
            not self.flows.busy and not len(self._intake) and (due is None or due >= self._last_call)
        )
        return nothing_left or now >= self._last_call

    def _end(self) -> None:
        """The order: what is left is given up, the requests in flight are cut, and only then every wait ends."""
        self.flows.abandon()
        self.over = True
        self._crew.end()
        self.flows.lose_late(len(self._intake))
        self._questions.end()
        for question in self._ending:
            self._questions.answer(question, True)
        self._ending = []
        while (message := self._next(0)) is not _NOTHING:
            if isinstance(message, Result):
                message.reply.put(None)
            elif isinstance(message, Question):
                self._questions.answer(message, self.answer_at_rest(message))

    def answer_at_rest(self, question: Question) -> object:
        """Answers once it is over; any thread may ask."""
        if question.kind is Kind.STATUS:
            return self.flows.status(time.monotonic())
        if question.kind is Kind.TOTALS:
            return self.flows.totals()
        return question.kind is Kind.SHUTDOWN or (
            question.kind is Kind.FLUSH and not self.flows.totals().pending
        )

    def _fault(self, error: BaseException) -> None:
        now = time.monotonic()
        self._take_at = min(self._take_at, now + _AFTER_A_FAULT)
        if now - self._fault_said >= _BETWEEN_FAULT_LINES:
            self._fault_said = now
            _say(
                [
                    Notice(
                        logging.ERROR, f"the exporter met {type(error).__name__} in its own work, and goes on"
                    )
                ]
            )
        Waiter().wait(_AFTER_A_FAULT)


def _say(notices: Sequence[Notice]) -> None:
    for notice in notices:
        try:
            logger.log(notice.level, "%s", notice.text)
        except BaseException as error:  # from a handler
            if _is_the_callers(error):
                raise


def _is_the_callers(error: BaseException) -> bool:
    """Whether it interrupts the thread of a caller, such as Ctrl-C."""
    return not isinstance(error, Exception) and get_ident() not in at_work
