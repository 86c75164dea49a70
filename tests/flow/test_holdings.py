"""The spans of one flow: moves, losses, and how each is counted."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from opentelemetry.exporter.versori_flow.delivery.attempt import perform
from opentelemetry.exporter.versori_flow.flow import remote
from opentelemetry.exporter.versori_flow.flow.flow import Flow
from opentelemetry.exporter.versori_flow.flow.journal import Change, Journal, Kept, News
from opentelemetry.exporter.versori_flow.flow.ledger import DropReason
from opentelemetry.exporter.versori_flow.flow.schedule import MAX_CHECKS
from opentelemetry.exporter.versori_flow.flow.steps import Read
from opentelemetry.exporter.versori_flow.flow.stored import read
from opentelemetry.exporter.versori_flow.http.answers import (
    Absent,
    Conflict,
    Denied,
    Stored,
    TooLarge,
)
from tests.flow.model import (
    DOWN,
    NOW_NS,
    REFUSED,
    Platform,
    T,
    answers,
    attempt,
    counts,
    delivered_flow,
    digest_of,
    document,
    erase,
    flow_of,
    foreign,
    key,
    make_policy,
    make_span,
    move,
    poisoned,
    said,
    settle,
    settle_while_erased,
)

# -- spans that move ------------------------------------------------------------------------------------------


def test_moved_spans_are_a_new_burst(platform: Platform) -> None:
    """Their PUT is checked where another writer was seen, however often was checked before."""
    target = delivered_flow(platform, make_span(0, 0))
    erase(platform, foreign(1))
    target.hand_over([make_span(1, 0)], NOW_NS)
    now = settle_while_erased(target, platform, T + 1)
    move(flow_of(make_span(5, 0), name="b"), target, key(5, 0))
    for _ in range(MAX_CHECKS):
        attempt(target, platform, now)
        erase(platform, foreign(1))
    assert target.due(now) is not None


@pytest.mark.parametrize("merge", [True, False])
def test_a_span_that_moves_while_its_put_is_under_way_leaves_there_too(
    platform: Platform, merge: bool
) -> None:
    """The flow is written again without it; the span is delivered by the other one only."""
    source, target = flow_of(make_span(0, 0), merge=merge), flow_of(name="b", merge=merge)
    step = source.begin(T)
    if merge:
        step = source.feed(step, Absent(), T, NOW_NS)  # type: ignore[arg-type]
    move(source, target, key(0, 0))
    source.feed(step, perform(step, platform, 0.0), T, NOW_NS)  # type: ignore[arg-type, union-attr]
    assert platform.keys("a") == [key(0, 0)]
    assert (counts(source), counts(target)) == ((0, 0, 0, {}), (1, 0, 1, {}))
    settle(source, platform, T)
    settle(target, platform, T)
    assert (platform.keys("a"), platform.keys("b")) == ([], [key(0, 0)])


@pytest.mark.parametrize("answer", [DOWN, Denied(401, "", None)])
def test_a_flow_that_may_stand_there_is_emptied_in_the_end(platform: Platform, answer: Any) -> None:
    """Also when the PUT that empties it fails too, more than once."""
    source = flow_of(make_span(0, 0), merge=False)
    step: Any = source.begin(T)
    perform(step, platform, 0.0)
    source.feed(step, DOWN, T, NOW_NS)
    source.take(key(0, 0))
    now = T
    for _ in range(3):
        now = source.due(now) or now
        list(answers(source, now, [answer]))
    settle(source, platform, now)
    assert platform.keys("a") == []


def test_a_span_that_moves_during_a_check_leaves_there_too(platform: Platform) -> None:
    """The next attempt writes, though nothing is missing: a check has no turn to write in."""
    flow = delivered_flow(platform, make_span(0, 0), make_span(1, 0))
    flow.close(T)
    step: Any = flow.begin(T)
    flow.take(key(0, 0))
    while step is not None:
        step = flow.feed(step, perform(step, platform, 0.0), T, NOW_NS)
    assert len(platform.puts) == 1
    settle(flow, platform, T)
    assert platform.keys("a") == [key(1, 0)]


def test_a_span_that_moves_during_the_last_put_of_a_search_leaves(platform: Platform) -> None:
    """Though nothing is left to be searched for."""
    flow = flow_of(make_span(0, 0), make_span(1, 0), merge=False)
    list(answers(flow, T, [REFUSED]))
    attempt(flow, platform, T)
    step: Any = flow.begin(T)
    flow.take(key(0, 0))
    flow.feed(step, perform(step, platform, 0.0), T, NOW_NS)
    settle(flow, platform, T)
    assert platform.keys("a") == [key(1, 0)]


def test_a_span_that_moves_during_the_read_is_not_written(platform: Platform) -> None:
    """There is nothing to empty: the flow was never there."""
    source = flow_of(make_span(0, 0))
    step = source.begin(T)
    source.take(key(0, 0))
    assert source.feed(step, Absent(), T, NOW_NS) is None  # type: ignore[arg-type]
    assert (source.idle, source.busy, platform.puts) == (True, False, [])
    source.hand_over([make_span(1, 0)], NOW_NS)
    source.take(key(1, 0))
    assert source.idle


@pytest.mark.parametrize("closes", [True, False], ids=["read-back", "next PUT"])
def test_a_moved_span_that_is_brought_back_is_taken_away_again(platform: Platform, closes: bool) -> None:
    """A writer that had read before the move writes it once more; it belongs to another flow now."""
    flow = delivered_flow(platform, make_span(0, 0), make_span(1, 0))
    flow.take(key(0, 0))
    settle(flow, platform, T + 1)
    assert platform.keys("a") == [key(1, 0)]
    erase(platform, make_span(0, 0).body, make_span(1, 0).body)
    if closes:
        flow.close(T + 5)
    else:
        flow.hand_over([make_span(2, 0)], NOW_NS)
    settle(flow, platform, T + 5)
    assert platform.keys("a") == [key(1, 0), *([] if closes else [key(2, 0)])]


def test_what_only_this_side_can_do_is_not_left_to_others(platform: Platform) -> None:
    """Others can write pending spans; they know nothing of one that must leave, or of what was found missing."""
    flow = delivered_flow(platform, make_span(0, 0), make_span(1, 0))
    flow.hand_over([make_span(2, 0)], NOW_NS)
    assert flow.can_be_left
    flow.take(key(0, 0))
    assert not flow.can_be_left
    settle(flow, platform, T + 1)
    assert flow.can_be_left
    erase(platform)
    flow.close(T + 2)
    attempt(flow, platform, T + 2)  # the look, which takes no turn
    flow.begin(T + 2)
    assert not flow.can_be_left


@pytest.mark.parametrize("answer", [DOWN, Conflict("again"), REFUSED, TooLarge("413"), Denied(401, "", None)])
def test_a_rewrite_that_fails_is_not_forgotten(platform: Platform, answer: Any) -> None:
    """A moved span must leave its old flow, however often that takes."""
    source = delivered_flow(platform, make_span(0, 0), make_span(1, 0), make_span(2, 0), merge=False)
    source.take(key(0, 0))
    list(answers(source, T + 1, [answer]))
    settle(source, platform, T + 1)
    assert key(0, 0) not in platform.keys("a")


def test_a_rewrite_that_meets_a_conflict_goes_on(platform: Platform) -> None:
    """After the second read it is written, though nothing is pending."""
    source = delivered_flow(platform, make_span(0, 0), make_span(1, 0))
    source.take(key(0, 0))
    stored = read(platform.stored["a"], digest_of(platform.stored["a"]))
    steps = list(answers(source, T + 1, [stored, Conflict("x"), stored, Stored(200, None)]))
    assert [type(step).__name__ for step in steps] == ["Read", "Write", "Read", "Write"]


def test_what_comes_back_is_at_home_again(platform: Platform) -> None:
    """A span that moved away and back is kept, and adopted if need be."""
    source, target = delivered_flow(platform, make_span(0, 0)), flow_of(name="b")
    move(source, target, key(0, 0))
    move(target, source, key(0, 0))
    assert (counts(source), counts(target)) == ((2, 1, 1, {}), (0, 0, 0, {}))
    settle(source, platform, T + 1)
    assert platform.keys("a") == [key(0, 0)]
    assert source._exchange.known._never_adopt == {}


def test_a_foreign_span_is_not_moved(platform: Platform) -> None:
    """What an earlier run wrote stays where it is."""
    platform.stored["a"] = document(make_span(0, 0).body)
    flow = delivered_flow(platform, make_span(1, 0))
    assert flow.take(key(0, 0)) is None
    assert counts(flow) == (1, 1, 0, {})
    assert flow.idle


def test_an_older_text_does_not_take_the_place_of_a_newer_one() -> None:
    """A span that came again under a new name is in its new flow already when the older one is moved."""
    source, target = flow_of(make_span(0, 0, text="early")), flow_of(make_span(0, 0, text="ended"), name="b")
    move(source, target, key(0, 0))
    assert (counts(source), counts(target)) == ((0, 0, 0, {}), (1, 0, 1, {}))
    assert target.window.get(key(0, 0)).body == make_span(0, 0, text="ended").body  # type: ignore[union-attr]


def test_a_moved_span_takes_the_place_of_a_foreign_one(platform: Platform) -> None:
    """What the stored flow has under its ids is the same span."""
    platform.stored["a"] = document(make_span(0, 0).body)
    target = delivered_flow(platform, make_span(5, 0))
    source = flow_of(make_span(0, 0), name="b")
    move(source, target, key(0, 0))
    assert counts(target) == (2, 1, 1, {})
    assert target.window.get(key(0, 0)).is_own  # type: ignore[union-attr]


def test_moved_spans_obey_the_bounds() -> None:
    """What does not fit is dropped, and counted there."""
    source = flow_of(*(make_span(0, n, start=n, parent=0 if n else None) for n in range(4)))
    target = flow_of(name="b", max_spans=2)
    move(source, target, *(key(0, n) for n in range(4)))
    assert counts(target) == (4, 0, 2, {"window_full": 2})
    assert key(0, 0) in target.window


def test_the_memory_of_an_outage_is_bounded(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace mode never reads, so what failed PUTs may have left behind is kept for what can still move."""
    monkeypatch.setattr(remote, "REMEMBERED_KEYS", 10)
    flow = flow_of(merge=False, max_spans=5)
    for number in range(100):
        flow.hand_over([make_span(number, 0, start=number)], NOW_NS + 10**12)
        flow.feed(flow.begin(T), DOWN, T, NOW_NS)  # type: ignore[arg-type]
    assert len(flow._exchange.known.keys) <= 10
    assert key(99, 0) in flow._exchange.known.keys
    flow.take(key(99, 0))
    settle(flow, platform, T)
    assert platform.keys("a") == [key(n, 0) for n in range(95, 99)]


# -- losses ---------------------------------------------------------------------------------------------------


def test_a_loss_in_an_outage_says_why_nothing_was_delivered() -> None:
    """With the last error; without trouble there is none to name."""
    flow = flow_of(make_span(0, 0), merge=False, max_spans=1)
    list(answers(flow, T, [DOWN]))
    flow.report.take(T)
    flow.hand_over([make_span(1, 0, start=1)], NOW_NS + 10**12)
    assert said(flow)[0][1].endswith(": the platform is not available (503 Service Unavailable)")
    settle(flow, Platform(), T)
    flow.report.take(T)
    flow.hand_over([make_span(2, 0, start=2), make_span(3, 0, start=3)], NOW_NS + 10**12)
    assert said(flow, T + 60)[0][1].endswith("or record fewer spans")


@pytest.mark.parametrize("how", ["dropped elsewhere", "squeezed", "pushed out under way"])
def test_each_loss_in_an_outage_says_why(how: str) -> None:
    """A store is told the reason of its own."""
    flow = flow_of(make_span(0, 0), merge=False, max_spans=1, durable=True)
    list(answers(flow, T, [DOWN]))
    if how == "squeezed":
        flow.squeeze(10)
    elif how == "dropped elsewhere":
        flow.learn(News(dropped={key(0, 0): DropReason.REFUSED}), T, NOW_NS)
    else:
        step: Any = flow.begin(T + 2)
        flow.hand_over([make_span(1, 0)], NOW_NS + 10**12)
        flow.feed(step, DOWN, T + 2, NOW_NS)
        assert flow.changes().dropped == {key(0, 0): DropReason.WINDOW_FULL}  # type: ignore[union-attr]
    assert said(flow)[0][1].endswith("the platform is not available (503 Service Unavailable)")


def test_a_window_can_be_squeezed() -> None:
    """Once: the bound stays what it was. What is pending and leaves is lost."""
    flow = delivered_flow(Platform(), make_span(0, 0, size=400), make_span(1, 0, start=1, size=400))
    flow.hand_over([make_span(2, 0, start=2, size=400)], NOW_NS + 10**12)
    flow.squeeze(900)
    assert sorted(entry.key for entry in flow.window) == [key(1, 0), key(2, 0)]
    assert (counts(flow), flow.window.max_bytes) == ((3, 2, 1, {}), 100_000)
    flow.squeeze(10)
    assert counts(flow) == (3, 2, 1, {})
    flow.squeeze(10)
    assert (counts(flow), flow.window.spans) == ((3, 2, 0, {"window_full": 1}), 0)
    assert said(flow)[0][1].endswith("or record fewer spans")
    flow.squeeze(10)
    assert flow.window.spans == 0


def test_a_delivered_span_that_is_squeezed_out_is_not_lost(platform: Platform) -> None:
    """It stands in the platform."""
    flow = delivered_flow(platform, make_span(0, 0))
    flow.squeeze(10)
    assert (counts(flow), flow.window.spans) == ((1, 1, 0, {}), 0)


def test_what_is_abandoned_is_lost() -> None:
    """At the end, with the last error; and counted once, whatever is answered to an attempt that was under way."""
    flow = delivered_flow(Platform(), make_span(0, 0), merge=False)
    flow.hand_over([make_span(1, 0), make_span(2, 0)], NOW_NS)
    list(answers(flow, T + 1, [DOWN]))
    flow.report.take(T)
    step: Any = flow.begin(T + 9)
    flow.abandon()
    assert counts(flow) == (3, 1, 0, {"shutdown": 2})
    flow.abandon()
    flow.feed(step, Stored(200, None), T + 9, NOW_NS)
    assert counts(flow) == (3, 1, 0, {"shutdown": 2})
    ((level, line),) = said(flow)
    assert level == logging.ERROR
    assert "2 spans are lost: they were still waiting" in line
    assert line.endswith("503 Service Unavailable)")


@pytest.mark.parametrize("merge", [True, False])
def test_after_the_end_no_attempt_is_promised(platform: Platform, merge: bool) -> None:
    """Neither where the time was over and a store has what waits, nor for a look at what was written; none goes on."""
    flow = delivered_flow(platform, make_span(0, 0), merge=merge)
    if not merge:
        flow.hand_over([make_span(1, 0)], NOW_NS)
    flow.close(T, T + 60)
    if not merge:
        list(answers(flow, T, [DOWN]))
    assert flow.status(T).next_attempt is not None
    flow.begin(T + 60)
    assert flow.status(T + 60).state == "busy"
    flow.abandon(lambda key: True)
    assert (flow.status(T).next_attempt, flow.due(T + 60)) == (None, None)
    assert flow.status(T + 60).state == ("dirty" if merge else "backing off")


def test_counts_go_on_where_the_former_window_left_off(platform: Platform) -> None:
    """A flow that left memory and comes back is the same flow to those who look."""
    former = flow_of(make_span(0, 0, text="bad"), make_span(1, 0))
    settle(former, poisoned("bad", fields=True), T)
    flow = Flow("a", make_policy(), former.status(T))
    assert (counts(flow), flow.status(T).last_error) == ((2, 1, 0, {"refused": 1}), "a span is wrong")
    flow.hand_over([make_span(2, 0)], NOW_NS)
    settle(flow, platform, T)
    assert counts(flow) == (3, 2, 0, {"refused": 1})


def test_every_reason_is_counted_by_its_name() -> None:
    """The names are public: they stand in `status()` and in metrics."""
    assert [reason.value for reason in DropReason] == [
        "unencodable",
        "window_full",
        "too_large",
        "refused",
        "shutdown",
        "unreadable",
    ]


# -- more than a window holds ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "delivered", "dropped"),
    [(Stored(200, None), 2, {}), (DOWN, 0, {"window_full": 2}), (REFUSED, 0, {"window_full": 2})],
)
def test_what_is_pushed_out_under_way_is_open_until_the_answer(
    answer: Any, delivered: int, dropped: dict[str, int]
) -> None:
    """A PUT that succeeded has delivered what it carried; otherwise it is lost, and counted once."""
    flow = flow_of(make_span(0, 0), make_span(1, 0), merge=False, max_spans=2)
    step: Any = flow.begin(T)
    flow.hand_over([make_span(2, 0), make_span(3, 0), make_span(4, 0)], NOW_NS + 10**12)
    assert counts(flow) == (5, 0, 4, {"window_full": 1})
    assert (flow.window.pending, flow.idle) == (2, False)
    flow.feed(step, answer, T, NOW_NS)
    lost = dropped.get("window_full", 0)
    assert counts(flow) == (5, delivered, 2, {"window_full": 1 + lost})
    settle(flow, Platform(), T)
    assert counts(flow) == (5, delivered + 2, 0, {"window_full": 1 + lost})


@pytest.mark.parametrize("answer", [Stored(200, None), DOWN])
@pytest.mark.parametrize("text", ["", "newer"])
@pytest.mark.parametrize("moved", [False, True])
def test_a_span_that_comes_anew_while_a_put_carries_what_was_pushed_out_of_it_is_one(
    answer: Any, text: str, moved: bool
) -> None:
    """It is pending once, counts once, and a store keeps it whatever becomes of the PUT."""
    flow = flow_of(make_span(0, 0), merge=False, max_spans=1, durable=True)
    step: Any = flow.begin(T)
    flow.hand_over([make_span(1, 0)], NOW_NS + 10**12)
    assert counts(flow) == (2, 0, 2, {})
    flow.changes()
    meets = flow_of(name="b") if moved else flow
    meets.hand_over([make_span(0, 0, text=text, end=2000)], NOW_NS + 2 * 10**12)
    if moved:
        move(meets, flow, key(0, 0))
    assert counts(flow) == (2, 0, 1, {"window_full": 1})
    flow.feed(step, answer, T, NOW_NS)
    assert counts(flow) == (2, 0, 1, {"window_full": 1})
    told = flow.changes()
    assert told is not None
    assert ([span.key for span in told.added], told.settled, told.gone) == ([key(0, 0)], [], [key(1, 0)])
    settle(flow, Platform(), T)
    assert counts(flow) == (2, 1, 0, {"window_full": 1})


@pytest.mark.parametrize("kept", [0, 1])
def test_what_was_pushed_out_under_way_is_lost_at_the_end(kept: int) -> None:
    """With all that is pending, but for what a store keeps; and counted once, whatever is answered then."""
    flow = flow_of(make_span(0, 0), merge=False, max_spans=1)
    step: Any = flow.begin(T)
    flow.hand_over([make_span(1, 0)], NOW_NS + 10**12)
    assert flow.abandon(lambda which: bool(kept) and which == key(0, 0)) == kept
    assert counts(flow) == (2, 0, kept, {"shutdown": 2 - kept})
    flow.feed(step, Stored(200, None), T, NOW_NS)
    assert counts(flow) == (2, kept, 0, {"shutdown": 2 - kept})


def test_what_is_pushed_out_during_an_unbelieved_put_is_delivered_if_a_read_shows_it(
    platform: Platform,
) -> None:
    """Like all the others that it carried."""
    flow = flow_of(make_span(0, 0), merge=False, max_spans=1)
    step: Any = flow.begin(T)
    perform(step, platform, 0.0)
    confirm: Any = flow.feed(step, Stored(200, None, believed=False), T, NOW_NS)
    flow.hand_over([make_span(1, 0)], NOW_NS + 10**12)
    flow.feed(confirm, perform(confirm, platform, 0.0), T, NOW_NS)
    assert counts(flow) == (2, 1, 1, {})


@pytest.mark.parametrize(("each", "interval", "rate"), [(20, 2, 10), (19, 2, 0), (20, 1, 20), (20, 0, 0)])
def test_a_rate_that_a_window_cannot_hold_is_said_once(each: int, interval: int, rate: int) -> None:
    """Where it fills twice between two PUTs that succeed, with the rate and the setting."""
    flow, platform = flow_of(merge=False, max_spans=10), Platform()
    lines = []
    for burst in range(4):
        flow.hand_over([make_span(100 * burst + n, 0) for n in range(each)], NOW_NS + burst * 10**12)
        attempt(flow, platform, T + interval * burst)
        lines += [text for level, text in said(flow) if level == logging.WARNING]
    assert lines == (
        [
            f"flow 'a': {rate} spans come in a second, and fill the window of 10 2.0 times between two PUTs; "
            "raise VERSORI_FLOW_MAX_SPANS, or record fewer"
        ]
        if rate
        else []
    )


def test_a_rate_is_not_measured_over_an_outage() -> None:
    """What is lost then is lost for that."""
    flow = delivered_flow(Platform(), make_span(0, 0), merge=False, max_spans=10)
    flow.hand_over([make_span(1, 0)], NOW_NS)
    list(answers(flow, T, [DOWN]))
    flow.hand_over([make_span(9 + n, 0) for n in range(50)], NOW_NS + 10**12)
    flow.report.take(T)
    settle(flow, Platform(), T + 5)
    assert said(flow) == []


# -- what becomes of spans elsewhere --------------------------------------------------------------------------


def test_what_others_delivered_is_ours_and_as_it_was(platform: Platform) -> None:
    """Also where a read has shown it already: a root stays one, is as old as it was, and may move."""
    old = make_span(0, 0, start=-900)
    platform.stored["a"] = document(old.body)
    flow = delivered_flow(platform, make_span(1, 0))
    flow.learn(News(delivered=[Kept(key(0, 0), old.start, old.end, True, old.body)]), T, NOW_NS)
    entry: Any = flow.window.get(key(0, 0))
    assert (entry.is_own, entry.is_root, entry.pending) == (True, True, False)
    assert flow.window.latest_end(key(0, 0)[0]) == old.end
    flow.learn(News(moved=[key(0, 0)]), T, NOW_NS)
    assert not flow.settled(flow.hurry(T))


def test_a_look_that_is_put_off_leaves_nothing_behind(platform: Platform) -> None:
    """Who waited for it waits no more, and the next one is a look as any."""
    flow = delivered_flow(platform, make_span(0, 0))
    flow.learn(News(doubted=True), T, NOW_NS)
    mark = flow.hurry(T, T + 60)
    flow.begin(T)
    flow.put_off(T + 3)
    assert (flow.settled(mark), flow.idle, flow.awaited_until(T)) == (True, True, float("inf"))
    flow.close(T + 1)
    assert flow.begin(T + 1) == Read("a", None, in_turn=False)


def test_when_all_of_a_flow_is_in(platform: Platform) -> None:
    """What is delivered is shown by the read, and nothing is pending."""
    flow = delivered_flow(platform, make_span(0, 0))
    complete, empty = (read(document(*spans), b"") for spans in ([make_span(0, 0).body], []))
    assert (flow.is_all_in(complete), flow.is_all_in(empty)) == (True, False)
    flow.hand_over([make_span(1, 0)], NOW_NS)
    assert not flow.is_all_in(complete)


def test_what_leaves_and_comes_back_before_a_store_is_told_is_pending_for_it() -> None:
    """And what was carried after all is not dropped: the last of it counts."""
    journal, span = Journal(), Kept(key(0, 0), 0, 0, True, b"{}")
    journal.leave(span.key, settled=False, reason=DropReason.REFUSED)
    journal.add(span)
    assert journal.take("a") == Change("a", [span], [], [])
    journal.leave(span.key, settled=False, reason=DropReason.REFUSED)
    journal.leave(span.key, settled=True)
    assert journal.take("a") == Change("a", [], [span.key], [])


@pytest.mark.parametrize(("there", "kinds"), [([2], ["Read"]), ([1, 2], ["Read", "Write"])])
def test_what_moved_long_ago_is_written_out_where_it_stands(
    platform: Platform, there: list[int], kinds: list[str]
) -> None:
    """Who looks at a flow for others is told all that ever moved; it writes only where the look shows some of it."""
    delivered_flow(platform, *(make_span(trace, 0) for trace in there))
    flow = flow_of()
    flow.learn(News(doubted=True), T + 2, NOW_NS)
    begun = flow.begin

    def begin(now: float) -> Any:
        step = begun(now)
        flow.learn(News(moved=[key(1, 0)]), now, NOW_NS)
        return step

    flow.begin = begin  # type: ignore[method-assign]
    assert attempt(flow, platform, T + 2) == kinds
    assert platform.keys("a") == [key(2, 0)]
