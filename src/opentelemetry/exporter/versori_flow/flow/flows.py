"""The flows of one target, together: who gets which span, which is due, what leaves memory. Pure.

Who calls it is the only one to do so: there is no lock. What an operation costs depends on the
flows that it touches, not on how many there are: a flow is lined up anew after everything that may change
when it is due, how large it is, whether it may leave, or what it has to say.
"""

from collections.abc import Callable, Container, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from ..encoded_span import EncodedSpan, Move, Routed, Unencodable
from ..http.answers import failed_by
from .bulletin import Bulletin
from .due import Due
from .flow import Flow
from .journal import Change, Kept, News
from .memory import Memory
from .notice import Notice
from .policy import FlowPolicy
from .probe import Probe
from .report import explain
from .steps import Reading, Step
from .window import Key


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

    Attributes:
        busy: How many attempts are under way.
        parted: Those whose windows have left memory, until somebody takes note.
        memory: Which are held.
    """

    def __init__(self, policy: FlowPolicy, max_flows: int) -> None:
        self.busy = 0
        self.parted: set[str] = set()
        self.memory = Memory(policy, max_flows)
        self._due = Due()
        self._bulletin = Bulletin(self.memory.flows)
        self._probe = Probe(policy.backoff)
        # Changed since `changes` was called last; one that has left memory since, and come back, is two.
        self._changed: dict[Flow, None] = {}
        self._ends_at: float | None = None

    def __iter__(self) -> Iterator[Flow]:
        return iter(self.memory.flows.values())

    def hand_over(
        self,
        routed: Sequence[Routed],
        moves: Sequence[Move],
        unencodable: Sequence[tuple[Unencodable, str]],
        now: float,
        now_ns: int,
    ) -> list[Receipt]:
        """Takes spans, moves earlier ones, and counts those that are lost before they begin, each with its flow.

        There is a receipt for each flow that got a span.
        """
        by_flow: dict[str, list[EncodedSpan]] = {}
        for name, span in routed:
            by_flow.setdefault(name, []).append(span)
        marks: dict[str, int] = {}
        lost_before: dict[str, int] = {}

        def touch(name: str) -> Flow:
            flow = self.memory.get(name)
            lost_before.setdefault(name, flow.lost)
            return flow

        for name, encoded in by_flow.items():
            marks[name] = touch(name).hand_over(encoded, now_ns)
        for move in moves:
            if move.source in self.memory.flows:
                source = touch(move.source)
                given_up = source.take((move.trace_id, move.span_id))
                if given_up is not None:
                    try:
                        marks[move.target] = touch(move.target).give(*given_up)
                    except BaseException:
                        source.give(*given_up)  # until it is moved again
                        raise
        for failure, name in unencodable:
            marks[name] = touch(name).lose_unencodable(failure.reason)
        flows = self.memory.flows
        for name in lost_before:
            if self._ends_at is not None:
                flows[name].close(now, self._ends_at)
            self._line_up(flows[name], now)
        self._make_room(now, lost_before)
        return [Receipt(flows[name], mark, lost_before[name]) for name, mark in marks.items()]

    def inherit(self, name: str, spans: Sequence[Kept], now: float, now_ns: int) -> None:
        """Takes spans of one flow that another process has left, and that a store goes on keeping."""
        flow = self.memory.get(name)
        flow.take_back()
        flow.inherit(spans, now_ns)
        self._line_up(flow, now)
        self._make_room(now, (name,))

    def learn(self, name: str, news: News, now: float, now_ns: int) -> None:
        """Takes in what became of a flow elsewhere."""
        flow = self.memory.get(name)
        flow.learn(news, now, now_ns)
        self._line_up(flow, now)
        self._make_room(now, (name,))

    def put_off(self, job: FlowStep, now: float, until: float) -> None:
        """Somebody else has the turn until then: the attempt is not made, or not gone on with."""
        self._is_over(job.name)
        self._probe.not_begun(job.name)
        job.flow.put_off(until)
        self._line_up(job.flow, now)

    def changes(self) -> list[Change]:
        """What happened to spans since the last call, as a store is to be told."""
        if not self._changed:
            return []
        changed, self._changed = self._changed, {}
        return [change for flow in changed if (change := flow.changes()) is not None]

    def waiting(self) -> list[Change]:
        """All that is pending, as a store is to be told that knows nothing."""
        return [flow.waiting() for flow in self.memory.active.values()]

    def begin_next(self, now: float) -> FlowStep | None:
        """Begins an attempt at the flow that has been due for longest, if one is due."""
        while (first := self._due.first()) is not None and max(first[0], self._probe.free_at) <= now:
            flow = self.memory.flows[first[1]]
            due = flow.due(now)
            try:
                step = flow.begin(now) if due is not None and due <= now else None
                self._line_up(flow, now)
                if step is not None:
                    self._due.begun(flow)
                    self._probe.begun(flow.name)
                    self.busy += 1
                    return FlowStep(flow, step)
            except BaseException:
                self._due.over(flow.name)
                self._probe.not_begun(flow.name)
                flow.put_off(now)  # nobody makes the attempt
                raise
        return None

    def feed(
        self, job: FlowStep, answer: Reading, now: float, now_ns: int, in_turn: bool = True
    ) -> FlowStep | None:
        """Takes the answer to a step; returns the attempt's next step, if there is one.

        `in_turn` is False where another process of this host may be writing the flow at the same time.
        """
        flow = job.flow
        try:
            following = flow.feed(job.step, answer, now, now_ns, in_turn)
        except Exception as error:  # noqa: BLE001 - a fault of ours, or no memory: it must not look busy for ever
            answer = failed_by(error)
            following = flow.feed(job.step, answer, now, now_ns, in_turn)
        if following is None:
            self._is_over(flow.name)
            self._probe.over(flow.name, answer, now)
            self._note(flow, answer, now)
        self._line_up(flow, now)
        self._make_room(now, ())
        return None if following is None else FlowStep(flow, following)

    def next_due(self) -> float | None:
        """When the next flow is due, or since when it has been; None when nothing is, or one probes for all."""
        first = self._due.first()
        if first is None or self._probe.free_at == float("inf"):
            return None
        return max(first[0], self._probe.free_at)

    def verdict(self, receipt: Receipt, now: float) -> bool | None:
        """See `Flow.verdict`."""
        verdict = receipt.flow.verdict(receipt.mark, receipt.lost, now)
        return False if verdict is None and self._probe.failures else verdict

    def waited_in_vain(self, receipts: Sequence[Receipt], now: float) -> None:
        """See `Flow.waited_in_vain`."""
        for receipt in receipts:
            receipt.flow.waited_in_vain()
        self._bulletin.waited_in_vain([receipt.flow.name for receipt in receipts], now)

    def hurry(self, now: float, until: float) -> list[Receipt]:
        """Makes all that is pending due at once, until then; returns what is to be waited for."""
        self._probe.hurry(now, until)
        receipts = []
        for flow in list(self.memory.active.values()):
            receipt = Receipt(flow, flow.hurry(now, until), flow.lost)
            self._line_up(flow, now)
            if not flow.settled(receipt.mark):
                receipts.append(receipt)
        return receipts

    def mend(self, now: float) -> None:
        """A fault of ours, or memory that ran out, may have left any flow out of line."""
        for flow in self:
            self._line_up(flow, now)
        self.busy = sum(flow.busy for flow in self)

    def close(self, now: float, until: float) -> None:
        """The exporter ends: deliver, and read back, at once. Every flow that is held may have to."""
        self._probe.end()
        self._ends_at = until
        for flow in self:
            flow.close(now, until)
            self._line_up(flow, now)

    def pending(self, name: str) -> int:
        """How many spans of a flow are pending."""
        flow = self.memory.active.get(name)
        return 0 if flow is None else flow.window.pending

    def leave(self, job: FlowStep) -> None:
        """The exporter ends, and somebody else has the turn: the attempt is not made, nor another one."""
        self._is_over(job.name)
        self._probe.not_begun(job.name)
        job.flow.leave()
        self._due.leave(job.name)

    def take_back(self, name: str, now: float, until: float) -> None:
        """What was left is done here after all, if there is any of it still."""
        flow = self.memory.flows.get(name)
        if flow is not None:
            flow.take_back()
            flow.close(now, until)
            self._line_up(flow, now)

    def abandon(self, keeps: Callable[[str, Key], bool] = lambda flow, key: False) -> dict[str, int]:
        """The exporter has ended: what is pending is lost, but for what a store keeps: so many spans, by flow."""
        left = {}
        for flow in list(self.memory.active.values()):
            kept = flow.abandon(partial(keeps, flow.name))
            if kept:
                left[flow.name] = kept
            self._due.leave(flow.name)
            self.memory.measure(flow)
            self._bulletin.listen(flow)
        return left

    def notices(self, now: float, last: bool) -> list[Notice]:
        """The lines to log now; with `last` nothing is kept for later."""
        return self._bulletin.take(now, last, self._waiting)

    def _line_up(self, flow: Flow, now: float) -> None:
        self._due.put(flow, now)
        self.memory.measure(flow)
        self._bulletin.listen(flow)
        self._changed[flow] = None
        if flow.name not in self.memory.active:
            self._bulletin.outage.flows.discard(flow.name)

    def _is_over(self, name: str) -> None:
        self.busy -= 1
        self._due.over(name)

    def _make_room(self, now: float, spared: Container[str]) -> None:
        for flow in self.memory.let_go(spared):
            self.parted.add(flow.name)
            self._due.leave(flow.name)
            self._bulletin.part(flow)
        while (squeezed := self.memory.squeeze()) is not None:
            self._line_up(squeezed, now)

    def _note(self, flow: Flow, answer: Reading, now: float) -> None:
        """An attempt is over."""
        trouble, due = explain(answer), flow.due(now)
        if trouble is not None and trouble.of_all and not flow.idle:
            wait = 0.0 if due is None else max(0.0, due - now)
            self._bulletin.outage.failed(flow.name, trouble, wait, now)
        else:
            self._bulletin.outage.came_through(flow.name)

    def _waiting(self) -> tuple[list[str], int]:
        waiting = {name: flow.window.pending for name, flow in self.memory.active.items()}
        return [name for name, count in waiting.items() if count], sum(waiting.values())
