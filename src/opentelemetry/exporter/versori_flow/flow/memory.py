"""Which flows are held, and which leave memory: what all windows together may hold. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container, Iterable, Sequence
from typing import NamedTuple

from ..encoded_span import EncodedSpan, Move, Routed
from .flow import Flow
from .ledger import DropReason, FlowStatus, Totals, add_up
from .policy import FlowPolicy
from .ranking import Ranking
from .window import Key, Window

WINDOWS_OF_BYTES = 16
"""All windows together may hold this many times `max_bytes`: 64 MiB with the default."""

MOST_ACTIVE = 10
"""Times `max_flows`: so many flows may have pending spans before spans of another one are not let in."""

_REMEMBERED = 1000


class _Sizes(NamedTuple):
    """Bytes of one window, and of what is pending in it."""

    all: int
    pending: int


class Memory:
    """The flows that are held, by name, and the counts of those that have left.

    Attributes:
        flows: The flows, by name.
        active: Those of them with something to do, or that are busy.
        size: Bytes of all windows together.
        pending_size: Bytes of all that is pending in them.
    """

    def __init__(self, policy: FlowPolicy, max_flows: int) -> None:
        self.flows: dict[str, Flow] = {}
        self.active: dict[str, Flow] = {}
        self.size = 0
        self.pending_size = 0
        self._policy = policy
        self._max_flows = max_flows
        # Idle flows: the one that was delivered longest ago first.
        self._idle = Ranking[float]()
        # All flows by what squeezing them may take, the most first.
        self._by_size = Ranking[float]()
        self._sizes: dict[str, _Sizes] = {}
        # What flows that have left had counted, how long they are paced, and whether they were seen: all of that
        # goes on when they come back.
        self._former: OrderedDict[str, tuple[FlowStatus, float, bool]] = OrderedDict()
        # What nobody can come back to.
        self._gone = Totals(0, 0, 0, {})
        self._of_no_flow = Totals(0, 0, 0, {})

    @property
    def _max_bytes(self) -> int:
        return WINDOWS_OF_BYTES * self._policy.max_bytes

    def get(self, name: str) -> Flow:
        """The flow of that name; a new one, or one that comes back, where it is not held."""
        flow = self.flows.get(name)
        if flow is None:
            flow = self.flows[name] = Flow(name, self._policy, *self._former.get(name, ()))
            self._former.pop(name, None)
        return flow

    def measure(self, flow: Flow) -> None:
        """Something happened to the flow: how large is it, and may it leave?"""
        name, window = flow.name, flow.window
        sizes = _Sizes(window.size, window.pending_size)
        if self._sizes.get(name) != sizes:
            self._count(name, sizes)
            self._by_size.put(name, -(sizes.all - sizes.pending) if self._policy.admits else -sizes.all)
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

    def may_move(self, moves: Sequence[Move]) -> int:
        """How many of these, from the first on, can be made without anything pending leaving for them."""
        coming: dict[str, tuple[int, int]] = {}
        for number, move in enumerate(moves):
            source = self.flows.get(move.source)
            entry = None if source is None else source.window.get((move.trace_id, move.span_id))
            if entry is not None:
                spans, size = coming.get(move.target, (0, 0))
                spans, size = coming[move.target] = spans + 1, size + len(entry.body) + 1
                if not _has_room(self._window(move.target), spans, size, 1):
                    return number
        return len(moves)

    def admits(self, routed: Iterable[Routed]) -> int | None:
        """Whether these can come in without anything pending leaving for them.

        Pending spans fill half of a window: the other half is for what a store brings of other processes. Only
        where nothing is pending they may fill it.

        Returns:
            How many of them are too large for their flow's window, and are dropped at once; None: no room.
        """
        coming: dict[str, list[int]] = {}
        for flow, span in routed:
            coming.setdefault(flow, []).append(len(span.body) + 1)
        if self.pending_size + sum(map(sum, coming.values())) > self._max_bytes:
            return None
        if len(self.active) + sum(name not in self.active for name in coming) > MOST_ACTIVE * self._max_flows:
            return None
        too_large = 0
        for name, sizes in coming.items():
            window = self._window(name)
            fitting = [size for size in sizes if size - 1 <= window.max_bytes - window.overhead]
            too_large += len(sizes) - len(fitting)
            if fitting and not _has_room(window, len(fitting), sum(fitting), 2 if window.pending else 1):
                return None
        return too_large

    def fits(self, flow: str, span: EncodedSpan) -> bool:
        """Whether a span is not too large for its flow's window."""
        return len(span.body) <= (window := self._window(flow)).max_bytes - window.overhead

    def _window(self, name: str) -> Window:
        return (self.flows.get(name) or Flow(name, self._policy)).window

    def is_pending(self, name: str, key: Key) -> bool:
        """Whether a span is in its flow's window, and no successful PUT has carried it yet."""
        flow = self.active.get(name)
        entry = None if flow is None else flow.window.get(key)
        return entry is not None and entry.pending

    def _forget(self, name: str) -> Flow:
        flow = self.flows[name]
        self._former[name] = flow.status(0.0), flow.paced_until, flow.is_there
        del self.flows[name]
        self._by_size.put(name, None)
        self._count(name, None)
        if len(self._former) > _REMEMBERED:
            _, (status, *_) = self._former.popitem(last=False)
            self._gone = add_up([self._gone, status])
        return flow

    def _count(self, name: str, sizes: _Sizes | None) -> None:
        now, before = sizes or _Sizes(0, 0), self._sizes.get(name, _Sizes(0, 0))
        if sizes is not None:
            self._sizes[name] = sizes
        else:
            self._sizes.pop(name, None)
        self.size += now.all - before.all
        self.pending_size += now.pending - before.pending

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
        if not count:
            return
        self._of_no_flow = add_up([self._of_no_flow, Totals(count, 0, 0, {reason.value: count})])

    def totals(self) -> Totals:
        """Spans over all flows, those that have left included."""
        left = [status for status, *_ in self._former.values()]
        return add_up([self._gone, self._of_no_flow, *left, *(flow.totals for flow in self.flows.values())])

    def status(self, now: float) -> dict[str, FlowStatus]:
        """How every flow does that is held, or was not long ago; by the empty name what was lost and is of no flow."""
        lost = self._of_no_flow
        none = FlowStatus("", "clean", *lost, None, None, self._policy.store)
        left = {"": none} if lost.handed_over else {}
        left |= {name: status for name, (status, *_) in self._former.items()}
        return left | {name: flow.status(now) for name, flow in self.flows.items()}


def _has_room(window: Window, spans: int, size: int, share: int) -> bool:
    """Whether so many spans, and what is pending, fit into that part of a window; one alone is what it is for."""
    if not window.pending and spans == 1:
        return True
    if window.pending + spans > -(-window.max_spans // share):
        return False
    return window.pending_size + size <= (window.max_bytes - window.overhead) // share
