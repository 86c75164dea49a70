"""Attempts that wait for this host's turn at their flow. A wait is a due time: no thread is held by it."""

from __future__ import annotations

import heapq
from itertools import count

from ..flow.flows import FlowStep
from .attempt import Attempt
from .host_lock import HostLock, Wait

_FOREVER = float("inf")


class TurnQueue:
    """Attempts from their begin until they have their turn, or have waited for it in vain.

    Args:
        host_lock: The turns; None: there are none to take, and no attempt waits.
    """

    def __init__(self, host_lock: HostLock | None) -> None:
        self._host_lock = host_lock
        self._numbers = count()
        self._waiting: list[tuple[float, int, FlowStep, float, Wait]] = []

    def enter(self, job: FlowStep, deadline: float, now: float) -> None:
        """Begins to wait.

        Args:
            job: The first step of the attempt.
            deadline: When the attempt is over, in seconds of the same clock as `now`.
            now: Seconds.
        """
        wait = (
            Wait(None, deadline, now)
            if self._host_lock is None
            else self._host_lock.wait(job.name, deadline, now)
        )
        heapq.heappush(self._waiting, (now, next(self._numbers), job, deadline, wait))

    def is_free(self, flow_name: str) -> bool:
        """Whether nobody has the turn at a flow just now."""
        return self._host_lock is None or self._host_lock.is_free(flow_name)

    @property
    def next_look(self) -> float:
        """When to call `leave` again."""
        return self._waiting[0][0] if self._waiting else _FOREVER

    def leave(self, now: float, last_call: float, patient: bool) -> Attempt | FlowStep | None:
        """Looks for the turns that it is time to look for.

        Args:
            now: Seconds.
            last_call: When the exporter ends, and every attempt with it.
            patient: Whether to wait for a turn that another process has.

        Returns:
            The first attempt whose wait is over; where another process has its turn, and nobody waits for
            that, its first step.
        """
        while self.next_look <= now:
            _, number, job, deadline, wait = heapq.heappop(self._waiting)
            if wait.over(now, last_call, patient):
                if wait.vain and not patient:
                    return job
                return Attempt(job, min(deadline, last_call), wait.turn, not wait.vain, now)
            heapq.heappush(self._waiting, (wait.next_look, number, job, deadline, wait))
        return None
