"""Turns at a fleet's flows: a lease in Redis. Where Redis is away for some seconds, each host goes on by itself."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

from ..flow.flows import Flows
from .host_lock import HostLock, HostWait
from .turns import Turn

if TYPE_CHECKING:
    from ..stores.fleet_answers import Claim
    from ..stores.fleet_store import FleetStore

_PATIENCE = 3.0
"""Seconds without Redis before a process delivers without it."""

_BETWEEN_TRIALS = 0.25
_BETWEEN_CLAIMS = 0.5
"""Seconds, at most, between two looks while another process has the lease: it lets it go early."""

_FOREVER = float("inf")


class FleetTurn:
    """A lease that is held.

    Attributes:
        claim: What was claimed.
        lease_end: Until when nobody else writes, in seconds of the monotonic clock.
        unsure: Whether a PUT may be on its way.
        lost: Whether another process has taken over.
    """

    __slots__ = ("claim", "lease_end", "lost", "unsure")

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.lease_end = claim.lease_end
        self.unsure = False
        self.lost = False

    def release(self) -> None:
        """Nothing: who is not at the desk can't say it, and the lease ends by itself."""

    def touch(self) -> None:
        """Nothing: the lease says how long it lasts."""


class FleetTurns:
    """Whom to ask for the turn at a flow of a fleet.

    Args:
        flows: The flows.

    Attributes:
        store: The fleet's store, once it is open.
        put_off: Until when attempts were put off, by flow; infinite: there is nothing to deliver.
        host_lock: The turns where Redis is away.
    """

    def __init__(self, flows: Flows, host_lock: HostLock) -> None:
        self.store: FleetStore | None = None
        self.put_off: dict[str, float] = {}
        self._flows = flows
        self.host_lock = host_lock

    def wait(self, flow_name: str, deadline: float, now: float) -> FleetWait:
        """Begins to wait for the turn at a flow."""
        return FleetWait(self, flow_name, deadline, now)

    def holder(self, flow_name: str) -> object:
        """None: nobody asks who has a lease."""

    def claim(self, flow_name: str, now: float) -> Claim | float | None:
        """Asks for the lease; seconds where it is not to be had so long, None where Redis can't be used."""
        if self.store is None:
            return None
        return self.store.claim(flow_name, self._flows.pending(flow_name), now)


class FleetWait:
    """The wait for a lease, or, where Redis is away, for this host's turn.

    Attributes:
        vain: Whether another process may write at the same time; for the others see `turns.Wait`.
    """

    def __init__(self, turns: FleetTurns, flow: str, deadline: float, now: float) -> None:
        self.turn: Turn | None = None
        self.vain = False
        self.put_off = False
        self.next_look = now
        self._turns = turns
        self._flow = flow
        self._deadline = deadline
        self._patience = min(_PATIENCE, (deadline - now) / 4)
        self._alone: HostWait | None = None

    def over(self, now: float, deadline: float, patient: bool = True, awaited: float = _FOREVER) -> bool:
        """Looks; True when the wait is over, one way or the other."""
        if self._alone is None:
            answer = self._turns.claim(self._flow, now)
            if isinstance(answer, float):
                self._put_off(now, answer)
                return True
            if answer is not None:
                self.turn = FleetTurn(answer)
                return True
            store = self._turns.store
            if store is not None and now < store.down_since() + self._patience:
                self.next_look = now + _BETWEEN_TRIALS
                return False
            self._alone = self._turns.host_lock.wait(self._flow, self._deadline, now)
        over = self._alone.over(now, deadline, patient=True, awaited=awaited)
        self.turn, self.next_look, self.vain = self._alone.turn, self._alone.next_look, True
        return over

    def _put_off(self, now: float, seconds: float) -> None:
        self.put_off = True
        if not math.isinf(seconds):
            seconds = min(seconds, _BETWEEN_CLAIMS) * random.uniform(1.0, 1.1)  # noqa: S311 - not in step
        self._turns.put_off[self._flow] = now + seconds
