"""The flows of one target, together: who gets which span, which is due, what leaves memory."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from opentelemetry.exporter.versori_flow.delivery.attempt import perform
from opentelemetry.exporter.versori_flow.encoded_span import EncodedSpan, Unencodable
from opentelemetry.exporter.versori_flow.flow import flows as flows_room
from opentelemetry.exporter.versori_flow.flow.delivery import Flow
from opentelemetry.exporter.versori_flow.flow.flows import WINDOWS_OF_BYTES, Flows, Receipt
from opentelemetry.exporter.versori_flow.flow.steps import Read, Write
from opentelemetry.exporter.versori_flow.http.answers import Stored, Unavailable
from tests.flow.model import NOW_NS, Platform, key, make_flows, make_span, settle_all

T = 1000.0
DOWN = Unavailable("503", "no", None, True)
LOST = Unencodable("s", "TypeError")


def hand_over(flows: Flows, *spans: EncodedSpan, default: str = "a", now_ns: int = NOW_NS) -> list[Receipt]:
    return flows.hand_over([(span, default) for span in spans], [], now_ns)


def held(flows: Flows) -> list[str]:
    return [flow.name for flow in flows]


def flow(flows: Flows, name: str) -> Flow:
    return next(flow for flow in flows if flow.name == name)


def counts(flows: Flows) -> dict[str, tuple[int, int, int, dict[str, int]]]:
    return {
        name: (status.handed_over, status.delivered, status.pending, dict(status.dropped))
        for name, status in flows.status(T).items()
    }


# -- handing over ------------------------------------------------------------------------------------------


def test_each_flow_that_got_a_span_gives_a_receipt() -> None:
    """With its mark, and what it had lost before."""
    flows = make_flows()
    receipts = hand_over(flows, make_span(0, 0), make_span(1, 0, name="b"), make_span(2, 0))
    assert [(r.flow.name, r.mark, r.lost) for r in receipts] == [("a", 1, 0), ("b", 1, 0)]
    assert counts(flows) == {"a": (2, 0, 2, {}), "b": (1, 0, 1, {})}
    assert flows.hand_over([], [], NOW_NS) == []


def test_a_receipt_remembers_what_was_lost_before() -> None:
    """So that a loss by this very hand-over is seen."""
    flows = make_flows(max_spans=1)
    hand_over(flows, make_span(0, 0), make_span(1, 0))
    (receipt,) = hand_over(flows, make_span(2, 0), make_span(3, 0))
    assert (receipt.lost, receipt.flow.lost, receipt.mark) == (1, 3, 2)
    assert flows.verdict([receipt], T) is False


def test_a_late_name_moves_spans_between_flows() -> None:
    """Both flows are PUT, and the target answers for what it got."""
    flows, platform = make_flows(), Platform()
    hand_over(flows, make_span(0, 1, parent=0), make_span(1, 0))
    settle_all(flows, platform, T)
    (receipt,) = hand_over(flows, make_span(0, 0, name="b"))
    assert (receipt.flow.name, receipt.mark, receipt.lost) == ("b", 2, 0)
    assert counts(flows) == {"a": (2, 2, 0, {}), "b": (2, 0, 2, {})}
    settle_all(flows, platform, T + 1)
    assert (platform.keys("a"), platform.keys("b")) == ([key(1, 0)], [key(0, 0), key(0, 1)])


def test_a_name_that_changes_moves_spans_again() -> None:
    """The flows between are left empty; each move is a mark of the target."""
    flows = make_flows()
    hand_over(flows, make_span(0, 2, parent=1), make_span(0, 1, parent=0))
    hand_over(flows, make_span(0, 0, name="b"))
    receipts = hand_over(flows, make_span(0, 0, name="c"))
    assert [(r.flow.name, r.mark) for r in receipts] == [("c", 4)]
    assert counts(flows) == {"a": (0, 0, 0, {}), "b": (0, 0, 0, {}), "c": (3, 0, 3, {})}


def test_a_loss_by_a_move_is_seen() -> None:
    """The receipt's count is from before the hand-over, also where spans move into the flow."""
    flows = make_flows(max_spans=2)
    hand_over(flows, make_span(0, 1, parent=0, start=1), make_span(0, 2, parent=0, start=2))
    (receipt,) = hand_over(flows, make_span(0, 0, name="b"))
    assert (receipt.lost, receipt.flow.lost) == (0, 1)
    assert flows.verdict([receipt], T) is False


def test_a_span_that_left_its_window_does_not_move() -> None:
    """Nor does one whose flow has left memory: there is no move into a flow for it."""
    flows, platform = make_flows(max_flows=1), Platform()
    hand_over(flows, make_span(0, 1, parent=0))
    settle_all(flows, platform, T)
    hand_over(flows, make_span(5, 0), default="c")
    settle_all(flows, platform, T)
    assert held(flows) == ["c"]
    receipts = hand_over(flows, make_span(0, 0, name="b"))
    assert [(r.flow.name, r.flow.totals.handed_over) for r in receipts] == [("b", 1)]


def test_a_span_that_comes_again_under_a_new_name_is_one_span() -> None:
    """Its newer text is in the new flow, and the older one in neither."""
    flows, platform = make_flows(), Platform()
    hand_over(flows, make_span(0, 0, text="early"))
    settle_all(flows, platform, T)
    hand_over(flows, make_span(0, 0, text="ended", name="b"))
    assert counts(flows) == {"a": (1, 1, 0, {}), "b": (1, 0, 1, {})}
    settle_all(flows, platform, T + 1)
    assert platform.keys("a") == []
    assert [span["name"] for span in platform.spans("b")] == ["ended"]


def test_spans_that_pass_through_push_nothing_out() -> None:
    """A batch with its root at the end does not go through the default flow on its way."""
    flows, platform = make_flows(max_spans=3), Platform()
    hand_over(flows, *(make_span(n, 0, start=n) for n in range(3)))
    settle_all(flows, platform, T)
    children = [make_span(9, n, start=50, parent=0) for n in (1, 2)]
    hand_over(flows, *children, make_span(9, 0, start=50, name="b"), now_ns=NOW_NS + 10**12)
    assert flow(flows, "a").window.spans == 3


def test_a_loss_before_a_move_is_seen() -> None:
    """What the flow had lost before the hand-over is what counts, not before the move."""
    flows = make_flows(max_spans=2)
    hand_over(flows, make_span(0, 1, parent=0, start=50))
    named = [make_span(0, 0, start=50, name="b"), *(make_span(n, 0, start=n, name="b") for n in (5, 6))]
    (receipt,) = hand_over(flows, *named, now_ns=NOW_NS + 10**12)
    assert (receipt.flow.name, receipt.lost, receipt.flow.lost) == ("b", 0, 2)
    assert flows.verdict([receipt], T) is False


def test_an_unencodable_span_is_counted_in_its_flow() -> None:
    """It fails the hand-over, whatever else is in it."""
    flows = make_flows()
    (receipt,) = flows.hand_over([(make_span(0, 0), "a")], [(LOST, "a")], NOW_NS)
    assert (receipt.lost, receipt.mark, flows.verdict([receipt], T)) == (0, 1, False)
    (alone,) = flows.hand_over([], [(LOST, "b")], NOW_NS)
    assert (alone.flow.name, alone.lost, flows.verdict([alone], T)) == ("b", 0, False)
    assert counts(flows) == {"a": (2, 0, 1, {"unencodable": 1}), "b": (1, 0, 0, {"unencodable": 1})}
    (again,) = flows.hand_over([], [(LOST, "b"), (LOST, "b")], NOW_NS)
    assert (again.lost, again.flow.lost) == (1, 3)


# -- attempts ----------------------------------------------------------------------------------------------


def test_nothing_is_begun_that_is_not_due() -> None:
    """Nor when there is nothing."""
    flows = make_flows(min_interval=5.0)
    assert (flows.begin_next(T), flows.next_due(T), flows.busy()) == (None, None, False)
    hand_over(flows, make_span(0, 0))
    settle_all(flows, Platform(), T)
    hand_over(flows, make_span(1, 0))
    assert (flows.begin_next(T + 4.9), flows.next_due(T)) == (None, T + 5.0)
    assert flows.begin_next(T + 5.0) is not None


def test_the_flow_that_is_due_for_longest_comes_first() -> None:
    """Of those that are due since the same moment, the first by name."""
    flows, platform = make_flows(), Platform()
    for number, name in enumerate(("b", "a", "c")):
        hand_over(flows, make_span(number, 0), default=name)
        settle_all(flows, platform, T + (name != "c"))
    for number, name in enumerate(("b", "a", "c")):
        hand_over(flows, make_span(10 + number, 0), default=name)
    begun = []
    while (job := flows.begin_next(T + 9)) is not None:
        begun.append(job.flow.name)
    assert begun == ["c", "a", "b"]
    assert (flows.busy(), flows.next_due(T + 9)) == (True, None)


def test_flows_are_busy_until_the_last_attempt_is_over() -> None:
    """Each attempt goes on by its own steps; a stuck one holds up no other."""
    flows, platform = make_flows(), Platform()
    hand_over(flows, make_span(0, 0), make_span(1, 0, name="b"))
    stuck, other = flows.begin_next(T), flows.begin_next(T)
    assert stuck is not None
    assert other is not None
    assert isinstance(other.step, Read)
    write = flows.feed(other, perform(other.step, platform, 0.0), T, NOW_NS)  # type: ignore[arg-type]
    assert write is not None
    assert (write.flow, type(write.step)) == (other.flow, Write)
    assert flows.feed(write, Stored(200, None), T, NOW_NS) is None
    assert (flows.busy(), counts(flows)["b"]) == (True, (1, 1, 0, {}))
    assert flows.feed(stuck, DOWN, T, NOW_NS) is None
    assert flows.busy() is False


def test_a_flow_with_nothing_to_write_is_passed_over() -> None:
    """The next one that is due is begun."""
    flows, platform = make_flows(merge=False), Platform()
    hand_over(flows, make_span(0, 0), make_span(1, 0, name="b"))
    emptied = flow(flows, "a")
    emptied.take([key(0, 0)])
    emptied._rewrite = True
    job = flows.begin_next(T)
    assert job is not None
    assert (job.flow.name, emptied.busy) == ("b", False)
    flows.feed(job, perform(job.step, platform, 0.0), T, NOW_NS)  # type: ignore[arg-type]
    assert (flows.busy(), flows.begin_next(T), list(platform.stored)) == (False, None, ["b"])


def test_a_step_says_whose_it_is() -> None:
    """For the metrics."""
    flows = make_flows()
    hand_over(flows, make_span(0, 0))
    job = flows.begin_next(T)
    assert job is not None
    assert (job.name, job.step, flows.error_type(DOWN)) == ("a", Read("a", None), "503")


# -- what the courier asks ---------------------------------------------------------------------------------


def test_consequences_are_when_and_what_to_say() -> None:
    """The earliest due time of the flows that were given spans, and the lines of those that lost some."""
    flows, platform = make_flows(), Platform()
    hand_over(flows, make_span(0, 0), make_span(1, 0, name="b"))
    settle_all(flows, platform, T)
    hand_over(flows, make_span(3, 0))
    settle_all(flows, platform, T + 2)
    receipts = hand_over(flows, make_span(4, 0), make_span(5, 0, name="b"))
    assert flows.consequences(receipts, T + 2) == (T + 1, [])
    assert flows.consequences(receipts[::-1], T + 2) == (T + 1, [])
    assert flows.consequences(receipts[:1], T + 2) == (T + 3, [])
    assert flows.consequences([], T) == (None, [])
    receipts = flows.hand_over([], [(LOST, "c")], NOW_NS)
    due, lines = flows.consequences(receipts, T)
    assert (due, [(line.level, line.text) for line in lines]) == (
        None,
        [(logging.ERROR, "flow 'c': 1 spans are lost: they could not be turned into JSON: TypeError")],
    )
    receipts = flows.hand_over([], [(LOST, "c"), (LOST, "d"), (LOST, "e")], NOW_NS)
    assert [line.text[:9] for line in flows.consequences(receipts, T + 59)[1]] == ["flow 'd':", "flow 'e':"]
    flows.hurry(T, T + 9)
    receipts = hand_over(flows, make_span(6, 0))
    flows.hurry(T, T + 9)
    assert flows.consequences(receipts, T)[0] == T


def test_the_verdict_is_that_of_all_flows() -> None:
    """One failure fails it, one open question keeps it open."""
    flows, platform = make_flows(merge=False), Platform()
    receipts = hand_over(flows, make_span(0, 0), make_span(1, 0, name="b"))
    assert flows.verdict(receipts, T) is None
    first, second = flows.begin_next(T), flows.begin_next(T)
    assert first is not None
    assert second is not None
    flows.feed(first, perform(first.step, platform, 0.0), T, NOW_NS)  # type: ignore[arg-type]
    assert (flows.verdict(receipts, T), flows.verdict(receipts[:1], T)) == (None, True)
    assert (flows.settled(receipts), flows.settled(receipts[:1])) == (False, True)
    flows.feed(second, DOWN, T, NOW_NS)
    assert flows.verdict(receipts, T) is False
    settle_all(flows, platform, T)
    assert (flows.verdict(receipts, T), flows.settled(receipts)) == (True, True)
    assert (flows.verdict([], T), flows.settled([])) == (True, True)


def test_hurry_is_for_all_flows() -> None:
    """Each is due at once, and its mark is settled when it is delivered."""
    flows, platform = make_flows(), Platform()
    hand_over(flows, make_span(0, 0), make_span(1, 0, name="b"))
    settle_all(flows, platform, T)
    hand_over(flows, make_span(2, 0), make_span(3, 0, name="b"))
    assert flows.next_due(T) == T + 1
    marks = flows.hurry(T, T + 9)
    assert [(mark.flow.name, mark.mark, mark.lost) for mark in marks] == [("a", 2, 0), ("b", 2, 0)]
    assert (flows.next_due(T), flows.settled(marks)) == (T, False)
    assert settle_all(flows, platform, T) == T
    assert flows.settled(marks)


def test_the_end_is_for_all_flows() -> None:
    """They deliver and read back at once; what is then pending is lost, and said."""
    flows, platform = make_flows(), Platform()
    hand_over(flows, make_span(0, 0), make_span(1, 0, name="b"))
    settle_all(flows, platform, T)
    hand_over(flows, make_span(2, 0), make_span(3, 0, name="b"))
    flows.close(T, T + 9)
    assert flows.next_due(T) == T
    assert settle_all(flows, platform, T) == T
    hand_over(flows, make_span(4, 0), make_span(5, 0, name="b"))
    flows.abandon()
    assert {name: dropped for name, (_, _, _, dropped) in counts(flows).items()} == {
        "a": {"shutdown": 1},
        "b": {"shutdown": 1},
    }
    assert [line.text[:9] for line in flows.notices(T, True)] == ["flow 'a':", "flow 'b':"]
    assert flows.notices(T, True) == []


def test_the_end_reads_back_what_was_delivered_before() -> None:
    """Though nothing is pending."""
    flows, platform = make_flows(), Platform()
    hand_over(flows, make_span(0, 0))
    settle_all(flows, platform, T)
    flows.close(T, T + 9)
    assert flows.next_due(T) == T
    reads = platform.reads
    settle_all(flows, platform, T)
    assert platform.reads == reads + 1


def test_lines_wait_their_minute_unless_they_are_the_last() -> None:
    """Every flow has its own."""
    flows = make_flows()
    flows.hand_over([], [(LOST, "a"), (LOST, "b")], NOW_NS)
    assert len(flows.notices(T, False)) == 2
    flows.hand_over([], [(LOST, "a"), (LOST, "b")], NOW_NS)
    assert flows.notices(T + 59, False) == []
    assert len(flows.notices(T + 59, True)) == 2


# -- memory ------------------------------------------------------------------------------------------------


def delivered_flows(platform: Platform, count: int, **policy: Any) -> Flows:
    """Flows f0, f1, ... each delivered one second after the other."""
    flows = make_flows(**policy)
    for number in range(count):
        hand_over(flows, make_span(number, 0, size=400), default=f"f{number}")
        settle_all(flows, platform, T + number)
    return flows


def test_the_flow_that_was_delivered_longest_ago_leaves_memory() -> None:
    """Once there are more than `max_flows`."""
    platform = Platform()
    flows = delivered_flows(platform, 3, max_flows=3)
    assert held(flows) == ["f0", "f1", "f2"]
    hand_over(flows, make_span(0, 1), default="f0")
    settle_all(flows, platform, T + 5)
    hand_over(flows, make_span(9, 0), default="new")
    assert held(flows) == ["f0", "f2", "new"]


def test_a_flow_that_left_memory_is_still_in_the_status() -> None:
    """And counts on when it comes back; merge mode reads its spans back."""
    platform = Platform()
    flows = delivered_flows(platform, 2, max_flows=1)
    flows.hand_over([], [(LOST, "f1")], NOW_NS)
    hand_over(flows, make_span(0, 1), default="f0")
    assert held(flows) == ["f0"] or held(flows) == ["f1", "f0"]
    settle_all(flows, platform, T + 9)
    hand_over(flows, make_span(5, 0), default="f2")
    assert counts(flows)["f0"] == (2, 2, 0, {})
    assert counts(flows)["f1"] == (2, 1, 0, {"unencodable": 1})
    assert flows.status(T)["f0"].state == "clean"
    assert len(platform.keys("f0")) == 2
    totals = flows.totals()
    assert (totals.handed_over, totals.delivered, totals.pending) == (5, 3, 1)
    assert dict(totals.dropped) == {"unencodable": 1}


def test_pending_spans_keep_a_flow_in_memory() -> None:
    """`max_flows` is soft."""
    flows = make_flows(max_flows=1)
    for number in range(5):
        hand_over(flows, make_span(number, 0), default=f"f{number}")
    assert len(held(flows)) == 5
    settle_all(flows, Platform(), T)
    hand_over(flows, make_span(9, 0), default="f9")
    assert held(flows) == ["f9"]


def test_a_flow_that_was_just_touched_stays() -> None:
    """Its receipt is looked at next."""
    flows = make_flows(max_flows=1)
    receipts = flows.hand_over([(make_span(0, 0), "a")], [(LOST, "b")], NOW_NS)
    assert held(flows) == ["a", "b"]
    assert [receipt.flow for receipt in receipts] == list(flows)


def test_a_busy_flow_stays_in_memory() -> None:
    """Whatever it holds."""
    flows, platform = make_flows(max_flows=1, merge=False), Platform()
    hand_over(flows, make_span(0, 0))
    job = flows.begin_next(T)
    flow(flows, "a").take([key(0, 0)])
    hand_over(flows, make_span(1, 0), default="b")
    assert held(flows) == ["a", "b"]
    assert job is not None
    flows.feed(job, perform(job.step, platform, 0.0), T, NOW_NS)  # type: ignore[arg-type]
    settle_all(flows, platform, T)
    assert platform.keys("a") == []


def test_several_that_leave_are_all_heard() -> None:
    """In the order in which they left."""
    flows = make_flows(max_flows=2)
    for _ in range(2):
        flows.notices(T, False)
        flows.hand_over([], [(LOST, "a"), (LOST, "b")], NOW_NS)
    hand_over(flows, make_span(0, 0), make_span(1, 0, name="d"), default="c")
    assert held(flows) == ["c", "d"]
    assert [line.text[:28] for line in flows.notices(T + 1, False)] == [
        "flow 'a': 1 spans are lost: ",
        "flow 'b': 1 spans are lost: ",
    ]


def test_a_flow_that_was_never_delivered_leaves_first() -> None:
    """It holds nothing that a read would have to bring back."""
    platform = Platform()
    flows = delivered_flows(platform, 1, max_flows=2)
    flows.hand_over([], [(LOST, "lost")], NOW_NS)
    hand_over(flows, make_span(9, 0), default="new")
    assert held(flows) == ["f0", "new"]


def test_late_spans_are_counted_without_a_flow() -> None:
    """What comes after the end is handed over, and lost."""
    flows = make_flows()
    flows.lose_late(3)
    flows.lose_late(2)
    totals = flows.totals()
    assert (totals.handed_over, totals.delivered, totals.pending) == (5, 0, 0)
    assert (dict(totals.dropped), totals.inflight, totals.exported) == ({"shutdown": 5}, 0, 0)


def test_what_had_finished_stays_finished_in_the_totals() -> None:
    """A delivered span that moves is handed over anew: what was exported, or failed, never falls."""
    flows, platform = make_flows(max_flows=2), Platform()
    hand_over(flows, make_span(0, 1, parent=0), make_span(1, 0))
    settle_all(flows, platform, T)
    hand_over(flows, make_span(0, 0, name="b"))
    totals = flows.totals()
    assert (totals.handed_over, totals.exported, totals.inflight, totals.failed) == (4, 2, 2, {})
    flow(flows, "b").abandon()
    settle_all(flows, platform, T)
    hand_over(flows, make_span(7, 0), make_span(8, 0, name="d"), default="c")
    assert held(flows) == ["c", "d"]
    totals = flows.totals()
    assert (totals.handed_over, totals.exported, totals.inflight, totals.failed) == (6, 2, 2, {"shutdown": 2})
    hand_over(flows, make_span(9, 0), default="b")
    totals = flows.totals()
    assert (totals.handed_over, totals.exported, totals.inflight, totals.failed) == (7, 2, 3, {"shutdown": 2})


def test_an_attempt_that_is_over_may_leave_more_to_do() -> None:
    """Whoever carried it out looks on."""
    flows, platform = make_flows(merge=False), Platform()
    hand_over(flows, make_span(0, 0))
    job = flows.begin_next(T)
    assert job is not None
    assert (job.name, flows.unfinished(job)) == ("a", True)
    flows.feed(job, perform(job.step, platform, 7.5), T, NOW_NS)  # type: ignore[arg-type]
    assert (flows.unfinished(job), platform.deadlines) == (False, [7.5])


def test_what_a_flow_had_still_to_say_is_said_when_it_leaves() -> None:
    """No loss is silent, whatever its minute."""
    flows = make_flows(max_flows=1)
    flows.hand_over([], [(LOST, "a")], NOW_NS)
    assert len(flows.notices(T, False)) == 1
    flows.hand_over([], [(LOST, "a")], NOW_NS)
    hand_over(flows, make_span(0, 0), default="b")
    assert held(flows) == ["b"]
    assert [line.text[:28] for line in flows.notices(T + 1, False)] == ["flow 'a': 1 spans are lost: "]
    assert flows.notices(T + 1, False) == []


def test_only_so_many_former_flows_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that left longest ago is forgotten; the totals keep its counts."""
    monkeypatch.setattr(flows_room, "_REMEMBERED_STATUSES", 2)
    flows = delivered_flows(Platform(), 5, max_flows=1)
    assert list(flows.status(T)) == ["f2", "f3", "f4"]
    assert flows.totals().delivered == 5


def test_all_windows_together_have_a_bound_in_bytes() -> None:
    """Flows that were delivered longest ago leave first."""
    platform = Platform()
    flows = delivered_flows(platform, 40, max_bytes=1000)
    size = sum(one.window.size for one in flows)
    assert size <= WINDOWS_OF_BYTES * 1000
    assert held(flows) == [f"f{number}" for number in range(40 - len(held(flows)), 40)]
    assert size + 441 > WINDOWS_OF_BYTES * 1000, "no more than must leave"


def test_what_is_pending_is_dropped_when_memory_is_full() -> None:
    """Counted, and said; also where each flow holds one span only: names may never repeat."""
    flows = make_flows(max_bytes=1000)
    for number in range(200):
        hand_over(flows, make_span(number, 0, size=500), default=f"f{number}")
    assert sum(one.window.size for one in flows) <= WINDOWS_OF_BYTES * 1000 + 1000
    totals = flows.totals()
    assert totals.handed_over == 200 == totals.pending + totals.dropped["window_full"]
    assert len(held(flows)) <= 100
    assert any(line.level == logging.ERROR for line in flows.notices(T, True))
    settle_all(flows, Platform(), T)


def test_the_largest_window_gives_way_first() -> None:
    """It loses its older half; the others keep what they have."""
    flows = make_flows(max_bytes=10_000)
    hand_over(flows, *(make_span(0, n, start=n, parent=99, size=405) for n in range(24)), default="large")
    for number in range(1, 17):
        spans = [make_span(number, n, start=n, parent=99, size=400) for n in range(24)]
        hand_over(flows, *spans, default=f"f{number}")
    spans_held = {one.name: one.window.spans for one in flows}
    assert spans_held.pop("large") == 11
    assert set(spans_held.values()) == {24}
    assert counts(flows)["large"] == (24, 0, 11, {"window_full": 13})
    assert sorted(entry.start - NOW_NS for entry in flow(flows, "large").window)[0] == 13 * 10**9


def test_windows_that_fill_the_bound_exactly_stay() -> None:
    """And one more byte is too much: then what can leave does, until it fits."""
    flows = make_flows(max_bytes=1000)
    for number in range(20):
        hand_over(flows, make_span(number, 0, size=700), default=f"f{number:02}")
    size = sum(one.window.size for one in flows)
    flows._max_bytes = size
    before = flows.totals().pending
    flows.hand_over([], [(LOST, "f00")], NOW_NS)
    assert flows.totals().pending == before
    flows._max_bytes = size - 1
    flows.hand_over([], [(LOST, "f00")], NOW_NS)
    assert flows.totals().pending == before - 1
    flows._max_bytes = size - 4 * 701
    flows.hand_over([], [(LOST, "f00")], NOW_NS)
    assert flows.totals().pending == before - 4
    flows._max_bytes = size - 14 * 701
    flows.hand_over([], [(LOST, "f00")], NOW_NS)
    assert flows.totals().pending == before - 14


def test_flows_that_fill_the_bound_exactly_stay() -> None:
    """Delivered ones leave no sooner than they must."""
    flows = delivered_flows(Platform(), 20, max_bytes=1000)
    assert len(held(flows)) == 20
    flows._max_bytes = sum(one.window.size for one in flows) - 1
    flows.hand_over([], [(LOST, "f19")], NOW_NS)
    assert held(flows)[0] == "f1"
    flows._max_bytes = sum(one.window.size for one in flows)
    flows._max_flows = 18
    flows.hand_over([], [(LOST, "f19")], NOW_NS)
    assert held(flows)[0] == "f2"
    flows._max_bytes = sum(one.window.size for one in flows) - flow(flows, "f2").window.size
    flows.hand_over([], [(LOST, "f19")], NOW_NS)
    assert held(flows)[0] == "f3"


def test_few_flows_are_not_looked_at() -> None:
    """Sixteen windows within their own bounds are within the bound of all: nothing is added up for them."""
    flows = make_flows(max_bytes=1000, max_flows=100)
    for number in range(WINDOWS_OF_BYTES):
        hand_over(flows, make_span(number, 0, size=900), default=f"f{number}")
    assert all(one.window.spans == 1 for one in flows)
