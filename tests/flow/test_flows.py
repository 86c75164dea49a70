"""The flows of one target, together: who gets which span, which is due, what leaves memory, what it costs."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opentelemetry.exporter.versori_flow.encoded_span import EncodedSpan, Move
from opentelemetry.exporter.versori_flow.flow import memory as memory_room
from opentelemetry.exporter.versori_flow.flow.due import MOST_IN_TROUBLE
from opentelemetry.exporter.versori_flow.flow.flow import Flow
from opentelemetry.exporter.versori_flow.flow.flows import Flows, FlowStep, Receipt
from opentelemetry.exporter.versori_flow.flow.journal import Kept, News
from opentelemetry.exporter.versori_flow.flow.ledger import DropReason
from opentelemetry.exporter.versori_flow.flow.memory import WINDOWS_OF_BYTES
from opentelemetry.exporter.versori_flow.flow.ranking import Ranking
from opentelemetry.exporter.versori_flow.flow.steps import Read, Reading, Write
from opentelemetry.exporter.versori_flow.flow.window import Window
from opentelemetry.exporter.versori_flow.http.answers import Absent, Conflict, Rejected, Stored
from tests.flow.model import DOWN, NOW_NS, Platform, T, key, make_span
from tests.flow.several import Routing, attempt_next, perform, settle_all
from tests.profiles import QUICK


def held(flows: Flows) -> list[str]:
    return [flow.name for flow in flows]


def flow(flows: Flows, name: str) -> Flow:
    return next(flow for flow in flows if flow.name == name)


def size(flows: Flows) -> int:
    return sum(flow.window.size for flow in flows)


def counts(flows: Flows) -> dict[str, tuple[int, int, int, dict[str, int]]]:
    return {
        name: (status.handed_over, status.delivered, status.pending, dict(status.dropped))
        for name, status in flows.memory.status(T).items()
    }


# -- handing over ------------------------------------------------------------------------------------------


def test_each_flow_that_got_a_span_gives_a_receipt() -> None:
    """With its mark, and what it had lost before: so that a loss by this very hand-over is seen."""
    routing = Routing(max_spans=2)
    receipts = routing.hand_over(make_span(0, 0), make_span(1, 0, name="b"), make_span(2, 0))
    assert [(r.flow.name, r.mark, r.lost) for r in receipts] == [("a", 1, 0), ("b", 1, 0)]
    assert counts(routing.flows) == {"a": (2, 0, 2, {}), "b": (1, 0, 1, {})}
    assert routing.hand_over() == []
    for lost_before in (0, 2):
        (receipt,) = routing.hand_over(make_span(lost_before + 3, 0), make_span(lost_before + 4, 0))
        assert (receipt.lost, receipt.flow.lost) == (lost_before, lost_before + 2)
        assert routing.flows.verdict(receipt, T) is False


def test_a_name_that_changes_moves_spans_again() -> None:
    """The flows between are left empty; each move is a mark of the target."""
    routing = Routing()
    routing.hand_over(make_span(0, 2, parent=1), make_span(0, 1, parent=0))
    routing.hand_over(make_span(0, 0, name="b"))
    receipts = routing.hand_over(make_span(0, 0, name="c"))
    assert [(r.flow.name, r.mark) for r in receipts] == [("c", 4)]
    assert counts(routing.flows) == {"a": (0, 0, 0, {}), "b": (0, 0, 0, {}), "c": (3, 0, 3, {})}


@pytest.mark.parametrize("others", [0, 2])
def test_a_loss_by_a_move_is_seen(others: int) -> None:
    """The receipt's count is from before the hand-over, also where spans move into the flow after others came."""
    routing = Routing(max_spans=2)
    children = [make_span(0, n, parent=0, start=50 + n) for n in (1, 2)]
    routing.hand_over(*children)
    named = [make_span(n, 0, start=n, name="b") for n in range(5, 5 + others)]
    (receipt,) = routing.hand_over(make_span(0, 0, start=50, name="b"), *named, now_ns=NOW_NS + 10**12)
    assert (receipt.flow.name, receipt.lost, receipt.flow.lost) == ("b", 0, 1 + others)
    assert routing.flows.verdict(receipt, T) is False


def test_a_span_that_left_its_window_does_not_move() -> None:
    """Nor does one whose flow has left memory: there is no move into a flow for it."""
    routing, platform = Routing(max_flows=1), Platform()
    routing.hand_over(make_span(0, 1, parent=0))
    settle_all(routing.flows, platform, T)
    routing.hand_over(make_span(5, 0), default="c")
    settle_all(routing.flows, platform, T)
    assert held(routing.flows) == ["c"]
    receipts = routing.hand_over(make_span(0, 0, name="b"))
    assert [(r.flow.name, r.flow.status(T).handed_over) for r in receipts] == [("b", 1)]
    assert routing.flows.hand_over([], [Move("c", "d", *key(9, 9))], [], T, NOW_NS) == []


# -- attempts ----------------------------------------------------------------------------------------------


def test_nothing_is_begun_that_is_not_due() -> None:
    """Nor when there is nothing; a flush makes it due."""
    routing, platform = Routing(min_interval=5.0), Platform()
    flows = routing.flows
    assert (flows.begin_next(T), flows.next_due(), flows.busy) == (None, None, 0)
    routing.hand_over(make_span(0, 0), now=T)
    assert settle_all(flows, platform, T) == T
    routing.hand_over(make_span(1, 0), now=T)
    assert (flows.begin_next(T + 4.9), flows.next_due()) == (None, T + 5.0)
    (receipt,) = flows.hurry(T + 1, T + 2)
    assert (flows.next_due(), receipt.flow.flushed(receipt.mark)) == (T + 1, None)
    assert attempt_next(flows, platform, T + 1) == "a"
    assert (receipt.flow.flushed(receipt.mark), flows.hurry(T + 1, T + 2)) == (True, [])


def test_the_flow_that_is_due_for_longest_comes_first() -> None:
    """Since the same moment: the first by name. A flow that gets more spans keeps its place."""
    routing, platform = Routing(), Platform()
    flows = routing.flows
    for number, name in enumerate("bac"):
        routing.hand_over(make_span(number, 0), default=name)
        settle_all(flows, platform, T + (name != "c"))
    for number, name in enumerate("bac"):
        routing.hand_over(make_span(10 + number, 0), default=name, now=T + 1)
    routing.hand_over(make_span(20, 0), default="new", now=T + 3)
    routing.hand_over(make_span(21, 0), default="c", now=T + 4)
    begun = []
    while (job := flows.begin_next(T + 9)) is not None:
        begun.append(job.name)
    assert begun == ["c", "a", "b", "new"]
    assert (flows.busy, flows.next_due()) == (4, None)


def test_flows_are_busy_until_the_last_attempt_is_over() -> None:
    """Each attempt goes on by its own steps; a stuck one holds up no other."""
    routing = Routing()
    flows = routing.flows
    receipts = routing.hand_over(make_span(0, 0), make_span(1, 0, name="b"))
    stuck, other = flows.begin_next(T), flows.begin_next(T)
    assert stuck is not None
    assert other is not None
    assert isinstance(other.step, Read)
    write = flows.feed(other, perform(other, Platform()), T, NOW_NS)
    assert write is not None
    assert (write.flow, type(write.step), flows.busy) == (other.flow, Write, 2)
    assert flows.feed(write, Stored(200, None), T, NOW_NS) is None
    assert (flows.busy, counts(flows)["b"]) == (1, (1, 1, 0, {}))
    assert [flows.verdict(receipt, T) for receipt in receipts] == [None, True]
    assert flows.feed(stuck, DOWN, T, NOW_NS) is None
    assert flows.busy == 0
    assert [flows.verdict(receipt, T) for receipt in receipts] == [False, True]
    flows.waited_in_vain(receipts, T)


def test_flows_in_trouble_leave_places_to_the_others() -> None:
    """So many at a time are tried that failed last, however many are due for longer, and hang."""
    routing = Routing(max_flows=1000)
    flows = routing.flows
    for number in range(MOST_IN_TROUBLE + 4):
        routing.hand_over(make_span(number, 0), default=f"stuck-{number}", now=T)
    while (job := flows.begin_next(T)) is not None:
        flows.feed(job, DOWN, T, NOW_NS)
    begun = list(iter(lambda: flows.begin_next(T + 9), None))
    assert len(begun) == MOST_IN_TROUBLE
    assert flows.next_due() is None, "nothing is to be done till one of them is over"
    routing.hand_over(make_span(900, 0), default="well", now=T + 9)
    job = flows.begin_next(T + 9)
    assert job is not None
    assert job.name == "well"
    ends = [lambda job: flows.feed(job, DOWN, T + 9, NOW_NS), flows.leave]
    ends.append(lambda job: flows.put_off(job, T + 9, T + 99))
    for end in ends:
        end(begun.pop())
        assert flows.next_due() == T + 2
        begun.append(flows.begin_next(T + 9))
        assert begun[-1] is not None
        assert flows.next_due() is None
    assert flows.busy == MOST_IN_TROUBLE + 1


def test_a_flow_with_nothing_to_write_is_passed_over() -> None:
    """The next one that is due is begun."""
    routing, platform = Routing(merge=False), Platform()
    routing.hand_over(make_span(0, 0), make_span(1, 0, name="b"))
    routing.flows.hand_over([], [Move("a", "b", *key(0, 0))], [], T, NOW_NS)
    assert attempt_next(routing.flows, platform, T) == "b"
    assert (routing.flows.busy, attempt_next(routing.flows, platform, T), list(platform.stored)) == (
        0,
        None,
        ["b"],
    )


def test_a_fault_of_ours_ends_an_attempt_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """The flow is tried again later, as after any failure, and it is said."""
    routing, platform = Routing(), Platform()
    routing.hand_over(make_span(0, 0))
    with monkeypatch.context() as patch:
        patch.setattr(Window, "deliver", lambda *_: 1 // 0)
        attempt_next(routing.flows, platform, T)
    assert (routing.flows.busy, routing.flows.next_due()) == (0, T + 2)
    (line,) = routing.flows.notices(T, False)
    assert line.text.startswith(
        "flow 'a': the exporter itself failed in an attempt (ZeroDivisionError). 1 span"
    )
    settle_all(routing.flows, platform, T)
    assert counts(routing.flows) == {"a": (1, 1, 0, {})}


# -- the end -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "begins",
    [
        lambda flows: flows.hurry(T, T + 5),
        lambda flows: flows.close(T, T + 5),
        lambda flows: flows.take_back("a", T, T + 5),
    ],
)
def test_a_flow_is_awaited_until_then_and_no_longer(begins: Any) -> None:
    routing = Routing()
    routing.hand_over(make_span(0, 0))
    one = flow(routing.flows, "a")
    assert one.awaited_until(T) == float("inf")
    begins(routing.flows)
    assert [one.awaited_until(now) for now in (T, T + 4.9, T + 5)] == [T + 5, T + 5, float("inf")]


def test_the_end_is_for_all_flows() -> None:
    """They deliver and read back at once, also where nothing is pending; what is pending then is lost."""
    routing, platform = Routing(), Platform()
    flows = routing.flows
    routing.hand_over(make_span(0, 0), make_span(1, 0, name="b"), make_span(6, 0, name="done"))
    settle_all(flows, platform, T)
    routing.hand_over(make_span(2, 0), make_span(3, 0, name="b"))
    reads = platform.reads
    flows.close(T, T + 5)
    assert flows.next_due() == T
    assert settle_all(flows, platform, T) == T
    assert platform.reads == reads + 2 + 3
    # What moves, or was left a moment before, comes after that, and may be the flow's first: it is no exception.
    reads = platform.reads
    routing.hand_over(make_span(2, 1, name="late"), make_span(3, 1, name="b"))
    assert settle_all(flows, platform, T) == T
    assert platform.reads == reads + 2 + 2
    routing.hand_over(make_span(4, 0), make_span(5, 0, name="b"))
    flows.abandon()
    assert [counts(flows)[name][3] for name in ("a", "b", "done")] == [{"shutdown": 1}, {"shutdown": 1}, {}]
    assert flows.next_due() is None


# -- memory ------------------------------------------------------------------------------------------------


def delivered_flows(platform: Platform, count: int, **policy: Any) -> Routing:
    """Flows f0, f1, ... each delivered one second after the other."""
    routing = Routing(**policy)
    for number in range(count):
        routing.hand_over(make_span(number, 0, size=400), default=f"f{number}", now=T + number)
        settle_all(routing.flows, platform, T + number)
    return routing


def test_the_flow_that_was_delivered_longest_ago_leaves_memory(platform: Platform) -> None:
    """Once there are more than `max_flows`; one that was never delivered first: nothing is to be read back."""
    routing = delivered_flows(platform, 3, max_flows=3)
    assert held(routing.flows) == ["f0", "f1", "f2"]
    routing.hand_over(make_span(0, 1), default="f0", now=T + 5)
    settle_all(routing.flows, platform, T + 5)
    routing.hand_over(make_span(9, 0), default="new", now=T + 5)
    assert held(routing.flows) == ["f0", "f2", "new"]
    routing.hand_over(lost=["lost"], now=T + 5)
    assert held(routing.flows) == ["f0", "new", "lost"], "what was just touched stays: its receipt comes next"
    routing.hand_over(make_span(8, 0), default="newer", now=T + 5)
    assert held(routing.flows) == ["f0", "new", "newer"]


def test_flows_that_are_done_leave_without_another_hand_over() -> None:
    """A thousand of them, with `max_flows` 100, as soon as they are delivered; `max_flows` is soft till then."""
    routing, platform = Routing(max_flows=100), Platform()
    spans = [make_span(number, 0, name=f"f{number}") for number in range(1000)]
    receipts = routing.hand_over(*spans)
    assert len(held(routing.flows)) == 1000
    settle_all(routing.flows, platform, T)
    assert len(held(routing.flows)) == 100
    assert (len(platform.stored), routing.flows.memory.totals().delivered) == (1000, 1000)
    assert {routing.flows.verdict(receipt, T) for receipt in receipts} == {True}


def test_a_busy_flow_stays_in_memory() -> None:
    """Whatever it holds."""
    routing, platform = Routing(max_flows=1, merge=False), Platform()
    flows = routing.flows
    routing.hand_over(make_span(0, 0))
    job = flows.begin_next(T)
    flows.hand_over([], [Move("a", "b", *key(0, 0))], [], T, NOW_NS)
    routing.hand_over(make_span(1, 0), default="c")
    assert held(flows) == ["a", "b", "c"]
    assert job is not None
    flows.feed(job, perform(job, platform), T, NOW_NS)
    settle_all(flows, platform, T)
    assert platform.keys("a") == []


def test_a_flow_that_left_memory_counts_on_when_it_comes_back(platform: Platform) -> None:
    """It is in the status meanwhile, and merge mode reads its spans back."""
    routing = delivered_flows(platform, 2, max_flows=1)
    flows = routing.flows
    routing.hand_over(lost=["f1"], now=T + 2)
    routing.hand_over(make_span(0, 1), default="f0", now=T + 9)
    settle_all(flows, platform, T + 9)
    assert flows.memory.totals().handed_over == 4
    routing.hand_over(make_span(5, 0), default="f2", now=T + 9)
    assert held(flows) == ["f2"]
    assert (counts(flows)["f0"], counts(flows)["f1"]) == ((2, 2, 0, {}), (2, 1, 0, {"unencodable": 1}))
    assert (flows.memory.status(T)["f0"].state, len(platform.keys("f0"))) == ("clean", 2)
    totals = flows.memory.totals()
    assert (totals.handed_over, totals.delivered, totals.pending) == (5, 3, 1)
    assert totals.dropped == {"unencodable": 1}


def test_a_store_is_told_all_of_a_flow_that_left_memory_and_came_back(platform: Platform) -> None:
    """What was settled before it left, before what came since."""
    routing = delivered_flows(platform, 1, max_flows=1, durable=True)
    for name, trace in (("other", 2), ("f0", 4)):
        routing.hand_over(make_span(trace, 0), default=name, now=T + trace)
        settle_all(routing.flows, platform, T + trace)
    told = [(change.flow, change.settled) for change in routing.flows.changes()]
    assert told == [("f0", [key(0, 0)]), ("other", [key(2, 0)]), ("f0", [key(4, 0)])]


def test_a_flow_that_comes_back_is_paced_as_ever(platform: Platform) -> None:
    """One that is busy all the time may leave memory between two PUTs."""
    routing = delivered_flows(platform, 1, max_flows=1, min_interval=9.0)
    for name, due in (("other", T + 1), ("f0", T + 9)):
        routing.hand_over(make_span(50, 0), default=name, now=T + 1)
        assert routing.flows.next_due() == due
        settle_all(routing.flows, platform, T + 1)


def test_a_flow_that_comes_back_was_seen_before(platform: Platform) -> None:
    """One 404 that may be a stray one does not make it a flow that never was."""
    routing = delivered_flows(platform, 2, max_flows=1)
    routing.hand_over(make_span(0, 1), default="f0", now=T + 9)
    job = routing.flows.begin_next(T + 9)
    assert job is not None
    assert routing.flows.feed(job, Absent(), T + 9, NOW_NS) is None
    settle_all(routing.flows, platform, T + 10)
    assert len(platform.keys("f0")) == 2


def test_what_a_flow_had_still_to_say_is_said_when_it_leaves() -> None:
    """No loss is silent, whatever its minute."""
    routing = Routing(max_flows=2)
    for _ in range(2):
        routing.flows.notices(T, False)
        routing.hand_over(lost=["a", "b"])
    assert routing.flows.notices(T + 1, False) == []
    routing.hand_over(make_span(0, 0), make_span(1, 0, name="d"), default="c")
    assert held(routing.flows) == ["c", "d"]
    assert [line.text[:27] for line in routing.flows.notices(T + 1, False)] == [
        "flow 'a': 1 span is lost: i",
        "flow 'b': 1 span is lost: i",
    ]


def test_only_so_many_former_flows_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that left longest ago is forgotten; the totals keep its counts."""
    monkeypatch.setattr(memory_room, "_REMEMBERED", 2)
    flows = delivered_flows(Platform(), 5, max_flows=1).flows
    assert list(flows.memory.status(T)) == ["f2", "f3", "f4"]
    assert flows.memory.totals().delivered == 5


def test_all_windows_together_have_a_bound_in_bytes() -> None:
    """Flows that were delivered longest ago leave first, and no more than must."""
    flows = delivered_flows(Platform(), 40, max_bytes=1000).flows
    assert size(flows) <= WINDOWS_OF_BYTES * 1000 < size(flows) + 441
    assert held(flows) == [f"f{number}" for number in range(40 - len(held(flows)), 40)]


def test_what_is_pending_is_dropped_when_memory_is_full() -> None:
    """Counted; also where each flow holds one span only: names may never repeat."""
    routing = Routing(max_bytes=1000)
    for number in range(200):
        routing.hand_over(make_span(number, 0, size=500), default=f"f{number}")
    assert size(routing.flows) <= WINDOWS_OF_BYTES * 1000
    totals = routing.flows.memory.totals()
    assert totals.handed_over == 200 == totals.pending + totals.dropped["window_full"]
    assert len(held(routing.flows)) <= 100
    settle_all(routing.flows, Platform(), T)


@pytest.mark.parametrize("way", ["inherit", "learn"])
def test_what_comes_from_others_makes_room_as_what_is_handed_over(platform: Platform, way: str) -> None:
    """What is idle leaves, and the largest window that is still here is halved."""
    routing = Routing(max_bytes=1000)
    routing.hand_over(make_span(90, 0, size=450), make_span(91, 0, size=450), default="done")
    settle_all(routing.flows, platform, T)
    for number in range(16):
        routing.hand_over(*(make_span(number, n, size=450) for n in range(2)), default=f"f{number}")
    routing.hand_over(lost=["idle"])
    others = [Kept(key(trace, 0), 0, 0, True, b"x" * 445) for trace in (92, 93)]
    getattr(routing.flows, way)("a", others if way == "inherit" else News(others), T, NOW_NS)
    assert (routing.flows.parted, routing.flows.memory.totals().dropped["window_full"]) == (
        {"done", "idle"},
        1,
    )


def test_the_largest_window_gives_way_first() -> None:
    """It loses its older half; the others keep what they have."""
    routing = Routing(max_bytes=10_000)
    routing.hand_over(*(make_span(0, n, start=n, parent=99, size=405) for n in range(24)), default="large")
    for number in range(1, 17):
        spans = [make_span(number, n, start=n, parent=99, size=400) for n in range(24)]
        routing.hand_over(*spans, default=f"f{number}")
    spans_held = {one.name: one.window.spans for one in routing.flows}
    assert spans_held.pop("large") == 11
    assert set(spans_held.values()) == {24}
    assert counts(routing.flows)["large"] == (24, 0, 11, {"window_full": 13})
    assert min(entry.start - NOW_NS for entry in flow(routing.flows, "large").window) == 13 * 10**9


# -- what it costs -----------------------------------------------------------------------------------------

Ranks = st.lists(st.tuples(st.sampled_from("abcdef"), st.none() | st.integers(-3, 3)), max_size=300)


@given(Ranks)
def test_a_ranking_is_that_of_a_sorted_list(changes: list[tuple[str, int | None]]) -> None:
    """After any changes; and out-of-date entries do not pile up."""
    ranking, ranks = Ranking(), dict[str, float]()
    for name, rank in changes:
        ranking.put(name, rank)
        ranks.pop(name, None)
        if rank is not None:
            ranks[name] = rank
        assert (len(ranking), ranking.rank(name), name in ranking) == (len(ranks), rank, name in ranks)
        assert ranking.first() == min(((rank, name) for name, rank in ranks.items()), default=None)
    for rank in range(200):
        ranking.put("a", rank)
        assert len(ranking._heap) <= 64 + 2 * len(ranking)


class Scanned:
    """Flows under random work, each answer compared with a look at all of them."""

    def __init__(self, max_flows: int, merge: bool) -> None:
        self.routing = Routing(max_flows=max_flows, merge=merge, max_spans=20, max_bytes=1200)
        self.flows = self.routing.flows
        self.platform = Platform()
        self.jobs: list[FlowStep] = []
        self.receipts: list[Receipt] = []
        self.now = T
        self.spans = 0

    def hand_over(self, number: int, more: int) -> None:
        self.spans += 1
        span: EncodedSpan = make_span(self.spans % 97, self.spans, size=300 + more, name=f"f{number}")
        self.receipts = self.routing.hand_over(
            span, lost=[f"f{more}"] if more == 7 else [], now=self.now, now_ns=NOW_NS + self.spans
        )

    def begin(self, number: int, more: int) -> None:
        due = {flow.name for flow in self.flows if (at := flow.due(self.now)) is not None and at <= self.now}
        job = self.flows.begin_next(self.now)
        assert (job is None and not due) or (job is not None and job.name in due)
        self.jobs += [job] if job else []

    def answer(self, number: int, more: int) -> None:
        if self.jobs:
            job = self.jobs.pop(number % len(self.jobs))
            bad: list[Reading] = [DOWN, Conflict("x"), Rejected(400, "", "no", ())]
            answer = bad[more % 3]
            if more >= 3 or (isinstance(job.step, Read) and answer is not DOWN):
                answer = perform(job, self.platform)
            following = self.flows.feed(job, answer, self.now, NOW_NS)
            self.jobs += [following] if following else []

    def wait(self, number: int, more: int) -> None:
        self.now += number * more / 10

    def hurry(self, number: int, more: int) -> None:
        unsettled = {f.name for f in self.flows if f.window.pending}
        assert unsettled <= {receipt.flow.name for receipt in self.flows.hurry(self.now, self.now + 1)}

    def check(self) -> None:
        dues = {flow.name: flow.due(self.now) for flow in self.flows}
        due, first = self.flows.next_due(), min((at for at in dues.values() if at is not None), default=None)
        if due is None or first is None or min(due, first) > self.now:
            assert due == first
        else:
            assert due <= self.now, "since when it is due is not told"
        memory = self.flows.memory
        assert memory.size == size(self.flows)
        assert memory.pending_size == sum(flow.window.pending_size for flow in self.flows)
        assert set(memory.active) == {flow.name for flow in self.flows if not flow.idle}
        assert self.flows.busy == len(self.jobs)
        assert memory.size <= WINDOWS_OF_BYTES * 1200
        told = {flow.name for flow in self.flows if flow.report.speaks_at is not None}
        assert set(self.flows._bulletin._speaks_at._ranks) == told


@pytest.mark.parametrize("merge", [True, False])
@settings(max_examples=15 if QUICK else 40)
@given(
    max_flows=st.sampled_from([1, 3, 50]),
    seed=st.integers(0, 10**9),
)
def test_every_answer_is_that_of_a_look_at_all_flows(merge: bool, max_flows: int, seed: int) -> None:
    """Which is due and when, what memory holds, who has something to say: after any of hundreds of operations."""
    scanned, chance = Scanned(max_flows, merge), Random(seed)
    work = (
        [scanned.hand_over] * 4 + [scanned.begin] * 3 + [scanned.answer] * 6 + [scanned.wait, scanned.hurry]
    )
    for _ in range(150 if QUICK else 250):
        chance.choice(work)(chance.randrange(60), chance.randrange(10))
        scanned.check()
        if chance.random() < 0.2:
            scanned.flows.notices(scanned.now, False)
            assert all(at > scanned.now for f in scanned.flows if (at := f.report.speaks_at) is not None)


class Looks(Counter[str]):
    """Counts how often a flow is looked at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        for name in ("due", "settled", "hurry", "abandon"):
            self.count(monkeypatch, name)

    def count(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        asked = getattr(Flow, name)

        def counted(*args: Any, **keywords: Any) -> Any:
            self["looks"] += 1
            return asked(*args, **keywords)

        monkeypatch.setattr(Flow, name, counted)

    def taken(self) -> int:
        return self.pop("looks", 0)


@pytest.mark.parametrize("is_down", [False, True])
def test_work_does_not_grow_with_the_number_of_flows(monkeypatch: pytest.MonkeyPatch, is_down: bool) -> None:
    """A hand-over, an attempt, a line: as many looks at flows with a thousand as with ten."""
    looks, told = Looks(monkeypatch), []
    for number_of_flows in (10, 1000):
        routing, platform = Routing(max_flows=2000), Platform()
        flows = routing.flows
        names = [f"f{number}" for number in range(number_of_flows)]
        routing.hand_over(*(make_span(number, 0, name=name) for number, name in enumerate(names)))
        looks.taken()
        begun = 0
        while (job := flows.begin_next(T)) is not None:
            begun += 1
            following: FlowStep | None = job
            while following is not None:
                following = flows.feed(
                    following, DOWN if is_down else perform(following, platform), T, NOW_NS
                )
            flows.notices(T, False)
            flows.next_due()
            assert looks.taken() <= 12, job
        assert begun == number_of_flows
        (receipt,) = routing.hand_over(make_span(5000, 0, name="f5"))
        flows.verdict(receipt, T)
        looks_for_one = looks.taken()
        open_ones = flows.hurry(T, T + 1)
        assert looks.taken() <= 5 * len(open_ones)
        told.append((looks_for_one, len(open_ones)))
    assert told[0][0] == told[1][0] <= 6
    assert [count for _, count in told] == ([10, 1000] if is_down else [1, 1])


def test_what_was_left_and_is_gone_is_not_taken_back() -> None:
    """It was dropped where it was left, and its window has gone for another flow's."""
    routing = Routing(max_flows=1)
    routing.hand_over(make_span(0, 0), default="a")
    job = routing.flows.begin_next(T)
    assert job is not None
    routing.flows.leave(job)
    routing.flows.learn("a", News(dropped={key(0, 0): DropReason.WINDOW_FULL}), T, NOW_NS)
    routing.hand_over(make_span(1, 0), default="b")
    routing.flows.take_back("a", T, T + 1)
    assert (held(routing.flows), routing.flows.memory.totals().dropped) == (["b"], {"window_full": 1})
