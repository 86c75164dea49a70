"""The exchange with the platform: merging, deleted flows, other writers."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from opentelemetry.exporter.versori_flow.delivery.attempt import perform
from opentelemetry.exporter.versori_flow.flow.flow import Flow
from opentelemetry.exporter.versori_flow.flow.outcomes import Absence
from opentelemetry.exporter.versori_flow.flow.report import LOSES_AGAIN
from opentelemetry.exporter.versori_flow.flow.schedule import MAX_CHECKS
from opentelemetry.exporter.versori_flow.flow.steps import Read, Write
from opentelemetry.exporter.versori_flow.flow.stored import StoredFlow, UnreadableFlow, read
from opentelemetry.exporter.versori_flow.http.answers import (
    Absent,
    Conflict,
    Denied,
    Found,
    Misconfigured,
    Rejected,
    Stale,
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
    digest_of,
    document,
    erase,
    flow_of,
    foreign,
    key,
    make_span,
    poisoned,
    said,
    settle,
    settle_while_erased,
)
from tests.flow.several import Routing

# -- merging --------------------------------------------------------------------------------------------------


def test_merge_keeps_what_the_flow_has(platform: Platform) -> None:
    """Foreign spans, unknown members and the description, byte for byte."""
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


def test_what_is_known_is_not_parsed_again(platform: Platform) -> None:
    """The read after a PUT asks with the digest of the PUT's answer."""
    flow = delivered_flow(platform, make_span(0, 0))
    flow.hand_over([make_span(1, 0)], NOW_NS)
    step = flow.begin(T + 1)
    assert step == Read("a", digest_of(platform.stored["a"]))
    write = flow.feed(step, Found(b"", b"", 200), T + 1, NOW_NS)
    assert isinstance(write, Write)
    assert len(write.body.spans) == 2


def test_a_put_that_failed_makes_the_next_read_a_full_one() -> None:
    """It may have been applied all the same."""
    platform = Platform()
    flow = delivered_flow(platform, make_span(0, 0))
    flow.hand_over([make_span(1, 0)], NOW_NS)
    list(answers(flow, T + 1, [Found(b"", b"", 200), DOWN]))
    assert flow.begin(T + 9) == Read("a", None)


def test_a_person_s_edit_is_kept(platform: Platform) -> None:
    """A description and members that change between two PUTs are what is written next."""
    flow = delivered_flow(platform, make_span(0, 0))
    platform.stored["a"] = document(make_span(0, 0).body, more=b',"x":[ ]')
    flow.hand_over([make_span(1, 0)], NOW_NS)
    attempt(flow, platform, T + 1)
    assert platform.stored["a"].startswith(b'{"name":"a","description":"by hand \\u00e9","x":[ ],"spans":[')
    assert platform.keys("a") == [key(0, 0), key(1, 0)]


def test_a_foreign_span_that_changes_is_taken_as_it_is(platform: Platform) -> None:
    """Its newer text is kept; ours is not touched by what is stored under its ids."""
    ours, theirs = make_span(0, 0), make_span(1, 0, text="theirs")
    platform.stored["a"] = document(theirs.body)
    flow = delivered_flow(platform, ours)
    newer = make_span(1, 0, text="newer")
    platform.stored["a"] = document(make_span(0, 0, text="changed").body, newer.body)
    flow.hand_over([make_span(2, 0)], NOW_NS)
    attempt(flow, platform, T + 1)
    assert [span["name"] for span in platform.spans("a")] == ["", "newer", ""]


@pytest.mark.parametrize("start", [-5, 5])
@pytest.mark.parametrize("rewrites", [False, True])
def test_a_foreign_span_with_the_ids_of_ours_stands_beside_it(
    platform: Platform, start: int, rewrites: bool
) -> None:
    """Once, as ours does, however often its writer adds it, or in whatever way the platform writes spans."""
    ours, theirs = make_span(0, 0), make_span(0, 0, start=start, text="theirs").body
    flow = delivered_flow(platform, ours)
    for number in range(1, 5):
        stored = [span.body for span in read(platform.stored["a"], b"").spans]
        if rewrites:
            stored = [json.dumps({"id": 7, **json.loads(span)}, indent=1).encode() for span in stored]
        platform.stored["a"] = document(*stored, *[theirs] * (number == 1 or not rewrites))
        flow.hand_over([make_span(number, 0, start=number)], NOW_NS)
        settle(flow, platform, T + 10 * number)
        alike = [
            span for span, its in zip(platform.spans("a"), platform.keys("a"), strict=True) if its == ours[:2]
        ]
        assert sorted(span["name"] == "theirs" for span in alike) == [False, True]
        assert platform.stored["a"].count(ours.body) == 1
    platform.stored["a"] = document(ours.body)
    flow.hand_over([make_span(9, 0, start=9)], NOW_NS)
    settle(flow, platform, T + 90)
    assert b"theirs" not in platform.stored["a"], "its writer took it away"


def test_a_foreign_root_is_a_root(platform: Platform) -> None:
    """It stays longest in a trace that is cut."""
    root, child = make_span(0, 0), make_span(0, 1, start=1, parent=0)
    platform.stored["a"] = document(root.body, child.body)
    flow = flow_of(make_span(0, 2, start=2, parent=0), max_spans=2)
    settle(flow, platform, T)
    assert platform.keys("a") == [key(0, 0), key(0, 2)]


def test_foreign_spans_age_out_within_the_bounds(platform: Platform) -> None:
    """The window's bounds are the flow's, and the newest whole traces stay; pending ones stay longest."""
    platform.stored["a"] = document(*(foreign(number, start=number) for number in range(5)))
    flow = delivered_flow(platform, make_span(0, 0, start=-50), max_spans=3)
    assert [span["spanContext"]["traceId"][-3:] for span in platform.spans("a")] == ["001", "388", "389"]
    assert counts(flow) == (1, 1, 0, {})


def test_what_an_ambiguous_put_carried_is_not_foreign(platform: Platform) -> None:
    """A PUT without an answer may have been applied; its spans are still pending, and then delivered once."""
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


def test_members_that_leave_no_room_make_a_span_too_large(platform: Platform) -> None:
    """A flow whose other members fill the bound takes no span, and never a body beyond it."""
    platform.stored["a"] = document(more=b',"x":"' + b"x" * 900 + b'"')
    flow = flow_of(make_span(0, 0, size=400), max_bytes=1000)
    assert attempt(flow, platform, T) == ["Read"]
    assert counts(flow) == (1, 0, 0, {"too_large": 1})
    ((_, line),) = said(flow)
    assert line.endswith(
        "400 bytes where 39 may be; the stored flow's other members take 961 of max_bytes 1000"
    )


# -- deleted flows --------------------------------------------------------------------------------------------


def test_a_delivered_flow_that_is_gone_was_deleted_on_purpose(platform: Platform) -> None:
    """Delivered spans are forgotten, its members too; pending ones start it anew. It is said."""
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
    assert said(flow) == []


def test_a_flow_that_was_read_and_is_gone_was_deleted(platform: Platform) -> None:
    """Also where no PUT of ours ever came through: what was read is forgotten."""
    platform.stored["a"] = document(foreign(1), more=b',"x":1')
    flow = flow_of(make_span(0, 0))
    stored = read(platform.stored.pop("a"), b"d")
    list(answers(flow, T, [stored, DOWN]))
    settle(flow, platform, T + 2)
    assert platform.stored["a"] == b'{"name":"a","description":"","spans":[' + make_span(0, 0).body + b"]}"


def test_a_deleted_flow_is_not_made_again_for_nothing(platform: Platform) -> None:
    """A check that finds it gone leaves it gone."""
    flow = delivered_flow(platform, make_span(0, 0))
    flow.close(T)
    del platform.stored["a"]
    reads = platform.reads
    assert settle(flow, platform, T) == T + 1
    assert (platform.puts[1:], platform.stored, flow.window.spans) == ([], {}, 0)
    assert (platform.reads, [text for _, text in said(flow)]) == (
        reads + 2,
        ["flow 'a': was deleted on the platform; 1 delivered span is forgotten"],
    )


# -- other writers --------------------------------------------------------------------------------------------


def test_another_writer_that_was_seen_makes_each_put_read_again(platform: Platform) -> None:
    """A random moment later, so that two do not look, and erase, at the same time again and again."""
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
    assert attempt(flow, platform, T + 11) == ["Read"], "it looks without this host's turn"
    assert (flow.idle, flow.due(T + 11)) == (False, T + 11), "and writes in it, at once"
    assert attempt(flow, platform, T + 11) == ["Read", "Write"]
    assert set(platform.keys("a")) == {key(901, 1), key(0, 0), key(1, 0)}
    assert (counts(flow), said(flow)) == ((2, 2, 0, {}), []), "once is no word worth"


def test_a_check_that_fails_is_made_again(platform: Platform) -> None:
    """After the backoff."""
    flow = delivered_flow(platform, make_span(0, 0))
    erase(platform, make_span(0, 0).body, foreign(1))
    flow.hand_over([make_span(1, 0)], NOW_NS)
    attempt(flow, platform, T + 1)
    (step,) = answers(flow, T + 2, [DOWN])
    assert (step, flow.due(T + 2)) == (Read("a", None, in_turn=False), T + 4), "it reads everything"
    assert attempt(flow, platform, T + 4) == ["Read"]


def test_a_burst_is_checked_so_often_and_no_more(platform: Platform) -> None:
    """A writer that erases for ever is left to win, until new spans come."""
    flow = delivered_flow(platform, make_span(0, 0))
    erase(platform, foreign(1))
    flow.hand_over([make_span(1, 0)], NOW_NS)
    puts = len(platform.puts)
    now = settle_while_erased(flow, platform, T + 1)
    assert len(platform.puts) - puts == 1 + MAX_CHECKS
    flow.hand_over([make_span(2, 0)], NOW_NS)
    attempt(flow, platform, now + 1)
    assert flow.due(now + 1) == now + 2


def test_a_check_that_is_due_gives_way_to_pending_spans(platform: Platform) -> None:
    """They are read and written as ever, and checked later."""
    flow = delivered_flow(platform, make_span(0, 0))
    erase(platform, make_span(0, 0).body, foreign(1))
    flow.hand_over([make_span(1, 0)], NOW_NS)
    attempt(flow, platform, T + 1)
    flow.hand_over([make_span(2, 0)], NOW_NS)
    assert attempt(flow, platform, T + 2) == ["Read", "Write"]
    assert flow.due(T + 2) == T + 3


# -- what may be believed ----------------------------------------------------------------------------------

AT_READ: list[Any] = [
    Absent(),
    Absent(own_form=False, message="default backend"),
    Unreadable("a page"),
    UnreadableFlow("no flow"),
    read(b'{"name":"b","description":"","spans":[]}', b"b"),
    DOWN,
    Denied(403, "who?", None),
    Misconfigured(302, "there", None),
]
AT_WRITE: list[Any] = [
    Stored(200, None, believed=False),
    REFUSED,
    Rejected(400, "", "no", (0,)),
    Rejected(400, "", "no", (1,)),
    Rejected(400, "", "no", (0, 1, 2)),
    TooLarge("413"),
    Conflict("409"),
    DOWN,
    Denied(401, "who?", None),
    Misconfigured(404, "where?", None),
    Stale(),
]


@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize(
    ("at", "stray"), [*(("Read", answer) for answer in AT_READ), *(("Write", answer) for answer in AT_WRITE)]
)
def test_a_stray_answer_costs_nothing(platform: Platform, at: str, stray: Any, merge: bool) -> None:
    """At whichever step it comes: nothing stored is lost, nothing handed over is dropped."""
    if merge:
        platform.stored["a"] = document(foreign(1), more=b',"x":1')
    flow = delivered_flow(platform, make_span(0, 0), merge=merge)
    flow.hand_over([make_span(1, 0)], NOW_NS)
    step, given = flow.begin(T + 1), False
    while step is not None:
        is_now = not given and type(step).__name__ == at
        given |= is_now
        step = flow.feed(step, stray if is_now else perform(step, platform, 0.0), T + 1, NOW_NS)
    settle(flow, platform, T + 1)
    assert given is (merge or at == "Write")
    assert counts(flow) == (2, 2, 0, {})
    assert set(platform.keys("a")) == {key(0, 0), key(1, 0), *([key(901, 1)] if merge else [])}
    assert (b'"x":1' in platform.stored["a"]) is merge


@pytest.mark.parametrize("is_stray", [True, False])
def test_another_name_is_believed_once_a_second_read_shows_it(platform: Platform, is_stray: bool) -> None:
    """The first read of a flow may be of another one; a platform that writes names in its own way says so twice."""
    platform.stored["a"] = document(foreign(1), more=b',"x":1')
    empty, same = b'{"name":"b","description":"","spans":[]}', platform.stored["a"].replace(b'"a"', b'"A"')
    other = read(empty if is_stray else same, b"other")
    flow = flow_of(make_span(0, 0))
    assert flow.feed(flow.begin(T), other, T, NOW_NS) is None  # type: ignore[arg-type]
    assert (flow.in_trouble, flow.due(T)) == (False, T + 1)
    step = flow.begin(T + 1)
    assert isinstance(step, Read)
    assert step.own_connection
    answer = perform(step, platform, 0.0) if is_stray else other
    write = flow.feed(step, answer, T + 1, NOW_NS)
    assert isinstance(write, Write)
    assert flow.feed(write, perform(write, platform, 0.0), T + 1, NOW_NS) is None
    assert set(platform.keys("a")) == {key(901, 1), key(0, 0)}
    assert b'"x":1' in platform.stored["a"]


def test_the_second_look_at_a_missing_flow_has_its_own_connection(platform: Platform) -> None:
    """And comes a pacing interval later at least, whoever waits."""
    flow = delivered_flow(platform, make_span(0, 0), min_interval=5.0)
    flow.hand_over([make_span(1, 0)], NOW_NS)
    flow.hurry(T + 1, T + 60)
    list(answers(flow, T + 1, [Absent()]))
    assert (flow.due(T + 1), flow.verdict(2, 0, T + 1)) == (T + 6, True)
    step = flow.begin(T + 6)
    assert step == Read("a", digest_of(platform.stored["a"]), own_connection=True)


@pytest.mark.parametrize("was_there", [False, True])
def test_a_404_of_somebody_else_s_is_believed_after_three_over_two_seconds(was_there: bool) -> None:
    """Until then the attempt fails, says so, and nothing is written."""
    platform, stray = Platform(), Absent(own_form=False, message="default backend")
    flow = delivered_flow(platform, make_span(0, 0)) if was_there else flow_of()
    flow.hand_over([make_span(1, 0)], NOW_NS)
    for now in (T + 1, T + 2.9):
        list(answers(flow, now, [stray]))
        assert flow.in_trouble
    assert "404 that is not the platform's API (default backend)" in (flow.status(T).last_error or "")
    step = flow.begin(T + 3)
    assert isinstance(step, Read)
    assert step.own_connection
    write = flow.feed(step, stray, T + 3, NOW_NS)
    assert isinstance(write, Write)
    assert write.body.spans == [make_span(1, 0).body]


@pytest.mark.parametrize(
    ("reads", "believed"),
    [
        ([(0, True, False), (5, True, False)], False),  # not on a connection of its own
        ([(0, True, True), (4.9, True, True)], False),
        ([(0, True, False), (5, True, True)], True),
        ([(0, False, False), (2, False, True)], False),  # two
        ([(0, False, False), (1, False, True), (1.9, False, True)], False),
        ([(0, False, False), (1, False, True), (2, False, True)], True),
    ],
)
def test_when_a_flow_is_gone(reads: list[tuple[float, bool, bool]], believed: bool) -> None:
    """By when each 404 came, whether in the API's form, and whether on a connection of its own."""
    absence = Absence(5.0)
    for at, own_form, own_connection in reads:
        given = absence.believed(Absent(own_form), True, own_connection, T + at)
        assert absence.doubted
    assert given is believed
    absence.clear()
    assert not absence.doubted


@pytest.mark.parametrize(
    ("name", "at", "own_connection", "is_sure"),
    [("b", 5, False, False), ("b", 4.9, True, False), ("c", 5, True, False), ("b", 5, True, True)],
)
def test_when_another_name_is_the_flow_s(name: str, at: float, own_connection: bool, is_sure: bool) -> None:
    """By what a second read shows, when it comes, and whether on a connection of its own."""
    absence = Absence(5.0)
    first, second = (StoredFlow(b"", called, b'""', (), ()) for called in ("b", name))
    assert not absence.sure(first, Read("a", None), T)
    assert absence.sure(second, Read("a", None, own_connection), T + at) is is_sure


def test_a_flow_that_is_seen_in_between_is_not_deleted(platform: Platform) -> None:
    """Two 404s that are no row prove nothing."""
    flow = delivered_flow(platform, make_span(0, 0))
    for now in (T + 1, T + 4):
        flow.hand_over([make_span(int(now), 0)], NOW_NS)
        list(answers(flow, now, [Absent()]))
        assert attempt(flow, platform, now + 1) == ["Read", "Write"]
    assert key(0, 0) in platform.keys("a")


def test_a_look_that_finds_something_missing_sees_the_flow(platform: Platform) -> None:
    """A 404 before it and a 404 after it are no row either."""
    flow = delivered_flow(platform, make_span(0, 0))
    erase(platform, foreign(1))
    flow.hand_over([make_span(1, 0)], NOW_NS)
    assert attempt(flow, platform, T + 1) == ["Read", "Write"]
    erase(platform, foreign(1))
    for now in (T + 4, T + 6):
        list(answers(flow, now, [Absent()]))
        assert attempt(flow, platform, now + 1) == ["Read"]
    assert attempt(flow, platform, T + 7) == ["Read", "Write"]
    assert set(platform.keys("a")) == {key(0, 0), key(1, 0), key(901, 1)}


def test_what_others_wrote_beside_an_unbelieved_put_is_kept(platform: Platform) -> None:
    """The read that confirms the PUT shows it, and the next PUT must have it."""
    flow = delivered_flow(platform, make_span(0, 0))
    flow.hand_over([make_span(1, 0)], NOW_NS)
    step: Any = flow.feed(flow.begin(T + 1), perform(Read("a", None), platform, 0.0), T + 1, NOW_NS)
    erase(platform, *step.body.spans, foreign(1))
    step = flow.feed(step, Stored(200, None, believed=False), T + 1, NOW_NS)
    assert flow.feed(step, perform(step, platform, 0.0), T + 1, NOW_NS) is None
    assert counts(flow) == (2, 2, 0, {})
    flow.hand_over([make_span(2, 0)], NOW_NS)
    attempt(flow, platform, T + 3)
    assert set(platform.keys("a")) == {key(0, 0), key(1, 0), key(2, 0), key(901, 1)}


@pytest.mark.parametrize("shown", [True, False])
@pytest.mark.parametrize("merge", [True, False])
def test_an_unbelieved_put_is_delivered_once_a_read_shows_it(
    platform: Platform, shown: bool, merge: bool
) -> None:
    """In the same attempt, in replace mode too; otherwise it fails."""
    flow = flow_of(make_span(0, 0), merge=merge)
    step: Any = flow.begin(T)
    if merge:
        step = flow.feed(step, Absent(), T, NOW_NS)
    if shown:
        perform(step, platform, 0.0)
    else:
        platform.stored["a"] = document()
    step = flow.feed(step, Stored(200, None, believed=False), T, NOW_NS)
    assert (step, counts(flow)) == (Read("a", None), (1, 0, 1, {}))
    assert flow.feed(step, perform(step, platform, 0.0), T, NOW_NS) is None
    assert (counts(flow), flow.in_trouble) == ((1, int(shown), int(not shown), {}), not shown)
    assert (flow.due(T), flow._exchange.known.digest) == (None if shown else T + 2, None)
    assert shown or "200 and not as it was written" in (flow.status(T).last_error or "")


def test_a_put_whose_answer_is_the_flow_as_it_was_is_not_believed(platform: Platform) -> None:
    """Something on the way, or a platform that ignores it: a read has to show what it has carried."""
    flow = delivered_flow(platform, make_span(0, 0))
    flow.hand_over([make_span(1, 0)], NOW_NS)
    step: Any = flow.begin(T + 1)
    step = flow.feed(step, perform(step, platform, 0.0), T + 1, NOW_NS)
    step = flow.feed(step, Stored(200, digest_of(platform.stored["a"])), T + 1, NOW_NS)
    flow.feed(step, perform(step, platform, 0.0), T + 1, NOW_NS)
    assert (counts(flow), flow.in_trouble) == ((2, 1, 1, {}), True)
    settle(flow, platform, T + 1)
    assert (counts(flow), platform.keys("a")) == ((2, 2, 0, {}), [key(0, 0), key(1, 0)])


def test_what_is_erased_again_and_again_is_said(platform: Platform) -> None:
    """Once: the flow lacks what counts as delivered, and nobody would learn of it."""
    flow = delivered_flow(platform, make_span(0, 0))
    for number in (1, 2):
        flow.hand_over([make_span(number, 0)], NOW_NS)
        settle_while_erased(flow, platform, T + number)
    assert [text for _, text in said(flow)] == [f"flow 'a': {LOSES_AGAIN}"]


def test_what_must_leave_leaves_though_a_put_was_not_believed(platform: Platform) -> None:
    """A moved span is in the old flow until a read shows that it is not."""
    flow = delivered_flow(platform, make_span(0, 0), make_span(1, 0))
    flow.take(key(0, 0))
    step: Any = flow.begin(T + 1)
    step = flow.feed(step, perform(step, platform, 0.0), T + 1, NOW_NS)
    step = flow.feed(step, Stored(200, None, believed=False), T + 1, NOW_NS)
    flow.feed(step, perform(step, platform, 0.0), T + 1, NOW_NS)
    assert flow.in_trouble
    settle(flow, platform, T + 1)
    assert platform.keys("a") == [key(1, 0)]


def test_a_put_that_no_read_confirms_fails_for_that(platform: Platform) -> None:
    """And a span of it that has moved meanwhile leaves, whatever became of it."""
    flow = flow_of(make_span(0, 0), merge=False)
    step: Any = flow.begin(T)
    perform(step, platform, 0.0)
    step = flow.feed(step, Stored(200, None, believed=False), T, NOW_NS)
    flow.take(key(0, 0))
    flow.feed(step, DOWN, T, NOW_NS)
    assert "is not available" in (flow.status(T).last_error or "")
    settle(flow, platform, T)
    assert platform.keys("a") == []


def test_an_answer_that_a_step_cannot_have_is_trouble() -> None:
    """Which is said, with what it was; it is tried again."""
    flow = flow_of(make_span(0, 0))
    list(answers(flow, T, [Stored(200, None)]))
    text = "flow 'a': Stored was not asked for. 1 span waits; the next attempt is in 2.0 s"
    assert said(flow) == [(logging.ERROR, text)]


@pytest.mark.parametrize("takes_over", [True, False])
def test_an_older_text_is_put_right(platform: Platform, takes_over: bool) -> None:
    """Where another writer that had read it before puts it back; the newer one is pending only if no PUT was taken."""
    flow = delivered_flow(platform, early := make_span(0, 0, text="early"))
    erase(platform, early.body, foreign(1))
    flow.hand_over([ended := make_span(0, 0, text="ended")], NOW_NS)
    if takes_over:
        attempt(flow, platform, T + 1)
        erase(platform, early.body, foreign(1), foreign(2))
    else:  # and its PUT is answered by somebody else
        step: Any = flow.begin(T + 1)
        step = flow.feed(step, perform(step, platform, 0.0), T + 1, NOW_NS)
        erase(platform, early.body, foreign(1), foreign(2))
        step = flow.feed(step, Stored(200, None, believed=False), T + 1, NOW_NS)
        flow.feed(step, perform(step, platform, 0.0), T + 1, NOW_NS)
    assert counts(flow) == ((2, 2, 0, {}) if takes_over else (2, 1, 1, {}))
    settle(flow, platform, T + 1)
    assert {ended.body, foreign(1), foreign(2)} == {s.body for s in read(platform.stored["a"], b"").spans}
    assert counts(flow) == (2, 2, 0, {})


def test_what_was_read_too_long_ago_is_read_again(platform: Platform) -> None:
    """The attempt goes on with what another writer has put there meanwhile."""
    flow = flow_of(make_span(0, 0))
    erase(platform, foreign(1))
    steps = list(answers(flow, T, [None, Stale(), read(platform.stored["a"], b"d"), Stored(200, None)]))
    assert [type(step).__name__ for step in steps] == ["Read", "Write", "Read", "Write"]
    assert foreign(1) in steps[-1].body.spans
    flow.hand_over([make_span(1, 0)], NOW_NS)
    found = Found(b"", b"", 200)
    flow._exchange.known.digest = b"known"
    steps = list(answers(flow, T + 1, [found, Stale(), found, Stored(200, None)]))
    assert steps[2] == Read("a", b"known")
    flow = flow_of(make_span(0, 0), merge=False)
    assert len(list(answers(flow, T, [Stale(), Stored(200, None)]))) == 2


@pytest.mark.parametrize(("in_turn", "due"), [(True, None), (False, T + 1)])
def test_a_put_without_its_turn_is_read_back(in_turn: bool, due: float | None) -> None:
    """Somebody may have written at the same time."""
    routing = Routing()
    routing.hand_over(make_span(0, 0))
    job: Any = routing.flows.begin_next(T)
    for answer in (Absent(), Stored(200, None)):
        job = routing.flows.feed(job, answer, T, NOW_NS, in_turn=in_turn)
    assert (routing.flows.memory.totals().delivered, routing.flows.next_due()) == (1, due)


# -- the base of a merge -----------------------------------------------------------------------------------


def test_a_person_s_repair_stays() -> None:
    """A foreign span that the platform refuses, and that somebody took away, is not put back."""
    platform = poisoned("odd", fields=True)
    platform.stored["a"] = document(foreign(1), foreign(2))
    flow = flow_of(make_span(0, 0))
    attempt(flow, platform, T)
    assert flow.in_trouble
    platform.stored["a"] = document()
    settle(flow, platform, T)
    assert (platform.keys("a"), counts(flow)) == ([key(0, 0)], (1, 1, 0, {}))


@pytest.mark.parametrize(
    ("policy", "words", "setting"),
    [
        (
            {"max_spans": 3},
            "10 spans where 3 may be: 7 spans that others wrote leave it, those that were",
            "SPANS",
        ),
        (
            {"max_bytes": 900},
            "2166 bytes of spans where 900 may be: 6 spans that others wrote leave it, those that were",
            "BYTES",
        ),
        (
            {"max_spans": 9},
            "10 spans where 9 may be: 1 span that others wrote leaves it, the one that was",
            "SPANS",
        ),
    ],
)
def test_what_others_wrote_leaves_with_a_word(policy: dict[str, int], words: str, setting: str) -> None:
    """Once, with the numbers and the setting."""
    platform, ours = Platform(), make_span(0, 0)
    flow = delivered_flow(platform, ours, **policy)
    for first in (-20, -10):
        erase(platform, ours.body, *(foreign(50 + n, start=n) for n in range(first, first + 9)))
        flow.close(T)
        settle(flow, platform, T)
    (text,) = [text for level, text in said(flow) if level == logging.WARNING]
    kept = "it" if "1 span " in words else "them"
    assert text == (
        f"flow 'a': the stored flow has {words} quiet for longest; raise VERSORI_FLOW_MAX_{setting} to keep {kept}"
    )


def test_members_that_leave_no_room_at_all_are_said(platform: Platform) -> None:
    """Nothing is written or dropped; the spans wait until somebody makes room."""
    platform.stored["a"] = document(more=b',"x":"' + b"x" * 2000 + b'"')
    flow = flow_of(make_span(0, 0), make_span(1, 0), max_bytes=1000)
    assert attempt(flow, platform, T) == ["Read"]
    assert counts(flow) == (2, 0, 2, {})
    ((level, line),) = said(flow)
    assert level == logging.ERROR
    assert "other members alone take 2061 bytes of max_bytes 1000" in line
    mark = flow.hurry(T, T + 9)
    attempt(flow, platform, T)
    assert flow.flushed(mark) is False
    platform.stored["a"] = document()
    settle(flow, platform, T)
    assert counts(flow) == (2, 2, 0, {})


@pytest.mark.parametrize("right_after", [True, False])
def test_a_whole_body_comes_back_only_right_after_its_put(platform: Platform, right_after: bool) -> None:
    """Then a writer that had read before has overwritten it; later somebody has taken spans away."""
    platform.stored["a"] = document(foreign(1))
    flow = delivered_flow(platform, make_span(0, 0))
    if right_after:
        flow.hand_over([make_span(1, 0)], NOW_NS)
        flow.close(T, T + 60)
        attempt(flow, platform, T)
    erase(platform)
    flow.close(T, T + 60)
    settle(flow, platform, T)
    ours = [key(0, 0), *([key(1, 0)] if right_after else [])]
    assert sorted(platform.keys("a")) == [*ours, *([key(901, 1)] if right_after else [])]


# -- a PUT that is carried out late ----------------------------------------------------------------------------

LOST = Unavailable("timeout", "no answer in time", None, answered=False)


def put_in_vain(flow: Flow, platform: Platform, now: float, answer: Any = LOST) -> bytes:
    """An attempt whose PUT is under way when it is given up; returns what it carries."""
    step: Any = flow.begin(now)
    while not isinstance(step, Write):
        step = flow.feed(step, perform(step, platform, 0.0), now, NOW_NS)
    assert flow.feed(step, answer, now, NOW_NS) is None
    return step.body.join()


@pytest.mark.parametrize("ends", [True, False])
@pytest.mark.parametrize("merge", [True, False])
def test_a_put_that_is_carried_out_late_erases_nothing_for_good(
    platform: Platform, merge: bool, ends: bool
) -> None:
    """Though no further span comes: some time after the next PUT the flow is looked at, or written again, at the
    end at once."""
    flow = flow_of(make_span(0, 0), merge=merge)
    late = put_in_vain(flow, platform, T)
    flow.hand_over([make_span(1, 0)], NOW_NS)
    assert attempt(flow, platform, T + 2)[-1] == "Write"
    assert counts(flow) == (2, 2, 0, {})
    platform.stored["a"] = late
    assert flow.due(T + 2) == T + 2 + 10, "as long as an attempt may take"
    if ends:
        flow.close(T + 3, T + 13)
    now = settle(flow, platform, T + 3)
    assert platform.keys("a") == [key(0, 0), key(1, 0)]
    assert now == T + 3 or not ends
    assert (flow.due(now), len(platform.puts)) == (None, 2), "once"


def test_what_others_wrote_before_a_late_put_comes_back(platform: Platform) -> None:
    """Also where new spans are written before the look: that the flow lacks them is no wish of anybody's."""
    flow = flow_of(make_span(0, 0))
    late = put_in_vain(flow, platform, T)
    erase(platform, foreign(1))
    flow.hand_over([make_span(1, 0)], NOW_NS)
    attempt(flow, platform, T + 2)
    platform.stored["a"] = late
    flow.hand_over([make_span(2, 0)], NOW_NS)
    attempt(flow, platform, T + 3)
    assert set(platform.keys("a")) == {key(901, 1), key(0, 0), key(1, 0), key(2, 0)}
    assert flow.due(T + 3) == T + 4, "it has come: from now on others are reckoned with"


def test_what_is_put_back_after_a_late_put_may_be_taken_away(platform: Platform) -> None:
    """By a person who repairs the flow that it makes the platform refuse."""
    flow = flow_of(make_span(0, 0))
    late = put_in_vain(flow, platform, T)
    erase(platform, bad := make_span(7, 0, text="bad").body)
    flow.hand_over([make_span(1, 0)], NOW_NS)
    attempt(flow, platform, T + 2)
    platform.stored["a"], platform.refuses = late, lambda span: b'"bad"' in span
    flow.hand_over([make_span(2, 0)], NOW_NS)
    assert attempt(flow, platform, T + 3) == ["Read", "Write"]
    assert (bad in platform.puts[-1][1], flow.in_trouble) == (True, True)
    settle(flow, platform, T + 3)
    assert platform.keys("a") == [key(0, 0), key(1, 0), key(2, 0)]


@pytest.mark.parametrize(
    ("answer", "due"),
    [
        (LOST, T + 12),
        (Unavailable("read", "connection reset", None, answered=True), None),
        (Unavailable("502", "502 Bad Gateway", None, answered=True), T + 12),
        (Unavailable("504", "504 Gateway Timeout", None, answered=True), T + 12),
        (Unavailable("503", "503 Service Unavailable", None, answered=True), None),
        (Unavailable("connect", "connection refused", None, answered=False), None),
        (Denied(401, "no", None), None),
    ],
)
def test_what_may_come_late(platform: Platform, answer: Any, due: float | None) -> None:
    """What the platform has not seen, or has answered itself, is done with."""
    flow = flow_of(make_span(0, 0))
    put_in_vain(flow, platform, T, answer)
    attempt(flow, platform, T + 2)
    assert flow.due(T + 2) == due
