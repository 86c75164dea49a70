"""Strategies: whatever can stand where a part of a span should."""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from types import MappingProxyType, SimpleNamespace
from typing import Any

from hypothesis import strategies as st
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from opentelemetry.exporter.versori_flow.encoding.span import FLOW_NAME_ATTRIBUTE
from tests.encoding.spans import (
    CONTEXT,
    IDENTITY,
    LOOP,
    MAP_LOOP,
    RELEASED,
    RESOURCE,
    Broken,
    Colour,
    Level,
    Liar,
    Loud,
    Point,
    Ratio,
    Unhashable,
    Unprintable,
    Word,
    make,
)

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=8)
ODD_VALUES: list[Any] = [
    *(Colour.RED, Level.HIGH, Word.YES, Ratio("inf"), Ratio(0.1), Loud("q"), Unprintable(), Unhashable()),
    *(Liar(), Broken(), Point(1, "\ud800"), LOOP, MAP_LOOP, RELEASED, memoryview(b"abc"), bytearray(b"\xff")),
    *(Decimal("NaN"), IDENTITY, range(5), deque([None]), 16**5000, 2**53, -(2**53), Exception("x"), int),
    MappingProxyType({"a": (1,)}),
]
# Not sampled_from: that makes hashes and texts of what it is given, and some of these refuse.
ODD = st.integers(0, len(ODD_VALUES) - 1).map(lambda number: ODD_VALUES[number])
SCALARS = st.one_of(
    ANY_TEXT, st.none(), st.booleans(), st.integers(), st.floats(), st.binary(max_size=4), ODD
)
KEYS = st.one_of(
    ANY_TEXT,
    st.sampled_from(
        ["a", "1", "span.kind", "service.name", "otel.links", "otel.status_code", FLOW_NAME_ATTRIBUTE, "..."]
    ),
    st.integers(-2, 2),
    st.none(),
    st.booleans(),
    st.binary(max_size=2),
    st.tuples(st.integers(0, 1)),
    st.sampled_from([Word.YES, Level.HIGH, Loud("a"), Colour.RED]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(KEYS, inner, max_size=4),
    ),
    max_leaves=12,
)
MAPS = st.one_of(
    st.dictionaries(KEYS, VALUES, max_size=6),
    st.dictionaries(ANY_TEXT, st.one_of(st.integers(), ANY_TEXT), max_size=6),
)


@st.composite
def kept_maps(draw: Any) -> Any:
    """What can stand where attributes should."""
    entries = draw(MAPS)
    form = draw(st.integers(0, 5))
    if form == 0:
        return draw(st.sampled_from([None, 5, "x", [("a", 1)]]))
    if form <= 2:
        kept = BoundedAttributes()
        kept._dict = entries
        kept.dropped = draw(st.integers(0, 3))
        return kept
    return MappingProxyType(entries) if form == 3 else entries


@st.composite
def kept_lists(draw: Any, entries: Any) -> Any:
    """What can stand where events or links should."""
    found = draw(st.lists(entries, max_size=3))
    form = draw(st.integers(0, 4))
    if form == 0:
        return draw(st.sampled_from([None, 5, "x", {}, Broken()]))
    if form <= 2:
        kept = BoundedList.from_seq(5, found)
        kept.dropped = draw(st.integers(0, 3))
        return kept
    return tuple(found) if form == 3 else found


TIMES = st.one_of(
    st.integers(0, 2**63),
    st.integers(),
    st.integers(0, 2 * 10**9),
    st.sampled_from([None, 1.5, float("nan"), True, "x", "7", Decimal(3), 253_402_300_800 * 10**9]),
    st.just(5000).map(lambda digits: 10**digits),
)
STATES = st.one_of(
    st.none(),
    st.just(TraceState([("a", "1"), ("b", "2")])),
    st.dictionaries(KEYS, SCALARS, max_size=2),
    ANY_TEXT,
    st.just(5),
)
IDS = st.one_of(st.integers(1, 2**64 - 1), st.integers(1, 2**128 - 1), st.integers(-1, 2))
CONTEXTS = st.one_of(
    st.builds(
        SpanContext,
        trace_id=IDS,
        span_id=IDS,
        is_remote=st.one_of(st.booleans(), st.none()),
        trace_flags=st.one_of(st.integers(-1, 300).map(TraceFlags), st.just("x")),
        trace_state=STATES,
    ),
    st.builds(
        SimpleNamespace, trace_id=IDS, span_id=IDS, is_remote=st.booleans(), trace_flags=st.integers(0, 9)
    ),
    st.just(CONTEXT),
    st.sampled_from([None, "x"]),
)


def event_of(name: Any, kept: Any, timestamp: Any) -> Event:
    event = Event("e")
    event._name, event._attributes, event._timestamp = name, kept, timestamp
    return event


def status_of(code: Any, description: Any) -> Status:
    status = Status()
    status._status_code, status._description = code, description
    return status


def resource_of(entries: Any) -> Resource:
    resource = Resource({})
    resource._attributes = entries
    return resource


NAMES = st.one_of(ANY_TEXT, SCALARS)
EVENTS = st.one_of(st.builds(event_of, NAMES, kept_maps(), TIMES), st.sampled_from([None, 5]))
LINKS = st.one_of(st.builds(Link, CONTEXTS, kept_maps()), st.sampled_from([None, 5]))
SCOPES = st.one_of(
    st.none(),
    st.builds(InstrumentationScope, NAMES, NAMES),
    st.just(InstrumentationScope("a", "1")),
    st.just("x"),
)
STATUSES = st.one_of(
    st.builds(status_of, st.sampled_from([*StatusCode, None, "ERROR", SpanKind.SERVER]), NAMES), st.none()
)
RESOURCES = st.one_of(
    st.builds(resource_of, st.dictionaries(st.sampled_from(["service.name", "odd\ud800", "x"]), VALUES)),
    st.sampled_from([RESOURCE, None, object(), 5]),
)
SPANS = st.builds(
    make,
    name=NAMES,
    context=CONTEXTS,
    parent=CONTEXTS,
    attributes=kept_maps(),
    events=kept_lists(EVENTS),
    links=kept_lists(LINKS),
    kind=st.sampled_from([*SpanKind, None, StatusCode.OK]),
    status=STATUSES,
    start_time=TIMES,
    end_time=TIMES,
    resource=RESOURCES,
    instrumentation_scope=SCOPES,
)
