"""One flow's delivery: what each answer leads to, and when the next attempt is due."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from opentelemetry.exporter.versori_flow.delivery.attempt import perform
from opentelemetry.exporter.versori_flow.flow.delivery import Flow
from opentelemetry.exporter.versori_flow.flow.entry import Origin
from opentelemetry.exporter.versori_flow.flow.ledger import DropReason
from opentelemetry.exporter.versori_flow.flow.policy import FlowPolicy
from opentelemetry.exporter.versori_flow.flow.schedule import MAX_CHECKS
from opentelemetry.exporter.versori_flow.flow.steps import Read, Write
from opentelemetry.exporter.versori_flow.flow.stored import UnreadableFlow, read
from opentelemetry.exporter.versori_flow.http.answers import (
    Absent,
    Conflict,
    Denied,
    Found,
    Misconfigured,
    Rejected,
    Stored,
    TooLarge,
    Unavailable,
    Unreadable,
)
from tests.flow.model import (
    NOW_NS,
    Platform,
    answers,
    attempt,
    digest_of,
    key,
    loads,
    make_policy,
    make_span,
    settle,
)

T = 1000.0
"""A time of the monotonic clock."""

DOWN = Unavailable("503", "503 Service Unavailable", None, True)
REFUSED = Rejected(422, "invalid", "a span is wrong", ())


def flow_of(*spans: Any, name: str = "a", **policy: Any) -> Flow:
    flow = Flow(name, make_policy(**policy))
    if spans:
        flow.hand_over(spans, NOW_NS)
    return flow


def delivered_flow(platform: Platform, *spans: Any, now: float = T, **policy: Any) -> Flow:
    """A flow whose spans stand in the platform."""
    flow = flow_of(*spans, **policy)
    assert attempt(flow, platform, now)[-1] == "Write"
    assert flow.window.pending == 0
    return flow


def counts(flow: Flow) -> tuple[int, int, int, dict[str, int]]:
    status = flow.status(T)
    assert status.handed_over == status.delivered + status.pending + sum(status.dropped.values())
    return status.handed_over, status.delivered, status.pending, dict(status.dropped)


def said(flow: Flow, now: float = T) -> list[tuple[int, str]]:
    return [(notice.level, notice.text) for notice in flow.report.take(now)]


def foreign(number: int, start: int = 0) -> bytes:
    return make_span(900 + number, number, start=start).body[:-1] + b' , "odd": 1.50}'


def document(*spans: bytes, description: bytes = b'"by hand \\u00e9"', more: bytes = b"") -> bytes:
    return (
        b'{ "name" : "x" , "description": '
        + description
        + more
        + b' ,"spans": ['
        + b" , ".join(spans)
        + b"]}"
    )


# -- the first delivery ------------------------------------------------------------------------------------


def test_a_flow_without_spans_has_nothing_to_do() -> None:
    """It is clean, idle, and never due."""
    flow = flow_of()
    assert (flow.due(T), flow.idle, flow.in_trouble, flow.settled(0)) == (None, True, False, True)
    status = flow.status(T)
    assert (status.flow, status.state, status.last_error, status.next_attempt) == ("a", "clean", None, None)
    assert counts(flow) == (0, 0, 0, {})


def test_spans_are_due_at_once() -> None:
    """The first PUT waits for nothing."""
    flow = flow_of(make_span(0, 0))
    due = flow.due(T)
    assert due is not None
    assert due < T, "before every flow that has waited already"
    assert (flow.idle, flow.status(T).state, flow.status(T).next_attempt) == (False, "dirty", 0.0)
    assert counts(flow) == (1, 0, 1, {})


def test_merge_reads_before_it_writes() -> None:
    """A flow that is not there yet is created with name, empty description and the spans."""
    flow, platform = flow_of(make_span(0, 0)), Platform()
    assert attempt(flow, platform, T) == ["Read", "Write"]
    assert platform.stored["a"] == b'{"name":"a","description":"","spans":[' + make_span(0, 0).body + b"]}"
    assert counts(flow) == (1, 1, 0, {})
    assert (flow.status(T).state, flow.due(T), flow.last_delivery) == ("clean", None, T)


def test_replace_never_reads() -> None:
    """The window alone is the flow."""
    platform = Platform()
    platform.stored["a"] = document(foreign(1), more=b',"id":1')
    flow = flow_of(make_span(0, 0), merge=False)
    assert attempt(flow, platform, T) == ["Write"]
    assert platform.reads == 0
    assert platform.stored["a"] == b'{"name":"a","description":"","spans":[' + make_span(0, 0).body + b"]}"


def test_a_busy_flow_is_not_due() -> None:
    """One flow is never written by two at once; what comes meanwhile waits."""
    flow = flow_of(make_span(0, 0))
    assert isinstance(flow.begin(T), Read)
    flow.hand_over([make_span(0, 1, parent=0)], NOW_NS)
    assert (flow.busy, flow.due(T), flow.idle, flow.status(T).state) == (True, None, False, "busy")


def test_spans_that_come_during_the_read_are_carried_too() -> None:
    """The body is made when the read is done."""
    flow = flow_of(make_span(0, 0))
    read_step = flow.begin(T)
    assert isinstance(read_step, Read)
    mark = flow.hand_over([make_span(0, 1, parent=0)], NOW_NS)
    write = flow.feed(read_step, Absent(), T, NOW_NS)
    assert isinstance(write, Write)
    assert write.body.spans == [make_span(0, 0).body, make_span(0, 1, parent=0).body]
    assert flow.feed(write, Stored(200, None), T, NOW_NS) is None
    assert flow.settled(mark)


def test_spans_that_come_during_the_write_stay_pending() -> None:
    """They are due after the pacing interval."""
    flow = flow_of(make_span(0, 0), merge=False)
    write = flow.begin(T)
    assert isinstance(write, Write)
    mark = flow.hand_over([make_span(0, 1, parent=0)], NOW_NS)
    assert flow.feed(write, Stored(200, None), T + 0.3, NOW_NS) is None
    assert counts(flow) == (2, 1, 1, {})
    assert not flow.settled(mark)
    assert flow.due(T + 0.3) == T + 1.0


def test_a_newer_text_that_comes_during_the_write_stays_pending() -> None:
    """What the PUT carried is delivered no longer; the span still counts once."""
    flow = flow_of(make_span(0, 0, text="early"), merge=False)
    write = flow.begin(T)
    assert isinstance(write, Write)
    flow.hand_over([make_span(0, 0, text="ended")], NOW_NS)
    flow.feed(write, Stored(200, None), T, NOW_NS)
    assert counts(flow) == (1, 0, 1, {})


# -- pacing ------------------------------------------------------------------------------------------------


def test_two_puts_are_an_interval_apart() -> None:
    """Counted from the PUT, not from its answer."""
    flow = delivered_flow(Platform(), make_span(0, 0), min_interval=5.0)
    flow.hand_over([make_span(1, 0)], NOW_NS)
    assert flow.due(T + 1) == T + 5.0
    assert flow.status(T + 1).next_attempt == 4.0
    assert flow.status(T + 9).next_attempt == 0.0


def test_zero_turns_pacing_off() -> None:
    """The next PUT is due at once."""
    flow = delivered_flow(Platform(), make_span(0, 0), min_interval=0.0)
    flow.hand_over([make_span(1, 0)], NOW_NS)
    assert flow.due(T) == T


@pytest.mark.parametrize(("spans", "due"), [(4, T + 1.0), (5, T)])
def test_a_window_half_full_of_pending_spans_is_due_at_once(spans: int, due: float) -> None:
    """Whatever pacing says."""
    flow = delivered_flow(Platform(), make_span(0, 0), max_spans=10)
    flow.hand_over([make_span(1, number) for number in range(spans)], NOW_NS)
    assert flow.due(T) == due


@pytest.mark.parametrize(("size", "due"), [(498, T + 1.0), (499, T)])
def test_a_window_half_full_in_bytes_is_due_at_once(size: int, due: float) -> None:
    """Bytes fill it as spans do; a span takes its comma with it."""
    flow = delivered_flow(Platform(), make_span(0, 0), max_bytes=1000)
    flow.hand_over([make_span(1, 0, size=size)], NOW_NS)
    assert flow.due(T) == due


def test_delivered_spans_do_not_make_a_window_half_full() -> None:
    """Only what waits is urgent."""
    flow = delivered_flow(Platform(), *(make_span(0, n) for n in range(9)), max_spans=10)
    flow.hand_over([make_span(1, 0)], NOW_NS)
    assert flow.due(T) == T + 1.0


def test_hurry_ignores_pacing() -> None:
    """Once: the next span waits its interval again."""
    platform = Platform()
    flow = delivered_flow(platform, make_span(0, 0))
    mark = flow.hand_over([make_span(1, 0)], NOW_NS)
    assert flow.hurry(T) == mark
    assert (flow.due(T), flow.status(T).next_attempt) == (T, 0.0)
    attempt(flow, platform, T)
    assert flow.settled(mark)
    flow.hand_over([make_span(2, 0)], NOW_NS)
    assert flow.due(T) == T + 1.0


def test_hurry_without_work_leaves_nothing_behind() -> None:
    """Neither at rest, nor while the attempt that carries everything is under way."""
    platform = Platform()
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


# -- trouble -----------------------------------------------------------------------------------------------

TROUBLE: list[tuple[Any, int, str]] = [
    (DOWN, logging.WARNING, "not available (503: 503 Service Unavailable)"),
    (Unavailable("connect", "refused", None, False), logging.WARNING, "not available (connect: refused)"),
    (Denied(401, "who?", None), logging.ERROR, "denies access (401: who?)"),
    (
        Misconfigured(404, "no project", None),
        logging.ERROR,
        "does not take flows at this address (no project)",
    ),
    (Misconfigured(302, "redirects", None), logging.ERROR, "does not take flows at this address (redirects)"),
    (Conflict("again"), logging.WARNING, "does not take the flow now (again)"),
]


@pytest.mark.parametrize(("answer", "level", "words"), TROUBLE)
def test_a_put_that_fails_is_tried_again_later(answer: Any, level: int, words: str) -> None:
    """The spans stay pending, the flow backs off and says what is wrong."""
    flow = flow_of(make_span(0, 0), merge=False)
    list(answers(flow, T, [answer]))
    assert counts(flow) == (1, 0, 1, {})
    status = flow.status(T)
    assert (status.state, status.next_attempt, flow.due(T), flow.in_trouble) == (
        "backing off",
        2.0,
        T + 2.0,
        True,
    )
    assert words in (status.last_error or "")
    ((said_level, line),) = said(flow)
    assert said_level == level
    assert words in line
    assert line.endswith(". 1 spans wait; the next attempt is in 2.0 s")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (DOWN, "not available"),
        (Denied(403, "who?", None), "denies access"),
        (Misconfigured(301, "redirects", None), "at this address"),
        (Unreadable("endless"), "can't be read (endless) and is not overwritten"),
        (UnreadableFlow("no JSON"), "can't be read (no JSON) and is not overwritten"),
    ],
)
def test_a_read_that_fails_is_tried_again_later(answer: Any, words: str) -> None:
    """Nothing is written over a flow that could not be read."""
    flow = flow_of(make_span(0, 0))
    list(answers(flow, T, [answer]))
    assert (counts(flow), flow.due(T)) == ((1, 0, 1, {}), T + 2.0)
    assert words in (flow.last_error or "")


def test_the_wait_grows_with_each_failure() -> None:
    """The policy is asked with the number of failures in a row."""
    flow = flow_of(make_span(0, 0), merge=False)
    now, waits = T, []
    for _ in range(4):
        list(answers(flow, now, [DOWN]))
        waits.append((flow.due(now) or 0.0) - now)
        now = flow.due(now) or 0.0
    assert waits == [2.0, 4.0, 8.0, 16.0]


@pytest.mark.parametrize(("retry_after", "wait"), [(30.0, 30.0), (1.0, 2.0), (0.0, 2.0), (None, 2.0)])
@pytest.mark.parametrize("kind", [Unavailable, Denied, Misconfigured])
def test_the_longer_of_both_waits_counts(kind: Any, retry_after: float | None, wait: float) -> None:
    """`Retry-After` never shortens the backoff."""
    answer = kind("503", "no", retry_after, True) if kind is Unavailable else kind(403, "no", retry_after)
    flow = flow_of(make_span(0, 0), merge=False)
    list(answers(flow, T, [answer]))
    assert flow.due(T) == T + wait


def test_a_short_backoff_is_not_made_longer() -> None:
    """Without a `Retry-After` the backoff alone counts."""
    flow = flow_of(make_span(0, 0), merge=False, backoff=lambda failures: 0.25)
    list(answers(flow, T, [DOWN]))
    assert flow.due(T) == T + 0.25


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
    list(answers(flow, T, [DOWN]))
    flow.report.take(T)
    step = flow.begin(T + 2)
    flow.hand_over([make_span(1, 0)], NOW_NS)
    flow.feed(step, Stored(200, None), T + 2, NOW_NS)  # type: ignore[arg-type]
    assert said(flow) == [(logging.INFO, "flow 'a': is delivered again; 1 spans wait")]
    assert (flow.in_trouble, flow.due(T + 2)) == (False, T + 3.0)
    list(answers(flow, T + 3, [DOWN]))
    assert flow.due(T + 3) == T + 5.0


def test_a_second_conflict_backs_off() -> None:
    """409: read, merge, write again, once."""
    platform = Platform()
    flow = flow_of(make_span(0, 0))
    steps = list(answers(flow, T, [None, Conflict("again"), None, Conflict("again")]))
    assert [type(step).__name__ for step in steps] == ["Read", "Write", "Read", "Write"]
    assert (steps[2].known, flow.due(T)) == (None, T + 2.0)
    assert attempt(flow, platform, T + 2) == ["Read", "Write"]
    assert counts(flow) == (1, 1, 0, {})


def test_a_conflict_reads_the_same_flow() -> None:
    """The whole of it, whatever was known."""
    flow = delivered_flow(Platform(), make_span(0, 0))
    flow.hand_over([make_span(1, 0)], NOW_NS)
    steps = list(answers(flow, T + 1, [Found(b"", b"", 200), Conflict("x"), Found(b"", b"", 200), DOWN]))
    assert steps[2] == Read("a", None)


def test_a_conflict_is_merged() -> None:
    """What the other writer put there meanwhile is in the second body."""
    flow = flow_of(make_span(0, 0))
    stored = read(document(foreign(1)), b"d")
    *_, write = answers(flow, T, [None, Conflict("again"), stored, Stored(200, None)])
    assert write.body.spans == [make_span(0, 0).body, foreign(1)]


def test_each_attempt_may_meet_a_conflict() -> None:
    """The bound is one attempt's."""
    flow = flow_of(make_span(0, 0))
    list(answers(flow, T, [None, Conflict("x"), None, Stored(200, None)]))
    flow.hand_over([make_span(1, 0)], NOW_NS)
    found = Found(b"", b"", 200)
    list(answers(flow, T + 1, [found, Conflict("x"), found, Stored(200, None)]))
    assert counts(flow) == (2, 2, 0, {})


# -- merging -----------------------------------------------------------------------------------------------


def test_merge_keeps_what_the_flow_has() -> None:
    """Foreign spans, unknown members and the description, byte for byte."""
    platform = Platform()
    more = b', "id" : "01J", "tags":[ 1.0 ,' + b"9" * 5000 + b"]"
    platform.stored["a"] = document(foreign(1), b'{ "no": "ids" }', more=more)
    delivered_flow(platform, make_span(0, 0))
    assert platform.stored["a"] == (
        b'{"name":"a","description":"by hand \\u00e9","id" : "01J","tags":[ 1.0 ,'
        + b"9" * 5000
        + b'],"spans":[{ "no": "ids" },'
        + make_span(0, 0).body
        + b","
        + foreign(1)
        + b"]}"
    )


def test_a_description_of_ours_wins() -> None:
    """`flow_description` is what is written, as JSON, whatever is stored."""
    platform = Platform()
    platform.stored["a"] = document()
    delivered_flow(platform, make_span(0, 0), description='"ü"\ud800')
    assert loads(platform.stored["a"])["description"] == '"ü"?'


def test_an_empty_description_of_ours_wins() -> None:
    """Empty is not unset."""
    platform = Platform()
    platform.stored["a"] = document()
    delivered_flow(platform, make_span(0, 0), description="")
    assert loads(platform.stored["a"])["description"] == ""


def test_what_is_known_is_not_parsed_again() -> None:
    """The read after a PUT asks with the digest of the PUT's answer."""
    platform = Platform()
    flow = delivered_flow(platform, make_span(0, 0))
    flow.hand_over([make_span(1, 0)], NOW_NS)
    step = flow.begin(T + 1)
    assert step == Read("a", digest_of(platform.stored["a"]))
    write = flow.feed(step, Found(b"", b"", 200), T + 1, NOW_NS)
    assert isinstance(write, Write)
    assert len(write.body.spans) == 2


def test_a_digest_that_could_not_be_had_is_not_asked_for() -> None:
    """Then the next read is parsed."""
    flow = flow_of(make_span(0, 0))
    list(answers(flow, T, [None, Stored(200, None)]))
    flow.hand_over([make_span(1, 0)], NOW_NS)
    assert flow.begin(T + 1) == Read("a", None)


def test_a_put_that_failed_makes_the_next_read_a_full_one() -> None:
    """It may have been applied all the same."""
    platform = Platform()
    flow = delivered_flow(platform, make_span(0, 0))
    flow.hand_over([make_span(1, 0)], NOW_NS)
    list(answers(flow, T + 1, [Found(b"", b"", 200), DOWN]))
    assert flow.begin(T + 9) == Read("a", None)


def test_a_person_s_edit_is_kept() -> None:
    """A description and members that change between two PUTs are what is written next."""
    platform = Platform()
    flow = delivered_flow(platform, make_span(0, 0))
    platform.stored["a"] = document(make_span(0, 0).body, more=b',"x":[ ]')
    flow.hand_over([make_span(1, 0)], NOW_NS)
    attempt(flow, platform, T + 1)
    assert platform.stored["a"].startswith(b'{"name":"a","description":"by hand \\u00e9","x":[ ],"spans":[')
    assert platform.keys("a") == [key(0, 0), key(1, 0)]


def test_a_foreign_span_that_changes_is_taken_as_it_is() -> None:
    """Its newer text is kept; ours is not touched by what is stored under its ids."""
    platform = Platform()
    ours, theirs = make_span(0, 0), make_span(1, 0, text="theirs")
    platform.stored["a"] = document(theirs.body)
    flow = delivered_flow(platform, ours)
    newer = make_span(1, 0, text="newer")
    platform.stored["a"] = document(make_span(0, 0, text="changed").body, newer.body)
    flow.hand_over([make_span(2, 0)], NOW_NS)
    attempt(flow, platform, T + 1)
    assert [span["name"] for span in platform.spans("a")] == ["", "newer", ""]


def test_new_foreign_spans_are_taken_wherever_they_stand() -> None:
    """Behind ours, behind those that are known, and behind those that moved away."""
    platform = Platform()
    flow = delivered_flow(platform, make_span(0, 0), make_span(1, 0))
    flow.take([key(1, 0)])
    stored = [make_span(0, 0).body, make_span(1, 0).body, foreign(1), foreign(1), foreign(2)]
    platform.stored["a"] = document(*stored)
    attempt(flow, platform, T + 1)
    assert platform.keys("a") == [key(0, 0), key(901, 1), key(902, 2)]


def test_a_foreign_root_is_a_root() -> None:
    """It stays longest in a trace that is cut."""
    platform = Platform()
    root, child = make_span(0, 0), make_span(0, 1, start=1, parent=0)
    platform.stored["a"] = document(root.body, child.body)
    flow = flow_of(make_span(0, 2, start=2, parent=0), max_spans=2)
    settle(flow, platform, T)
    assert platform.keys("a") == [key(0, 0), key(0, 2)]


def test_foreign_spans_age_out_within_the_bounds() -> None:
    """The window's bounds are the flow's, and the newest whole traces stay; pending ones stay longest."""
    platform = Platform()
    platform.stored["a"] = document(*(foreign(number, start=number) for number in range(5)))
    flow = delivered_flow(platform, make_span(0, 0, start=-50), max_spans=3)
    assert [span["spanContext"]["traceId"][-3:] for span in platform.spans("a")] == ["001", "388", "389"]
    assert counts(flow) == (1, 1, 0, {})


def test_what_aged_out_is_not_foreign_when_a_read_still_shows_it() -> None:
    """What was written last is the base of the merge: an own span does not come back as somebody else's."""
    platform = Platform()
    flow = delivered_flow(platform, make_span(0, 0), make_span(1, 0, start=1), max_spans=2)
    platform.stored["a"] = platform.stored["a"].replace(b'"description":""', b'"description":"x"')
    flow.hand_over([make_span(2, 0, start=2)], NOW_NS + 10**12)
    assert key(0, 0) not in flow.window
    flow.window.max_spans = 3
    attempt(flow, platform, T + 1)
    assert platform.keys("a") == [key(1, 0), key(2, 0)]


def test_what_an_ambiguous_put_carried_is_not_foreign() -> None:
    """A PUT without an answer may have been applied; its spans are still pending, and then delivered once."""
    platform = Platform()
    flow = flow_of(make_span(0, 0), make_span(1, 0, start=1), max_spans=2)
    *_, write = answers(flow, T, [None, DOWN])
    perform(write, platform, 0.0)
    flow.hand_over([make_span(2, 0, start=2)], NOW_NS + 10**12)
    assert counts(flow) == (3, 0, 2, {"window_full": 1})
    flow.window.max_spans = 3
    attempt(flow, platform, T + 2)
    assert platform.keys("a") == [key(1, 0), key(2, 0)]
    assert counts(flow) == (3, 2, 0, {"window_full": 1})
    assert not flow._exchange.known.others_seen


def test_a_flow_that_cannot_be_read_is_not_overwritten() -> None:
    """Until it is repaired."""
    platform = Platform()
    platform.stored["a"] = b'{"spans":{}}'
    flow = flow_of(make_span(0, 0))
    assert attempt(flow, platform, T) == ["Read"]
    assert platform.stored["a"] == b'{"spans":{}}'
    platform.stored["a"] = b'{"spans":[]}'
    settle(flow, platform, T)
    assert counts(flow) == (1, 1, 0, {})


def test_members_that_leave_no_room_make_a_span_too_large() -> None:
    """A flow whose other members fill the bound takes no span, and never a body beyond it."""
    platform = Platform()
    platform.stored["a"] = document(more=b',"x":"' + b"x" * 900 + b'"')
    flow = flow_of(make_span(0, 0, size=400), max_bytes=1000)
    assert attempt(flow, platform, T) == ["Read"]
    assert counts(flow) == (1, 0, 0, {"too_large": 1})
    ((_, line),) = said(flow)
    assert "400 bytes where " in line


# -- deleted flows -----------------------------------------------------------------------------------------


def test_a_delivered_flow_that_is_gone_was_deleted_on_purpose() -> None:
    """Delivered spans are forgotten, its members too; pending ones start it anew. It is said."""
    platform = Platform()
    platform.stored["a"] = document(foreign(1), more=b',"x":1')
    flow = delivered_flow(platform, make_span(0, 0))
    del platform.stored["a"]
    flow.hand_over([make_span(1, 0)], NOW_NS)
    assert attempt(flow, platform, T + 1) == ["Read"]
    assert (counts(flow), flow.due(T + 1), flow.in_trouble) == ((2, 1, 1, {}), T + 2, False)
    settle(flow, platform, T + 1)
    assert platform.stored["a"] == b'{"name":"a","description":"","spans":[' + make_span(1, 0).body + b"]}"
    assert counts(flow) == (2, 2, 0, {})
    assert said(flow) == [
        (logging.INFO, "flow 'a': was deleted on the platform; 2 delivered spans are forgotten")
    ]


def test_a_flow_that_was_never_there_was_not_deleted() -> None:
    """Nothing is said, and nothing is forgotten."""
    platform = Platform()
    flow = flow_of(make_span(0, 0))
    list(answers(flow, T, [None, DOWN]))
    flow.report.take(T)
    attempt(flow, platform, T + 2)
    assert platform.keys("a") == [key(0, 0)]
    assert [level for level, _ in said(flow)] == [logging.INFO]  # delivered again


def test_a_flow_that_was_read_and_is_gone_was_deleted() -> None:
    """Also where no PUT of ours ever came through: what was read is forgotten."""
    platform = Platform()
    platform.stored["a"] = document(foreign(1), more=b',"x":1')
    flow = flow_of(make_span(0, 0))
    stored = read(platform.stored.pop("a"), b"d")
    list(answers(flow, T, [stored, DOWN]))
    settle(flow, platform, T + 2)
    assert platform.stored["a"] == b'{"name":"a","description":"","spans":[' + make_span(0, 0).body + b"]}"


def test_a_deleted_flow_is_not_made_again_for_nothing() -> None:
    """A check that finds it gone leaves it gone."""
    platform = Platform()
    flow = delivered_flow(platform, make_span(0, 0))
    flow.close(T)
    del platform.stored["a"]
    assert settle(flow, platform, T) == T + 1
    assert (platform.puts[1:], platform.stored, flow.window.spans) == ([], {}, 0)


def test_what_is_gone_is_not_missing() -> None:
    """After a flow was deleted, nothing of the past is put right."""
    platform = Platform()
    flow = delivered_flow(platform, make_span(0, 0))
    erase(platform)
    flow.hand_over([make_span(1, 0)], NOW_NS)
    attempt(flow, platform, T + 1)
    del platform.stored["a"]
    settle(flow, platform, T + 2)
    assert platform.stored == {}


def test_what_was_deleted_may_come_back_as_somebody_else_s() -> None:
    """The base of the merge is gone with the flow."""
    platform = Platform()
    flow = delivered_flow(platform, make_span(0, 0))
    del platform.stored["a"]
    flow.hand_over([make_span(1, 0)], NOW_NS)
    settle(flow, platform, T + 1)
    platform.stored["a"] = document(make_span(0, 0).body, make_span(1, 0).body)
    flow.hand_over([make_span(2, 0)], NOW_NS)
    attempt(flow, platform, T + 3)
    assert platform.keys("a") == [key(0, 0), key(1, 0), key(2, 0)]


# -- refusals ----------------------------------------------------------------------------------------------


def poisoned(*names: str, fields: bool = False) -> Platform:
    platform = Platform()
    platform.names_fields = fields
    platform.refuses = lambda span: any(b'"%s"' % name.encode() in span for name in names)
    return platform


def test_spans_that_the_platform_names_leave() -> None:
    """Dropped, counted, said with its message; the others arrive at once, and prove the rest of the body."""
    platform = poisoned("bad", fields=True)
    flow = flow_of(make_span(0, 0), make_span(0, 1, text="bad", parent=0), make_span(0, 2, text="bad"))
    attempt(flow, platform, T)
    assert (flow.due(T), flow.status(T).state, counts(flow)) == (T, "searching", (3, 0, 3, {}))
    settle(flow, platform, T)
    assert [len(loads(body)["spans"]) for _, body in platform.puts] == [3, 1, 3]
    assert (counts(flow), flow.last_error) == ((3, 1, 0, {"refused": 2}), "a span is wrong")
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
    assert (flow.last_error, flow.in_trouble, flow.status(T).state) == ("a span is wrong", False, "clean")
    assert said(flow)[0][1].endswith("for what they hold: a span is wrong")


@pytest.mark.parametrize("merge", [True, False])
def test_a_refused_span_that_is_alone_is_dropped_with_a_proof(merge: bool) -> None:
    """The body without it is tried first, on a flow that is not there yet too."""
    platform = poisoned("bad")
    flow = flow_of(make_span(0, 0, text="bad"), merge=merge)
    settle(flow, platform, T)
    assert counts(flow) == (1, 0, 0, {"refused": 1})
    assert said(flow)[0][1].endswith("for what they hold: a span is wrong")
    assert [len(loads(body)["spans"]) for _, body in platform.puts] == [1, 0, 1]
    assert (flow.idle, flow.in_trouble) == (True, False)


def test_several_refused_spans_among_delivered_ones() -> None:
    """Delivered spans are in every body of the search, and stay."""
    platform = poisoned("bad")
    flow = delivered_flow(platform, *(make_span(n, 0, start=n) for n in range(5)))
    flow.hand_over([make_span(n, 0, start=n, text="bad" if n % 3 else "") for n in range(10, 20)], NOW_NS)
    settle(flow, platform, T + 1)
    assert all({0, 1, 2, 3, 4} <= {int(t, 16) - 1 for t, _ in keys_of(body)} for _, body in platform.puts)
    assert platform.keys("a") == [key(n, 0) for n in (0, 1, 2, 3, 4, 12, 15, 18)]
    assert counts(flow) == (15, 8, 0, {"refused": 7})


def keys_of(body: bytes) -> list[tuple[str, str]]:
    return [span.key for span in read(body, b"").spans]


def test_eight_refused_in_a_row_take_the_rest_with_them() -> None:
    """They have the same fault."""
    platform = poisoned("bad")
    flow = flow_of(*(make_span(n, 0, start=n, text="bad") for n in range(50)))
    settle(flow, platform, T)
    assert counts(flow) == (50, 0, 0, {"refused": 50})
    assert len(platform.puts) < 40


def test_a_body_that_is_refused_anyway_drops_nothing() -> None:
    """The flow backs off, longer each time, and says so at most once a minute."""
    platform = Platform()
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
    assert [text for _, text in said(flow)] == ["flow 'a': is delivered again; 0 spans wait"]


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
    assert any(text.endswith("for what they hold: a span is wrong") for _, text in said(flow))


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


def test_a_suspect_that_leaves_during_the_proof_is_not_dropped_twice() -> None:
    """It was pushed out while the body without it was under way."""
    flow = flow_of(make_span(0, 0, text="bad"), max_spans=1, merge=False)
    list(answers(flow, T, [REFUSED]))
    step = flow.begin(T)
    assert isinstance(step, Write)
    assert step.body.spans == []
    flow.hand_over([make_span(1, 0, start=1)], NOW_NS + 10**12)
    flow.feed(step, Stored(200, None), T, NOW_NS)
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
    flow.take([key(0, 0), key(1, 0)])
    assert (flow.in_trouble, flow.status(T).state, flow.idle) == (False, "clean", True)
    flow.hand_over([make_span(2, 0)], NOW_NS)
    settle(flow, Platform(), T)
    assert counts(flow) == (1, 1, 0, {})


def test_names_end_a_search_that_they_make_superfluous() -> None:
    """A platform that names offenders now and then."""
    platform = poisoned("bad")
    flow = flow_of(*(make_span(n, 0, start=n, text="bad" if n < 2 else "") for n in range(4)))
    attempt(flow, platform, T)
    platform.names_fields = True
    settle(flow, platform, T)
    assert counts(flow) == (4, 2, 0, {"refused": 2})
    assert not flow.in_trouble


def test_trouble_ends_with_the_last_span_that_was_in_it() -> None:
    """The platform answers, and nothing is left to do: what comes next is not in trouble."""
    flow = flow_of(make_span(0, 0), merge=False)
    list(answers(flow, T, [DOWN]))
    flow.report.take(T)
    list(answers(flow, T + 2, [TooLarge("413")]))
    assert (flow.idle, flow.in_trouble, flow.status(T).state) == (True, False, "clean")
    assert said(flow)[0] == (logging.INFO, "flow 'a': is delivered again; 0 spans wait")
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
    monkeypatch.setattr("opentelemetry.exporter.versori_flow.flow.remote.REMEMBERED_KEYS", 2)
    flow = flow_of(*(make_span(n, 0) for n in range(3)))
    flow.take([key(n, 0) for n in range(3)])
    assert list(flow._exchange.known._never_adopt) == [key(1, 0), key(2, 0)]


def test_a_rewrite_that_is_refused_is_tried_again_later() -> None:
    """Without a pending span there is no suspect."""
    platform = Platform()
    flow = delivered_flow(platform, make_span(0, 0), make_span(1, 0))
    flow.take([key(0, 0)])
    list(answers(flow, T + 1, [Found(b"", b"", 200), REFUSED]))
    assert (flow.due(T + 1), counts(flow)) == (T + 3.0, (2, 2, 0, {}))
    assert "even without its new spans (422: a span is wrong)" in (flow.last_error or "")
    settle(flow, platform, T + 1)
    assert platform.keys("a") == [key(1, 0)]


# -- too large ---------------------------------------------------------------------------------------------


def test_the_window_halves_until_it_fits() -> None:
    """The oldest traces leave; the limit is remembered."""
    platform = Platform()
    platform.max_body = 3000
    flow = flow_of(*(make_span(n, 0, start=n, size=400) for n in range(20)))
    assert settle(flow, platform, T) == T, "halving ignores pacing"
    assert len(platform.puts) == 3
    assert isinstance(flow.window.max_bytes, int)
    count = len(platform.keys("a"))
    assert 4 <= count <= 6
    assert counts(flow) == (20, count, 0, {"window_full": 20 - count})
    flow.hand_over([make_span(30, 0, start=30, size=400)], NOW_NS + 10**12)
    settle(flow, platform, T + 1)
    assert len(platform.puts) == 4
    assert counts(flow)[1] == count + 1


def test_a_limit_is_what_was_accepted_where_that_is_more_than_half() -> None:
    """No more leaves than must."""
    platform = Platform()
    flow = delivered_flow(platform, *(make_span(n, 0, start=n, size=400) for n in range(5)))
    platform.max_body = len(platform.stored["a"]) + 100
    flow.hand_over([make_span(9, 0, start=9, size=400)], NOW_NS + 10**12)
    settle(flow, platform, T + 1)
    assert platform.keys("a") == [key(n, 0) for n in (1, 2, 3, 4, 9)]
    assert counts(flow) == (6, 6, 0, {})


def test_one_span_that_is_too_large_alone_is_dropped() -> None:
    """Counted as that, with the platform's message; the others stay."""
    platform = Platform()
    platform.max_body = 1000
    flow = flow_of(make_span(0, 0, size=300), make_span(1, 0, start=1, size=2000), make_span(2, 0, size=300))
    settle(flow, platform, T)
    assert platform.keys("a") == [key(0, 0), key(2, 0)]
    assert counts(flow) == (3, 2, 0, {"too_large": 1})
    ((level, line),) = said(flow)
    assert level == logging.ERROR
    assert line.endswith("bytes")
    assert flow.window.max_bytes == 100_000, "nothing was learnt about the others"


def test_a_lone_span_that_is_too_large_is_dropped() -> None:
    """It is the whole body."""
    platform = Platform()
    platform.max_body = 100
    flow = flow_of(make_span(0, 0))
    settle(flow, platform, T)
    assert (counts(flow), platform.stored) == ((1, 0, 0, {"too_large": 1}), {})


@pytest.mark.parametrize("size", [1900, 2004])
def test_a_span_that_fits_alone_for_all_that_is_known_is_not_dropped(size: int) -> None:
    """A body of its size was accepted before: the others are what is too much."""
    platform = Platform()
    flow = delivered_flow(platform, *(make_span(n, 0, start=n, size=500) for n in range(4)))
    platform.max_body = len(platform.stored["a"]) + 1
    flow.hand_over([make_span(9, 0, start=9, size=size)], NOW_NS + 10**12)
    settle(flow, platform, T + 1)
    assert platform.keys("a") == [key(9, 0)]
    assert counts(flow) == (5, 5, 0, {})


def test_a_span_beyond_the_remembered_limit_is_too_large() -> None:
    """It is dropped alone: all the others would have to leave for it, and it would be refused then."""
    platform = Platform()
    platform.max_body = 2000
    flow = flow_of(*(make_span(n, 0, start=n, size=300) for n in range(20)))
    settle(flow, platform, T)
    kept = platform.keys("a")
    flow.hand_over([make_span(50, 0, start=50, size=5000)], NOW_NS + 10**12)
    assert counts(flow)[3]["too_large"] == 1
    settle(flow, platform, T + 1)
    assert platform.keys("a") == kept


def test_one_span_beyond_the_bound_pushes_nobody_out() -> None:
    """The other members count too."""
    flow = flow_of(make_span(0, 0, size=300), max_bytes=1000)
    flow.hand_over([make_span(1, 0, start=1, size=961)], NOW_NS + 10**12)
    assert counts(flow) == (2, 0, 1, {"too_large": 1})
    assert key(0, 0) in flow.window


def test_a_lone_span_is_dropped_though_larger_bodies_were_taken_before() -> None:
    """The platform's limit went down: it does not go on for ever."""
    platform = Platform()
    flow = delivered_flow(platform, *(make_span(n, 0, size=500) for n in range(3)))
    del platform.stored["a"]
    platform.max_body = 300
    flow.hand_over([make_span(9, 0, size=400)], NOW_NS)
    settle(flow, platform, T + 1)
    assert counts(flow) == (4, 3, 0, {"too_large": 1})
    assert flow.last_error == "440 bytes"


def test_a_limit_that_went_down_is_looked_for_anew() -> None:
    """A body of the same size was accepted before, and is not any more."""
    platform = Platform()
    flow = delivered_flow(platform, *(make_span(n, 0, start=n, size=400) for n in range(4)), max_spans=4)
    platform.max_body = len(platform.stored["a"]) - 1
    flow.hand_over([make_span(9, 0, start=9, size=400)], NOW_NS + 10**12)
    settle(flow, platform, T + 1, most=3)
    assert platform.keys("a") == [key(3, 0), key(9, 0)]
    assert counts(flow) == (5, 5, 0, {})


@pytest.mark.parametrize("smaller", [500, 498])
def test_half_of_a_body_is_not_too_large_alone(smaller: int) -> None:
    """Two equal spans: the older trace leaves."""
    platform = Platform()
    platform.max_body = 700
    flow = flow_of(make_span(0, 0, size=500), make_span(1, 0, start=1, size=smaller))
    settle(flow, platform, T)
    assert platform.keys("a") == [key(1, 0)]
    assert counts(flow) == (2, 1, 0, {"window_full": 1})


def test_the_remembered_limit_is_the_accepted_body_s() -> None:
    """To the byte, with a comma to spare."""
    platform = Platform()
    flow = delivered_flow(platform, *(make_span(n, 0, start=n, size=400) for n in range(5)))
    accepted = len(platform.stored["a"])
    flow.hand_over([make_span(9, 0, start=9, size=400)], NOW_NS + 10**12)
    platform.max_body = accepted
    attempt(flow, platform, T + 1)
    assert flow.window.max_bytes == accepted + 1
    assert flow.last_error == f"{accepted + 401} bytes"


def test_the_other_members_are_not_halved() -> None:
    """A large description does not shrink: the limit is looked for in the spans' part of the body."""
    platform = Platform()
    platform.max_body = 3000
    platform.stored["a"] = document(description=b'"' + b"d" * 2000 + b'"')
    flow = flow_of(*(make_span(n, 0, start=n, size=400) for n in range(4)))
    settle(flow, platform, T)
    assert platform.keys("a") == [key(n, 0) for n in (2, 3)]
    assert flow.window.max_bytes > flow.window.overhead


def test_a_foreign_span_that_is_too_large_ages_out() -> None:
    """It leaves as delivered spans do; ours stay."""
    platform = Platform()
    platform.stored["a"] = document(make_span(7, 7, start=-5, size=2000).body)
    platform.max_body = 1000
    flow = flow_of(make_span(0, 0), make_span(0, 1))
    settle(flow, platform, T)
    assert platform.keys("a") == [key(0, 0), key(0, 1)]


@pytest.mark.parametrize("spans", [0, 1])
def test_a_body_that_cannot_shrink_backs_off(spans: int) -> None:
    """Nothing of ours is in it that could leave: it is tried again later."""
    platform = Platform()
    flow = delivered_flow(platform, *(make_span(n, 0, start=n) for n in range(spans + 1)))
    flow.take([key(0, 0)])
    list(answers(flow, T + 1, [Found(b"", b"", 200), TooLarge("413")]))
    assert flow.due(T + 1) == T + 3.0
    assert "does not take the flow now (413)" in (flow.last_error or "")
    settle(flow, platform, T + 3)
    assert len(platform.keys("a")) == spans


def test_a_span_that_left_meanwhile_is_not_too_large() -> None:
    """It is counted as pushed out, once."""
    flow = flow_of(make_span(0, 0, size=500), merge=False, max_spans=1)
    step = flow.begin(T)
    flow.hand_over([make_span(1, 0, start=1)], NOW_NS + 10**12)
    flow.feed(step, TooLarge("413"), T, NOW_NS)  # type: ignore[arg-type]
    assert counts(flow) == (2, 0, 1, {"window_full": 1})


@pytest.mark.parametrize(("size", "fits"), [(961, True), (962, False)])
def test_a_span_that_is_larger_than_a_body_may_be_is_too_large(size: int, fits: bool) -> None:
    """It never enters the window; the bound is the body's, to the byte."""
    flow = flow_of(make_span(0, 0, size=size), max_bytes=1001)
    assert flow.window.overhead == 40
    assert counts(flow) == ((1, 0, 1, {}) if fits else (1, 0, 0, {"too_large": 1}))
    platform = Platform()
    settle(flow, platform, T)
    assert [len(body) for _, body in platform.puts] == ([1001] if fits else [])
    if not fits:
        assert said(flow)[0][1].endswith("962 bytes where 961 may be")


# -- spans that move ---------------------------------------------------------------------------------------


def test_moved_spans_leave_the_one_and_arrive_in_the_other() -> None:
    """Both are written; what was delivered stays so, and is handed over anew."""
    platform = Platform()
    source = delivered_flow(platform, make_span(0, 0, end=5), make_span(1, 0))
    target = flow_of(name="b")
    taken = source.take([key(0, 0), key(9, 9)])
    assert [(entry.key, end) for entry, end in taken] == [(key(0, 0), NOW_NS)]
    mark = target.give(taken)
    assert (counts(source), counts(target)) == ((2, 2, 0, {}), (1, 0, 1, {}))
    assert not target.settled(mark)
    settle(source, platform, T + 1)
    settle(target, platform, T + 1)
    assert (platform.keys("a"), platform.keys("b")) == ([key(1, 0)], [key(0, 0)])
    assert target.settled(mark)


def test_each_of_several_spans_moves() -> None:
    """Those that are not here, or not ours, or there already, hide nobody."""
    platform = Platform()
    platform.stored["a"] = document(make_span(8, 0).body)
    source = delivered_flow(platform, make_span(0, 0), make_span(1, 0))
    target = flow_of(make_span(0, 0, text="newer"), name="b")
    taken = source.take([key(9, 9), key(8, 0), key(0, 0), key(1, 0)])
    assert [entry.key for entry, _ in taken] == [key(0, 0), key(1, 0)]
    target.give(taken)
    assert (counts(source), counts(target)) == ((2, 2, 0, {}), (2, 0, 2, {}))


def test_moved_spans_are_a_new_burst() -> None:
    """Their PUT is checked where another writer was seen, however often was checked before."""
    platform = Platform()
    target = delivered_flow(platform, make_span(0, 0))
    erase(platform, foreign(1))
    target.hand_over([make_span(1, 0)], NOW_NS)
    now = T + 1
    while (due := target.due(now)) is not None:
        now = max(now, due)
        attempt(target, platform, now)
        erase(platform, foreign(1))
    target.give(flow_of(make_span(5, 0), name="b").take([key(5, 0)]))
    for _ in range(MAX_CHECKS):
        attempt(target, platform, now)
        erase(platform, foreign(1))
    assert target.due(now) is not None


def test_a_pending_span_moves_without_a_trace() -> None:
    """A flow that was never written is not written for it."""
    platform = Platform()
    source = flow_of(make_span(0, 0))
    source.take([key(0, 0)])
    assert (source.due(T), source.idle, counts(source)) == (None, True, (0, 0, 0, {}))
    assert platform.puts == []


def test_a_flow_whose_last_span_moved_is_emptied() -> None:
    """What the platform has of it must go."""
    platform = Platform()
    source = delivered_flow(platform, make_span(0, 0))
    source.take([key(0, 0)])
    assert source.status(T).state == "dirty"
    settle(source, platform, T)
    assert platform.stored["a"] == b'{"name":"a","description":"","spans":[]}'


@pytest.mark.parametrize("merge", [True, False])
def test_a_span_that_moves_while_its_put_is_under_way_leaves_there_too(merge: bool) -> None:
    """The flow is written again without it; the span is delivered by the other one only."""
    platform = Platform()
    source, target = flow_of(make_span(0, 0), merge=merge), flow_of(name="b", merge=merge)
    step = source.begin(T)
    if merge:
        step = source.feed(step, Absent(), T, NOW_NS)  # type: ignore[arg-type]
    target.give(source.take([key(0, 0)]))
    source.feed(step, perform(step, platform, 0.0), T, NOW_NS)  # type: ignore[arg-type, union-attr]
    assert platform.keys("a") == [key(0, 0)]
    assert (counts(source), counts(target)) == ((0, 0, 0, {}), (1, 0, 1, {}))
    settle(source, platform, T)
    settle(target, platform, T)
    assert (platform.keys("a"), platform.keys("b")) == ([], [key(0, 0)])


def test_a_span_that_moves_after_an_ambiguous_put_leaves_there_too() -> None:
    """It may stand there all the same."""
    platform = Platform()
    source = flow_of(make_span(0, 0), merge=False)
    step = source.begin(T)
    perform(step, platform, 0.0)  # type: ignore[union-attr, arg-type]
    source.feed(step, DOWN, T, NOW_NS)  # type: ignore[arg-type]
    source.take([key(0, 0)])
    settle(source, platform, T)
    assert platform.keys("a") == []


@pytest.mark.parametrize("answer", [DOWN, Denied(401, "", None)])
def test_a_flow_that_may_stand_there_is_emptied_in_the_end(answer: Any) -> None:
    """Also when the PUT that empties it fails too, more than once."""
    platform = Platform()
    source = flow_of(make_span(0, 0), merge=False)
    step: Any = source.begin(T)
    perform(step, platform, 0.0)
    source.feed(step, DOWN, T, NOW_NS)
    source.take([key(0, 0)])
    now = T
    for _ in range(3):
        now = source.due(now) or now
        list(answers(source, now, [answer]))
    settle(source, platform, now)
    assert platform.keys("a") == []


def test_a_span_that_moves_during_a_check_leaves_there_too() -> None:
    """The check writes, though nothing is missing."""
    platform = Platform()
    flow = delivered_flow(platform, make_span(0, 0), make_span(1, 0))
    flow.close(T)
    step: Any = flow.begin(T)
    flow.take([key(0, 0)])
    while step is not None:
        step = flow.feed(step, perform(step, platform, 0.0), T, NOW_NS)
    assert platform.keys("a") == [key(1, 0)]


def test_a_span_that_moves_during_a_write_that_fails_leaves_there_too() -> None:
    """The next attempt is for it, though nothing is pending."""
    platform = Platform()
    flow = flow_of(make_span(0, 0), merge=False)
    step: Any = flow.begin(T)
    perform(step, platform, 0.0)
    flow.take([key(0, 0)])
    flow.feed(step, DOWN, T, NOW_NS)
    settle(flow, platform, T)
    assert platform.keys("a") == []


def test_a_span_that_moves_during_the_read_is_not_written() -> None:
    """There is nothing to empty: the flow was never there."""
    platform = Platform()
    source = flow_of(make_span(0, 0))
    step = source.begin(T)
    source.take([key(0, 0)])
    assert source.feed(step, Absent(), T, NOW_NS) is None  # type: ignore[arg-type]
    assert (source.idle, source.busy, platform.puts) == (True, False, [])


@pytest.mark.parametrize("answer", [DOWN, Conflict("again"), REFUSED, TooLarge("413"), Denied(401, "", None)])
def test_a_rewrite_that_fails_is_not_forgotten(answer: Any) -> None:
    """A moved span must leave its old flow, however often that takes."""
    platform = Platform()
    source = delivered_flow(platform, make_span(0, 0), make_span(1, 0), make_span(2, 0), merge=False)
    source.take([key(0, 0)])
    list(answers(source, T + 1, [answer]))
    settle(source, platform, T + 1)
    assert key(0, 0) not in platform.keys("a")


def test_a_rewrite_that_meets_a_conflict_goes_on() -> None:
    """After the second read it is written, though nothing is pending."""
    platform = Platform()
    source = delivered_flow(platform, make_span(0, 0), make_span(1, 0))
    source.take([key(0, 0)])
    stored = read(platform.stored["a"], digest_of(platform.stored["a"]))
    steps = list(answers(source, T + 1, [stored, Conflict("x"), stored, Stored(200, None)]))
    assert [type(step).__name__ for step in steps] == ["Read", "Write", "Read", "Write"]


def test_what_moved_is_never_adopted_again() -> None:
    """Another writer may still hold it; it belongs to another flow now."""
    platform = Platform()
    source = delivered_flow(platform, make_span(0, 0), make_span(1, 0))
    source.take([key(0, 0)])
    settle(source, platform, T + 1)
    platform.stored["a"] = document(make_span(0, 0).body, make_span(1, 0).body)
    source.hand_over([make_span(2, 0)], NOW_NS)
    settle(source, platform, T + 2)
    assert platform.keys("a") == [key(1, 0), key(2, 0)]


def test_what_comes_back_is_at_home_again() -> None:
    """A span that moved away and back is kept, and adopted if need be."""
    platform = Platform()
    source, target = delivered_flow(platform, make_span(0, 0)), flow_of(name="b")
    target.give(source.take([key(0, 0)]))
    source.give(target.take([key(0, 0)]))
    assert (counts(source), counts(target)) == ((2, 1, 1, {}), (0, 0, 0, {}))
    settle(source, platform, T + 1)
    assert platform.keys("a") == [key(0, 0)]
    assert source._exchange.known._never_adopt == {}


def test_a_foreign_span_is_not_moved() -> None:
    """What an earlier run wrote stays where it is."""
    platform = Platform()
    platform.stored["a"] = document(make_span(0, 0).body)
    flow = delivered_flow(platform, make_span(1, 0))
    assert flow.take([key(0, 0)]) == []
    assert counts(flow) == (1, 1, 0, {})
    assert flow.idle


def test_an_older_text_does_not_take_the_place_of_a_newer_one() -> None:
    """A span that came again under a new name is in its new flow already when the older one is moved."""
    source, target = flow_of(make_span(0, 0, text="early")), flow_of(make_span(0, 0, text="ended"), name="b")
    target.give(source.take([key(0, 0)]))
    assert (counts(source), counts(target)) == ((0, 0, 0, {}), (1, 0, 1, {}))
    assert target.window.get(key(0, 0)).body == make_span(0, 0, text="ended").body  # type: ignore[union-attr]


def test_a_moved_span_takes_the_place_of_a_foreign_one() -> None:
    """What the stored flow has under its ids is the same span."""
    platform = Platform()
    platform.stored["b"] = document(make_span(0, 0).body)
    target = delivered_flow(platform, make_span(5, 0), name="b")
    source = flow_of(make_span(0, 0))
    target.give(source.take([key(0, 0)]))
    assert counts(target) == (2, 1, 1, {})
    assert target.window.get(key(0, 0)).origin is Origin.OWN  # type: ignore[union-attr]


def test_moved_spans_obey_the_bounds() -> None:
    """What does not fit is dropped, and counted there."""
    source = flow_of(*(make_span(0, n, start=n, parent=0 if n else None) for n in range(4)))
    target = flow_of(name="b", max_spans=2)
    target.give(source.take([key(0, n) for n in range(4)]))
    assert counts(target) == (4, 0, 2, {"window_full": 2})
    assert key(0, 0) in target.window


def test_the_memory_of_an_outage_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace mode never reads, so what failed PUTs may have left behind is kept for what can still move."""
    monkeypatch.setattr("opentelemetry.exporter.versori_flow.flow.remote.REMEMBERED_KEYS", 10)
    flow = flow_of(merge=False, max_spans=5)
    for number in range(100):
        flow.hand_over([make_span(number, 0, start=number)], NOW_NS + 10**12)
        flow.feed(flow.begin(T), DOWN, T, NOW_NS)  # type: ignore[arg-type]
    assert len(flow._exchange.known.keys) <= 10
    assert key(99, 0) in flow._exchange.known.keys
    flow.take([key(99, 0)])
    platform = Platform()
    settle(flow, platform, T)
    assert platform.keys("a") == [key(n, 0) for n in range(95, 99)]


# -- other writers -----------------------------------------------------------------------------------------


def erase(platform: Platform, *spans: bytes) -> None:
    """Another writer's PUT that knows nothing of ours."""
    platform.stored["a"] = b'{"name":"a","description":"","spans":[' + b",".join(spans) + b"]}"


def test_a_lonely_writer_does_not_check() -> None:
    """A PUT that was stored is stored."""
    platform = Platform()
    platform.stored["a"] = document(foreign(1))
    flow = delivered_flow(platform, make_span(0, 0))
    assert (flow.idle, flow.due(T)) == (True, None)


def test_another_writer_that_was_seen_makes_each_put_read_again() -> None:
    """A random moment later, so that two do not look, and erase, at the same time again and again."""
    platform = Platform()
    flow = delivered_flow(platform, make_span(0, 0), uniform=lambda low, high: low + high)
    erase(platform, make_span(0, 0).body, foreign(1))
    flow.hand_over([make_span(1, 0)], NOW_NS)
    step: Any = flow.begin(T + 1)
    for now in (T + 2, T + 3):
        step = flow.feed(step, perform(step, platform, 0.0), now, NOW_NS)
    assert step is None
    assert flow.due(T + 3) == T + 3 + (1 + 3) * 2
    assert (flow.idle, flow.status(T + 3).state) == (False, "dirty")
    erase(platform, foreign(1))
    assert attempt(flow, platform, T + 11) == ["Read", "Write"]
    assert set(platform.keys("a")) == {key(901, 1), key(0, 0), key(1, 0)}
    assert counts(flow) == (2, 2, 0, {})


def test_a_check_waits_for_the_pacing_interval_at_least() -> None:
    """Quick attempts do not make a storm of reads."""
    platform = Platform()
    flow = delivered_flow(platform, make_span(0, 0))
    erase(platform, make_span(0, 0).body, foreign(1))
    flow.hand_over([make_span(1, 0)], NOW_NS)
    attempt(flow, platform, T + 1)
    assert flow.due(T + 1) == T + 2


def test_a_check_that_finds_nothing_missing_writes_nothing() -> None:
    """And is not repeated."""
    platform = Platform()
    flow = delivered_flow(platform, make_span(0, 0))
    erase(platform, make_span(0, 0).body, foreign(1))
    flow.hand_over([make_span(1, 0)], NOW_NS)
    attempt(flow, platform, T + 1)
    assert attempt(flow, platform, T + 2) == ["Read"]
    assert (flow.due(T + 2), flow.idle) == (None, True)


def test_a_check_reads_everything() -> None:
    """The answer of the last PUT proves nothing about what is there now."""
    platform = Platform()
    flow = delivered_flow(platform, make_span(0, 0))
    erase(platform, make_span(0, 0).body, foreign(1))
    flow.hand_over([make_span(1, 0)], NOW_NS)
    attempt(flow, platform, T + 1)
    assert flow.begin(T + 2) == Read("a", None)


def test_a_check_that_fails_is_made_again() -> None:
    """After the backoff."""
    platform = Platform()
    flow = delivered_flow(platform, make_span(0, 0))
    erase(platform, make_span(0, 0).body, foreign(1))
    flow.hand_over([make_span(1, 0)], NOW_NS)
    attempt(flow, platform, T + 1)
    list(answers(flow, T + 2, [DOWN]))
    assert flow.due(T + 2) == T + 4
    assert attempt(flow, platform, T + 4) == ["Read"]


def test_what_another_writer_erased_is_written_again() -> None:
    """A missing span of ours tells of another writer, without any span of its own."""
    platform = Platform()
    flow = delivered_flow(platform, make_span(0, 0))
    erase(platform)
    flow.hand_over([make_span(1, 0)], NOW_NS)
    attempt(flow, platform, T + 1)
    assert platform.keys("a") == [key(0, 0), key(1, 0)]
    assert flow.due(T + 1) == T + 2, "it checks now"


def test_another_writer_that_was_seen_once_may_come_again() -> None:
    """Also after the flow was deleted, and made anew by it."""
    platform = Platform()
    flow = delivered_flow(platform, make_span(0, 0))
    erase(platform, foreign(1))
    flow.hand_over([make_span(1, 0)], NOW_NS)
    attempt(flow, platform, T + 1)
    del platform.stored["a"]
    attempt(flow, platform, T + 2)
    erase(platform, foreign(2))
    flow.hand_over([make_span(2, 0)], NOW_NS)
    attempt(flow, platform, T + 3)
    assert flow.due(T + 3) == T + 4


def test_a_flow_that_an_earlier_run_left_is_no_other_writer() -> None:
    """What the first read shows was there before."""
    platform = Platform()
    erase(platform, foreign(1))
    assert delivered_flow(platform, make_span(0, 0)).due(T) is None


def test_a_burst_is_checked_so_often_and_no_more() -> None:
    """A writer that erases for ever is left to win, until new spans come."""
    platform = Platform()
    flow = delivered_flow(platform, make_span(0, 0))
    erase(platform, foreign(1))
    flow.hand_over([make_span(1, 0)], NOW_NS)
    now, puts = T + 1, len(platform.puts)
    while (due := flow.due(now)) is not None:
        now = max(now, due)
        attempt(flow, platform, now)
        erase(platform, foreign(1))
    assert len(platform.puts) - puts == 1 + MAX_CHECKS
    flow.hand_over([make_span(2, 0)], NOW_NS)
    attempt(flow, platform, now + 1)
    assert flow.due(now + 1) == now + 2


def test_a_check_that_is_due_gives_way_to_pending_spans() -> None:
    """They are read and written as ever, and checked later."""
    platform = Platform()
    flow = delivered_flow(platform, make_span(0, 0))
    erase(platform, make_span(0, 0).body, foreign(1))
    flow.hand_over([make_span(1, 0)], NOW_NS)
    attempt(flow, platform, T + 1)
    flow.hand_over([make_span(2, 0)], NOW_NS)
    assert attempt(flow, platform, T + 2) == ["Read", "Write"]
    assert flow.due(T + 2) == T + 3


# -- marks and verdicts ------------------------------------------------------------------------------------


def test_a_mark_is_settled_when_its_spans_are_delivered() -> None:
    """Those that were handed over before the attempt began, not after."""
    flow = flow_of(make_span(0, 0), merge=False)
    first = flow._mark
    step: Any = flow.begin(T)
    second = flow.hand_over([make_span(1, 0)], NOW_NS)
    assert second == first + 1
    flow.feed(step, Stored(200, None), T, NOW_NS)
    assert (flow.settled(first), flow.settled(second)) == (True, False)


def test_a_verdict_is_open_until_it_is_known() -> None:
    """None while the attempt is due or under way, True when it is delivered."""
    platform = Platform()
    flow = flow_of()
    mark = flow.hand_over([make_span(0, 0)], NOW_NS)
    assert flow.verdict(mark, 0, T) is None
    step: Any = flow.begin(T)
    assert flow.verdict(mark, 0, T) is None
    while step is not None:
        step = flow.feed(step, perform(step, platform, 0.0), T, NOW_NS)
    assert flow.verdict(mark, 0, T) is True


def test_waiting_for_the_pacing_interval_is_a_success() -> None:
    """Until it is over: then the attempt is due, and the verdict open again."""
    flow = delivered_flow(Platform(), make_span(0, 0))
    mark = flow.hand_over([make_span(1, 0)], NOW_NS)
    assert flow.verdict(mark, 0, T + 0.5) is True
    assert flow.verdict(mark, 0, T + 1.0) is None


def test_trouble_is_a_failure() -> None:
    """The spans stay pending and are delivered later; the caller is told that they are not yet."""
    flow = flow_of(merge=False)
    mark = flow.hand_over([make_span(0, 0)], NOW_NS)
    list(answers(flow, T, [DOWN]))
    assert flow.verdict(mark, 0, T) is False
    assert flow.verdict(flow.hand_over([make_span(1, 0)], NOW_NS), 0, T) is False


def test_a_search_is_trouble() -> None:
    """Nobody knows yet who is refused."""
    flow = flow_of(merge=False)
    mark = flow.hand_over([make_span(0, 0), make_span(1, 0)], NOW_NS)
    list(answers(flow, T, [REFUSED]))
    assert flow.verdict(mark, 0, T) is False


def test_a_loss_is_a_failure() -> None:
    """Whatever became of the others."""
    platform = Platform()
    flow = flow_of(max_spans=1)
    lost = flow.lost
    mark = flow.hand_over([make_span(0, 0), make_span(1, 0)], NOW_NS)
    settle(flow, platform, T)
    assert flow.lost == 1
    assert flow.verdict(mark, lost, T) is False
    assert flow.verdict(mark, flow.lost, T) is True


def test_a_span_that_is_handed_over_again_is_settled() -> None:
    """There is nothing to wait for."""
    flow = delivered_flow(Platform(), make_span(0, 0))
    mark = flow.hand_over([make_span(0, 0)], NOW_NS)
    assert (flow.settled(mark), flow.verdict(mark, 0, T), counts(flow)) == (True, True, (1, 1, 0, {}))


def test_a_rewrite_is_not_settled_until_it_is_written() -> None:
    """What moved must have left before a flush is done."""
    platform = Platform()
    flow = delivered_flow(platform, make_span(0, 0))
    flow.take([key(0, 0)])
    mark = flow.hurry(T)
    assert (mark, flow.settled(mark)) == (2, False)
    attempt(flow, platform, T)
    assert flow.settled(mark)


# -- losses ------------------------------------------------------------------------------------------------


def test_a_pending_span_that_is_pushed_out_is_lost() -> None:
    """Counted and said; a delivered one just ages out."""
    flow = delivered_flow(Platform(), make_span(0, 0), max_spans=1)
    flow.hand_over([make_span(1, 0, start=1)], NOW_NS + 10**12)
    assert counts(flow) == (2, 1, 1, {})
    flow.hand_over([make_span(2, 0, start=2)], NOW_NS + 10**12)
    assert counts(flow) == (3, 1, 1, {"window_full": 1})
    assert [level for level, _ in said(flow)] == [logging.ERROR]


def test_a_loss_in_an_outage_says_why_nothing_was_delivered() -> None:
    """With the last error; without trouble there is none to name."""
    flow = flow_of(make_span(0, 0), merge=False, max_spans=1)
    list(answers(flow, T, [DOWN]))
    flow.report.take(T)
    flow.hand_over([make_span(1, 0, start=1)], NOW_NS + 10**12)
    assert said(flow)[0][1].endswith(": the platform is not available (503: 503 Service Unavailable)")
    settle(flow, Platform(), T)
    flow.report.take(T)
    flow.hand_over([make_span(2, 0, start=2), make_span(3, 0, start=3)], NOW_NS + 10**12)
    assert said(flow, T + 60)[0][1].endswith("or record fewer spans")


def test_an_unencodable_span_is_counted() -> None:
    """With what is known of it."""
    flow = flow_of()
    mark = flow.lose_unencodable("TypeError")
    assert counts(flow) == (1, 0, 0, {"unencodable": 1})
    assert flow.verdict(mark, 0, T) is False
    assert said(flow)[0][1].endswith("could not be turned into JSON: TypeError")


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


def test_a_span_that_is_squeezed_out_in_an_outage_is_lost_for_it() -> None:
    """The last error is named."""
    flow = flow_of(make_span(0, 0), merge=False)
    list(answers(flow, T, [DOWN]))
    flow.report.take(T)
    flow.squeeze(10)
    assert said(flow)[0][1].endswith(": the platform is not available (503: 503 Service Unavailable)")


def test_what_is_abandoned_without_an_error_is_lost_for_the_end_only() -> None:
    """There was no trouble to name."""
    flow = flow_of(make_span(0, 0))
    flow.abandon()
    assert said(flow)[0][1].endswith("they were still waiting when the exporter shut down")


def test_a_delivered_span_that_is_squeezed_out_is_not_lost() -> None:
    """It stands in the platform."""
    flow = delivered_flow(Platform(), make_span(0, 0))
    flow.squeeze(10)
    assert (counts(flow), flow.window.spans) == ((1, 1, 0, {}), 0)


def test_what_is_abandoned_is_lost() -> None:
    """At the end, with the last error."""
    flow = delivered_flow(Platform(), make_span(0, 0))
    flow.hand_over([make_span(1, 0), make_span(2, 0)], NOW_NS)
    list(answers(flow, T + 1, [DOWN]))
    flow.report.take(T)
    assert flow.abandon() == 2
    assert counts(flow) == (3, 1, 0, {"shutdown": 2})
    assert flow.abandon() == 0
    ((level, line),) = said(flow)
    assert level == logging.ERROR
    assert "2 spans are lost: they were still waiting" in line
    assert line.endswith("503 Service Unavailable)")


def test_an_answer_that_comes_after_the_end_counts_nothing_twice() -> None:
    """The attempt was under way when the flow was given up."""
    flow = flow_of(make_span(0, 0), merge=False)
    step: Any = flow.begin(T)
    flow.abandon()
    flow.feed(step, Stored(200, None), T, NOW_NS)
    assert counts(flow) == (1, 0, 0, {"shutdown": 1})


def test_counts_go_on_where_the_former_window_left_off() -> None:
    """A flow that left memory and comes back is the same flow to those who look."""
    platform = Platform()
    former = flow_of(make_span(0, 0, text="bad"), make_span(1, 0))
    settle(former, poisoned("bad", fields=True), T)
    flow = Flow("a", make_policy(), former.status(T))
    assert (counts(flow), flow.last_error) == ((2, 1, 0, {"refused": 1}), "a span is wrong")
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
    ]


# -- the end -----------------------------------------------------------------------------------------------


def test_closing_delivers_and_reads_back_at_once() -> None:
    """Pacing is ignored; a read proves that the spans are there."""
    platform = Platform()
    flow = delivered_flow(platform, make_span(0, 0))
    flow.hand_over([make_span(1, 0)], NOW_NS)
    flow.close(T)
    assert flow.due(T) == T
    assert attempt(flow, platform, T) == ["Read", "Write"]
    assert flow.due(T) == T
    assert attempt(flow, platform, T) == ["Read"]
    assert flow.due(T) is None


def test_closing_a_clean_flow_reads_back_what_was_put() -> None:
    """Another writer may have erased it since."""
    platform = Platform()
    flow = delivered_flow(platform, make_span(0, 0))
    erase(platform, foreign(1))
    flow.close(T)
    assert attempt(flow, platform, T) == ["Read", "Write"]
    assert set(platform.keys("a")) == {key(0, 0), key(901, 1)}


@pytest.mark.parametrize("merge", [True, False])
def test_closing_a_flow_that_wrote_nothing_is_nothing(merge: bool) -> None:
    """There is nothing to read back; in replace mode there never is."""
    flow = flow_of(merge=merge)
    flow.close(T)
    assert flow.due(T) is None
    flow = delivered_flow(Platform(), make_span(0, 0), merge=False)
    flow.close(T)
    assert flow.due(T) is None


def test_closing_a_flow_that_holds_others_spans_only_reads_nothing_back() -> None:
    """None of ours can be missing."""
    platform = Platform()
    platform.stored["a"] = document(foreign(1))
    flow = delivered_flow(platform, make_span(0, 0))
    flow.take([key(0, 0)])
    settle(flow, platform, T)
    flow.close(T)
    assert flow.due(T) is None


@pytest.mark.parametrize("pending", [True, False])
def test_closing_writes_again_four_times_at_most(pending: bool) -> None:
    """A writer that erases for ever is left to win."""
    platform = Platform()
    flow = delivered_flow(platform, make_span(0, 0))
    if pending:
        flow.hand_over([make_span(1, 0)], NOW_NS)
    erase(platform, foreign(1))
    flow.close(T)
    puts, now = len(platform.puts), T
    while (due := flow.due(now)) is not None:
        now = max(now, due)
        attempt(flow, platform, now)
        erase(platform, foreign(1))
    assert len(platform.puts) - puts - pending == MAX_CHECKS


def test_closing_alone_reads_back_at_once() -> None:
    """However long an attempt takes."""
    platform = Platform()
    flow = flow_of(make_span(0, 0))
    flow.close(T)
    step: Any = flow.begin(T)
    for now in (T + 1, T + 2):
        step = flow.feed(step, perform(step, platform, 0.0), now, NOW_NS)
    assert flow.due(T + 2) == T + 2


def test_closing_beside_another_writer_reads_back_a_random_moment_later() -> None:
    """Two that end together otherwise erase each other; alone, there is nobody to wait for."""
    platform = Platform()
    flow = delivered_flow(platform, make_span(0, 0), uniform=lambda low, high: low + high)
    erase(platform, foreign(1))
    flow.close(T)
    step: Any = flow.begin(T)
    for now in (T + 1, T + 2):
        step = flow.feed(step, perform(step, platform, 0.0), now, NOW_NS)
    assert flow.due(T + 2) == T + 2 + 4 * 2


def test_closing_waits_for_a_writer_that_was_seen_and_left_no_span() -> None:
    """It erased ours: it is there."""
    platform = Platform()
    flow = delivered_flow(platform, make_span(0, 0))
    erase(platform)
    flow.close(T)
    step: Any = flow.begin(T)
    for now in (T + 1, T + 2):
        step = flow.feed(step, perform(step, platform, 0.0), now, NOW_NS)
    assert flow.due(T + 2) == T + 4


def test_closing_waits_for_an_earlier_run_too() -> None:
    """Its spans are in the window: it may be another process that lives."""
    platform = Platform()
    platform.stored["a"] = document(foreign(1))
    flow = flow_of(make_span(0, 0))
    flow.close(T)
    step: Any = flow.begin(T)
    for now in (T + 1, T + 2):
        step = flow.feed(step, perform(step, platform, 0.0), now, NOW_NS)
    assert flow.due(T + 2) == T + 4


def test_a_flow_in_trouble_gets_one_more_attempt() -> None:
    """Then there is nothing to do any more, and what is pending waits for its end."""
    flow = flow_of(make_span(0, 0), merge=False)
    list(answers(flow, T, [DOWN]))
    flow.close(T + 1)
    assert flow.due(T + 1) == T + 1
    list(answers(flow, T + 1, [DOWN]))
    assert (flow.due(T + 1), flow.status(T + 1).next_attempt) == (None, None)
    assert counts(flow) == (1, 0, 1, {})


def test_the_attempt_under_way_is_not_the_last_one() -> None:
    """It may have begun long before the end."""
    flow = flow_of(make_span(0, 0), merge=False)
    list(answers(flow, T, [DOWN]))
    step: Any = flow.begin(T + 2)
    flow.close(T + 3)
    flow.feed(step, DOWN, T + 4, NOW_NS)
    assert flow.due(T + 4) == T + 5
    list(answers(flow, T + 5, [DOWN]))
    assert flow.due(T + 5) is None


@pytest.mark.parametrize(("later", "goes_on"), [(10.0, True), (10.5, False)])
def test_a_platform_that_answered_a_moment_ago_is_tried_for_longer(later: float, goes_on: bool) -> None:
    """Failures count as tries only when the last success is longer ago than an attempt may take."""
    platform = Platform()
    flow = delivered_flow(platform, make_span(0, 0), timeout=10.0)
    flow.hand_over([make_span(1, 0)], NOW_NS)
    list(answers(flow, T + 1, [DOWN]))
    flow.close(T + later)
    list(answers(flow, T + later, [DOWN]))
    assert (flow.due(T + later) is not None) is goes_on


@pytest.mark.parametrize("answer", [None, Found(b"", b"", 200), read(b'{"spans":[]}', b"d")])
def test_a_read_is_a_success_too(answer: Any) -> None:
    """The platform lives, though it takes no PUT at the moment."""
    flow = flow_of(make_span(0, 0))
    list(answers(flow, T, [DOWN]))
    flow.close(T)
    list(answers(flow, T + 5, [answer, DOWN]))
    assert flow.due(T + 5) is not None


def test_the_policy_holds_plain_values() -> None:
    """It is shared by all flows, and does not change."""
    policy = make_policy(max_spans=7)
    assert isinstance(policy, FlowPolicy)
    with pytest.raises(AttributeError):
        policy.max_spans = 8  # type: ignore[misc]
