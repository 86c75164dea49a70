"""The flows of one target, together: who gets which span, which is due, what leaves memory. Pure.

This is the store `memory:`. It has few, coarse operations, and no lock: the courier holds one around each.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Container, Iterable, Iterator
from typing import NamedTuple

from ..encoded_span import EncodedSpan, Move, Routed, Unencodable
from .delivery import Flow
from .ledger import DropReason, FlowStatus, Totals, add_up
from .outcomes import error_type
from .policy import FlowPolicy
from .report import Notice
from .steps import Reading, Step

WINDOWS_OF_BYTES = 16
"""All windows together may hold this many times `max_bytes`: 64 MiB with the default."""

_REMEMBERED_STATUSES = 1000

Route = Callable[[Iterable[tuple[EncodedSpan, str]]], tuple[list[Routed], list[Move]]]


class Receipt(NamedTuple):
    """What a flow took: its mark, and how many spans it had lost before."""

    flow: Flow
    mark: int
    lost: int


class FlowStep(NamedTuple):
    """One step of an attempt, and whose it is."""

    flow: Flow
    step: Step

    @property
    def name(self) -> str:
        """The flow's name."""
        return self.flow.name


class Flows:
    """The windows that are held, by flow name.

    Args:
        policy: What holds for every flow.
        max_flows: Most windows held; more only while they hold pending spans.
        route: Says where spans belong, and which earlier ones must move.
    """

    def __init__(self, policy: FlowPolicy, max_flows: int, route: Route) -> None:
        self._policy = policy
        self._route = route
        self._busy = 0
        self._max_flows = max_flows
        self._max_bytes = WINDOWS_OF_BYTES * policy.max_bytes
        self._flows: dict[str, Flow] = {}
        self._gone = Totals(0, 0, 0, {})
        # What flows that have left memory had counted; it is counted on when they come back.
        self._former: OrderedDict[str, FlowStatus] = OrderedDict()
        # What they had to say, and had not said yet.
        self._last_words: list[Notice] = []

    def __iter__(self) -> Iterator[Flow]:
        return iter(self._flows.values())

    def hand_over(
        self,
        spans: Iterable[tuple[EncodedSpan, str]],
        unencodable: Iterable[tuple[Unencodable, str]],
        now_ns: int,
    ) -> list[Receipt]:
        """Takes spans.

        Args:
            spans: Each with the name of its default flow.
            unencodable: Spans that are lost before they begin, likewise.
            now_ns: Nanoseconds since the Unix epoch.

        Returns:
            One for each flow that got a span.
        """
        routed, moves = self._route(spans)
        by_flow: dict[str, list[EncodedSpan]] = {}
        for name, span in routed:
            by_flow.setdefault(name, []).append(span)
        marks: dict[str, int] = {}
        lost: dict[str, int] = {}
        for name, encoded in by_flow.items():
            marks[name] = self._touch(name, lost).hand_over(encoded, now_ns)
        for move in moves:
            source = self._flows.get(move.source)
            entries = source.take([(move.trace_id, move.span_id)]) if source is not None else []
            if entries:
                marks[move.target] = self._touch(move.target, lost).give(entries)
        for failure, name in unencodable:
            marks[name] = self._touch(name, lost).lose_unencodable(failure.reason)
        if len(self._flows) > min(self._max_flows, WINDOWS_OF_BYTES):
            self._make_room(marks)
        return [Receipt(self._flows[name], mark, lost[name]) for name, mark in marks.items()]

    def begin_next(self, now: float) -> FlowStep | None:
        """Begins an attempt at the flow that has been due for longest, if one is due."""
        while True:
            due = [(at, flow.name, flow) for flow in self if (at := flow.due(now)) is not None and at <= now]
            if not due:
                return None
            flow = min(due)[2]
            step = flow.begin(now)
            if step is not None:
                self._busy += 1
                return FlowStep(flow, step)

    def feed(
        self, job: FlowStep, answer: Reading, now: float, now_ns: int, in_turn: bool = True
    ) -> FlowStep | None:
        """Takes the answer to a step; returns the attempt's next step, if there is one."""
        following = job.flow.feed(job.step, answer, now, now_ns, in_turn)
        if following is not None:
            return FlowStep(job.flow, following)
        self._busy -= 1
        return None

    def unfinished(self, job: FlowStep) -> bool:
        """True when there is more to do about the flow, once an attempt is over."""
        return not job.flow.idle

    def error_type(self, answer: Reading) -> str | None:
        """What `error.type` says of an answer; None for a success."""
        return error_type(answer)

    def next_due(self, now: float) -> float | None:
        """When the next flow is due; None when nothing is."""
        return min((at for flow in self if (at := flow.due(now)) is not None), default=None)

    def busy(self) -> bool:
        """True while an attempt is under way."""
        return self._busy > 0

    def consequences(self, receipts: Iterable[Receipt], now: float) -> tuple[float | None, list[Notice]]:
        """When what was handed over is due, and the lines to log of it."""
        due: float | None = None
        notices: list[Notice] = []
        for flow, _, lost in receipts:
            at = flow.due(now)
            if at is not None and (due is None or at < due):
                due = at
            if flow.lost != lost:
                notices += flow.report.take(now)
        return due, notices

    def verdict(self, receipts: Iterable[Receipt], now: float) -> bool | None:
        """Whether what was handed over is delivered, or only waits for its pacing interval.

        Returns:
            True; False: some are lost, or a flow is in trouble; None while that is open.
        """
        verdicts = {receipt.flow.verdict(receipt.mark, receipt.lost, now) for receipt in receipts}
        if False in verdicts:
            return False
        return None if None in verdicts else True

    def hurry(self, now: float, until: float) -> list[Receipt]:
        """Makes all that is pending due at once; returns marks for `settled`."""
        return [Receipt(flow, flow.hurry(now, until), flow.lost) for flow in self]

    def settled(self, receipts: Iterable[Receipt]) -> bool:
        """True when everything up to the marks is delivered or dropped."""
        return all(receipt.flow.settled(receipt.mark) for receipt in receipts)

    def close(self, now: float, until: float) -> None:
        """The exporter ends: deliver, and read back, at once."""
        for flow in self:
            flow.close(now, until)

    def abandon(self) -> None:
        """The exporter has ended: what is pending is lost."""
        for flow in self:
            flow.abandon()

    def lose_late(self, count: int) -> None:
        """Counts spans that came after the end; they are of no flow."""
        late = Totals(count, 0, 0, {DropReason.SHUTDOWN.value: count})
        self._gone = add_up([self._gone, late])

    def notices(self, now: float, last: bool) -> list[Notice]:
        """The lines to log now; with `last` nothing is kept for later."""
        words, self._last_words = self._last_words, []
        return words + [notice for flow in self for notice in flow.report.take(now, last)]

    def totals(self) -> Totals:
        """Spans over all flows, those that have left memory included."""
        return add_up([self._gone, *(flow.totals for flow in self)])

    def status(self, now: float) -> dict[str, FlowStatus]:
        """How every flow does that is held, or was not long ago."""
        return {**self._former, **{flow.name: flow.status(now) for flow in self}}

    def _flow(self, name: str) -> Flow:
        flow = self._flows.get(name)
        if flow is None:
            former = self._former.pop(name, None)
            if former is not None:
                self._gone = add_up([self._gone, _taken_back(former)])
            flow = self._flows[name] = Flow(name, self._policy, former)
        return flow

    def _touch(self, name: str, lost: dict[str, int]) -> Flow:
        """The flow of that name; `lost` keeps what it had lost before it was touched first."""
        flow = self._flow(name)
        lost.setdefault(name, flow.lost)
        return flow

    def _make_room(self, touched: Container[str]) -> None:
        size = sum(flow.window.size for flow in self)
        if len(self._flows) <= self._max_flows and size <= self._max_bytes:
            return
        for flow in sorted(self, key=lambda flow: flow.last_delivery):
            if len(self._flows) <= self._max_flows and size <= self._max_bytes:
                return
            if flow.idle and flow.name not in touched:
                del self._flows[flow.name]
                size -= flow.window.size
                self._last_words += flow.report.take(0.0, last=True)
                self._former[flow.name] = flow.status(0.0)
                self._gone = add_up([self._gone, flow.totals])
                if len(self._former) > _REMEMBERED_STATUSES:
                    self._former.popitem(last=False)
        while size > self._max_bytes:
            largest = max(self, key=lambda flow: flow.window.size)
            before = largest.window.size
            largest.squeeze(before // 2)
            if largest.window.size == before:
                return
            size -= before - largest.window.size


def _taken_back(former: FlowStatus) -> Totals:
    """What a flow that comes back counts itself again."""
    dropped = {reason: -count for reason, count in former.dropped.items()}
    return Totals(-former.handed_over, -former.delivered, -former.pending, dropped)
