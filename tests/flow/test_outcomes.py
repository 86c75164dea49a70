"""What refusals, and bodies that are too large, lead to."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from opentelemetry.exporter.versori_flow.flow import remote
from opentelemetry.exporter.versori_flow.flow.steps import Write
from opentelemetry.exporter.versori_flow.http.answers import (
    Absent,
    Found,
    Rejected,
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
    document,
    flow_of,
    foreign,
    key,
    keys_of,
    loads,
    make_span,
    poisoned,
    said,
    settle,
)

# -- refusals -------------------------------------------------------------------------------------------------


def test_spans_that_the_platform_names_leave() -> None:
    """Dropped, counted, said with its message; the others arrive at once, and prove the rest of the body."""
    platform = poisoned("bad", fields=True)
    flow = flow_of(make_span(0, 0), make_span(0, 1, text="bad", parent=0), make_span(0, 2, text="bad"))
    attempt(flow, platform, T)
    assert (flow.due(T), flow.status(T).state, counts(flow)) == (T, "searching", (3, 0, 3, {}))
    settle(flow, platform, T)
    assert [len(loads(body)["spans"]) for _, body in platform.puts] == [3, 1, 3]
    assert (counts(flow), flow.status(T).last_error) == ((3, 1, 0, {"refused": 2}), "a span is wrong")
    assert platform.keys("a") == [key(0, 0)]
    assert [text for _, text in said(flow)] == [
        "flow 'a': 2 spans are lost: the platform refuses them for what they hold: a span is wrong"
    ]


def test_a_delivered_span_that_the_platform_names_leaves_too() -> None:
    """It is ours, and wrong now; what finished stays finished: it counts as handed over anew, and dropped."""
    platform = poisoned(fields=True)
    flow = delivered_flow(platform, make_span(0, 0, text="bad"), *(make_span(n, 0) for n in range(1, 5)))
    platform.refuses = lambda span: b'"bad"' in span
    flow.hand_over([make_span(9, 0)], NOW_NS)
    settle(flow, platform, T + 1)
    assert platform.keys("a") == [key(n, 0) for n in (1, 2, 3, 4, 9)]
    assert counts(flow) == (7, 6, 0, {"refused": 1})


def test_a_foreign_span_that_the_platform_names_stays() -> None:
    """It is not ours to throw away: nothing is dropped, the flow backs off and says so."""
    platform = poisoned("odd", fields=True)
    platform.stored["a"] = document(foreign(1))
    flow = flow_of(make_span(0, 0), make_span(0, 1))
    now = T
    for _ in range(3):
        attempt(flow, platform, now)
        assert counts(flow) == (2, 0, 2, {})
    status = flow.status(now)
    assert (status.state, status.next_attempt) == ("backing off", 8.0)
    assert "refuses the flow even without its new spans (422: a span is wrong)" in (status.last_error or "")


@pytest.mark.parametrize("spans", [(5,), (99, 2), (1, 1000)])
def test_indices_that_name_nothing_are_no_names(spans: tuple[int, ...]) -> None:
    """The search finds the offender all the same."""
    flow = flow_of(make_span(0, 0, text="bad"))
    step = flow.begin(T)
    assert step is not None
    write = flow.feed(step, Absent(), T, NOW_NS)
    assert isinstance(write, Write)
    assert flow.feed(write, Rejected(400, "", "no", spans), T, NOW_NS) is None
    assert (flow.status(T).state, counts(flow)) == ("searching", (1, 0, 1, {}))


def test_one_refused_span_is_found_and_the_rest_arrives() -> None:
    """A body that is wrong is wrong for ever, and does not wedge its flow."""
    platform = poisoned("bad")
    spans = [make_span(n, 0, start=n, text="bad" if n == 11 else "") for n in range(20)]
    flow = flow_of(*spans)
    assert settle(flow, platform, T) == T, "the search ignores pacing"
    assert platform.keys("a") == [key(n, 0) for n in range(20) if n != 11]
    assert counts(flow) == (20, 19, 0, {"refused": 1})
    assert (flow.status(T).last_error, flow.in_trouble, flow.status(T).state) == (
        "a span is wrong",
        False,
        "clean",
    )
    assert said(flow)[0][1].endswith("for what it holds: a span is wrong")


@pytest.mark.parametrize("merge", [True, False])
def test_a_refused_span_that_is_alone_is_dropped_with_a_proof(merge: bool) -> None:
    """The body without it is tried first, on a flow that is not there yet too."""
    platform = poisoned("bad")
    flow = flow_of(make_span(0, 0, text="bad"), merge=merge)
    settle(flow, platform, T)
    assert counts(flow) == (1, 0, 0, {"refused": 1})
    assert said(flow)[0][1].endswith("for what it holds: a span is wrong")
    assert [len(loads(body)["spans"]) for _, body in platform.puts] == [1, 0, 1]
    assert (flow.idle, flow.in_trouble) == (True, False)


def test_a_body_that_is_refused_anyway_drops_nothing(platform: Platform) -> None:
    """The flow backs off, longer each time, and says so at most once a minute."""
    flow = flow_of(make_span(0, 0), make_span(1, 0), merge=False)
    now, lines, waits = T, [], []
    while now < T + 55:
        step = flow.begin(now)
        flow.feed(step, REFUSED, now, NOW_NS)  # type: ignore[arg-type]
        due = flow.due(now)
        assert due is not None
        if due > now:
            waits.append(due - now)
        now = due
        lines += said(flow, now)
    assert counts(flow) == (2, 0, 2, {})
    assert waits == [2.0, 4.0, 8.0, 16.0, 32.0]
    assert len(lines) == 1
    assert "even without its new spans" in lines[0][1]
    settle(flow, platform, now)
    assert counts(flow) == (2, 2, 0, {})
    assert [text for _, text in said(flow)] == ["flow 'a': is delivered again"]


def test_a_search_lasts_over_an_outage() -> None:
    """What was found is not forgotten, and what is tested waits its backoff."""
    platform = poisoned("bad")
    flow = flow_of(*(make_span(n, 0, start=n, text="bad" if n == 3 else "") for n in range(4)))
    attempt(flow, platform, T)
    attempt(flow, platform, T)
    assert platform.keys("a") == [key(0, 0), key(1, 0)]
    list(answers(flow, T, [Found(b"", b"", 200), DOWN]))
    assert (flow.due(T), flow.status(T).state) == (T + 2.0, "searching")
    attempt(flow, platform, T + 2)
    assert len(keys_of(platform.puts[-1][1])) == 4
    attempt(flow, platform, T + 2)
    assert keys_of(platform.puts[-1][1]) == [key(0, 0), key(1, 0), key(2, 0)]
    settle(flow, platform, T + 2)
    assert counts(flow) == (4, 3, 0, {"refused": 1})
    assert any(text.endswith("for what it holds: a span is wrong") for _, text in said(flow))


@pytest.mark.parametrize(("bad", "good"), [(0, 1), (1, 0)])
def test_what_comes_during_a_search_waits_for_its_end(bad: int, good: int) -> None:
    """And is not settled by it."""
    platform = poisoned("bad")
    flow = flow_of(make_span(bad, 0, start=bad, text="bad"), make_span(good, 0, start=good))
    first = flow._mark
    attempt(flow, platform, T)
    later = flow.hand_over([make_span(2, 0, start=2)], NOW_NS)
    while flow.status(T).state == "searching":
        assert not flow.settled(first)
        attempt(flow, platform, T)
        assert key(2, 0) not in keys_of(platform.puts[-1][1])
    assert (flow.settled(first), flow.settled(later)) == (True, False)
    settle(flow, platform, T)
    assert platform.keys("a") == [key(good, 0), key(2, 0)]


def test_suspects_that_were_pushed_out_are_not_searched_for() -> None:
    """They are counted as what they are, once."""
    platform = poisoned("bad")
    flow = flow_of(make_span(0, 0, text="bad"), make_span(1, 0, start=1), max_spans=2)
    attempt(flow, platform, T)
    flow.hand_over([make_span(2, 0, start=2), make_span(3, 0, start=3)], NOW_NS + 10**12)
    assert counts(flow) == (4, 0, 2, {"window_full": 2})
    settle(flow, platform, T)
    assert counts(flow) == (4, 2, 0, {"window_full": 2})
    assert platform.keys("a") == [key(2, 0), key(3, 0)]


@pytest.mark.parametrize(
    ("suspected", "answer"),
    [(True, Stored(200, None)), (False, TooLarge("413"))],
    ids=["during its proof", "too large alone"],
)
def test_a_span_that_was_pushed_out_meanwhile_is_not_dropped_twice(suspected: bool, answer: Any) -> None:
    """Where the body without it is under way, or its own, it is counted as pushed out, once."""
    flow = flow_of(make_span(0, 0), max_spans=1, merge=False)
    if suspected:
        list(answers(flow, T, [REFUSED]))
    step = flow.begin(T)
    assert isinstance(step, Write)
    assert len(step.body.spans) == (not suspected)
    flow.hand_over([make_span(1, 0, start=1)], NOW_NS + 10**12)
    flow.feed(step, answer, T, NOW_NS)
    assert counts(flow) == (2, 0, 1, {"window_full": 1})


def test_a_suspect_that_comes_anew_during_the_proof_is_not_dropped() -> None:
    """Its newer text was not refused yet."""
    flow = flow_of(make_span(0, 0, text="bad"), merge=False)
    list(answers(flow, T, [REFUSED]))
    step = flow.begin(T)
    flow.hand_over([make_span(0, 0, text="good")], NOW_NS)
    flow.feed(step, Stored(200, None), T, NOW_NS)  # type: ignore[arg-type]
    assert counts(flow) == (1, 0, 1, {})
    settle(flow, poisoned("bad"), T)
    assert counts(flow) == (1, 1, 0, {})


def test_a_search_without_pending_spans_is_no_trouble() -> None:
    """When all suspects were named, pushed out or moved, there is nothing to search for."""
    flow = flow_of(make_span(0, 0), make_span(1, 0), merge=False)
    list(answers(flow, T, [REFUSED]))
    assert (flow.in_trouble, flow.status(T).state) == (True, "searching")
    for n in range(2):
        flow.take(key(n, 0))
    assert (flow.in_trouble, flow.status(T).state, flow.idle) == (False, "clean", True)
    flow.hand_over([make_span(2, 0)], NOW_NS)
    settle(flow, Platform(), T)
    assert counts(flow) == (1, 1, 0, {})


def test_trouble_ends_with_the_last_span_that_was_in_it() -> None:
    """The platform answers, and nothing is left to do: what comes next is not in trouble."""
    flow = flow_of(make_span(0, 0), merge=False)
    list(answers(flow, T, [DOWN]))
    flow.report.take(T)
    for _ in range(2):
        list(answers(flow, T + 2, [TooLarge("413")]))
    assert (flow.idle, flow.in_trouble, flow.status(T).state) == (True, False, "clean")
    mark = flow.hand_over([make_span(1, 0)], NOW_NS)
    assert flow.verdict(mark, flow.lost, T + 2) is None


def test_what_was_refused_is_never_adopted() -> None:
    """Even if it stands in the stored flow all the same."""
    platform = poisoned("bad", fields=True)
    flow = flow_of(make_span(0, 0, text="bad"), make_span(1, 0))
    settle(flow, platform, T)
    platform.stored["a"] = document(make_span(0, 0, text="bad").body, make_span(1, 0).body)
    platform.refuses = lambda span: False
    flow.hand_over([make_span(2, 0)], NOW_NS)
    settle(flow, platform, T + 1)
    assert platform.keys("a") == [key(1, 0), key(2, 0)]


def test_only_so_many_are_remembered_as_never_to_adopt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded; the oldest are forgotten first."""
    monkeypatch.setattr(remote, "REMEMBERED_KEYS", 2)
    flow = flow_of(*(make_span(n, 0) for n in range(3)))
    for n in range(3):
        flow.take(key(n, 0))
    assert list(flow._exchange.known._never_adopt) == [key(1, 0), key(2, 0)]


def test_a_rewrite_that_is_refused_is_tried_again_later(platform: Platform) -> None:
    """Without a pending span there is no suspect."""
    flow = delivered_flow(platform, make_span(0, 0), make_span(1, 0))
    flow.take(key(0, 0))
    list(answers(flow, T + 1, [Found(b"", b"", 200), REFUSED]))
    assert (flow.due(T + 1), counts(flow)) == (T + 3.0, (2, 2, 0, {}))
    assert "even without its new spans (422: a span is wrong)" in (flow.status(T).last_error or "")
    settle(flow, platform, T + 1)
    assert platform.keys("a") == [key(1, 0)]


# -- too large ------------------------------------------------------------------------------------------------


def test_the_window_halves_until_it_fits(platform: Platform) -> None:
    """Once a 413 comes twice. The oldest traces leave; the limit is remembered."""
    platform.max_body = 3000
    flow = flow_of(*(make_span(n, 0, start=n, size=400) for n in range(20)))
    assert settle(flow, platform, T) == T, "halving ignores pacing"
    assert len(platform.puts) == 4
    assert isinstance(flow.window.max_bytes, int)
    count = len(platform.keys("a"))
    assert 4 <= count <= 6
    assert counts(flow) == (20, count, 0, {"window_full": 20 - count})
    flow.hand_over([make_span(30, 0, start=30, size=400)], NOW_NS + 10**12)
    settle(flow, platform, T + 1)
    assert len(platform.puts) == 5
    assert counts(flow)[1] == count + 1


def test_a_413_that_says_when_is_waited_for(platform: Platform) -> None:
    """It is temporary, and nothing is lost for it; a flush in between is no wait that was honoured."""
    platform.max_body, platform.retry_after = 1000, 30.0
    flow = flow_of(*(make_span(n, 0, start=n, size=400) for n in range(5)))
    attempt(flow, platform, T)
    assert flow.due(T) == T + 30
    flow.hurry(T, T + 5)
    for _ in range(3):
        attempt(flow, platform, T + 1)
    ((level, line),) = said(flow)
    assert level == logging.WARNING
    assert "does not take the flow now" in line
    platform.max_body = None
    settle(flow, platform, T + 30)
    assert counts(flow) == (5, 5, 0, {})
    assert flow.window.max_bytes == 100_000


def test_a_413_that_says_when_each_time_is_waited_for_once(platform: Platform) -> None:
    """For each size of the body: then the window halves as without it, and its size is what is blamed."""
    platform.max_body, platform.retry_after = 3000, 30.0
    flow = flow_of(*(make_span(n, 0, start=n, size=400) for n in range(20)))
    assert settle(flow, platform, T) == T + 60
    assert [len(body) // 4000 for _, body in platform.puts] == [2, 2, 1, 1, 0]
    count = len(platform.keys("a"))
    assert counts(flow) == (20, count, 0, {"window_full": 20 - count})
    line = said(flow)[-1][1]
    assert f"does not take a flow of this size ({len(platform.puts[-2][1])} bytes); record" in line
    assert not {"newer", "VERSORI_FLOW_MAX_BYTES"} & set(line.split())


def test_a_413_that_says_when_is_not_waited_for_at_the_end(platform: Platform) -> None:
    """The exporter ends before: what fits is delivered."""
    platform.max_body, platform.retry_after = 3000, 3600.0
    flow = flow_of(*(make_span(n, 0, start=n, size=400) for n in range(10)))
    flow.close(T, T + 10)
    assert settle(flow, platform, T) < T + 10
    assert counts(flow)[1] >= 4


def test_one_span_that_is_too_large_alone_is_dropped(platform: Platform) -> None:
    """Counted as that, with the platform's message; the others stay."""
    platform.max_body = 1000
    flow = flow_of(make_span(0, 0, size=300), make_span(1, 0, start=1, size=2000), make_span(2, 0, size=300))
    settle(flow, platform, T)
    assert platform.keys("a") == [key(0, 0), key(2, 0)]
    assert counts(flow) == (3, 2, 0, {"too_large": 1})
    ((level, line),) = said(flow)
    assert level == logging.ERROR
    assert line.endswith("bytes")
    assert flow.window.max_bytes == 100_000, "nothing was learnt about the others"


def test_a_span_beyond_the_remembered_limit_is_too_large(platform: Platform) -> None:
    """It is dropped alone: all the others would have to leave for it, and it would be refused then."""
    platform.max_body = 2000
    flow = flow_of(*(make_span(n, 0, start=n, size=300) for n in range(20)))
    settle(flow, platform, T)
    kept = platform.keys("a")
    flow.hand_over([make_span(50, 0, start=50, size=5000)], NOW_NS + 10**12)
    assert counts(flow)[3]["too_large"] == 1
    settle(flow, platform, T + 1)
    assert platform.keys("a") == kept


def test_a_lone_span_is_dropped_though_larger_bodies_were_taken_before(platform: Platform) -> None:
    """The platform's limit went down: it does not go on for ever."""
    flow = delivered_flow(platform, *(make_span(n, 0, size=500) for n in range(3)))
    del platform.stored["a"]
    platform.max_body = 300
    flow.hand_over([make_span(9, 0, size=400)], NOW_NS)
    settle(flow, platform, T + 1)
    assert counts(flow) == (4, 3, 0, {"too_large": 1})
    assert flow.status(T).last_error == "440 bytes"


@pytest.mark.parametrize(
    ("spans", "size", "max_spans", "more", "new", "kept"),
    [
        (5, 400, 100, 100, 400, [1, 2, 3, 4, 9]),
        (4, 500, 4, 1, 1900, [9]),
        (4, 500, 4, 1, 2004, [9]),
        (4, 400, 4, -1, 400, [3, 9]),
    ],
    ids=["more than half", "a large span", "a larger one", "a limit that went down"],
)
def test_a_limit_is_what_was_accepted(
    platform: Platform, spans: int, size: int, max_spans: int, more: int, new: int, kept: list[int]
) -> None:
    """No more leaves than must, and nothing is dropped that may fit alone; one that went down is looked for anew."""
    delivered = [make_span(n, 0, start=n, size=size) for n in range(spans)]
    flow = delivered_flow(platform, *delivered, max_spans=max_spans)
    platform.max_body = len(platform.stored["a"]) + more
    flow.hand_over([make_span(9, 0, start=9, size=new)], NOW_NS + 10**12)
    settle(flow, platform, T + 1, most=4)
    assert platform.keys("a") == [key(n, 0) for n in kept]
    assert counts(flow) == (spans + 1, spans + 1, 0, {})


@pytest.mark.parametrize("smaller", [500, 498])
def test_half_of_a_body_is_not_too_large_alone(platform: Platform, smaller: int) -> None:
    """Two equal spans: the older trace leaves."""
    platform.max_body = 700
    flow = flow_of(make_span(0, 0, size=500), make_span(1, 0, start=1, size=smaller))
    settle(flow, platform, T)
    assert platform.keys("a") == [key(1, 0)]
    assert counts(flow) == (2, 1, 0, {"window_full": 1})


def test_the_remembered_limit_is_the_accepted_body_s(platform: Platform) -> None:
    """To the byte, with a comma to spare."""
    flow = delivered_flow(platform, *(make_span(n, 0, start=n, size=400) for n in range(5)))
    accepted = len(platform.stored["a"])
    flow.hand_over([make_span(9, 0, start=9, size=400)], NOW_NS + 10**12)
    platform.max_body = accepted
    attempt(flow, platform, T + 1)
    attempt(flow, platform, T + 1)
    assert flow.window.max_bytes == accepted + 1
    assert flow.status(T).last_error == f"{accepted + 401} bytes"


def test_the_other_members_are_not_halved(platform: Platform) -> None:
    """A large description does not shrink: the limit is looked for in the spans' part of the body."""
    platform.max_body = 3000
    platform.stored["a"] = document(description=b'"' + b"d" * 2000 + b'"')
    flow = flow_of(*(make_span(n, 0, start=n, size=400) for n in range(4)))
    settle(flow, platform, T)
    assert platform.keys("a") == [key(n, 0) for n in (2, 3)]
    assert flow.window.max_bytes > flow.window.overhead


def test_a_foreign_span_that_is_too_large_ages_out(platform: Platform) -> None:
    """It leaves as delivered spans do; ours stay."""
    platform.stored["a"] = document(make_span(7, 7, start=-5, size=2000).body)
    platform.max_body = 1000
    flow = flow_of(make_span(0, 0), make_span(0, 1))
    settle(flow, platform, T)
    assert platform.keys("a") == [key(0, 0), key(0, 1)]


@pytest.mark.parametrize("spans", [0, 1])
def test_a_body_that_cannot_shrink_backs_off(platform: Platform, spans: int) -> None:
    """Nothing of ours is in it that could leave: it is tried again later."""
    flow = delivered_flow(platform, *(make_span(n, 0, start=n) for n in range(spans + 1)))
    flow.take(key(0, 0))
    list(answers(flow, T + 1, [Found(b"", b"", 200), TooLarge("413")]))
    assert flow.due(T + 1) == T + 3.0
    assert "does not take the flow now (413)" in (flow.status(T).last_error or "")
    settle(flow, platform, T + 3)
    assert len(platform.keys("a")) == spans


@pytest.mark.parametrize(("size", "fits"), [(961, True), (962, False)])
def test_a_span_that_is_larger_than_a_body_may_be_is_too_large(
    platform: Platform, size: int, fits: bool
) -> None:
    """It never enters the window; the bound is the body's, to the byte."""
    flow = flow_of(make_span(0, 0, size=size), max_bytes=1001)
    assert flow.window.overhead == 40
    assert counts(flow) == ((1, 0, 1, {}) if fits else (1, 0, 0, {"too_large": 1}))
    settle(flow, platform, T)
    assert [len(body) for _, body in platform.puts] == ([1001] if fits else [])
    if not fits:
        assert said(flow)[0][1].endswith("962 bytes where 961 may be")


def test_members_that_take_half_of_a_body_are_not_blamed() -> None:
    """Only where they take more than that."""
    flow = flow_of(make_span(0, 0), max_bytes=80)
    assert said(flow)[0][1].endswith("bytes where 40 may be")


# -- evidence ----------------------------------------------------------------------------------------------


def test_a_foreign_offender_that_comes_during_a_search_costs_nobody() -> None:
    """What was found before is worth nothing then; the flow backs off, and goes on when it is repaired."""
    platform = poisoned("bad", "odd")
    spans = [make_span(n, 0, start=n, text="bad" if n == 3 else "") for n in range(4)]
    flow = flow_of(*spans)
    for _ in range(5):  # all, 0-1, 2-3, 2, 3: the last stands on trial
        attempt(flow, platform, T)
    platform.stored["a"] = document(*(spans[n].body for n in range(3)), foreign(1))
    while flow.status(T).state == "searching":
        attempt(flow, platform, T)
    assert (counts(flow), flow.status(T).state) == ((4, 3, 1, {}), "backing off")
    platform.stored["a"] = document(*(spans[n].body for n in range(3)))
    settle(flow, platform, T)
    assert counts(flow) == (4, 3, 0, {"refused": 1})


def test_names_of_ours_and_of_others_cost_none_of_ours() -> None:
    """The body without ours is refused for theirs."""
    platform = poisoned("bad", "odd", fields=True)
    platform.stored["a"] = document(foreign(1))
    flow = flow_of(make_span(0, 0, text="bad"), make_span(1, 0))
    for now in (T, T, T + 9, T + 9):
        attempt(flow, platform, now)
    assert counts(flow) == (2, 0, 2, {})
    platform.stored["a"] = document()
    settle(flow, platform, T + 9)
    assert counts(flow) == (2, 1, 0, {"refused": 1})


def test_a_delivered_span_that_is_named_once_only_comes_back(platform: Platform) -> None:
    """It was out of one body, for the proof."""
    flow = delivered_flow(platform, make_span(0, 0))
    flow.hand_over([make_span(1, 0)], NOW_NS)
    list(answers(flow, T + 1, [Found(b"", b"", 200), Rejected(400, "", "no", (0,))]))
    attempt(flow, platform, T + 1)
    assert platform.keys("a") == [key(1, 0)]
    settle(flow, platform, T + 1)
    assert (platform.keys("a"), counts(flow)) == ([key(0, 0), key(1, 0)], (2, 2, 0, {}))
