"""The keeper of a fleet's process: what waits is in Redis, and whoever has the lease delivers all of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..flow.flows import Flows, FlowStep
from ..flow.notice import Notice
from ..flow.steps import Read, Reading, Write
from ..flow.stored import StoredFlow
from ..http.answers import Absent, Unavailable
from ..native import monotonic
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
        # When to ask again for the turn at flows that this process, which ends, looks at for others.
        self._again: dict[str, float] = {}

    @property
    def can_leave(self) -> bool:
        """False: who ends asks for its turn, and learns so whether it may go; see `leave`."""
        return False

    def next_look(self) -> float:
        """When `inherit` or `gone` may have something to do, in seconds of the monotonic clock."""
        return min(super().next_look(), *self._again.values(), _FOREVER)

    def keep(self, now: float, anew: bool) -> list[Notice]:
        """Tells the fleet what has changed, or `anew` all that is pending; returns what there is to say."""
        store = self._fleet_turns.store
        if store is None:
            return super().keep(now, anew)
        self._tell(store)
        if anew or store.wants_all(now):
            store.put_all(self._flows.waiting())
        return store.remarks()

    def inherit(self, now: float, until: float) -> None:
        """Takes what the fleet has learnt; `until`: when this exporter ends."""
        self._opened()
        store = self._fleet_turns.store
        if store is None:
            return
        if until != _FOREVER or store.ends:
            store.look_no_more()
        for flow in [flow for flow, at in self._again.items() if at <= now]:
            del self._again[flow]
            store.take_on(flow)
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
        if lease_end is None or lease_end <= monotonic():
            turn.lost = True
            self._flows.put_off(step, now, now + _AGAIN)
            return False
        turn.lease_end = lease_end
        attempt.deadline = min(attempt.deadline, lease_end)
        # Until its answer is here.
        turn.unsure = True
        step.flow.goes_on(monotonic())
        return True

    def end_turn(self, job: FlowStep, answer: Reading, turn: Turn | None, now: float, until: float) -> None:
        """Ends a turn: the fleet is told what became of the attempt."""
        store = self._fleet_turns.store
        if not isinstance(turn, FleetTurn) or store is None:
            super().end_turn(job, answer, turn, now, until)
            return
        self._tell(store)
        wait = max(self._min_interval, getattr(answer, "retry_after", None) or 0.0)
        if job.flow.goes_on_at_once(now):
            wait = 0.0  # at a PUT for each interval a search would take minutes, and what comes has no room at a 413
        if turn.lost or job.flow.in_trouble:
            unsure = turn.unsure and not turn.lost
            if isinstance(job.step, Write) and not isinstance(answer, Unavailable):
                unsure = False
            store.release(turn.claim, wait, unsure)
            return
        read = isinstance(job.step, Read)
        verified = read and (
            isinstance(answer, Absent) or (isinstance(answer, StoredFlow) and job.flow.is_all_in(answer))
        )
        store.settle(turn.claim, 0.0 if verified and not turn.unsure else wait, verified)

    def leave(self, job: FlowStep, now: float, until: float) -> None:
        """It is not this process's turn: the attempt is put off, and what others have delivered is learnt.

        Who ends goes, where another process lives, or stays until it has had its turn.
        """
        at, store = self._fleet_turns.put_off.pop(job.name, now + _AGAIN), self._fleet_turns.store
        self.inherit(now, until)
        if until != _FOREVER and store is not None:
            if store.may_leave(job.name) and job.flow.can_be_left:
                self._flows.leave(job)
                self._left.add(job.name)
                return
            if at != _FOREVER and not self._flows.pending(job.name):
                self._again[job.name] = at
        self._flows.put_off(job, now, at if at != _FOREVER else now + _AGAIN)

    def gone(self, now: float, until: float) -> bool:
        """Whether the fleet has all that was left to it, and nothing waits that nobody else delivers."""
        store = self._fleet_turns.store
        if store is not None:
            store.look_no_more()  # who was let go hasn't yet
            if store.is_wanted or (self._again and store.down_since() == _FOREVER):
                return False
        if not self._left or store is None or self._are_kept(store):
            return True
        self._take_back(now, until)
        return False

    def end(self, in_order: bool) -> list[Notice]:
        """The exporter has ended: what the fleet does not have is lost; returns what there is to say."""
        store, pending = self._fleet_turns.store, self._flows.waiting()
        if (
            in_order
            and store is not None
            and self._left.issuperset(change.flow for change in pending if change.added)
        ):
            self._tell(store)
            store.leave(pending)
            self._left_at = 0.0  # it is no reason to warn
        return super().end(in_order)

    def _are_kept(self, store: FleetStore) -> bool:
        self._tell(store)
        left = [change for change in self._flows.waiting() if change.flow in self._left]
        return all(store.keeps(change.flow, kept.key) for change in left for kept in change.added)

    def _tell(self, store: FleetStore) -> None:
        store.apply(self._flows.changes())
        parted, self._flows.parted = self._flows.parted, set()
        store.forget(parted)

    def _open(self) -> Store:
        store = self._fleet_turns.store = self._open_fleet()
        return store
