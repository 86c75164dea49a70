"""Which flow a span belongs to: its own name, its nearest ancestor's, else the default."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opentelemetry.exporter.versori_flow.encoded_span import EncodedSpan, Move
from opentelemetry.exporter.versori_flow.routing import router as routing
from opentelemetry.exporter.versori_flow.routing.router import Router
from tests.flow.model import key, make_span

D = "default"


def route(router: Router, *spans: EncodedSpan, default: str = D) -> tuple[list[str], list[tuple[str, ...]]]:
    """The flows of the spans, and the moves as (source, target, trace id, span id)."""
    routed, moves = router.route([(span, default) for span in spans])
    assert [span for _, span in routed] == list(spans)
    return [flow for flow, _ in routed], [tuple(move) for move in moves]


def test_a_span_without_a_name_goes_to_its_default() -> None:
    """Each span has a default of its own."""
    spans = [(make_span(0, 0), "a"), (make_span(0, 1, parent=0), "b"), (make_span(1, 0), "c")]
    routed, moves = Router(100).route(spans)
    assert routed == [(default, span) for span, default in spans]
    assert moves == []


def test_a_span_goes_with_its_nearest_name() -> None:
    """Its own wins, then its nearest ancestor's, through any number of spans without one, in its trace only."""
    flows, moves = route(
        Router(100),
        make_span(0, 0, name="A"),
        make_span(0, 1, parent=0),
        make_span(0, 2, parent=1, name="B"),
        make_span(0, 3, parent=2),
        make_span(0, 4, parent=3),
        make_span(0, 5, parent=1),
        make_span(1, 1, parent=0),
    )
    assert (flows, moves) == (["A", "A", "B", "B", "B", "A", D], [])


def test_a_late_name_moves_what_came_before() -> None:
    """Children end before their parents: they move when the name is known, each once."""
    router = Router(100)
    assert route(router, make_span(0, 2, parent=1)) == ([D], [])
    assert route(router, make_span(0, 1, parent=0)) == ([D], [])
    assert route(router, make_span(0, 0, name="A")) == (
        ["A"],
        [(D, "A", *key(0, 1)), (D, "A", *key(0, 2))],
    )
    assert route(router, make_span(0, 3, parent=2)) == (["A"], [])
    router = Router(100)  # what is there already, by a default of that name, does not move
    route(router, make_span(0, 2, parent=1), make_span(0, 1, parent=0), default="A")
    assert route(router, make_span(0, 0, name="A"), make_span(0, 3, parent=2)) == (["A", "A"], [])


def test_a_sibling_that_knows_its_name_hides_nobody() -> None:
    """Each child of a span that learns its name is told, whatever the others know."""
    router = Router(100)
    route(router, make_span(0, 0, name="A"), make_span(0, 1, parent=0), make_span(0, 9, parent=2))
    route(router, make_span(0, 2, parent=0, name="B"), make_span(0, 3, parent=2), make_span(0, 4, parent=0))
    trace = router._traces[key(0, 0)[0]]
    trace.flows[key(0, 1)[1]] = trace.names[key(0, 1)[1]] = "B"
    assert route(router, make_span(0, 0, name="B")) == (
        ["B"],
        [("A", "B", *key(0, 0)), ("A", "B", *key(0, 4))],
    )


def test_what_comes_together_does_not_move() -> None:
    """In one batch a span goes to its last flow at once: on the way it would push out what is there."""
    router = Router(100)
    route(router, make_span(0, 3, parent=2))
    flows, moves = route(
        router, make_span(0, 2, parent=1), make_span(0, 1, parent=0), make_span(0, 0, name="A")
    )
    assert flows == ["A", "A", "A"]
    assert moves == [(D, "A", *key(0, 3))]


def test_a_name_that_changes_moves_what_inherited_it() -> None:
    """Early spans may learn a nearer name after they inherited one."""
    router = Router(100)
    route(router, make_span(0, 0, name="A"), make_span(0, 1, parent=0), make_span(0, 2, parent=1))
    assert route(router, make_span(0, 1, parent=0, name="B")) == (
        ["B"],
        [("A", "B", *key(0, 1)), ("A", "B", *key(0, 2))],
    )
    assert route(router, make_span(0, 0, name="C")) == (["C"], [("A", "C", *key(0, 0))])
    # And comes again without one: neither it nor what follows has a name then.
    assert route(router, make_span(0, 0)) == ([D], [("C", D, *key(0, 0))])
    assert route(router, make_span(0, 5, parent=0)) == ([D], [])


def test_a_named_span_that_comes_again_beside_a_nameless_one_keeps_its_name() -> None:
    """It never was an heir of their parent, and becomes none."""
    router = Router(100)
    route(router, make_span(0, 1, parent=0), make_span(0, 2, parent=0, name="B"))
    assert route(router, make_span(0, 2, parent=0, name="B")) == (["B"], [])
    assert route(router, make_span(0, 0, name="A")) == (["A"], [(D, "A", *key(0, 1))])


def test_one_batch_moves_a_span_once() -> None:
    """From where it was to where it ends, however many names come on the way; or not at all."""
    router = Router(100)
    route(router, make_span(0, 1, parent=0))
    assert route(router, make_span(0, 0, name="A"), make_span(0, 0, name="B")) == (
        ["B", "B"],
        [(D, "B", *key(0, 1))],
    )
    assert route(router, make_span(0, 0, name="C"), make_span(0, 0, name="B")) == (["B", "B"], [])


def test_a_span_may_be_its_own_ancestor() -> None:
    """Nothing says that ids make sense: it ends all the same."""
    router = Router(100)
    assert route(router, make_span(0, 0, parent=0)) == ([D], [])
    assert route(router, make_span(0, 1, parent=2), make_span(0, 2, parent=1)) == ([D, D], [])
    assert route(router, make_span(0, 2, parent=1, name="A")) == (
        ["A"],
        [(D, "A", *key(0, 2)), (D, "A", *key(0, 1))],
    )
    assert route(router, make_span(0, 0, parent=0, name="B")) == (["B"], [(D, "B", *key(0, 0))])


def test_a_deep_trace_needs_no_deep_stack() -> None:
    """A chain of ten thousand spans learns its name at once."""
    router = Router(20_000)
    route(router, *(make_span(0, n, parent=n - 1) for n in range(10_000, 0, -1)))
    _, moves = route(router, make_span(0, 0, name="A"))
    assert len(moves) == len(set(moves)) == 10_000


# -- memory ------------------------------------------------------------------------------------------------


def remembered(router: Router) -> int:
    spans = sum(len(trace.flows) for trace in router._traces.values())
    assert router._spans == spans
    return spans


def test_the_trace_that_was_quiet_for_longest_is_forgotten_first() -> None:
    """What is forgotten can't move any more; what was touched since is remembered."""
    router = Router(3)
    route(router, make_span(0, 1, parent=0))
    route(router, make_span(1, 1, parent=0))
    route(router, make_span(0, 2, parent=0))
    route(router, make_span(2, 1, parent=0))
    assert remembered(router) == 3
    assert route(router, make_span(1, 0, name="A"))[1] == []
    assert remembered(router) == 2
    assert route(router, make_span(2, 0, name="A"))[1] == [(D, "A", *key(2, 1))]
    route(router, *(make_span(3, n) for n in range(3)))  # as many traces as must be, whole
    assert (remembered(router), len(router._traces)) == (3, 1)


def test_traces_are_remembered_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trace costs memory beside its spans."""
    monkeypatch.setattr(routing, "MAX_TRACES", 2)
    router = Router(100)
    route(router, *(make_span(n, 1, parent=0) for n in range(3)))
    assert len(router._traces) == 2
    assert remembered(router) == 2
    assert route(router, make_span(0, 0, name="A"))[1] == []
    assert route(router, make_span(2, 0, name="A"))[1] == [(D, "A", *key(2, 1))]


def test_one_endless_trace_forgets_its_older_half() -> None:
    """What is left of it still moves."""
    router = Router(10)
    route(router, *(make_span(0, n, parent=100) for n in range(11)))
    assert remembered(router) == 5
    assert route(router, make_span(0, 100, name="A"))[1] == [(D, "A", *key(0, n)) for n in range(6, 11)]


def test_an_endless_trace_costs_no_more_than_its_bound() -> None:
    """Whatever it holds: parents that never come, spans that come again and again."""
    router = Router(50)
    for number in range(2000):
        route(
            router,
            make_span(0, number, parent=10_000 + number),
            make_span(0, 20_000 + number, name="A"),
            make_span(0, 5_000, parent=9_999, name=f"{number}"),
        )
    (trace,) = router._traces.values()
    assert remembered(router) <= 50
    assert sum(len(heirs) for heirs in trace.heirs.values()) <= 50
    assert len(trace.names) <= 50


# -- the rule, with full knowledge -------------------------------------------------------------------------

Forests = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 7), st.sampled_from([None, None, "A", "B"])),
    min_size=1,
    max_size=16,
)


@given(
    spans=Forests, order=st.randoms(use_true_random=False), cuts=st.lists(st.integers(0, 20)), data=st.data()
)
def test_any_order_ends_as_the_rule_says(
    spans: Any, order: Any, cuts: list[int], data: st.DataObject
) -> None:
    """Spans in any order, in any batches, some handed over early without a name: nearest ancestor's flow."""
    known: dict[tuple[int, int], EncodedSpan] = {}
    for trace, number, name in spans:
        parent = None if number == 0 else (number - 1) // 2 if number % 3 else number - 1
        known[trace, number] = make_span(trace, number, parent=parent, name=name)
    early = [
        span._replace(flow_name=None) for span in known.values() if data.draw(st.booleans(), label="early")
    ]
    arriving = list(known.values())
    order.shuffle(arriving)
    for span in early:
        last = next(i for i, other in enumerate(arriving) if other[:2] == span[:2])
        arriving.insert(order.randint(0, last), span)

    router, where = Router(1000), {}
    for batch in batches(arriving, cuts):
        routed, moves = router.route([(span, D) for span in batch])
        moved = set()
        for flow, span in routed:
            before = where.get(span[:2])
            assert before is None or before == flow or Move(before, flow, *span[:2]) in moves
            where.setdefault(span[:2], flow)
        for source, target, *ids in moves:
            assert where[tuple(ids)] == source != target
            assert tuple(ids) not in moved, "at most once"
            moved.add(tuple(ids))
            where[tuple(ids)] = target

    by_id = {span[:2]: span for span in known.values()}
    for span in known.values():
        ancestor: EncodedSpan | None = span
        while ancestor is not None and ancestor.flow_name is None:
            ancestor = by_id.get((span.trace_id, ancestor.parent_span_id or ""))
        expected = D if ancestor is None else ancestor.flow_name
        assert where[span[:2]] == expected


def batches(spans: list[EncodedSpan], cuts: list[int]) -> Iterable[list[EncodedSpan]]:
    edges = sorted({0, len(spans), *(cut for cut in cuts if cut < len(spans))})
    return [spans[start:end] for start, end in pairwise(edges)]
