"""The keeper of a fleet's process: what waits is in Redis, and whoever has the lease delivers all of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..flow.flows import Flows, FlowStep
from ..flow.report import Notice
from ..flow.steps import Read, Reading, Write
from ..flow.stored import StoredFlow
from ..http.answers import Absent, Unavailable
from .attempt import Attempt
from .fleet_turns import FleetTurn, FleetTurns
from .host_lock import HostLock
from .keeper import Keeper
from .turn_queue import TurnQueue
from .turns import Turn

if TYPE_CHECKING:
    from ..stores.fleet_store import FleetStore
    from ..stores.seam import Store

_FOREVER = float("inf")
_AGAIN = 0.5
"""Seconds until the next look where Redis says that there is nothing to do, and there is."""


class FleetKeeper(Keeper):
    """Tells the fleet what happens to the flows, and the flows what the fleet did.

    Args:
        flows: The flows.
        host_lock: The turns where Redis is away.
        open_store: Opens the store.
        name: What it is called in a log line.
        timeout: Seconds for one attempt.
        min_interval: Seconds between two PUTs of a flow, whoever makes them.
    """

    def __init__(
        self,
        flows: Flows,
        host_lock: HostLock,
        open_store: Callable[[], FleetStore],
        name: str,
        timeout: float,
        min_interval: float,
    ) -> None:
        self._fleet_turns = FleetTurns(flows, host_lock)
        queue = TurnQueue(self._fleet_turns, timeout)
        super().__init__(flows, queue, self._open, durable=True, name=name)
        self._open_fleet = open_store
        self._min_interval = min_interval

    @property
    def can_leave(self) -> bool:
        """False: what waits is with the fleet anyway, and who ends delivers it if it is nobody else's turn."""
        return False

    def keep(self, now: float) -> list[Notice]:
        """Tells the fleet what has changed; returns what there is to say."""
        store = self._fleet_turns.store
        if store is None:
            return super().keep(now)
        self._tell(store)
        if store.wants_all(now):
            store.put_all(self._flows.waiting())
        return store.remarks()

    def inherit(self, now: float, until: float) -> None:
        """Takes what the fleet has learnt; `until`: when this exporter ends."""
        self._opened()
        store = self._fleet_turns.store
        if store is None:
            return
        store.ends = until != _FOREVER
        if now < store.next_look():
            return
        for flow, spans, news in store.inherit(now):
            if spans:
                self._flows.inherit(flow, spans, now, time.time_ns())
            self._flows.learn(flow, news, now, time.time_ns())

    def begin_turn(self, attempt: Attempt, now: float, until: float) -> None:
        """An attempt begins: what the claim has brought is in its PUT."""
        if isinstance(attempt.turn, FleetTurn):
            self.inherit(now, until)

    def may_go_on(self, attempt: Attempt, step: FlowStep, now: float) -> bool:
        """Whether an attempt may take its next step: a PUT only while the lease holds."""
        turn, store = attempt.turn, self._fleet_turns.store
        if not (isinstance(turn, FleetTurn) and isinstance(step.step, Write) and store is not None):
            return True
        lease_end = store.extend(turn.claim)
        if lease_end is None or lease_end <= time.monotonic():
            turn.lost = True
            self._flows.put_off(step, now, now + _AGAIN)
            return False
        turn.lease_end = lease_end
        attempt.deadline = min(attempt.deadline, lease_end)
        # Until its answer is here.
        turn.unsure = True
        return True

    def end_turn(self, job: FlowStep, answer: Reading, turn: Turn | None, now: float, until: float) -> None:
        """Ends a turn: the fleet is told what became of the attempt."""
        store = self._fleet_turns.store
        if not isinstance(turn, FleetTurn) or store is None:
            super().end_turn(job, answer, turn, now, until)
            return
        self._tell(store)
        wait = max(self._min_interval, getattr(answer, "retry_after", None) or 0.0)
        if turn.lost or job.flow.in_trouble:
            unsure = turn.unsure and not turn.lost
            if isinstance(job.step, Write) and not isinstance(answer, Unavailable):
                unsure = False
            store.release(turn.claim, wait, unsure)
            return
        read = isinstance(job.step, Read)
        verified = read and (
            isinstance(answer, Absent) or (isinstance(answer, StoredFlow) and job.flow.shows_all)
        )
        store.settle(turn.claim, 0.0 if verified and not turn.unsure else wait, verified)

    def leave(self, job: FlowStep, now: float, until: float) -> None:
        """It is not this process's turn: the attempt is put off, and what others have delivered is learnt."""
        at = self._fleet_turns.put_off.pop(job.name, now + _AGAIN)
        self.inherit(now, until)
        self._flows.put_off(job, now, at if at != _FOREVER else now + _AGAIN)

    def gone(self, now: float, until: float) -> bool:
        """True: nothing is left to anybody in particular."""
        return True

    def _tell(self, store: FleetStore) -> None:
        store.apply(self._flows.changes())
        parted, self._flows.parted = self._flows.parted, set()
        store.forget(parted)

    def _open(self) -> Store:
        store = self._fleet_turns.store = self._open_fleet()
        return store
