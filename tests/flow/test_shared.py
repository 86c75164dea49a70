"""Flows whose spans a store keeps: what it is told, and what is done with what it tells of other processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from opentelemetry.exporter.versori_flow.encoded_span import EncodedSpan
from opentelemetry.exporter.versori_flow.flow.flows import Flows
from opentelemetry.exporter.versori_flow.flow.journal import Kept, News
from opentelemetry.exporter.versori_flow.flow.ledger import DropReason, FlowStatus
from opentelemetry.exporter.versori_flow.flow.steps import Read
from opentelemetry.exporter.versori_flow.http.answers import Unavailable
from tests.flow.model import (
    DOWN,
    NOW_NS,
    SECOND,
    Platform,
    T,
    delivered_flow,
    document,
    foreign,
    key,
    make_span,
    settle,
)
from tests.flow.several import Routing, attempt_next, perform, settle_all

UNREACHED = Unavailable("connect", "refused", None, answered=False)


def kept(span: EncodedSpan, end: int | None = None, older: tuple[int, ...] = ()) -> Kept:
    """As a store has it; `end`: of its trace, in seconds after `NOW_NS`."""
    latest = span.end if end is None else NOW_NS + end * SECOND
    return Kept((span.trace_id, span.span_id), span.start, latest, span.is_root, span.body, older)


def totals(flows: Flows, name: str = "a") -> tuple[int, int, int, dict[str, int]]:
    status = flows.memory.status(T)[name]
    assert status.handed_over == status.delivered + status.pending + sum(status.dropped.values())
    return status.handed_over, status.delivered, status.pending, dict(status.dropped)


def told(flows: Flows) -> dict[str, tuple[list[Kept], list[Any], list[Any], dict[Any, DropReason]]]:
    return {c.flow: (list(c.added), list(c.settled), list(c.gone), dict(c.dropped)) for c in flows.changes()}


def shared(*spans: EncodedSpan, **policy: Any) -> Routing:
    """Flows with those spans, of which the store has been told."""
    routing = Routing(durable=True, **policy)
    routing.hand_over(*spans)
    routing.flows.changes()
    return routing


A, B = make_span(1, 0, start=-9, end=-8), make_span(2, 0, parent=7, start=-5, end=-3)


# -- what a store is told -------------------------------------------------------------------------------------


def test_a_store_is_told_of_each_span_the_last_of_it(platform: Platform) -> None:
    """In the order in which they came, once; a newer text goes to the end of the line."""
    routing, newer = Routing(durable=True), make_span(1, 0, start=-9, end=-8, text="newer")
    routing.hand_over(A, B, newer)
    last = kept(newer, older=(hash(A.body),))
    assert told(routing.flows) == {"a": ([kept(B), last], [], [], {})}
    assert told(routing.flows) == {}
    assert [c[:4] for c in routing.flows.waiting()] == [("a", [last, kept(B)], (), ())]
    attempt_next(routing.flows, platform, T)
    assert told(routing.flows) == {"a": ([], [key(1, 0), key(2, 0)], [], {})}
    routing.hand_over(newer)
    assert told(routing.flows) == {}, "it is delivered already"
    routing.hand_over(A)
    assert told(routing.flows) == {"a": ([kept(A, older=(hash(A.body), hash(newer.body)))], [], [], {})}
    assert routing.flows.pending("a") == 1
    assert routing.flows.pending("b") == 0


def test_who_keeps_nothing_is_told_nothing(platform: Platform) -> None:
    routing = Routing()
    routing.hand_over(A)
    attempt_next(routing.flows, platform, T)
    assert routing.flows.changes() == []


def test_a_span_that_comes_and_goes_between_two_tellings_is_gone(platform: Platform) -> None:
    """Whatever a store was told of it before."""
    routing = Routing(durable=True)
    routing.hand_over(A)
    attempt_next(routing.flows, platform, T)
    assert told(routing.flows) == {"a": ([], [key(1, 0)], [], {})}


def test_a_store_is_told_where_a_span_moves() -> None:
    """With its trace's latest end: it goes on living in a window of the same order."""
    child = make_span(1, 1, parent=0, start=-20, end=-10)
    routing = shared(child, make_span(1, 2, parent=0, start=-6, end=-5))
    routing.hand_over(make_span(1, 0, start=-30, end=-1, name="b"))
    changes = told(routing.flows)
    assert changes["a"] == ([], [], [key(1, 1), key(1, 2)], {})
    added, *rest = changes["b"]
    assert sorted(span.key for span in added) == [key(1, 0), key(1, 1), key(1, 2)]
    assert next(span for span in added if span.key == key(1, 1)) == kept(child, end=-5)
    assert rest == [[], [], {}]


def test_a_store_is_told_why_a_span_is_dropped() -> None:
    routing = shared(A, max_spans=1)
    routing.hand_over(B)
    assert told(routing.flows) == {"a": ([kept(B)], [], [key(1, 0)], {key(1, 0): DropReason.WINDOW_FULL})}
    routing.hand_over(A)
    assert told(routing.flows)["a"][2:] == ([key(1, 0)], {key(1, 0): DropReason.WINDOW_FULL})
    assert totals(routing.flows) == (3, 0, 1, {"window_full": 2})


def test_a_refused_span_is_dropped_in_the_store_too(platform: Platform) -> None:
    routing = shared(A, B)
    platform.refuses = lambda body: body == A.body or key(1, 0)[0].encode() in body
    settle_all(routing.flows, platform, T)
    assert told(routing.flows) == {"a": ([], [key(2, 0)], [key(1, 0)], {key(1, 0): DropReason.REFUSED})}


@pytest.mark.parametrize(
    ("keeps", "left", "counts"),
    [
        ([], {}, (2, 0, 0, {"shutdown": 2})),
        ([("a", key(1, 0))], {"a": 1}, (2, 0, 1, {"shutdown": 1})),
        ([("a", key(1, 0)), ("a", key(2, 0))], {"a": 2}, (2, 0, 2, {})),
        ([("b", key(1, 0)), ("b", key(2, 0))], {}, (2, 0, 0, {"shutdown": 2})),
    ],
)
def test_what_a_store_keeps_is_not_lost_at_the_end(
    keeps: list[tuple[str, Any]], left: dict[str, int], counts: tuple[Any, ...]
) -> None:
    routing = shared(A, B)
    assert routing.flows.abandon(lambda *which: which in keeps) == left
    assert totals(routing.flows) == counts


def test_status_says_where_spans_wait_and_what_is_lost_of_no_flow() -> None:
    routing = Routing(store="redis://there", durable=True)
    routing.flows.memory.lose(0, DropReason.UNREADABLE)
    assert (routing.flows.memory.status(T), routing.flows.memory.totals().dropped) == ({}, {})
    routing.hand_over(A)
    for spans, reason in ((2, DropReason.UNREADABLE), (3, DropReason.SHUTDOWN), (2, DropReason.SHUTDOWN)):
        routing.flows.memory.lose(spans, reason)
    dropped = {"unreadable": 2, "shutdown": 5}
    assert routing.flows.memory.status(T) == {
        "": FlowStatus("", "clean", 7, 0, 0, dropped, None, None, "redis://there"),
        "a": FlowStatus("a", "dirty", 1, 0, 1, {}, None, 0.0, "redis://there"),
    }
    all_of_them = routing.flows.memory.totals()
    assert (all_of_them.handed_over, all_of_them.delivered, all_of_them.pending) == (8, 0, 1)
    assert all_of_them.dropped == dropped


def test_nobody_waits_for_a_flow_while_the_platform_is_out_of_reach() -> None:
    """Whichever flow has found that out; and a flush tries again soon, for as long as it lasts."""
    routing = Routing(min_interval=0.0)
    receipts = routing.hand_over(A, make_span(2, 0, name="b"))
    assert [routing.flows.verdict(receipt, T) for receipt in receipts] == [None, None]
    job = routing.flows.begin_next(T)
    assert job is not None
    routing.flows.feed(job, UNREACHED, T, NOW_NS)
    assert [routing.flows.verdict(receipt, T) for receipt in receipts] == [False, False]
    assert routing.flows.next_due() == T + 2
    flushed = routing.flows.hurry(T + 0.5, T + 3)
    assert sorted((receipt.flow.name, receipt.lost) for receipt in flushed) == [("a", 0), ("b", 0)]
    dues = []
    for _ in range(3):
        due = routing.flows.next_due()
        assert due is not None
        dues.append(due - T)
        job = routing.flows.begin_next(due)
        assert job is not None
        routing.flows.feed(job, UNREACHED, due, NOW_NS)
    assert dues == [0.5, 1.5, 2.5]


# -- what other processes have left ---------------------------------------------------------------------------


def test_what_another_process_has_left_is_delivered_here(platform: Platform) -> None:
    """It is counted, its store is told of its delivery only, and a flow that was never held here gets it."""
    routing = Routing()
    routing.flows.inherit("a", [kept(A), kept(B)], T, NOW_NS)
    assert totals(routing.flows) == (2, 0, 2, {})
    assert routing.flows.changes() == []
    assert routing.flows.memory.is_pending("a", key(1, 0))
    assert not routing.flows.memory.is_pending("a", key(9, 0))
    assert attempt_next(routing.flows, platform, T) == "a"
    assert platform.keys("a") == [key(1, 0), key(2, 0)]
    assert told(routing.flows) == {"a": ([], [key(1, 0), key(2, 0)], [], {})}
    assert not routing.flows.memory.is_pending("a", key(1, 0))


def test_what_was_left_and_stands_here_already_is_settled_at_once(platform: Platform) -> None:
    """And what has no room is gone: nobody else is to try it."""
    routing = shared(A)
    attempt_next(routing.flows, platform, T)
    routing.flows.changes()
    large = make_span(3, 0, size=200_000)
    routing.flows.inherit("a", [kept(A), kept(large), kept(B)], T + 5, NOW_NS)
    assert told(routing.flows) == {"a": ([], [key(1, 0)], [key(3, 0)], {})}
    assert totals(routing.flows) == (3, 1, 1, {"too_large": 1})


# -- what became of spans elsewhere ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("news", "counts", "there"),
    [
        (News(), (2, 0, 2, {}), [1, 2]),
        (News(settled=[key(1, 0)]), (2, 1, 1, {}), [1, 2]),
        (News(settled=[key(7, 0), key(2, 0)]), (2, 1, 1, {}), [1, 2]),
        (
            News(dropped={key(1, 0): DropReason.REFUSED, key(7, 0): DropReason.REFUSED}),
            (2, 0, 1, {"refused": 1}),
            [2],
        ),
        (News(dropped={key(1, 0): DropReason.WINDOW_FULL}), (2, 0, 1, {"window_full": 1}), [2]),
        (
            News(dropped={key(1, 0): DropReason.REFUSED, key(2, 0): DropReason.REFUSED}),
            (2, 0, 0, {"refused": 2}),
            [],
        ),
        (News(moved=[key(7, 0), key(1, 0)]), (1, 0, 1, {}), [2]),
        (News(delivered=[kept(make_span(3, 0))]), (2, 0, 2, {}), [1, 2, 3]),
        (News(delivered=[kept(A)], settled=[key(1, 0)]), (2, 1, 1, {}), [1, 2]),
        (News(settled=[key(1, 0)], dropped={key(1, 0): DropReason.REFUSED}), (2, 1, 1, {}), [1, 2]),
        (News(delivered=[kept(make_span(3, 0))], moved=[key(3, 0)]), (2, 0, 2, {}), [1, 2]),
        (News(settled=[key(1, 0)], moved=[key(1, 0)]), (2, 1, 1, {}), [2]),
    ],
)
def test_what_became_of_spans_elsewhere_is_counted_here(
    platform: Platform, news: News, counts: tuple[Any, ...], there: Sequence[int]
) -> None:
    """And stands in the next body, or doesn't."""
    routing = shared(A, B)
    routing.flows.learn("a", news, T, NOW_NS)
    assert totals(routing.flows) == counts
    assert sorted(entry.key for flow in routing.flows for entry in flow.window) == [key(n, 0) for n in there]
    assert told(routing.flows) == {}, "the store has said so itself"
    settle_all(routing.flows, platform, T)
    handed_over, _, _, dropped = counts
    assert totals(routing.flows) == (handed_over, handed_over - sum(dropped.values()), 0, dropped)
    assert sorted(platform.keys("a")) == ([key(n, 0) for n in there] if counts[2] else [])


def test_what_others_delivered_comes_back_where_it_is_missing(platform: Platform) -> None:
    """They are ours as much as theirs: a flow that is in doubt is read, and put right."""
    routing = Routing(durable=True)
    platform.stored["a"] = b'{"name":"a","description":"","spans":[' + foreign(1) + b"]}"
    routing.flows.learn("a", News(delivered=[kept(A), kept(B)], doubted=True), T, NOW_NS)
    assert totals(routing.flows) == (0, 0, 0, {})
    assert routing.flows.next_due() == T
    settle_all(routing.flows, platform, T)
    assert {key(1, 0), key(2, 0)} < set(platform.keys("a"))
    reads = platform.reads
    routing.flows.learn("a", News(), T + 50, NOW_NS)
    assert (routing.flows.next_due(), platform.reads) == (None, reads)


def test_news_are_kept_within_the_bounds() -> None:
    """The newest traces, and never more than the window may hold."""
    routing = shared(max_spans=2)
    news = News(delivered=[kept(make_span(n, 0, start=n - 9)) for n in range(4)])
    routing.flows.learn("a", news, T, NOW_NS)
    assert [entry.key for flow in routing.flows for entry in flow.window] == [key(2, 0), key(3, 0)]


def test_a_newer_text_here_is_not_replaced_by_an_older_one_from_elsewhere(platform: Platform) -> None:
    newer = make_span(1, 0, start=-9, end=-8, text="newer")
    routing = shared(newer)
    routing.flows.learn("a", News(delivered=[kept(A)]), T, NOW_NS)
    assert totals(routing.flows) == (1, 0, 1, {})
    settle_all(routing.flows, platform, T)
    assert [span["name"] for span in platform.spans("a")] == ["newer"]


def test_what_is_learnt_is_counted_on_top(platform: Platform) -> None:
    """Of what was delivered and handed over before; a newer text of others takes the place of a delivered one."""
    routing, newer = shared(A), make_span(1, 0, start=-9, end=-8, text="newer")
    settle_all(routing.flows, platform, T)
    routing.hand_over(B, make_span(3, 0), make_span(4, 0))
    routing.flows.learn("a", News([kept(newer)], [key(2, 0)], moved=[key(3, 0)]), T + 1, NOW_NS)
    assert totals(routing.flows) == (3, 2, 1, {})
    assert [entry.body for flow in routing.flows for entry in flow.window if entry.key == key(1, 0)] == [
        newer.body
    ]


# -- somebody else's turn -------------------------------------------------------------------------------------


def test_an_attempt_that_is_put_off_is_made_then(platform: Platform) -> None:
    """Not before, whoever waits; and it counts neither as one under way nor as trouble."""
    routing = shared(A)
    job = routing.flows.begin_next(T)
    assert job is not None
    assert routing.flows.busy == 1
    routing.flows.put_off(job, T, T + 3)
    assert (routing.flows.busy, routing.flows.next_due()) == (0, T + 3)
    (receipt,) = routing.flows.hurry(T, T + 60)
    assert (receipt.flow.name, receipt.lost, receipt.flow.flushed(receipt.mark)) == ("a", 0, None)
    assert attempt_next(routing.flows, platform, T + 2) is None
    assert attempt_next(routing.flows, platform, T + 3) == "a"
    assert receipt.flow.flushed(receipt.mark)
    assert (platform.keys("a"), routing.flows.next_due()) == ([key(1, 0)], None)


def test_a_look_that_is_put_off_is_not_made(platform: Platform) -> None:
    """Whoever has the turn looks himself: nothing waits, and who waited for it waits no more."""
    routing = Routing(durable=True)
    routing.flows.learn("a", News(delivered=[kept(A)], doubted=True), T, NOW_NS)
    job = routing.flows.begin_next(T)
    assert job is not None
    routing.flows.put_off(job, T, T + 3)
    assert (routing.flows.busy, routing.flows.next_due(), routing.flows.hurry(T, T + 60)) == (0, None, [])
    assert routing.flows.memory.status(T)["a"].state == "clean"


@pytest.mark.parametrize("fails", [False, True])
def test_what_may_have_been_left_amid_an_attempt_is_looked_for_after_it(
    platform: Platform, fails: bool
) -> None:
    """With the turn, unless its own spans go on: their next attempt has the turn too."""
    routing = shared(A)
    job = following = routing.flows.begin_next(T)
    routing.flows.learn("a", News(doubted=True), T, NOW_NS)
    while following is not None:
        answer = DOWN if fails else perform(following, platform)
        following = routing.flows.feed(following, answer, T, NOW_NS)
    next_one = routing.flows.begin_next(T)
    if fails:
        assert (next_one, routing.flows.pending("a")) == (None, 1)
        return
    assert job is not None
    assert next_one is not None
    assert next_one.step == Read("a", None, in_turn=True)
    while next_one is not None:
        next_one = routing.flows.feed(next_one, perform(next_one, platform), T, NOW_NS)
    assert routing.flows.next_due() is None


@pytest.mark.parametrize("how", ["inherited", "delivered elsewhere"])
def test_what_moved_away_and_comes_back_from_another_process_is_at_home_again(
    platform: Platform, how: str
) -> None:
    """It is not taken for a span that does not belong there: the flow is read back, and not written for it."""
    flow = delivered_flow(platform, A, B, durable=True)
    flow.take(key(1, 0))
    settle(flow, platform, T)
    assert platform.keys("a") == [key(2, 0)]
    if how == "inherited":
        flow.inherit([kept(A)], NOW_NS)
        settle(flow, platform, T)
    else:
        platform.stored["a"] = document(A.body, B.body)
        flow.learn(News(delivered=[kept(A)]), T, NOW_NS)
    puts = len(platform.puts)
    flow.close(T)
    settle(flow, platform, T)
    assert set(platform.keys("a")) == {key(1, 0), key(2, 0)}
    assert len(platform.puts) == puts


def test_what_was_pushed_out_while_its_put_is_put_off_is_lost() -> None:
    routing = shared(A, max_spans=1, merge=False)
    job = routing.flows.begin_next(T)
    assert job is not None
    routing.hand_over(B)
    assert totals_pending(routing) == 2
    routing.flows.put_off(job, T, T + 3)
    assert totals(routing.flows) == (2, 0, 1, {"window_full": 1})


def totals_pending(routing: Routing) -> int:
    return routing.flows.memory.totals().pending


@pytest.mark.parametrize("is_read", [False, True])
def test_a_rewrite_that_is_put_off_is_made_then(platform: Platform, is_read: bool) -> None:
    """The span that has moved leaves its old flow all the same."""
    routing = shared(make_span(1, 1, parent=0), B)
    attempt_next(routing.flows, platform, T)
    routing.hand_over(make_span(1, 0, name="b"), now=T + 5)
    jobs = [routing.flows.begin_next(T + 5) for _ in range(2)]
    for job in jobs:
        assert job is not None
        following = routing.flows.feed(job, perform(job, platform), T + 5, NOW_NS) if is_read else job
        assert following is not None
        routing.flows.put_off(following, T + 5, T + 8)
    settle_all(routing.flows, platform, T + 5)
    assert (platform.keys("a"), platform.keys("b")) == ([key(2, 0)], [key(1, 0), key(1, 1)])


@pytest.mark.parametrize("way", ["put_off", "leave"])
def test_another_flow_probes_where_the_one_that_would_is_not_begun(way: str) -> None:
    routing = shared(A, make_span(2, 0, name="b"))
    job = routing.flows.begin_next(T)
    assert job is not None
    assert routing.flows.feed(job, UNREACHED, T, NOW_NS) is None
    (free_at,) = {routing.flows.next_due()}
    assert free_at == T + 2
    job = routing.flows.begin_next(T + 2)
    assert job is not None
    assert (routing.flows.next_due(), routing.flows.begin_next(T + 2)) == (None, None)
    if way == "leave":
        routing.flows.leave(job)
    else:
        routing.flows.put_off(job, T + 2, T + 30)
    other = routing.flows.begin_next(T + 2)
    assert other is not None
    assert {job.name, other.name} == {"a", "b"}


def test_what_is_left_to_somebody_else_is_not_tried_again(platform: Platform) -> None:
    """Unless nobody takes it: then it is done here after all, and the store hears of it."""
    routing = Routing()
    routing.hand_over(A)
    job = routing.flows.begin_next(T)
    assert job is not None
    routing.flows.leave(job)
    assert (routing.flows.busy, routing.flows.next_due()) == (0, None)
    assert routing.flows.memory.status(T)["a"].next_attempt is None
    assert attempt_next(routing.flows, platform, T + 60) is None
    assert [list(change.added) for change in routing.flows.waiting()] == [[kept(A)]]
    routing.flows.take_back("a", T + 60, T + 70)
    assert routing.flows.next_due() == T + 60
    assert attempt_next(routing.flows, platform, T + 60) == "a"
    assert told(routing.flows) == {"a": ([], [key(1, 0)], [], {})}
    assert platform.keys("a") == [key(1, 0)]
