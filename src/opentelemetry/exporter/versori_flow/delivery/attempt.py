"""One attempt at a flow: read, merge, write, under one deadline and, if it can be had, in this host's turn.

What is read and written, and what an answer leads to, is decided in `flow`: an attempt carries out one step,
tells what came of it, and is told the next one.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING

from ..flow.flows import FlowStep
from ..flow.report import error_type
from ..flow.steps import Read, Reading, Stale, Write
from ..flow.stored import UnreadableFlow, read
from ..http.answers import Found, failed_by
from ..http.api import FlowsApi
from .host_lock import HostLock, Turn, Wait

if TYPE_CHECKING:
    from ..own_metrics import OwnMetrics

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC) if hasattr(time, "clock_gettime") else None

_STALE = 1.0
"""Seconds between an answer and the write that rests on it. It takes milliseconds, unless the process was
stopped (SIGSTOP, a frozen Lambda, a suspended laptop), and others may have written meanwhile."""


class Attempt:
    """An attempt that is to be made.

    Attributes:
        job: The step that is due; None: it is over.
        deadline: The `time.monotonic()` by which it is over.
        turn: This host's turn at the flow, released with the attempt; None: it goes without.
        in_turn: False where another process of this host may be writing the flow now.
        begun: When it begins, in seconds of `time.monotonic()`.
    """

    __slots__ = ("begun", "deadline", "in_turn", "job", "turn")

    def __init__(
        self, job: FlowStep, deadline: float, turn: Turn | None, in_turn: bool, begun: float
    ) -> None:
        self.job: FlowStep | None = job
        self.deadline = deadline
        self.turn = turn
        self.in_turn = in_turn
        self.begun = begun


Feed = Callable[[Attempt, Reading], None]


class TurnQueue:
    """Attempts from their begin until they have their turn, or have waited for it in vain.

    A wait is a due time: no thread is held by it.

    Args:
        host_lock: The turns; None: there are none to take, and no attempt waits.
        timeout: Seconds for one attempt, the wait included.
    """

    def __init__(self, host_lock: HostLock | None, timeout: float) -> None:
        self._host_lock = host_lock
        self._timeout = timeout
        self._numbers = count()
        self._waiting: list[tuple[float, int, FlowStep, float, Wait | None]] = []

    def enter(self, job: FlowStep, now: float, last_call: float) -> None:
        """Begins an attempt, and to wait for its turn; the arguments are those of `leave`."""
        lock, deadline = self._host_lock, min(last_call, now + self._timeout)
        wait = None if lock is None else lock.wait(job.name, deadline, now)
        heapq.heappush(self._waiting, (now, next(self._numbers), job, deadline, wait))

    @property
    def next_look(self) -> float:
        """When to call `leave` again."""
        return self._waiting[0][0] if self._waiting else float("inf")

    def leave(self, now: float, last_call: float) -> Attempt | None:
        """Looks for the turns that it is time to look for; returns the first attempt whose wait is over.

        Args:
            now: Seconds.
            last_call: When the exporter ends, and every attempt with it.
        """
        while self.next_look <= now:
            _, number, job, deadline, wait = heapq.heappop(self._waiting)
            if wait is None:
                return Attempt(job, min(deadline, last_call), None, True, now)
            if wait.over(now, last_call):
                return Attempt(job, min(deadline, last_call), wait.turn, not wait.vain, now)
            heapq.heappush(self._waiting, (wait.next_look, number, job, deadline, wait))
        return None


def make(attempt: Attempt, api: FlowsApi, feed: Feed, metrics: OwnMetrics | None) -> None:
    """Makes an attempt. Only what `feed` raises, and what is no `Exception`, leaves it.

    Args:
        attempt: What is to be done.
        api: The platform.
        feed: Is given the answer to each step, and sets the next one.
        metrics: The exporter's own; None: switched off.
    """
    answered = _now()
    try:
        while (job := attempt.job) is not None:
            step = job.step
            stale = isinstance(step, Write) and _now() - answered > _STALE
            try:
                answer = Stale() if stale else perform(step, api, attempt.deadline)
            except Exception as error:  # noqa: BLE001 - a fault of ours must not end the thread, or stay unsaid
                answer = failed_by(error)
            answered = _now()
            if metrics is not None and not stale:  # before the flows are told, and whoever waits for them
                method, size = ("PUT", step.body.size) if isinstance(step, Write) else ("GET", None)
                metrics.request(job.name, attempt.begun, method, size, error_type(answer))
            feed(attempt, answer)
    finally:
        if attempt.turn is not None:
            attempt.turn.release()


def perform(step: Read | Write, api: FlowsApi, deadline: float) -> Reading:
    """Carries out one step, by a deadline in seconds of the monotonic clock."""
    if isinstance(step, Write):
        return api.put(step.flow, step.body.join(), deadline)
    answer = api.get(step.flow, deadline, own_connection=step.own_connection)
    if not isinstance(answer, Found) or answer.digest == step.known:
        return answer
    try:
        return read(answer.body, answer.digest)
    except UnreadableFlow as error:
        return error


def _now() -> float:
    """Seconds of a clock that goes on while the machine is suspended, where there is one."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)
