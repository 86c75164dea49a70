"""Delivers what the application leaves: the side that callers meet, and who does the work.

    application threads                      the courier's thread           the crew's threads
    leave a span ------> intake -----------> take, encode, route
    ask, and wait -----> intake.messages --> what is due? -----------------> an attempt: GET, PUT
                   <---- the answer <-----------------------<--------------- what came of it, and the next one

The exporter's own threads take turns at the flows, see `dispatcher`; a caller that comes from a finalizer or a
signal handler, in the middle of anything, meets no lock. Where no thread can be had (at interpreter exit, in an
isolated subinterpreter) the thread that asks does the courier's work, one at a time.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

from ..flow.ledger import DropReason, FlowStatus, Totals, add_up
from ..flow.notice import Notice
from ..intake import NOTHING, Intake, Prepared
from ..interruption import at_work
from ..native import get_ident, monotonic, start_thread
from ..uwsgi_fork import is_first_worker
from .log import AFTER_A_FAULT, Faults, is_the_callers, say
from .question import Kind, Question, Taken, at_rest

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from ..http.api import FlowsApi
    from .dispatcher import Dispatcher

_ACCEPTED_WITHIN = 1.0
"""Seconds that an export which does not wait for delivery waits for its spans to be taken at most."""

_ANSWERED_WITHIN = 0.25
"""Seconds beyond its time that an export waits to hear that it is over: what it has failed for is logged by then."""

_STATUS_WITHIN = 5.0
_GRACE = 1.0
"""Seconds beyond its time that a shutdown waits to hear that it is over: the courier ends on time by itself."""

_SLICE = 0.01
_UNUSED_BEFORE_WIRING = 1.0
"""Seconds: what the work takes is imported and made for the first who leaves or asks something, or then."""

_FOREVER = float("inf")


class Courier:
    """Owns what one exporter delivers in one process; a forked child makes its own.

    Args:
        intake: Where application threads leave things.
        wire: Makes what does the work; it imports most of the package.
        parent: That of the process that has forked this one, if one has.

    Attributes:
        closing: True from the call of `shutdown` on: spans are not taken any more.
        late: Spans that came after that, and are lost; they are of no flow.
    """

    def __init__(self, intake: Intake, wire: Callable[[Faults], Dispatcher], parent: Courier | None) -> None:
        self.closing = False
        self._intake = intake
        self._wire = wire
        self._dispatcher: Dispatcher | None = None
        self._read: list[object] = []  # messages that it is wired for
        self._faults = Faults()
        self._started = False
        self._parent = None if parent is None or parent._started else parent
        # Who does the work, under the one key; a dictionary for its `setdefault`, which nothing can interrupt.
        self._at_work: dict[str, int] = {}
        self.late = 0
        self._lost: int | None = None  # what was given up, once the work could not be begun until the end

    def leave(self, span: ReadableSpan) -> None:
        """Leaves an ended span: no lock, no wait for anybody, no log line."""
        if self.closing:
            self.lose(1)
            return
        self._intake.leave(span)
        if not self._started:
            self.start()
        if self.closing and self.over:  # since the first look: a signal handler has shut it down, say
            self.lose(self._intake.give_up())

    def export(self, spans: Sequence[ReadableSpan], seconds: float) -> bool:
        """Hands spans over, and waits for their delivery, `seconds` at most; with 0 for their acceptance only."""
        kind, wait = (Kind.EXPORT, seconds) if seconds else (Kind.ACCEPT, _ACCEPTED_WITHIN)
        return self._ask(Question(kind, monotonic() + wait, spans), _ANSWERED_WITHIN) is True

    def prepare(self, spans: Sequence[ReadableSpan], flow: str | None) -> list[Prepared]:
        """Encodes spans for an `offer`, on the caller's thread; see `Intake.prepare`."""
        return self._intake.prepare(spans, flow)

    def offer(self, prepared: Sequence[Prepared], seconds: float) -> Taken | None:
        """Hands spans over if nothing that is pending has to leave for them; None: not now, or not known in time."""
        question = Question(Kind.OFFER, monotonic() + seconds, prepared=prepared)
        answer = self._ask(question)
        return answer if isinstance(answer, Taken) else None

    def flush(self, seconds: float) -> bool:
        """Delivers all that is pending now; True when nothing of it is pending any more."""
        return self._ask(Question(Kind.FLUSH, monotonic() + seconds)) is True

    def shutdown(self, seconds: float) -> None:
        """Delivers what is pending, reads back what was written, and ends; another call waits for the first."""
        self.closing = True
        self._ask(Question(Kind.SHUTDOWN, monotonic() + seconds), _GRACE)
        if self._dispatcher is None and self._faults.last and self._lost is None:
            self._give_up()

    def _give_up(self) -> None:
        """The work could not be begun, whenever it was tried: what was left is lost, and not without a word."""
        self._lost = 0  # first: who enters this again has nothing left to do
        asked = [message for message in self._read if isinstance(message, Question)]
        self._lost = self._intake.give_up() + sum(len(question.spans) for question in asked)
        if self._lost:
            lost = "1 span is lost" if self._lost == 1 else f"{self._lost} spans are lost"
            text = f"{lost}: the exporter could not begin its work, it met {self._faults.last} each time"
            say([Notice(logging.ERROR, text)])

    def let_go(self) -> None:
        """The exporter is gone: it ends once nothing is pending. Does not wait; a finalizer may call it."""
        self._intake.messages.put(Question(Kind.LET_GO, _FOREVER))

    def status(self) -> dict[str, FlowStatus]:
        """How every flow does."""
        answer: dict[str, FlowStatus] = self._ask_now(Kind.STATUS)
        return answer

    def totals(self) -> Totals:
        """How many spans came in, and what became of them, over all flows."""
        late = Totals(self.late, 0, 0, {DropReason.SHUTDOWN.value: self.late} if self.late else {})
        return add_up([self._ask_now(Kind.TOTALS), late])

    def lose(self, count: int) -> None:
        """Counts spans that came after the end."""
        self.late += count

    @property
    def over(self) -> bool:
        """True once it has ended."""
        return self._lost is not None or (self._dispatcher is not None and self._dispatcher.over)

    @property
    def api(self) -> FlowsApi | None:
        """The platform, once something was to be done."""
        return None if self._dispatcher is None else self._dispatcher.crew.api

    # -- who does the work ---------------------------------------------------------------------------------

    def start(self) -> bool:
        """Starts the courier's thread, once; False where none can be had."""
        if not self._started:
            self._started = True  # first: what is entered again in here must not start another one
            started = False
            try:
                if self._parent is not None and is_first_worker():
                    self._take_over(self._parent)
                started = start_thread(self._live)
            finally:
                # A second thread, where a signal handler raises in between, ends at once.
                self._started = started
        return self._started

    def _take_over(self, parent: Courier) -> None:
        """Takes what the process has that uWSGI forks from: it delivers nothing, and ends without a word."""
        self._parent = None
        flows = () if parent._dispatcher is None else parent._dispatcher.flows.waiting()
        pending = [(change.flow, kept.encoded) for change in flows for kept in change.added]
        self._intake.take_over(parent._intake, pending)

    def _live(self) -> None:
        me = get_ident()
        if self._at_work.setdefault("courier", me) != me:
            return
        try:
            at_work.add(me)
            while not self.over:
                self._go_round(_FOREVER)
        finally:
            at_work.discard(me)
            if not self.over:  # memory has run out, say: whoever comes next starts another one
                self._at_work.pop("courier", None)
                self._started = False

    def wire(self) -> Dispatcher:
        """Makes what does the work. One thread at a time."""
        if self._dispatcher is None:
            self._dispatcher = self._wire(self._faults)
            self._faults.unmended = False  # nothing was under way
        return self._dispatcher

    def _go_round(self, until: float) -> None:
        dispatcher = self._dispatcher
        try:
            if dispatcher is None:
                if not self._read:
                    wait = min(until - monotonic(), _UNUSED_BEFORE_WIRING)
                    message = self._intake.next_message(max(0.0, wait))
                    self._read += [message] if message is not NOTHING else []
                dispatcher = self.wire()
        except BaseException as error:
            if is_the_callers(error):
                raise
            self._faults.bear(error)
            self._answer_unwired()
            return
        if not self._read:
            dispatcher.go_round(until)
        while self._read:
            dispatcher.go_round(until, self._read.pop(0))

    def _answer_unwired(self) -> None:
        """Says how it does to those who ask that alone: it can't be wired now."""
        while (message := self._intake.next_message(0)) is not NOTHING:
            self._read.append(message)
        for question in self._read:
            if isinstance(question, Question) and question.kind in (Kind.STATUS, Kind.TOTALS):
                question.waiter.give(self._at_rest(question))
        self._read = [m for m in self._read if not (isinstance(m, Question) and m.waiter.answered)]

    def _at_rest(self, question: Question) -> Any:
        if self._dispatcher is not None:
            return at_rest(question, self._dispatcher.flows)
        waiting, lost = len(self._intake), self._lost or 0
        totals = Totals(waiting + lost, 0, waiting, {DropReason.SHUTDOWN.value: lost} if lost else {})
        if question.kind is Kind.TOTALS:
            return totals
        if (error := self._faults.last) is None:
            return {}
        state, wait = ("clean", None) if self.over else ("backing off", AFTER_A_FAULT)
        return {"": FlowStatus("", state, *totals, error, wait)}

    def _ask_now(self, kind: Kind) -> Any:
        question = Question(kind, monotonic() + _STATUS_WITHIN)
        answer = self._ask(question)
        return self._at_rest(question) if answer is None else answer

    def _ask(self, question: Question, grace: float = 0.0) -> Any:
        """Asks, and waits for the answer; None where it is not known in time."""
        waiter = question.waiter
        self._intake.messages.put(question)
        if get_ident() in at_work:
            return None  # it would wait for itself
        while not waiter.answered:
            if self.over:  # and it may not have seen the question
                return self._at_rest(question)
            left = question.until + grace - monotonic()
            if left <= 0 or sys.is_finalizing():
                return None
            if self.start():
                waiter.wait(left)
            elif not self._work_here(question):
                waiter.wait(min(left, _SLICE))  # another thread does the work
        return waiter.answer

    def _work_here(self, question: Question) -> bool:
        """Does the courier's work until the question is answered; False where another thread is at it.

        It claims within the `try`, so that what a signal handler raises can't leave the claim behind.
        """
        me = get_ident()
        if self._at_work.get("courier") == me and _is_running(Courier._work_here):
            question.until = 0.0  # entered again, from a handler: it would wait for itself
            return True
        try:
            if self._at_work.setdefault("courier", me) != me:
                return False
            while not question.waiter.answered and monotonic() < question.until + _GRACE:
                self._go_round(question.until)
            return True
        finally:
            if self._at_work.get("courier") == me:
                del self._at_work["courier"]


def _is_running(function: Any) -> bool:
    """Whether a call of the function, before the one that asks, is under way on this thread."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if frame.f_code is function.__code__:
            return True
        frame = frame.f_back
    return False
