"""One attempt at a flow: read, merge, write, under one deadline and, if it can be had, in this host's turn.

What is read and written, and what an answer leads to, is decided in `flow`: an attempt carries out one step,
tells what came of it, and is told the next one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..flow.flows import FlowStep
from ..flow.report import error_type
from ..flow.steps import Read, Reading, Write
from ..flow.stored import UnreadableFlow, read
from ..http.answers import Found, Stale, failed_by
from ..http.api import FlowsApi
from ..interruption import let_through
from ..native import monotonic
from .turns import Turn

if TYPE_CHECKING:
    from ..own_metrics import OwnMetrics

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC) if hasattr(time, "clock_gettime") else None

_STALE = 1.0
"""Seconds from the begin of a read to that of the write that rests on it. It takes milliseconds, unless the
process was stopped (SIGSTOP, a frozen Lambda, a suspended laptop), and others may have written meanwhile. Where
the platform itself is as slow as that, the second read shows it: it may take twice as long."""


class Attempt:
    """An attempt that is to be made.

    Attributes:
        job: The step that is due; None: it is over.
        deadline: The `native.monotonic()` by which it is over.
        turn: The turn at the flow, which the attempt ends with; None: it goes without.
        in_turn: False where another process may be writing the flow now.
        begun: When it begins, in seconds of `native.monotonic()`.
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


def make(attempt: Attempt, api: FlowsApi, feed: Feed, metrics: OwnMetrics | None) -> None:
    """Makes an attempt. Only what `feed` raises, and what is no `Exception`, leaves it.

    Args:
        attempt: What is to be done.
        api: The platform.
        feed: Is given the answer to each step, and sets the next one.
        metrics: The exporter's own; None: switched off.
    """
    asked, patience = _now(), _STALE

    def fresh() -> bool:
        return _now() - asked <= patience

    try:
        while (job := attempt.job) is not None:
            step = job.step
            if isinstance(step, Read):
                asked = _now()
            try:
                answer = perform(step, api, attempt.deadline, fresh)
            except Exception as error:  # noqa: BLE001 - a fault of ours must not end the thread, or stay unsaid
                let_through(error)
                answer = failed_by(error)
            stale = isinstance(answer, Stale)
            if stale:
                patience = 2 * (_now() - asked)
            if metrics is not None and not stale:  # before the flows are told, and whoever waits for them
                method, size = ("PUT", step.body.size) if isinstance(step, Write) else ("GET", None)
                metrics.request(job.name, attempt.begun, method, size, error_type(answer))
            feed(attempt, answer)
    finally:
        if attempt.turn is not None:
            attempt.turn.release()


def perform(
    step: Read | Write, api: FlowsApi, deadline: float, fresh: Callable[[], bool] | None = None
) -> Reading:
    """Carries out one step, by a deadline in seconds of the monotonic clock.

    A write is not begun where `fresh` says no, and no more of its body is sent.
    """
    if isinstance(step, Write):
        return api.put(step.flow, step.body.join(), deadline, fresh)
    answer = api.get(step.flow, deadline, own_connection=step.own_connection)
    if not isinstance(answer, Found) or answer.digest == step.known:
        return answer
    try:
        return read(answer.body, answer.digest)
    except UnreadableFlow as error:
        return error


def _now() -> float:
    """Seconds of a clock that goes on while the machine is suspended, where there is one."""
    return monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)
