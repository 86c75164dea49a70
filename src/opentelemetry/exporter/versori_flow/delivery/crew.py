"""The threads that make attempts, as many as the platform's answers take.

An attempt that is over leaves its thread free for the next: while much is due, no attempt crosses from one
thread to another, which would cost more than a fast answer. Whoever calls this is at the dispatcher's desk.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..flow.due import MOST_IN_TROUBLE
from ..flow.notice import Notice
from ..http.api import FlowsApi
from ..interruption import at_work
from ..native import Queue, get_ident, monotonic, start_thread
from .attempt import Attempt, Feed, make
from .log import say

if TYPE_CHECKING:
    from ..own_metrics import OwnMetrics

MAX_THREADS = 2 * MOST_IN_TROUBLE
"""Half of them are there for flows in no trouble, whatever the others do. A thread is held for `timeout` at most, and
only by a platform that does not answer."""

PATIENCE = 0.005
"""Seconds without an attempt that begins or ends before one more thread takes part: a platform that answers
fast is served by few, which do not fight for the interpreter."""

_PROCESSOR = 0.8
"""Of one processor, what the threads may use together before one more would only wait for the interpreter."""

_PATIENCE_WITH_BUSY = 0.05
"""Seconds where they do use that much: so long may one that is stuck hold up others."""

_KEPT_IDLE = 2

Work = Callable[[Attempt], Attempt | None]
"""Makes an attempt; returns the next one for the same thread, if there is one."""


class Crew:
    """Native threads that make attempts side by side.

    Args:
        warm_up: Does what is slow the first time (imports); called on each thread as it starts.

    Attributes:
        api: The platform.
        metrics: The exporter's own; None: switched off.
    """

    def __init__(self, api: FlowsApi, warm_up: Callable[[], object], metrics: OwnMetrics | None) -> None:
        self.api = api
        self.metrics = metrics
        self._warm_up = warm_up
        self._jobs: Queue[tuple[Attempt, Work] | None] = Queue()
        self._size = 0
        self._busy = 0
        self._changed = float("-inf")
        self._share = 0.0

    @property
    def nobody(self) -> bool:
        """True where there is no thread at all."""
        return not self._size

    @property
    def wanted(self) -> bool:
        """Whether one more thread than those that are busy would be of use."""
        return not self._busy or self._share * (self._busy + 1) < _PROCESSOR

    @property
    def patience(self) -> float:
        """Seconds after which to ask again whether one more is `ready`."""
        if self._busy >= MAX_THREADS:
            return float("inf")  # whoever is done takes the next attempt along
        return PATIENCE if self.wanted else _PATIENCE_WITH_BUSY

    def ready(self, now: float) -> bool:
        """Whether one more thread may take part now; it is started where none is idle."""
        if self._busy and now - self._changed < self.patience:
            return False
        return self._busy < self._size or (self._size < MAX_THREADS and self.hire())

    def hire(self) -> bool:
        """Starts a thread; False where none can be had."""
        started = start_thread(self._toil)
        self._size += started
        return started

    def give(self, attempt: Attempt, work: Work, now: float) -> None:
        """Gives an attempt to an idle thread."""
        self.count(1, now)
        self._jobs.put((attempt, work))

    def count(self, more: int, now: float) -> None:
        """Counts those that are busy: one more, or one less."""
        self._busy += more
        self._changed = now

    def make(self, attempt: Attempt, feed: Feed) -> None:
        """Makes an attempt on the thread that calls, away from the desk; what `feed` raises leaves it."""
        wall, own = monotonic(), time.thread_time()
        make(attempt, self.api, feed, self.metrics)
        self._say_problem()
        # Waiting for the platform is what several threads can do at once.
        self._share = (time.thread_time() - own) / max(monotonic() - wall, 1e-6)

    def rest(self) -> None:
        """Nothing is due for a while: lets idle threads go, but for a few; starts the first, which warms up."""
        if not self._size:
            self.hire()
        self._dismiss(self._size - max(self._busy, _KEPT_IDLE))

    def end(self) -> None:
        """Ends the requests in flight, and every thread."""
        self.api.close()
        self._dismiss(self._size)
        if self.metrics is not None:
            self.metrics.end()
        self._say_problem()

    def _say_problem(self) -> None:
        if self.metrics is not None and (problem := self.metrics.take_problem()):
            say([Notice(logging.WARNING, problem)])

    def _dismiss(self, threads: int) -> None:
        for _ in range(threads):
            self._size -= 1
            self._jobs.put(None)

    def _toil(self) -> None:
        me = get_ident()
        at_work.add(me)
        try:
            with contextlib.suppress(BaseException):  # the first request says what is wrong
                self._warm_up()
            while (job := self._jobs.get()) is not None:
                attempt, work = job
                following: Attempt | None = attempt
                while following is not None:
                    following = work(following)
        finally:
            at_work.discard(me)
