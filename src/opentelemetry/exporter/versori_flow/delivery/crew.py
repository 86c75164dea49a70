"""The threads that make attempts. The courier alone calls this, from the thread that does its work."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from ..flow.flows import FlowStep
from ..flow.report import Notice, error_type
from ..flow.steps import Reading
from ..http.answers import failed_by
from ..http.api import FlowsApi
from ..native import Queue, get_ident, start_thread
from .attempt import Attempt, Feed, make

if TYPE_CHECKING:
    from ..own_metrics import OwnMetrics

MAX_THREADS = 32
"""A thread is held for `timeout` at most, and only by a platform that does not answer."""

PATIENCE = 0.005
"""Seconds that a due flow waits for a thread to be free before one more is started: a platform that answers
fast is served by few, which do not fight for the interpreter."""

_KEPT_IDLE = 2

at_work: set[int] = set()
"""The threads of all exporters' couriers and crews: what is called on one of them must not wait."""


class Result(NamedTuple):
    """What came of a step, as a message to the courier; `reply` takes the next step, or None."""

    attempt: Attempt
    job: FlowStep
    answer: Reading
    reply: Queue[FlowStep | None]


class Crew:
    """Native threads that make attempts side by side.

    Args:
        api: The platform.
        messages: Where results go.
        warm_up: Does what is slow the first time (imports); called on each thread as it starts.
        metrics: The exporter's own; None: switched off.
    """

    def __init__(
        self, api: FlowsApi, messages: Queue[Any], warm_up: Callable[[], object], metrics: OwnMetrics | None
    ) -> None:
        self._api = api
        self._messages = messages
        self._warm_up = warm_up
        self._metrics = metrics
        self._jobs: Queue[Attempt | None] = Queue()
        self._size = 0
        self._changed = float("-inf")
        self._under_way: set[int] = set()
        self._ended = False

    def ready(self, now: float) -> bool:
        """Whether a thread is free for an attempt; one more is started where that takes too long."""
        if len(self._under_way) < self._size:
            return True
        if self._size < MAX_THREADS and (not self._size or now - self._changed >= PATIENCE):
            return self.hire(now)
        return False

    @property
    def nobody(self) -> bool:
        """True where there is no thread at all."""
        return not self._size

    def hire(self, now: float) -> bool:
        """Starts a thread; False where none can be had."""
        self._changed = now
        if not start_thread(self._toil):
            return False
        self._size += 1
        return True

    def give(self, attempt: Attempt, feed: Feed) -> None:
        """Gives an attempt to a free thread; where there is none at all, it is made here, and told to `feed`."""
        if self.nobody:
            make(attempt, self._api, feed, self._metrics)
        else:
            self._under_way.add(id(attempt))
            self._jobs.put(attempt)

    def has(self, attempt: Attempt) -> bool:
        """Whether the attempt is under way."""
        return id(attempt) in self._under_way

    def done(self, attempt: Attempt, now: float) -> None:
        """An attempt is over."""
        self._under_way.discard(id(attempt))
        self._changed = now

    def tell(self, attempt: Attempt, job: FlowStep, answer: Reading) -> None:
        """Tells the metrics that an attempt is over, before anybody is told who waits for it."""
        if self._metrics is not None:
            self._metrics.attempt(job.name, attempt.begun, error_type(answer), not job.flow.idle)

    def remarks(self) -> list[Notice]:
        """What a person should know of the credentials: lines to log, each trouble once."""
        problem = self._api.take_problem()
        return [Notice(logging.ERROR, problem)] if problem else []

    def rest(self, keep: int = _KEPT_IDLE) -> None:
        """Lets idle threads go, but for `keep`."""
        while self._size > max(len(self._under_way), keep):
            self._size -= 1
            self._jobs.put(None)

    def end(self) -> None:
        """Ends the requests in flight, and every thread."""
        self._ended = True
        self._api.close()
        for _ in range(self._size):
            self._jobs.put(None)
        if self._metrics is not None:
            self._metrics.end()

    def _toil(self) -> None:
        me = get_ident()
        at_work.add(me)
        try:
            with contextlib.suppress(BaseException):  # the first request says what is wrong
                self._warm_up()
            while (attempt := self._jobs.get()) is not None:
                try:
                    make(attempt, self._api, self._report, self._metrics)
                except BaseException as error:  # noqa: BLE001 - memory has run out: the flow must not look busy for ever
                    self._report(attempt, attempt.job, failed_by(error))
        finally:
            at_work.discard(me)

    def _report(self, attempt: Attempt, job: FlowStep, answer: Reading) -> FlowStep | None:
        reply: Queue[FlowStep | None] = Queue()
        self._messages.put(Result(attempt, job, answer, reply))
        if self._ended:  # perhaps after the last look at the messages
            return None
        return reply.get()
