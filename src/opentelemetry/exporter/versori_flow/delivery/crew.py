"""The threads that make attempts, as many as the platform's answers take.

An attempt that is over leaves its thread free for the next: while much is due, no attempt crosses from one
thread to another, which would cost more than a fast answer. Whoever calls this is at the dispatcher's desk.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..http.api import FlowsApi
from ..native import Queue, get_ident, start_thread
from .attempt import Attempt, Feed, make

if TYPE_CHECKING:
    from ..own_metrics import OwnMetrics

MAX_THREADS = 32
"""A thread is held for `timeout` at most, and only by a platform that does not answer."""

PATIENCE = 0.005
"""Seconds without an attempt that begins or ends before one more thread takes part: a platform that answers
fast is served by few, which do not fight for the interpreter."""

_PROCESSOR = 0.8
"""Of one processor, what the threads may use together before one more would only wait for the interpreter."""

_KEPT_IDLE = 2

Work = Callable[[Attempt], Attempt | None]
"""Makes an attempt; returns the next one for the same thread, if there is one."""

at_work: set[int] = set()
"""The threads of all exporters' couriers and crews: what is called on one of them must not wait."""


class Crew:
    """Native threads that make attempts side by side.

    Args:
        api: The platform.
        warm_up: Does what is slow the first time (imports); called on each thread as it starts.
        metrics: The exporter's own; None: switched off.

    Attributes:
        metrics: As given.
    """

    def __init__(self, api: FlowsApi, warm_up: Callable[[], object], metrics: OwnMetrics | None) -> None:
        self.metrics = metrics
        self._api = api
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
    def whole(self) -> bool:
        """True when all that there may be are busy: whoever is done takes the next attempt along."""
        return self._busy >= MAX_THREADS

    @property
    def wanted(self) -> bool:
        """Whether a thread that has made an attempt, and is not counted, is of use for one more."""
        return not self._busy or self._share * (self._busy + 1) < _PROCESSOR

    def ready(self, now: float) -> bool:
        """Whether one more thread may take part now; it is started where none is idle."""
        if self._busy and now - self._changed < PATIENCE:
            return False
        return self._busy < self._size or (self._size < MAX_THREADS and self.hire())

    def hire(self) -> bool:
        """Starts a thread; False where none can be had."""
        started = start_thread(self._toil)
        self._size += started
        return started

    def give(self, attempt: Attempt, work: Work, now: float) -> None:
        """Gives an attempt to an idle thread."""
        self.begins(now)
        self._jobs.put((attempt, work))

    def begins(self, now: float) -> None:
        """A thread makes an attempt from now on."""
        self._busy += 1
        self._changed = now

    def ends(self, now: float) -> None:
        """A thread has made an attempt."""
        self._busy -= 1
        self._changed = now

    def make(self, attempt: Attempt, feed: Feed) -> None:
        """Makes an attempt on the thread that calls, which is at no desk; what `feed` raises leaves it."""
        wall, own = time.monotonic(), time.thread_time()
        make(attempt, self._api, feed, self.metrics)
        # Waiting for the platform is what several threads can do at once.
        self._share = (time.thread_time() - own) / max(time.monotonic() - wall, 1e-6)

    def problem(self) -> str | None:
        """What a person should know of the credentials; each trouble once."""
        return self._api.take_problem()

    def rest(self) -> None:
        """Lets idle threads go, but for a few."""
        while self._size > max(self._busy, _KEPT_IDLE):
            self._size -= 1
            self._jobs.put(None)

    def end(self) -> None:
        """Ends the requests in flight, and every thread."""
        self._api.close()
        for _ in range(self._size):
            self._jobs.put(None)
        if self.metrics is not None:
            self.metrics.end()

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
