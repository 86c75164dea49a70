"""One flow's delivery: what is due, an attempt, marks and verdicts."""

from __future__ import annotations

from typing import Any

from opentelemetry.exporter.versori_flow.delivery.attempt import perform
from opentelemetry.exporter.versori_flow.flow.steps import Read, Write
from opentelemetry.exporter.versori_flow.http.answers import (
    Absent,
    Stored,
)
from tests.flow.model import (
    NOW_NS,
    Platform,
    T,
    attempt,
    counts,
    delivered_flow,
    flow_of,
    key,
    make_span,
)

# -- the first delivery ---------------------------------------------------------------------------------------


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


def test_spans_that_come_during_the_read_are_carried_too() -> None:
    """The body is made when the read is done."""
    flow = flow_of(make_span(0, 0))
    read_step = flow.begin(T)
    assert isinstance(read_step, Read)
    assert (flow.busy, flow.due(T), flow.idle, flow.status(T).state) == (True, None, False, "busy")
    mark = flow.hand_over([make_span(0, 1, parent=0)], NOW_NS)
    write = flow.feed(read_step, Absent(), T, NOW_NS)
    assert isinstance(write, Write)
    assert write.body.spans == [make_span(0, 0).body, make_span(0, 1, parent=0).body]
    assert flow.feed(write, Stored(200, None), T, NOW_NS) is None
    assert flow.settled(mark)


# -- marks and verdicts ---------------------------------------------------------------------------------------


def test_a_mark_is_settled_when_its_spans_are_delivered() -> None:
    """Those that were handed over before the attempt began; what comes later is due after the pacing interval."""
    flow = flow_of(make_span(0, 0), merge=False)
    first = flow._mark
    step: Any = flow.begin(T)
    second = flow.hand_over([make_span(1, 0)], NOW_NS)
    assert second == first + 1
    assert flow.feed(step, Stored(200, None), T + 0.3, NOW_NS) is None
    assert (flow.settled(first), flow.settled(second)) == (True, False)
    assert (counts(flow), flow.due(T + 0.3)) == ((2, 1, 1, {}), T + 1.0)


def test_a_verdict_is_open_until_it_is_known(platform: Platform) -> None:
    """None while the attempt is due or under way, True when it is delivered."""
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


def test_a_span_that_is_handed_over_again_is_settled() -> None:
    """There is nothing to wait for."""
    flow = delivered_flow(Platform(), make_span(0, 0))
    mark = flow.hand_over([make_span(0, 0)], NOW_NS)
    assert (flow.settled(mark), flow.verdict(mark, 0, T), counts(flow)) == (True, True, (1, 1, 0, {}))


def test_a_rewrite_is_not_settled_until_it_is_written(platform: Platform) -> None:
    """What moved must have left before a flush is done."""
    flow = delivered_flow(platform, make_span(0, 0))
    flow.take(key(0, 0))
    mark = flow.hurry(T)
    assert (mark, flow.settled(mark)) == (2, False)
    attempt(flow, platform, T)
    assert flow.settled(mark)
