"""What decides when a flow is delivered, and delivers it: threads, the clock, and the one lock.

Nothing is decided here about a flow: the `Work` says what is due, hands out the steps, and is told what came
of them. Workers take one due flow at a time, and one more than are busy waits: a stuck flow holds up no
other.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from ..flow.report import Notice
from ..flow.steps import Step, Write
from ..http.answers import Unavailable
from ..http.api import FlowsApi
from .attempt import perform

if TYPE_CHECKING:
    from ..own_metrics import Telemetry

logger = logging.getLogger("opentelemetry.exporter.versori_flow")

MAX_WORKERS = 32
"""Threads at most. A worker is held for `timeout` at most, and only by a platform that does not answer."""

_KEPT_IDLE = 2
_IDLE_BEFORE_WARM_UP = 1.0
_FOREVER = float("inf")


class Job(Protocol):
    """One step of an attempt at a flow."""

    @property
    def name(self) -> str:
        """The flow's name."""

    @property
    def step(self) -> Step:
        """What to do."""


class Work(Protocol):
    """What there is to deliver. Every call is made under the courier's lock, and returns at once."""

    def begin_next(self, now: float) -> Job | None:
        """Begins an attempt at the flow that has been due for longest, if one is due."""

    def feed(self, job: Any, answer: Any, now: float, now_ns: int) -> Job | None:
        """Takes the answer to a step; returns the attempt's next step, if there is one."""

    def unfinished(self, job: Any) -> bool:
        """True when there is more to do about the flow, once an attempt is over. Needs no lock."""

    def error_type(self, answer: Any) -> str | None:
        """What `error.type` says of an answer; None for a success. Needs no lock."""

    def next_due(self, now: float) -> float | None:
        """When the next flow is due; None when nothing is."""

    def busy(self) -> bool:
        """True while an attempt is under way."""

    def consequences(self, receipts: Any, now: float) -> tuple[float | None, list[Notice]]:
        """When what was handed over is due, and the lines to log of it."""

    def verdict(self, receipts: Any, now: float) -> bool | None:
        """Whether what was handed over is delivered: True, False, or None while that is open."""

    def hurry(self, now: float, until: float) -> Any:
        """Makes all that is pending due at once; returns marks for `settled`."""

    def settled(self, marks: Any) -> bool:
        """True when everything up to the marks is delivered or dropped."""

    def close(self, now: float, until: float) -> None:
        """The exporter ends: deliver, and read back, at once."""

    def abandon(self) -> None:
        """The exporter has ended: what is pending is lost."""

    def notices(self, now: float, last: bool) -> list[Notice]:
        """The lines to log now."""


WorkT = TypeVar("WorkT", bound=Work)
ReceiptT = TypeVar("ReceiptT")


class Courier(Generic[WorkT]):
    """Delivers what a `Work` holds. It belongs to one process: a forked child makes its own.

    Args:
        work: What there is to deliver.
        api: The platform.
        timeout: Seconds for one attempt.
        warm_up: Does what is slow the first time (imports); called on the courier's thread.
        telemetry: The exporter's metrics; None: switched off.
        turn: What is held during an attempt, given its first step and its deadline; None: nothing.
    """

    def __init__(
        self,
        work: WorkT,
        api: FlowsApi,
        timeout: float,
        warm_up: Callable[[], object],
        telemetry: Telemetry | None = None,
        turn: Callable[[Any, float], AbstractContextManager[object]] | None = None,
    ) -> None:
        self._work = work
        self._api = api
        self._timeout = timeout
        self._warm_up = warm_up
        self._telemetry = telemetry
        self._turn = turn
        self._lock = threading.Lock()
        # Workers wait for work, whoever handed spans over waits for an outcome.
        self._to_do = threading.Condition(self._lock)
        self._outcome = threading.Condition(self._lock)
        self._workers = 0
        self._idle = 0
        self._wakes_at = _FOREVER
        self._last_call = _FOREVER
        self._closing = False
        self._closed = False
        with self._lock:
            # From the start: at interpreter exit none can be started, and the imports that the first request
            # needs must not happen on the thread that waits there, where they can eat a KeyboardInterrupt.
            self._hire()

    # -- what the exporter calls ---------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """True from the call of `shutdown` on."""
        return self._closing

    def accept(self, store: Callable[[WorkT, int], ReceiptT]) -> ReceiptT:
        """Lets `store` put spans into the work, and wakes a worker where that makes something due.

        Args:
            store: Called with the work and the time in nanoseconds since the Unix epoch, under the lock.
        """
        with self._lock:
            receipts = store(self._work, time.time_ns())
            due, notices = self._work.consequences(receipts, time.monotonic())
            if self._closed:  # while the spans were encoded
                self._work.abandon()
                notices += self._work.notices(time.monotonic(), True)
            elif due is not None and due < self._wakes_at:
                self._wake(due)
        if notices:
            _log(notices)
        return receipts

    def wait(self, receipts: Any, seconds: float) -> bool:
        """Waits until it is known whether what was handed over is delivered, `seconds` at most."""
        deadline = time.monotonic() + seconds
        with self._lock:
            while True:
                now = time.monotonic()
                verdict = self._work.verdict(receipts, now)
                if verdict is not None:
                    return verdict
                if now >= deadline or self._closed:
                    return seconds == 0
                self._outcome.wait(deadline - now)

    def flush(self, seconds: float) -> bool:
        """Delivers what is pending now, ignoring pacing and backoff; True when all of it was settled."""
        deadline = time.monotonic() + seconds
        with self._lock:
            if self._closing:
                return self._work.settled(self._work.hurry(time.monotonic(), deadline))
            marks = self._work.hurry(time.monotonic(), deadline)
            self._to_do.notify_all()
        return self._see_through(lambda: self._work.settled(marks), deadline)

    def shutdown(self, seconds: float) -> None:
        """Delivers what is pending, reads back what was written, and ends; a second call does nothing.

        The order: no spans are taken any more, the flows get their last attempts, what is left is given up,
        every wait ends, and only then the client is closed, under the requests that are still in flight.
        """
        deadline = time.monotonic() + seconds
        with self._lock:
            if self._closing:
                return
            self._closing = True
            self._last_call = deadline
            self._work.close(time.monotonic(), deadline)
            self._to_do.notify_all()
        try:
            self._see_through(self._nothing_left, deadline)
        finally:
            with self._lock:
                self._closed = True
                self._work.abandon()
                notices = self._work.notices(time.monotonic(), True)
                self._to_do.notify_all()
                self._outcome.notify_all()
            self._api.close()
            if self._telemetry is not None:
                self._telemetry.end()
            _log(notices)

    def look(self, question: Callable[[WorkT, float], ReceiptT]) -> ReceiptT:
        """Answers a question about the work, such as how its flows do."""
        with self._lock:
            return question(self._work, time.monotonic())

    # -- workers -------------------------------------------------------------------------------------------

    def _see_through(self, done: Callable[[], bool], deadline: float) -> bool:
        """Waits until `done`, the deadline, or until no attempt before the deadline can change anything."""
        while True:
            with self._lock:
                now = time.monotonic()
                if done():
                    return True
                due = self._work.next_due(now)
                hopeless = not self._work.busy() and (due is None or due >= deadline)
                if now >= deadline or hopeless or self._closed:
                    return False
                job = None
                until = deadline
                if not self._idle and not self._hire():
                    # No thread can be started (at interpreter exit, or in uWSGI without threads): this one
                    # does the work.
                    job = self._work.begin_next(now)
                    until = min(deadline, due if due is not None else deadline)
                if job is None:
                    self._outcome.wait(max(0.0, until - now))
                    continue
            self._carry(job, deadline)

    def _nothing_left(self) -> bool:
        return not self._work.busy() and self._work.next_due(time.monotonic()) is None

    def _wake(self, due: float) -> None:
        if self._idle:
            self._wakes_at = due
            self._to_do.notify()
        else:
            self._hire()

    def _hire(self) -> bool:
        """Starts one more worker; False when no thread can be had."""
        if self._workers >= MAX_WORKERS:
            return False
        worker = threading.Thread(target=self._toil, name="versori-flow-courier", daemon=True)
        self._workers += 1
        try:
            worker.start()
        except RuntimeError:
            self._workers -= 1
            return False
        return True

    def _toil(self) -> None:
        with self._lock:
            if not self._closed and self._workers == 1 and not self._work.next_due(time.monotonic()):
                self._rest(_IDLE_BEFORE_WARM_UP)
        if not self._closed:
            self._warm_up()
        while (job := self._await_job()) is not None:
            self._carry(job, _FOREVER)

    def _await_job(self) -> Job | None:
        """The next step that is due; None when this worker is not needed any more."""
        with self._lock:
            while not self._closed:
                now = time.monotonic()
                job = self._work.begin_next(now)
                if job is not None:
                    if not self._idle:
                        self._hire()
                    elif self._work.next_due(now) is not None:
                        # It came while this worker was waking up, and nobody else was told.
                        self._to_do.notify()
                    return job
                if self._idle >= _KEPT_IDLE:
                    # What it has just done may be due again sooner than those who rest know.
                    self._to_do.notify()
                    break
                due = self._work.next_due(now)
                self._rest(None if due is None else max(0.0, due - now))
            self._workers -= 1
            return None

    def _rest(self, seconds: float | None) -> None:
        self._idle += 1
        self._wakes_at = _FOREVER if seconds is None else time.monotonic() + seconds
        self._to_do.wait(seconds)
        self._wakes_at = _FOREVER
        self._idle -= 1

    def _carry(self, job: Job, deadline: float) -> None:
        """Makes one attempt at a flow."""
        deadline = min(deadline, self._last_call, time.monotonic() + self._timeout)
        with contextlib.ExitStack() as held:
            if self._turn is not None:
                try:
                    held.enter_context(self._turn(job, deadline))
                except BaseException:
                    self._interrupted(job)
                    raise
            self._go_through(job, deadline)

    def _go_through(self, first: Job, deadline: float) -> None:
        begun = time.monotonic()
        job: Job | None = first
        while job is not None:
            try:
                answer = perform(job.step, self._api, deadline)
            except Exception as error:  # noqa: BLE001 - a fault of ours must not end the worker, or stay unsaid
                answer = Unavailable("error", type(error).__name__, None, answered=False)
            except BaseException:
                self._interrupted(job)
                raise
            # Before the work is told, which may begin the next attempt at once.
            if self._telemetry is not None:
                error_type = self._work.error_type(answer)
                size = job.step.body.size if isinstance(job.step, Write) else None
                method = "GET" if size is None else "PUT"
                self._telemetry.request(job.name, begun, method, size, error_type)
            following = self._feed(job, answer)
            if self._telemetry is not None and following is None:
                self._telemetry.attempt(job.name, begun, error_type, self._work.unfinished(job))
            job = following

    def _interrupted(self, job: Job) -> None:
        # Ctrl-C on the thread that waits at exit: the flow must not look busy for ever.
        self._feed(job, Unavailable("error", "interrupted", None, answered=False))

    def _feed(self, job: Job, answer: Any) -> Job | None:
        with self._lock:
            now = time.monotonic()
            following = self._work.feed(job, answer, now, time.time_ns())
            notices = self._work.notices(now, False)
            if following is None:
                self._outcome.notify_all()
        _log(notices)
        return following


def _log(notices: Sequence[Notice]) -> None:
    for notice in notices:
        logger.log(notice.level, "%s", notice.text)
