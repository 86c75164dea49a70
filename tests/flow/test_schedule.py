"""When one flow is due: pacing, back-off, haste, and the end."""

from __future__ import annotations

from typing import Any

import pytest

from opentelemetry.exporter.versori_flow.delivery.attempt import perform
from opentelemetry.exporter.versori_flow.flow.flow import Flow
from opentelemetry.exporter.versori_flow.flow.report import explain
from opentelemetry.exporter.versori_flow.flow.schedule import MAX_CHECKS, Schedule
from opentelemetry.exporter.versori_flow.flow.stored import UnreadableFlow, read
from opentelemetry.exporter.versori_flow.http.answers import (
    Absent,
    Conflict,
    Denied,
    Found,
    Misconfigured,
    Stored,
    TooLarge,
    Unavailable,
    Unreadable,
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
    erase,
    flow_of,
    foreign,
    key,
    make_policy,
    make_span,
    said,
    settle,
    settle_while_erased,
)

# -- reading back at the end ----------------------------------------------------------------------------------


def test_the_look_of_an_end_comes_while_there_is_time_for_it() -> None:
    """However long the PUT took: half of the time that is left, and not after it."""
    schedule = Schedule(make_policy(), T)
    schedule.close(T, T + 2, mark=1, tries=5)
    schedule.plan_check(T, took=10.0, alone=False)
    assert schedule.check_at == T + 1
    schedule.plan_check(T + 1, took=0.1, alone=False)
    assert schedule.check_at is not None
    assert T + 1.1 <= schedule.check_at <= T + 1.3


# -- pacing ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("min_interval", [5.0, 0.0])
def test_two_puts_are_an_interval_apart(min_interval: float) -> None:
    """Counted from the PUT, not from its answer; zero turns pacing off."""
    flow = delivered_flow(Platform(), make_span(0, 0), min_interval=min_interval)
    flow.hand_over([make_span(1, 0)], NOW_NS)
    assert flow.due(T + 1) == T + min_interval
    assert flow.status(T + 1).next_attempt == max(min_interval - 1, 0)
    assert flow.status(T + 9).next_attempt == 0.0


@pytest.mark.parametrize(
    ("spans", "size", "due"),
    [(4, None, T + 1.0), (5, None, T), (1, 498, T + 1.0), (1, 499, T)],
    ids=["less in spans", "half in spans", "less in bytes", "half in bytes"],
)
def test_a_window_half_full_of_pending_spans_is_due_at_once(spans: int, size: int | None, due: float) -> None:
    """Whatever pacing says. Bytes fill it as spans do; a span takes its comma with it."""
    bounds = {"max_spans": 10} if size is None else {"max_bytes": 1000}
    flow = delivered_flow(Platform(), make_span(0, 0), **bounds)
    flow.hand_over([make_span(1, number, size=size) for number in range(spans)], NOW_NS)
    assert flow.due(T) == due


def test_hurry_ignores_pacing(platform: Platform) -> None:
    """Once: the next span waits its interval again."""
    flow = delivered_flow(platform, make_span(0, 0))
    mark = flow.hand_over([make_span(1, 0)], NOW_NS)
    assert flow.hurry(T) == mark
    assert (flow.due(T), flow.status(T).next_attempt) == (T, 0.0)
    attempt(flow, platform, T)
    assert flow.settled(mark)
    flow.hand_over([make_span(2, 0)], NOW_NS)
    assert flow.due(T) == T + 1.0


def test_hurry_without_work_leaves_nothing_behind(platform: Platform) -> None:
    """Neither at rest, nor while the attempt that carries everything is under way."""
    flow = delivered_flow(platform, make_span(0, 0))
    flow.hurry(T)
    flow.hand_over([make_span(1, 0)], NOW_NS)
    assert flow.due(T) == T + 1.0
    step = flow.begin(T + 1)
    flow.hurry(T + 1)
    while step is not None:
        step = flow.feed(step, perform(step, platform, 0.0), T + 1, NOW_NS)  # type: ignore[arg-type]
    flow.hand_over([make_span(2, 0)], NOW_NS)
    assert flow.due(T + 1) == T + 2.0


def test_hurry_during_an_attempt_lasts_for_what_came_meanwhile() -> None:
    """It is due at once when the attempt is over."""
    flow = flow_of(make_span(0, 0), merge=False)
    step = flow.begin(T)
    flow.hand_over([make_span(1, 0)], NOW_NS)
    flow.hurry(T)
    flow.feed(step, Stored(200, None), T, NOW_NS)  # type: ignore[arg-type]
    assert flow.due(T) == T


# -- trouble --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "lines"),
    [
        (DOWN, []),  # what concerns all flows is said once for all of them
        (
            Conflict("again"),
            [
                "flow 'a': the platform does not take the flow now (again). 1 span waits; the next attempt is in "
                "2.0 s"
            ],
        ),
    ],
)
def test_a_put_that_fails_is_tried_again_later(answer: Any, lines: list[str]) -> None:
    """The spans stay pending, the flow backs off and says what is wrong."""
    flow = flow_of(make_span(0, 0), merge=False)
    list(answers(flow, T, [answer]))
    status, trouble = flow.status(T), explain(answer)
    assert (counts(flow), flow.due(T), flow.in_trouble) == ((1, 0, 1, {}), T + 2.0, True)
    assert (status.state, status.next_attempt) == ("backing off", 2.0)
    assert trouble is not None
    assert status.last_error == trouble.text
    assert [text for _, text in said(flow)] == lines


@pytest.mark.parametrize(("retry_after", "wait"), [(30.0, 30.0), (1.0, 2.0), (0.0, 2.0), (None, 2.0)])
@pytest.mark.parametrize("kind", [Unavailable, Denied, Misconfigured])
def test_the_longer_of_both_waits_counts(kind: Any, retry_after: float | None, wait: float) -> None:
    """`Retry-After` never shortens the backoff."""
    answer = kind("503", "no", retry_after, True) if kind is Unavailable else kind(403, "no", retry_after)
    flow = flow_of(make_span(0, 0), merge=False)
    list(answers(flow, T, [answer]))
    assert flow.due(T) == T + wait


def test_a_wait_is_the_backoff_s_unless_somebody_waits() -> None:
    """For whom it begins anew, and no longer than he waits; two stray pages that are no row don't end that."""
    schedule = Schedule(make_policy(backoff=lambda failures: failures / 4), T)
    assert schedule.failed(T, None, 0.0) == 0.25
    schedule.hurry(T, T + 5, mark=1)
    waits = [schedule.failed(T + at, None, vain) for at, vain in ((4, 0.5), (4.5, 0.0), (4.9, 0.5), (5, 0.0))]
    assert (waits, schedule.hopeless) == ([0.25, 0.5, 0.75, 1.25], False)


def test_new_spans_do_not_shorten_the_wait() -> None:
    """Not even a full window does."""
    flow = flow_of(make_span(0, 0), merge=False, max_spans=2)
    list(answers(flow, T, [DOWN]))
    flow.hand_over([make_span(1, 0), make_span(2, 0)], NOW_NS)
    assert flow.due(T) == T + 2.0


def test_hurry_ignores_backoff_and_retry_after() -> None:
    """The caller's time is the bound."""
    flow = flow_of(make_span(0, 0), merge=False)
    list(answers(flow, T, [Unavailable("503", "no", 3600.0, True)]))
    flow.hurry(T, T + 60)
    assert flow.due(T) == T
    list(answers(flow, T, [DOWN]))
    assert (flow.due(T), flow.due(T + 60)) == (T + 1.0, T + 4.0)


def test_a_success_ends_the_trouble() -> None:
    """It is said once, with what still waits, and the wait begins anew next time."""
    flow = flow_of(make_span(0, 0), merge=False)
    list(answers(flow, T, [Conflict("again")]))
    flow.report.take(T)
    step = flow.begin(T + 2)
    flow.hand_over([make_span(1, 0)], NOW_NS)
    flow.feed(step, Stored(200, None), T + 2, NOW_NS)  # type: ignore[arg-type]
    assert [text for _, text in said(flow)] == ["flow 'a': is delivered again; 1 span waits"]
    assert (flow.in_trouble, flow.due(T + 2)) == (False, T + 3.0)
    list(answers(flow, T + 3, [DOWN]))
    assert flow.due(T + 3) == T + 5.0


def test_a_second_conflict_backs_off() -> None:
    """409: read, merge, write again, once in each attempt."""
    flow = flow_of(make_span(0, 0))
    steps = list(answers(flow, T, [None, Conflict("again"), None, Conflict("again")]))
    assert [type(step).__name__ for step in steps] == ["Read", "Write", "Read", "Write"]
    assert (steps[2].known, flow.due(T)) == (None, T + 2.0)
    list(answers(flow, T + 2, [None, Conflict("again"), None, Stored(200, None)]))
    assert counts(flow) == (1, 1, 0, {})


# -- the end --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("merge", [True, False])
def test_closing_a_flow_that_wrote_nothing_is_nothing(merge: bool) -> None:
    """There is nothing to read back; in replace mode there never is."""
    flow = flow_of(merge=merge)
    flow.close(T)
    assert flow.due(T) is None
    flow = delivered_flow(Platform(), make_span(0, 0), merge=False)
    flow.close(T)
    assert flow.due(T) is None


def test_closing_a_flow_that_holds_others_spans_only_reads_nothing_back(platform: Platform) -> None:
    """None of ours can be missing."""
    platform.stored["a"] = document(foreign(1))
    flow = delivered_flow(platform, make_span(0, 0))
    flow.take(key(0, 0))
    settle(flow, platform, T)
    flow.close(T)
    assert flow.due(T) is None


@pytest.mark.parametrize("pending", [True, False])
def test_closing_writes_again_four_times_at_most(platform: Platform, pending: bool) -> None:
    """A writer that erases for ever is left to win."""
    flow = delivered_flow(platform, make_span(0, 0))
    if pending:
        flow.hand_over([make_span(1, 0)], NOW_NS)
    erase(platform, foreign(1))
    flow.close(T)
    puts = len(platform.puts)
    settle_while_erased(flow, platform, T)
    assert len(platform.puts) - puts - pending == MAX_CHECKS


@pytest.mark.parametrize(
    ("stored", "after", "wait"),
    [
        (None, None, 0),
        (None, document(foreign(1)), 8),
        (None, document(), 8),
        (document(foreign(1)), None, 8),
    ],
)
def test_closing_beside_another_writer_reads_back_a_random_moment_later(
    platform: Platform, stored: bytes | None, after: bytes | None, wait: float
) -> None:
    """Two that end together otherwise erase each other: where one was seen, or an earlier run left spans."""
    if stored is not None:
        platform.stored["a"] = stored
    flow = delivered_flow(platform, make_span(0, 0), min_interval=20, uniform=lambda low, high: low + high)
    if after is not None:
        platform.stored["a"] = after
    flow.hand_over([make_span(1, 0)], NOW_NS)
    flow.close(T, T + 60)
    step: Any = flow.begin(T)
    for now in (T + 1, T + 2):
        step = flow.feed(step, perform(step, platform, 0.0), now, NOW_NS)
    assert flow.due(T + 2) == T + 2 + wait


def test_the_attempt_under_way_is_not_the_last_one() -> None:
    """It may have begun long before the end. After one more, whoever waits for the flow need not."""
    flow = flow_of(make_span(0, 0), merge=False)
    list(answers(flow, T, [DOWN]))
    step: Any = flow.begin(T + 2)
    flow.close(T + 3)
    flow.feed(step, DOWN, T + 4, NOW_NS)
    assert (flow.flushed(1), flow.due(T + 4)) == (None, T + 5)
    list(answers(flow, T + 5, [DOWN]))
    assert (flow.flushed(1), flow.due(T + 5)) == (False, None)


@pytest.mark.parametrize(("later", "goes_on"), [(10.0, True), (10.5, False)])
def test_a_platform_that_answered_a_moment_ago_is_tried_for_longer(
    platform: Platform, later: float, goes_on: bool
) -> None:
    """Failures count as tries only when the last success is longer ago than an attempt may take."""
    flow = delivered_flow(platform, make_span(0, 0), timeout=10.0)
    flow.hand_over([make_span(1, 0)], NOW_NS)
    list(answers(flow, T + 1, [DOWN]))
    flow.close(T + later)
    list(answers(flow, T + later, [DOWN]))
    assert (flow.due(T + later) is not None) is goes_on


@pytest.mark.parametrize(
    "answer", [None, Found(b"", b"", 200), read(b'{"name":"a","description":"","spans":[]}', b"d")]
)
def test_a_read_is_a_success_too(answer: Any) -> None:
    """The platform lives, though it takes no PUT at the moment."""
    flow = flow_of(make_span(0, 0))
    list(answers(flow, T, [DOWN]))
    flow.close(T)
    list(answers(flow, T + 5, [answer, DOWN]))
    assert flow.due(T + 5) is not None


DENIED = Denied(403, "who", None)


@pytest.mark.parametrize("reads", [True, False])
@pytest.mark.parametrize("in_trouble", [True, False])
def test_the_end_does_not_wait_for_what_no_repetition_helps(reads: bool, in_trouble: bool) -> None:
    """A key that may not write, with reads that succeed or not: two more tries could be a rollout's, no third is."""
    denied: list[Any] = [Absent(own_form=True, message=""), DENIED] if reads else [DENIED]
    flow = flow_of(make_span(0, 0))
    if in_trouble:
        list(answers(flow, T, denied))
    flow.close(T + 1, T + 60)
    tries, now = 0, T + 1.0
    while (due := flow.due(now)) is not None:
        tries, now = tries + 1, due
        list(answers(flow, now, denied))
    assert tries == (1 if in_trouble and not reads else 3)
    assert now <= T + 3


def test_a_failure_that_may_pass_begins_the_count_anew() -> None:
    """Denied, denied, away, denied, denied: a gateway that comes and goes."""
    flow = flow_of(make_span(0, 0), merge=False)
    flow.close(T, T + 60)
    for answer in (DENIED, DENIED, DOWN, DENIED, DENIED):
        due = flow.due(T + 59)
        assert due is not None
        list(answers(flow, due, [answer]))
    assert flow.due(T + 59) is not None


# -- haste -------------------------------------------------------------------------------------------------


def test_a_flush_uses_all_of_its_time() -> None:
    """After however long an outage, waits start anew and stay at a second or less; then the old ones hold."""
    flow = flow_of(make_span(0, 0), merge=False, backoff=lambda failures: min(0.25 * 2 ** (failures - 1), 60))
    for _ in range(9):
        list(answers(flow, T, [Unavailable("503", "no", 3600.0, True)]))
    mark = flow.hurry(T, T + 5)
    now, waits = T, []
    while (due := flow.due(now) or 0.0) < T + 5:
        assert flow.flushed(mark) is None
        waits.append(due - now)
        now = due
        list(answers(flow, now, [Unavailable("503", "no", 30.0, True)]))
    assert waits == [0, 0.25, 0.5, 1, 1, 1, 1]
    assert due == now + 60
    assert settle(flow, Platform(), due) == due
    assert flow.flushed(mark) is True


def test_a_second_flush_starts_anew_and_keeps_the_longer_time() -> None:
    """Whoever waits longest is the bound."""
    flow = flow_of(make_span(0, 0), merge=False, backoff=lambda failures: 0.25 * failures)
    flow.hurry(T, T + 60)
    for _ in range(3):
        list(answers(flow, T, [DOWN]))
    assert flow.due(T) == T + 0.75
    flow.hurry(T, T + 1)
    assert flow.due(T) == T
    list(answers(flow, T + 30, [DOWN]))
    assert flow.due(T + 30) == T + 30.25


@pytest.mark.parametrize(
    ("answer", "attempts"),
    [
        (Denied(401, "who?", None), 1),
        (Misconfigured(302, "there", None), 1),
        (UnreadableFlow("a page"), 2),
        (Unreadable("endless"), 2),
        (DOWN, 99),
        (Absent(own_form=False), 99),
    ],
)
def test_a_flush_ends_early_where_nothing_helps(answer: Any, attempts: int) -> None:
    """A key, an address; an unreadable flow twice, since a page may be a stray one. Not for an outage."""
    flow = flow_of(make_span(0, 0))
    list(answers(flow, T, [answer]))
    mark = flow.hurry(T, T + 60)
    for count in range(3):
        assert flow.flushed(mark) is (False if count >= attempts else None)
        step = flow.begin(T)
        assert flow.flushed(mark) is None
        flow.feed(step, answer, T, NOW_NS)  # type: ignore[arg-type]
    flow.hurry(T, T + 60)
    assert flow.flushed(mark) is None, "a flush tries"


def test_a_flush_ends_early_where_the_flow_is_refused_without_our_spans() -> None:
    """Nothing is dropped."""
    flow = flow_of(make_span(0, 0), merge=False)
    mark = flow.hurry(T, T + 60)
    for _ in range(2):
        assert flow.flushed(mark) is None
        list(answers(flow, T, [REFUSED]))
    assert (flow.flushed(mark), counts(flow)) == (False, (1, 0, 1, {}))


def test_haste_ends_where_all_that_it_was_for_is_dropped() -> None:
    """There is nothing to wait for any more."""
    flow = flow_of(make_span(0, 0), merge=False)
    flow.hurry(T, T + 60)
    for answer in (TooLarge("413"), TooLarge("413"), DOWN):
        if answer is DOWN:
            flow.hand_over([make_span(1, 0)], NOW_NS)
        list(answers(flow, T, [answer]))
    assert (counts(flow), flow.due(T)) == ((2, 0, 1, {"too_large": 1}), T + 2)


def test_who_waited_in_vain_waits_once() -> None:
    """Until the attempt under way ends, nobody else waits for it."""
    flow = flow_of(merge=False)
    mark = flow.hand_over([make_span(0, 0)], NOW_NS)
    flow.waited_in_vain()
    step: Any = flow.begin(T)
    assert flow.verdict(mark, 0, T) is None
    flow.waited_in_vain()
    later = flow.hand_over([make_span(1, 0)], NOW_NS)
    assert (flow.verdict(mark, 0, T), flow.verdict(later, 0, T)) == (False, False)
    flow.feed(step, Stored(200, None), T, NOW_NS)
    assert (flow.verdict(mark, 0, T), flow.verdict(later, 0, T)) == (True, True)
    flow.begin(T + 1)
    assert flow.verdict(later, 0, T + 1) is None


def test_a_flow_without_trouble_is_tried_until_the_time_is_up() -> None:
    """A second apart at most."""
    flow = flow_of(make_span(0, 0), merge=False)
    flow.close(T, T + 10)
    now, attempts = T, 0
    while (due := flow.due(now)) is not None and due < T + 10:
        now = max(now, due)
        list(answers(flow, now, [DOWN]))
        attempts += 1
    assert attempts == 10
    assert flow.flushed(1) is None


def closed_without_turns(platform: Platform, theirs: bytes | None) -> Flow:
    """A flow that ends without its turn; after each of its PUTs another writer puts `theirs` there."""
    flow = flow_of(make_span(0, 0), make_span(1, 0))
    flow.close(T, T + 100)
    now = T
    while (due := flow.due(now)) is not None:
        now = max(now, due)
        begun, step = now, flow.begin(now)
        while step is not None:
            now += 0.5
            step = flow.feed(step, perform(step, platform, 0.0), now, NOW_NS, in_turn=False)
        assert flow.due(now) in (now + (now - begun), None), "it looks a moment later, not at once"
        if theirs is not None:
            platform.stored["a"] = theirs
    return flow


def test_what_is_written_without_a_turn_at_the_end_is_read_back(platform: Platform) -> None:
    """It is delivered once a read shows it."""
    flow = closed_without_turns(platform, None)
    assert (counts(flow), len(platform.puts)) == ((2, 2, 0, {}), 1)


def test_what_is_erased_each_time_at_the_end_is_lost_and_counted(platform: Platform) -> None:
    """Of two spans the other writer keeps one: that is delivered, the other is what can't be made sure of."""
    flow = closed_without_turns(platform, document(make_span(0, 0).body))
    flow.abandon()
    assert counts(flow) == (2, 1, 0, {"shutdown": 1})
    assert len(platform.puts) == 1 + MAX_CHECKS
