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

import sys
import time
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

from ..flow.ledger import DropReason, FlowStatus, Totals, add_up
from ..intake import Intake, Prepared
from ..interruption import at_work
from ..native import get_ident, start_thread
from .dispatcher import Dispatcher
from .question import Kind, Question, Taken

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

_ACCEPTED_WITHIN = 1.0
"""Seconds that an export which does not wait for delivery waits for its spans to be taken at most."""

_STATUS_WITHIN = 5.0
_GRACE = 1.0
"""Seconds beyond its time that a shutdown waits to hear that it is over: the courier ends on time by itself."""

_SLICE = 0.01
_FOREVER = float("inf")


class Courier:
    """Owns what one exporter delivers in one process; a forked child makes its own.

    Args:
        intake: Where application threads leave things.
        dispatcher: Does the work.

    Attributes:
        closing: True from the call of `shutdown` on: spans are not taken any more.
        late: Spans that came after that, and are lost; they are of no flow.
    """

    def __init__(self, intake: Intake, dispatcher: Dispatcher) -> None:
        self.closing = False
        self._intake = intake
        self._dispatcher = dispatcher
        self._started = False
        # Who does the work, under the one key; a dictionary for its `setdefault`, which nothing can interrupt.
        self._at_work: dict[str, int] = {}
        self.late = 0

    def leave(self, span: ReadableSpan) -> None:
        """Leaves an ended span: no lock, no wait, no log line."""
        if self.closing:
            self.lose(1)
            return
        self._intake.leave(span)
        if not self._started:
            self.start()

    def export(self, spans: Sequence[ReadableSpan], seconds: float) -> bool:
        """Hands spans over, and waits for their delivery, `seconds` at most; with 0 for their acceptance only."""
        kind, wait = (Kind.EXPORT, seconds) if seconds else (Kind.ACCEPT, _ACCEPTED_WITHIN)
        return self._ask(Question(kind, time.monotonic() + wait, spans)) is True

    def prepare(self, spans: Sequence[ReadableSpan]) -> list[Prepared]:
        """Encodes spans for an `offer`, on the caller's thread."""
        return self._intake.prepare(spans)

    def offer(self, prepared: Sequence[Prepared], seconds: float) -> Taken | None:
        """Hands spans over if nothing that is pending has to leave for them; None: not now, or not known in time."""
        question = Question(Kind.OFFER, time.monotonic() + seconds, prepared=prepared)
        answer = self._ask(question)
        return answer if isinstance(answer, Taken) else None

    def flush(self, seconds: float) -> bool:
        """Delivers all that is pending now; True when nothing of it is pending any more."""
        return self._ask(Question(Kind.FLUSH, time.monotonic() + seconds)) is True

    def shutdown(self, seconds: float) -> None:
        """Delivers what is pending, reads back what was written, and ends; another call waits for the first."""
        self.closing = True
        self._ask(Question(Kind.SHUTDOWN, time.monotonic() + seconds), _GRACE)

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
        return self._dispatcher.over

    # -- who does the work ---------------------------------------------------------------------------------

    def start(self) -> bool:
        """Starts the courier's thread, once; False where none can be had."""
        if not self._started:
            self._started = True  # first: what is entered again in here must not start another one
            self._started = start_thread(self._live)
        return self._started

    def _live(self) -> None:
        me = get_ident()
        if self._at_work.setdefault("courier", me) != me:
            return
        at_work.add(me)
        try:
            while not self._dispatcher.over:
                self._dispatcher.go_round(_FOREVER)
        finally:
            at_work.discard(me)

    def _ask_now(self, kind: Kind) -> Any:
        question = Question(kind, time.monotonic() + _STATUS_WITHIN)
        answer = self._ask(question)
        return self._dispatcher.answer_at_rest(question) if answer is None else answer

    def _ask(self, question: Question, grace: float = 0.0) -> Any:
        """Asks, and waits for the answer; None where it is not known in time."""
        waiter = question.waiter
        self._intake.messages.put(question)
        if get_ident() in at_work:
            return None  # it would wait for itself
        while not waiter.answered:
            if self._dispatcher.over:  # and it may not have seen the question
                return self._dispatcher.answer_at_rest(question)
            left = question.until + grace - time.monotonic()
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
            while not question.waiter.answered and time.monotonic() < question.until + _GRACE:
                self._dispatcher.go_round(question.until)
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
