"""Attempts that wait for this host's turn at their flow. A wait is a due time: no thread is held by it."""

from __future__ import annotations

import heapq
from itertools import count

from ..flow.flows import FlowStep
from ..flow.steps import Read
from ..interruption import let_through
from .attempt import Attempt
from .host_lock import HostWait
from .turns import Turn, Turns, Wait


class TurnQueue:
    """Attempts from their begin until they have their turn, or have waited for it in vain.

    Args:
        turns: Whom to ask for them; None: there are none to take, and no attempt waits.
        timeout: Seconds for one attempt, the wait included.
    """

    def __init__(self, turns: Turns | None, timeout: float) -> None:
        self._turns = turns
        self._timeout = timeout
        self._numbers = count()
        self._waiting: list[tuple[float, int, FlowStep, float, Wait | None]] = []
        self._reserved: dict[str, Turn | None] = {}

    def enter(self, job: FlowStep, now: float, last_call: float) -> None:
        """Begins an attempt, and to wait for its turn; the arguments are those of `leave`."""
        turns, deadline = self._turns, min(last_call, now + self._timeout)
        goes_alone = turns is None or (isinstance(job.step, Read) and not job.step.in_turn)
        wait: Wait | None = None
        if turns is not None and not goes_alone:
            try:
                wait = turns.wait(job.name, deadline, now)
            except Exception as error:  # noqa: BLE001 - as in `_is_over`
                let_through(error)
                wait = HostWait(None, deadline, now)
        if wait is not None and job.name in self._reserved:
            wait.turn = self._reserved.pop(job.name)
        heapq.heappush(self._waiting, (now, next(self._numbers), job, deadline, wait))

    @property
    def next_look(self) -> float:
        """When to call `leave` again."""
        return self._waiting[0][0] if self._waiting else float("inf")

    def leave(self, now: float, last_call: float, patient: bool) -> Attempt | FlowStep | None:
        """Looks for the turns that it is time to look for.

        Args:
            now: Seconds.
            last_call: When the exporter ends, and every attempt with it.
            patient: Whether to wait for a turn that another process has; for what nobody else can do it waits.

        Returns:
            The first attempt whose wait is over; where another process has its turn, and it is put off for that
            or nobody waits, its first step.
        """
        while self.next_look <= now:
            # In the queue for as long as something may be raised: a flow whose attempt is lost is busy for ever.
            _, number, job, deadline, wait = self._waiting[0]
            waits = patient or not job.flow.can_be_left
            if wait is not None and not _is_over(wait, now, last_call, waits, job.flow.awaited_until(now)):
                heapq.heapreplace(self._waiting, (wait.next_look, number, job, deadline, wait))
                continue
            left: Attempt | FlowStep = job
            if wait is None:
                left = Attempt(job, min(deadline, last_call), None, True, now)
            elif not (wait.put_off or (wait.vain and not waits)):
                left = Attempt(job, min(deadline, last_call), wait.turn, not wait.vain, now)
            heapq.heappop(self._waiting)
            return left
        return None

    def reserve(self, flow_name: str) -> bool:
        """Takes the turn at a flow, for the next attempt at it; False where another process has it."""
        if self._turns is None or flow_name in self._reserved:
            return True
        wait = self._turns.wait(flow_name, 0.0, 0.0)
        wait.over(0.0, 0.0, patient=False)
        if not wait.vain:
            self._reserved[flow_name] = wait.turn
        return not wait.vain

    def holder(self, flow_name: str) -> object:
        """What tells one holder of the turn at a flow, and one attempt of it, from another."""
        return None if self._turns is None else self._turns.holder(flow_name)

    def keep(self, flow_name: str, turn: Turn) -> None:
        """Keeps a turn that was had for the next attempt; who waits for it sees that it is not stuck."""
        turn.touch()
        self._reserved[flow_name] = turn

    def end(self) -> None:
        """Lets go what was had, and not used: the process may live on for long."""
        had = (wait.turn for *_, wait in self._waiting if wait is not None)
        for turn in (*self._reserved.values(), *had):
            if turn is not None:
                turn.release()
        self._reserved.clear()
        self._waiting.clear()


def _is_over(wait: Wait, now: float, last_call: float, waits: bool, awaited: float) -> bool:
    try:
        return wait.turn is not None or wait.over(now, last_call, waits, awaited)
    except Exception as error:  # noqa: BLE001 - no memory, say, or a test's own `os.open`: it goes without
        let_through(error)
        wait.vain = True
        return True
