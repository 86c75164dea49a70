"""Which flows are held, and which leave memory: what all windows together may hold. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container

from .delivery import Flow
from .ledger import DropReason, FlowStatus, Totals, add_up
from .policy import FlowPolicy
from .ranking import Ranking

WINDOWS_OF_BYTES = 16
"""All windows together may hold this many times `max_bytes`: 64 MiB with the default."""

_REMEMBERED = 1000


class Memory:
    """The flows that are held, by name, and the counts of those that have left.

    Attributes:
        flows: The flows, by name.
        active: Those of them with something to do, or that are busy.
        size: Bytes of all windows together.
    """

    def __init__(self, policy: FlowPolicy, max_flows: int) -> None:
        self.flows: dict[str, Flow] = {}
        self.active: dict[str, Flow] = {}
        self.size = 0
        self._policy = policy
        self._max_flows = max_flows
        self._max_bytes = WINDOWS_OF_BYTES * policy.max_bytes
        # Idle flows: the one that was delivered longest ago first.
        self._idle = Ranking[float]()
        # All flows by the size of their windows, the largest first.
        self._by_size = Ranking[float]()
        # What flows that have left had counted, and how long they are paced: both go on when they come back.
        self._former: OrderedDict[str, tuple[FlowStatus, float]] = OrderedDict()
        # What nobody can come back to.
        self._gone = Totals(0, 0, 0, {})
        self._of_no_flow = Totals(0, 0, 0, {})

    def get(self, name: str) -> Flow:
        """The flow of that name; a new one, or one that comes back, where it is not held."""
        flow = self.flows.get(name)
        if flow is None:
            flow = self.flows[name] = Flow(name, self._policy, *self._former.pop(name, ()))
        return flow

    def measure(self, flow: Flow) -> None:
        """Something happened to the flow: how large is it, and may it leave?"""
        name, size = flow.name, flow.window.size
        self.size += size + int(self._by_size.rank(name) or 0)
        self._by_size.put(name, -size)
        if flow.idle:
            self.active.pop(name, None)
            self._idle.put(name, flow.last_delivery)
        else:
            self.active[name] = flow
            self._idle.put(name, None)

    def let_go(self, spared: Container[str]) -> list[Flow]:
        """Takes out idle flows until what is left may be held: those that were delivered longest ago first."""
        left: list[Flow] = []
        stay: list[tuple[float, str]] = []
        while len(self.flows) > self._max_flows or self.size > self._max_bytes:
            first = self._idle.first()
            if first is None:
                break
            self._idle.put(first[1], None)
            if first[1] in spared:
                stay.append(first)
            else:
                left.append(self._forget(first[1]))
        for rank, name in stay:
            self._idle.put(name, rank)
        return left

    def _forget(self, name: str) -> Flow:
        flow = self.flows.pop(name)
        self._by_size.put(name, None)
        self.size -= flow.window.size
        self._former[name] = flow.status(0.0), flow.paced_until
        if len(self._former) > _REMEMBERED:
            _, (status, _) = self._former.popitem(last=False)
            self._gone = add_up([self._gone, status])
        return flow

    def squeeze(self) -> Flow | None:
        """Halves the largest window where all together hold too many bytes; None where that changes nothing."""
        first = self._by_size.first()
        if self.size <= self._max_bytes or first is None:
            return None
        flow = self.flows[first[1]]
        before = flow.window.size
        flow.squeeze(before // 2)
        return flow if flow.window.size < before else None

    def lose(self, count: int, reason: DropReason) -> None:
        """Counts spans that are lost, and of no flow."""
        self._of_no_flow = add_up([self._of_no_flow, Totals(count, 0, 0, {reason.value: count})])

    def totals(self) -> Totals:
        """Spans over all flows, those that have left included."""
        left = [status for status, _ in self._former.values()]
        return add_up([self._gone, self._of_no_flow, *left, *(flow.totals for flow in self.flows.values())])

    def status(self, now: float) -> dict[str, FlowStatus]:
        """How every flow does that is held, or was not long ago; by the empty name what was lost and is of no flow."""
        lost = self._of_no_flow
        none = FlowStatus("", "clean", *lost, None, None, self._policy.store)
        left = {"": none} if lost.handed_over else {}
        left |= {name: status for name, (status, _) in self._former.items()}
        return left | {name: flow.status(now) for name, flow in self.flows.items()}
