"""One span -> the bytes of one OTelSpan: every rule by example, all of them against the reference."""

from __future__ import annotations

import enum
import gc
import json
import sys
import threading
import uuid
import weakref
from collections import deque, namedtuple
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from openapi_schema_validator import OAS30Validator, oas30_format_checker
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from opentelemetry.exporter.versori_flow import server
from opentelemetry.exporter.versori_flow.encoded_span import EncodedSpan, Unencodable
from opentelemetry.exporter.versori_flow.encoding import span as encoding
from opentelemetry.exporter.versori_flow.encoding.span import FLOW_NAME_ATTRIBUTE, SpanEncoder
from tests.encoding.reference import reference

TRACE_ID = 0x0AF7651916CD43DD8448EB211C80319C
SPAN_ID = 0x00F067AA0BA902B7
CONTEXT = SpanContext(TRACE_ID, SPAN_ID, is_remote=False, trace_flags=TraceFlags(1))
PARENT = SpanContext(TRACE_ID, 0x00000000000000AB, is_remote=False, trace_flags=TraceFlags(1))
START = 1_700_000_000_000_000_001
END = START + 1_500_000
RESOURCE = Resource({"service.name": "orders", "service.version": "1.2", "host.name": "here"})
PROPERTIES = (
    "name",
    "context",
    "parent",
    "resource",
    "attributes",
    "events",
    "links",
    "kind",
    "status",
    "start_time",
    "end_time",
    "instrumentation_scope",
    "dropped_attributes",
    "dropped_events",
    "dropped_links",
)


class ByProperties(ReadableSpan):
    """A span that must be read by its properties, as its private fields are not what it wants to show."""


def make(**parts: Any) -> ReadableSpan:
    """A span; parts are set behind the SDK's back, which would refuse or clean some of them."""
    span = ReadableSpan(
        "GET /", context=CONTEXT, resource=RESOURCE, attributes={}, start_time=START, end_time=END
    )
    for name, part in parts.items():
        setattr(span, f"_{name}", part)
    return span


def by_properties(span: ReadableSpan) -> ByProperties:
    twin = ByProperties.__new__(ByProperties)
    twin.__dict__.update(span.__dict__)
    return twin


def duck(span: ReadableSpan) -> Any:
    """Something that has a span's public properties and nothing else."""
    found = {}
    for name in PROPERTIES:
        with suppress(Exception):
            found[name] = getattr(span, name)
    return SimpleNamespace(**found)


def loads(body: bytes | str) -> Any:
    """Parse JSON as strictly as it gets: no key twice, no NaN."""

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs), f"a key twice: {pairs}"
        return dict(pairs)

    def constant(name: str) -> None:
        raise AssertionError(name)

    return json.loads(body, object_pairs_hook=members, parse_constant=constant)


@cache
def validator() -> OAS30Validator:
    document = Path(server.__file__).parent / "versori-flows.openapi.yaml"
    components = yaml.safe_load(document.read_text(encoding="utf-8"))["components"]
    schema = {**components["schemas"]["OTelSpan"], "components": components}
    return OAS30Validator(schema, format_checker=oas30_format_checker)


def encode(span: Any, **keywords: Any) -> EncodedSpan:
    """Encode a span that can be encoded, and check what holds for every one."""
    [encoded], unencodable = SpanEncoder(**keywords).encode([span])
    assert unencodable == []
    validator().validate(loads(encoded.body))
    return encoded


def body(span: Any, **keywords: Any) -> dict[str, Any]:
    """The span's JSON, the same in both ways to read it."""
    read = loads(encode(span, **keywords).body)
    if type(span) is ReadableSpan:
        for twin in (by_properties(span), duck(span)):
            assert loads(encode(twin, **keywords).body) == read
    return read


def attributes(span: Any, **keywords: Any) -> dict[str, Any]:
    found = body(span, **keywords)["attributes"]
    assert isinstance(found, dict)
    return found


def type_name(value: object) -> str:
    return type(value).__name__


def written(value: Any) -> str:
    """The exact JSON of an attribute's value, the same in both ways to read a span."""
    span = make(attributes={"k": value}, resource=None)
    texts = set()
    for one in (span, by_properties(span)):
        texts.add(encode(one).body.decode().partition('"attributes":{"k":')[2].partition(',"span.kind"')[0])
    [text] = texts
    return text


# The whole


def test_a_whole_span_byte_for_byte():
    """The members of an OTelSpan, their order and their form."""
    event = Event("exception", {"exception.type": "KeyError"}, timestamp=START + 7)
    span = make(
        attributes={"http.route": "/", "retries": 3},
        parent=PARENT,
        kind=SpanKind.CLIENT,
        events=(event,),
        instrumentation_scope=InstrumentationScope("shop", "0.9"),
        status=Status(StatusCode.ERROR, "broken"),
    )
    context = '{"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"00f067aa0ba902b7","traceFlags":1}'
    parent = '{"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"00000000000000ab","traceFlags":1}'
    expected = (
        '{"name":"GET /","startTime":"2023-11-14T22:13:20.000000001Z"'
        ',"endTime":"2023-11-14T22:13:20.001500001Z","duration":1.5'
        ',"attributes":{"http.route":"/","retries":3,"span.kind":"client","otel.scope.name":"shop"'
        ',"otel.scope.version":"0.9","service.name":"orders","service.version":"1.2"'
        ',"otel.status_code":"ERROR","otel.status_description":"broken"}'
        ',"status":{"code":1},"ended":true'
        ',"events":[{"name":"exception","timestamp":"2023-11-14T22:13:20.000000008Z"'
        ',"attributes":{"exception.type":"KeyError"}}]'
        f',"spanContext":{context},"parentSpanContext":{parent},"parentSpanContenxt":{parent}}}'
    )
    assert encode(span) == EncodedSpan(
        trace_id="0af7651916cd43dd8448eb211c80319c",
        span_id="00f067aa0ba902b7",
        parent_span_id="00000000000000ab",
        is_root=False,
        start=START,
        end=END,
        body=expected.encode(),
        flow_name=None,
    )
    assert encode(by_properties(span)) == encode(span)
    assert encode(duck(span)) == encode(span)


def test_the_result_is_of_the_promised_types():
    """What is handed on is a plain EncodedSpan, whichever way it was read."""
    for span in (make(), duck(make())):
        encoded = encode(span)
        assert type(encoded) is EncodedSpan
        assert [type(part) for part in encoded] == [str, str, type(None), bool, int, int, bytes, type(None)]


def sdk_spans(limits: SpanLimits | None = None) -> list[Any]:
    """Spans as an application makes them: a root with a link, a child that fails."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=RESOURCE, span_limits=limits, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("shop", "0.9")
    links = [Link(PARENT, {"why": "batch", "n": (1, 2)}), Link(CONTEXT)]
    with tracer.start_as_current_span("root", kind=SpanKind.SERVER, links=links) as root:
        root.set_attributes({"a": 1, "b": "x", "c": (1.5, 2.5), "d": True})
        for number in range(3):
            root.add_event(f"e{number}", {"n": number, "m": number})
        with pytest.raises(KeyError), tracer.start_as_current_span("child"):
            raise KeyError("nothing")
        open_span = tracer.start_span("open", attributes={"k": "v"})
    return [*exporter.get_finished_spans(), open_span]


def test_spans_of_the_sdk_mean_what_the_reference_says():
    """Through a real tracer, the fields and the body are the reference's, dropped counts included."""
    limits = SpanLimits(max_attributes=3, max_events=2, max_links=1, max_event_attributes=1)
    for spans in (sdk_spans(), sdk_spans(limits)):
        for span in spans:
            assert meaning(encode(span)) == reference(span)


def test_plain_spans_of_the_sdk_take_the_fast_way(monkeypatch):
    """What the SDK's processors hand over is written from its private fields, without being tidied first."""
    spans = [span for span in sdk_spans() if type(span) is ReadableSpan]
    assert len(spans) == 2
    expected = [encode(by_properties(span)) for span in spans]

    def tidied(span: object) -> None:
        raise AssertionError(span)

    monkeypatch.setattr(encoding, "Tidied", tidied)
    assert SpanEncoder().encode([*spans, make(attributes=None, events=[], links=[])])[1] == []
    assert [loads(encode(span).body) for span in spans] == [loads(one.body) for one in expected]


def test_a_span_that_hides_something_is_read_by_its_properties():
    """A subclass that redacts its attributes keeps them redacted."""

    class Redacted(ReadableSpan):
        @property
        def attributes(self) -> Mapping[str, Any]:
            return {"password": "***"}

    span = Redacted("login", context=CONTEXT, attributes={"password": "hunter2"}, resource=RESOURCE)
    encoded = encode(span)
    assert b"hunter2" not in encoded.body
    assert loads(encoded.body)["attributes"]["password"] == "***"


def test_private_fields_that_are_gone_do_no_harm():
    """An SDK that renames its private fields is read by its properties."""
    span = make(attributes={"a": 1})

    class Renamed:
        """Stands for what BoundedAttributes may become."""

        def items(self) -> Any:
            return {"a": 1}.items()

    span._attributes = Renamed()
    assert attributes(duck(SimpleNamespace(**{**duck(span).__dict__, "attributes": Renamed()})))["a"] == 1
    del span._context
    assert [one.reason for one in SpanEncoder().encode([span])[1]] == ["InvalidSpanError: no span context"]


# Times


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (0, "1970-01-01T00:00:00.000000000Z"),
        (1, "1970-01-01T00:00:00.000000001Z"),
        (999_999_999, "1970-01-01T00:00:00.999999999Z"),
        (1_000_000_000, "1970-01-01T00:00:01.000000000Z"),
        (951_782_400_000_000_010, "2000-02-29T00:00:00.000000010Z"),
        (START, "2023-11-14T22:13:20.000000001Z"),
        (253_402_300_799_999_999_999, "9999-12-31T23:59:59.999999999Z"),
    ],
)
def test_times_have_nine_digits_and_a_z(nanos, text):
    """Each nanosecond from 1970 to the end of 9999 is written as it is."""
    span = make(start_time=nanos, end_time=nanos, events=(Event("e", timestamp=nanos),))
    found = body(span)
    assert (found["startTime"], found["endTime"], found["events"][0]["timestamp"]) == (text, text, text)
    assert (encode(span).start, encode(span).end) == (nanos, nanos)


@pytest.mark.parametrize(
    ("given", "nanos"),
    [
        (-1, 0),
        (-(10**30), 0),
        (253_402_300_800_000_000_000, 253_402_300_799_999_999_999),
        (10**5000, 253_402_300_799_999_999_999),
        (True, 1),
        (1.5e9, 1_500_000_000),
        (Decimal(7), 7),
        ("12", 12),
    ],
    ids=type_name,
)
def test_times_out_of_range_are_clamped(given, nanos):
    """What RFC 3339 can't write becomes the nearest that it can, and other numbers whole ones."""
    encoded = encode(make(start_time=given, end_time=given))
    assert (encoded.start, encoded.end) == (nanos, nanos)
    assert type(encoded.start) is type(encoded.end) is int
    assert body(make(start_time=given, end_time=given))["duration"] == 0


@pytest.mark.parametrize("nothing", [None, "soon", float("nan"), float("inf"), object()])
def test_a_missing_start_is_the_end(nothing):
    """A span without a usable start began when it ended; one without either, in 1970."""
    assert encode(make(start_time=nothing))[4:6] == (END, END)
    neither = encode(make(start_time=nothing, end_time=nothing))
    assert neither[4:6] == (0, 0)
    assert loads(neither.body)["ended"] is False


@pytest.mark.parametrize("nothing", [None, "later"])
def test_a_span_without_an_end_has_not_ended(nothing):
    """Handed over early: `ended` false, `endTime` = `startTime`, `duration` 0."""
    found = body(make(end_time=nothing))
    assert found["ended"] is False
    assert found["endTime"] == found["startTime"] == "2023-11-14T22:13:20.000000001Z"
    assert found["duration"] == 0
    assert encode(make(end_time=nothing))[4:6] == (START, START)
    assert body(make())["ended"] is True


@pytest.mark.parametrize(
    ("nanos", "text"),
    [(0, "0.0"), (1, "1e-06"), (1_500_000, "1.5"), (-2_000_000, "-2.0"), (10**18, "1000000000000.0")],
)
def test_duration_is_milliseconds_as_a_float(nanos, text):
    """`duration` is the exact difference in milliseconds, a clock that was set back included."""
    assert (
        f',"duration":{text},'.encode()
        in encode(make(start_time=2 * 10**18, end_time=2 * 10**18 + nanos)).body
    )


def test_an_event_without_a_time_happened_at_the_start():
    """`timestamp` is required: an event with none gets its span's start."""
    event = Event("e")
    for nothing in (None, "x"):
        event._timestamp = nothing
        assert body(make(events=(event,)))["events"][0]["timestamp"] == "2023-11-14T22:13:20.000000001Z"


# Contexts


def test_both_spellings_of_the_parent():
    """The parent is written twice, and not at all without one."""
    parent = {"traceId": f"{TRACE_ID:032x}", "spanId": "00000000000000ab", "traceFlags": 1}
    found = body(make(parent=PARENT))
    assert (found["parentSpanContext"], found["parentSpanContenxt"]) == (parent, parent)
    assert found["spanContext"] == {
        "traceId": f"{TRACE_ID:032x}",
        "spanId": "00f067aa0ba902b7",
        "traceFlags": 1,
    }
    assert not {"parentSpanContext", "parentSpanContenxt"} & body(make()).keys()


def test_who_is_a_root():
    """No parent or a remote one makes a root; the remote one is still the parent."""
    remote = SpanContext(TRACE_ID, 0xAB, is_remote=True)
    assert (encode(make()).is_root, encode(make()).parent_span_id) == (True, None)
    for span in (make(parent=PARENT), by_properties(make(parent=PARENT))):
        assert (encode(span).is_root, encode(span).parent_span_id) == (False, "00000000000000ab")
    for span in (make(parent=remote), by_properties(make(parent=remote))):
        assert (encode(span).is_root, encode(span).parent_span_id) == (True, "00000000000000ab")


@pytest.mark.parametrize(
    "parent", [SpanContext(0, 1, False), SpanContext(1, 0, False), SpanContext(2**128, 1, False)]
)
def test_an_invalid_parent_is_none(parent):
    """OpenTelemetry's rule: an invalid span context is no parent."""
    found = encode(make(parent=parent))
    assert (found.parent_span_id, found.is_root) == (None, True)
    assert "parentSpanContext" not in body(make(parent=parent))


def test_a_parent_of_another_trace_keeps_its_trace():
    """What the application said is not corrected."""
    other = SpanContext(0xF00D, 0xAB, False, TraceFlags(0))
    expected = {"traceId": "0000000000000000000000000000f00d", "spanId": "00000000000000ab", "traceFlags": 0}
    assert body(make(parent=other))["parentSpanContext"] == expected


@pytest.mark.parametrize("flags", [0, 1, 3, 255])
def test_flags_are_numbers(flags):
    """`traceFlags` is the byte of W3C Trace Context."""
    assert (
        body(make(context=SpanContext(1, 2, False, TraceFlags(flags))))["spanContext"]["traceFlags"] == flags
    )


@pytest.mark.parametrize("flags", [-1, 256, 10**5000, "1"], ids=type_name)
def test_impossible_flags_are_none(flags):
    """What is no byte is 0."""
    assert body(make(context=SpanContext(1, 2, False, flags)))["spanContext"]["traceFlags"] == 0


def test_large_ids_are_whole():
    """All 128 and 64 bits are there."""
    encoded = encode(make(context=SpanContext(2**128 - 1, 2**64 - 1, False)))
    assert (encoded.trace_id, encoded.span_id) == ("f" * 32, "f" * 16)


@pytest.mark.parametrize(
    ("context", "reason"),
    [
        (None, "InvalidSpanError: no span context"),
        (SpanContext(0, 1, False), "InvalidSpanError: no valid span context"),
        (SpanContext(1, 0, False), "InvalidSpanError: no valid span context"),
        (SpanContext(2**128, 1, False), "InvalidSpanError: no valid span context"),
        (SpanContext(1, 2**64, False), "InvalidSpanError: no valid span context"),
        (SpanContext(1.5, 1, False), "InvalidSpanError: no valid span context"),
        ("secret", "InvalidSpanError: no valid span context"),
    ],
)
def test_a_span_without_a_valid_context_is_left_out(context, reason):
    """It could not be told from others; the rest of the batch goes on, and the reason shows no value."""
    first, last = make(context=SpanContext(1, 1, False)), make(context=SpanContext(1, 3, False))
    encoded, unencodable = SpanEncoder().encode([first, make(name="lost", context=context), last])
    assert [one.span_id for one in encoded] == ["0000000000000001", "0000000000000003"]
    assert unencodable == [Unencodable("lost", reason)]
    assert all(type(one) is Unencodable for one in unencodable)


# What the schema has no field for


@pytest.mark.parametrize(
    ("status", "code", "more"),
    [
        (Status(), 0, {}),
        (Status(StatusCode.OK), 0, {"otel.status_code": "OK"}),
        (Status(StatusCode.ERROR), 1, {"otel.status_code": "ERROR"}),
        (Status(StatusCode.ERROR, ""), 1, {"otel.status_code": "ERROR"}),
        (Status(StatusCode.ERROR, "no"), 1, {"otel.status_code": "ERROR", "otel.status_description": "no"}),
        (None, 0, {}),
        (SimpleNamespace(status_code=SpanKind.SERVER), 0, {}),
        (
            SimpleNamespace(status_code=StatusCode.OK, description=0),
            0,
            {"otel.status_code": "OK", "otel.status_description": "0"},
        ),
        (SimpleNamespace(status_code=StatusCode.UNSET, description="x"), 0, {}),
    ],
)
def test_status(status, code, more):
    """`status.code` is 1 for an error only; code and description are attributes where they are set."""
    found = body(make(status=status))
    assert found["status"] == {"code": code}
    assert {name: value for name, value in found["attributes"].items() if "status" in name} == more


@pytest.mark.parametrize("kind", list(SpanKind))
def test_kind(kind):
    """`span.kind` is the kind in lower case."""
    assert attributes(make(kind=kind))["span.kind"] == kind.name.lower()


def test_an_unknown_kind_is_internal():
    """Whatever stands where the kind should."""
    for kind in (None, "server", StatusCode.OK):
        assert attributes(make(kind=kind))["span.kind"] == "internal"


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (None, {}),
        (InstrumentationScope("shop"), {"otel.scope.name": "shop"}),
        (InstrumentationScope("shop", ""), {"otel.scope.name": "shop"}),
        (InstrumentationScope("", "1"), {"otel.scope.version": "1"}),
        (InstrumentationScope("shop", "1"), {"otel.scope.name": "shop", "otel.scope.version": "1"}),
        (InstrumentationScope(0, 1.0), {"otel.scope.name": "0", "otel.scope.version": "1.0"}),
        (InstrumentationScope(["a"], "\ud800"), {"otel.scope.name": '["a"]', "otel.scope.version": "\ufffd"}),
        ("none", {}),
    ],
)
def test_scope(scope, expected):
    """Name and version of the instrumentation scope, where there are any."""
    found = attributes(make(instrumentation_scope=scope))
    assert {name: value for name, value in found.items() if name.startswith("otel.scope")} == expected


def test_lost_attributes_events_and_links_are_counted():
    """The counts of what the SDK dropped are attributes, where they are not 0, on events and links too."""

    def kept(container: Any, lost: int) -> Any:
        container.dropped = lost
        return container

    event = Event("e", kept(BoundedAttributes(attributes={"a": 1}), 4), timestamp=START)
    link = Link(PARENT, kept(BoundedAttributes(attributes={"a": 1}), 5))
    span = make(
        attributes=kept(BoundedAttributes(attributes={"a": 1}), 1),
        events=kept(BoundedList.from_seq(5, [event]), 2),
        links=kept(BoundedList.from_seq(5, [link]), 3),
    )
    found = body(span)
    counts = {name: value for name, value in found["attributes"].items() if "dropped" in name}
    assert counts == {
        "otel.dropped_attributes_count": 1,
        "otel.dropped_events_count": 2,
        "otel.dropped_links_count": 3,
    }
    assert found["events"][0]["attributes"] == {"a": 1, "otel.dropped_attributes_count": 4}
    assert loads(found["attributes"]["otel.links"])[0]["attributes"] == {
        "a": 1,
        "otel.dropped_attributes_count": 5,
    }
    assert not [name for name in attributes(make()) if "dropped" in name]
    event._attributes._dict["otel.dropped_attributes_count"] = "mine"
    assert body(span)["events"][0]["attributes"] == {"a": 1, "otel.dropped_attributes_count": "mine"}


@pytest.mark.parametrize(
    ("lost", "said"), [(-1, None), (2**63 - 1, str(2**63 - 1)), (2**63, None), ("3", None)]
)
def test_a_count_that_is_none_is_not_said(lost, said):
    """Whatever an object that looks like a span has where a count should be."""
    span = duck(make())
    span.dropped_events = lost
    assert attributes(span).get("otel.dropped_events_count") == said


def test_each_count_alone():
    """One thing lost is said even where nothing else is unusual."""
    for what, empty in (
        ("attributes", BoundedAttributes()),
        ("events", BoundedList(1)),
        ("links", BoundedList(1)),
    ):
        empty.dropped = 7
        assert attributes(make(**{what: empty}))[f"otel.dropped_{what}_count"] == 7


def test_trace_state():
    """`otel.trace_state` is the header's text, and absent where it is empty."""
    state = TraceState([("vendor", "1"), ("other", "2")])
    span = make(context=SpanContext(1, 2, False, trace_state=state))
    assert attributes(span)["otel.trace_state"] == "vendor=1,other=2"
    assert "otel.trace_state" not in attributes(
        make(context=SpanContext(1, 2, False, trace_state=TraceState()))
    )
    odd = make(context=SpanContext(1, 2, False, trace_state={"a": 1, "\ud800": None}))
    assert attributes(odd)["otel.trace_state"] == "a=1,\ufffd="
    assert attributes(make(context=SpanContext(1, 2, False, trace_state="a=1")))["otel.trace_state"] == "a=1"
    assert attributes(make(context=SpanContext(1, 2, False, trace_state=7)))["otel.trace_state"] == "7"


def test_links_are_json_text():
    """`otel.links` lists trace id, span id, trace state where there is one, and attributes."""
    state = TraceState([("vendor", "1")])
    links = (Link(PARENT, {"why": "batch", "n": (1, 2)}), Link(SpanContext(1, 2, True, trace_state=state)))
    assert attributes(make(links=links))["otel.links"] == (
        '[{"trace_id":"0af7651916cd43dd8448eb211c80319c","span_id":"00000000000000ab"'
        ',"attributes":{"why":"batch","n":"[1,2]"}}'
        ',{"trace_id":"00000000000000000000000000000001","span_id":"0000000000000002"'
        ',"trace_state":"vendor=1","attributes":{}}]'
    )
    assert "otel.links" not in attributes(make(links=()))


def test_a_users_own_attribute_wins():
    """Every name of ours, a resource's included, gives way to the span's own attribute, and stands once."""
    span = sdk_like_span_with_everything()
    names = [name for name in attributes(span) if name not in ("mine",)]
    assert len(names) == 12
    for name in names:
        mine = make(**{**span_parts(span), "attributes": kept_like(span, {name: "mine"})})
        found = attributes(mine)
        assert found[name] == "mine"
        assert found.keys() - {name} == set(names) - {name}


def span_parts(span: ReadableSpan) -> dict[str, Any]:
    return {name.lstrip("_"): part for name, part in span.__dict__.items()}


def kept_like(span: ReadableSpan, entries: dict[str, Any]) -> BoundedAttributes:
    kept = BoundedAttributes(attributes=entries)
    kept.dropped = span.dropped_attributes
    return kept


def sdk_like_span_with_everything() -> ReadableSpan:
    events, links = BoundedList(1), BoundedList.from_seq(1, [Link(PARENT)])
    kept = BoundedAttributes()
    events.dropped, links.dropped, kept.dropped = 1, 2, 3
    return make(
        context=SpanContext(1, 2, False, trace_state=TraceState([("a", "b")])),
        status=Status(StatusCode.ERROR, "d"),
        instrumentation_scope=InstrumentationScope("n", "v"),
        attributes=kept,
        events=events,
        links=links,
        resource=Resource({"service.name": "orders", "service.version": "1"}),
    )


# Resource


def test_resource_attributes():
    """The four that are asked for by default are copied, where the resource has them, and no other."""
    full = Resource(
        {
            "service.name": "orders",
            "service.version": "1",
            "service.instance.id": "i",
            "deployment.environment.name": "prod",
            "host.name": "h",
        }
    )
    expected = {name: full.attributes[name] for name in full.attributes if name != "host.name"}
    assert attributes(make(resource=full)) == {"span.kind": "internal", **expected}
    assert attributes(make(resource=None)) == {"span.kind": "internal"}
    assert attributes(make(resource=object())) == {"span.kind": "internal"}


def test_resource_attributes_that_are_asked_for():
    """Any name, any value, none at all; a value is written by the rules for attributes."""
    resource = Resource({"process.command_args": ["a", "b"], "host.name": "h\ud800"})
    asked = ("process.command_args", "host.name", "absent", "host.name")
    expected = {"process.command_args": '["a","b"]', "host.name": "h\ufffd"}
    assert attributes(make(resource=resource), resource_attributes=asked) == {
        "span.kind": "internal",
        **expected,
    }
    assert attributes(make(resource=resource), resource_attributes=()) == {"span.kind": "internal"}
    odd = Resource({})
    odd._attributes = {"a\udfff": {1: None}}
    assert attributes(make(resource=odd), resource_attributes=["a\udfff"]) == {
        "span.kind": "internal",
        "a\ufffd": '{"1":null}',
    }


def test_resources_are_told_apart():
    """Spans of several providers in one batch, in turns, keep their own resource, scope and kind."""
    resources = [Resource({"service.name": name}) for name in "abc"]
    scopes = [InstrumentationScope(name, version) for name in "xy" for version in "12"]
    spans = [
        make(resource=resource, instrumentation_scope=scope, kind=kind)
        for _ in range(2)
        for resource in resources
        for scope in scopes
        for kind in SpanKind
    ]
    encoded, _ = SpanEncoder().encode(spans)
    for span, one in zip(spans, encoded, strict=True):
        assert loads(one.body)["attributes"] == {
            "span.kind": span.kind.name.lower(),
            "otel.scope.name": span.instrumentation_scope.name,
            "otel.scope.version": span.instrumentation_scope.version,
            "service.name": span.resource.attributes["service.name"],
        }


def test_a_resource_at_the_address_of_a_gone_one_is_another():
    """What is remembered of a resource is not taken for its successor's."""
    encoder = SpanEncoder()
    for number in range(200):
        [one], _ = encoder.encode([make(resource=Resource({"service.name": str(number)}))])
        assert loads(one.body)["attributes"]["service.name"] == str(number)


# Values


class Colour(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    HIGH = 2


class Word(str, enum.Enum):
    YES = "yes"


class Ratio(float):
    def __str__(self) -> str:
        return "a ratio"


class Loud(str):
    def __str__(self) -> str:
        return "LOUD"


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("secret")


class Meta(type):
    def __eq__(cls, other: object) -> bool:
        return cls is other

    __hash__ = None  # type: ignore[assignment]


class Unhashable(metaclass=Meta):
    """An instance of a type that no table can hold."""

    def __str__(self) -> str:
        return "odd"


class Endless(Sequence[Any]):
    def __init__(self, item: Any = 0) -> None:
        self.item = item

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: Any) -> Any:
        return self.item

    def __iter__(self) -> Iterator[Any]:
        while True:
            yield self.item


class EndlessMap(Mapping[Any, Any]):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, key: Any) -> Any:
        return key

    def __iter__(self) -> Iterator[Any]:
        number = 0
        while True:
            yield number % 3
            number += 1


class Broken(Sequence[Any]):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: Any) -> Any:
        raise RuntimeError("secret")


class Liar:
    """Says that it is text, as mocks and proxies do."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return str

    def __str__(self) -> str:
        return "liar"


Point = namedtuple("Point", "x y")
RELEASED = memoryview(b"gone")
RELEASED.release()
IDENTITY = uuid.UUID(int=5)
LOOP: list[Any] = [1]
LOOP.append(LOOP)
MAP_LOOP: dict[str, Any] = {}
MAP_LOOP["again"] = MAP_LOOP


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("", '""'),
        ('q"b\\n\n\t\x00\x1f/\x7f', '"q\\"b\\\\n\\n\\t\\u0000\\u001f/\x7f"'),
        ("é😀\u2028", '"é😀\u2028"'),
        ("\ud800", '"\ufffd"'),
        ("a\udfffb\ud800", '"a\ufffdb\ufffd"'),
        ("\ud83d\ude00", '"😀"'),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (-5, "-5"),
        (2**53 - 1, "9007199254740991"),
        (-(2**53) + 1, "-9007199254740991"),
        (2**53, '"9007199254740992"'),
        (-(2**53), '"-9007199254740992"'),
        (10**30, '"1000000000000000000000000000000"'),
        (16**5000, f'"0x1{"0" * 5000}"'),
        (1.5, "1.5"),
        (-0.0, "-0.0"),
        (1e22, "1e+22"),
        (5e-324, "5e-324"),
        (sys.float_info.max, "1.7976931348623157e+308"),
        (-sys.float_info.max, "-1.7976931348623157e+308"),
        (float("nan"), '"NaN"'),
        (float("inf"), '"Infinity"'),
        (float("1e400"), '"Infinity"'),
        (float("-inf"), '"-Infinity"'),
        (None, '""'),
        (b"\x00\xff?", '"AP8/"'),
        (b"", '""'),
        (bytearray(b"ab"), '"YWI="'),
        (memoryview(b"abcd")[::2], '"YWM="'),
        (RELEASED, '"<memoryview>"'),
        (Decimal("1.10"), '"1.10"'),
        (Fraction(1, 3), '"1/3"'),
        (IDENTITY, f'"{IDENTITY}"'),
        (datetime(2024, 1, 2, tzinfo=timezone.utc), '"2024-01-02 00:00:00+00:00"'),
        (Colour.RED, '"Colour.RED"'),
        (Level.HIGH, "2"),
        (Word.YES, '"yes"'),
        (Ratio(2.5), "2.5"),
        (Ratio("nan"), '"NaN"'),
        (Loud("quiet"), '"quiet"'),
        (Unprintable(), '"<Unprintable>"'),
        (Unhashable(), '"odd"'),
        (Liar(), '"liar"'),
        (frozenset({1}), '"frozenset({1})"'),
        ([], '"[]"'),
        ({}, '"{}"'),
        ((1, "a", True, 1.5, None), '"[1,\\"a\\",true,1.5,null]"'),
        ([None, b"ab", float("nan"), 2**53], '"[null,\\"YWI=\\",\\"NaN\\",\\"9007199254740992\\"]"'),
        (["\ud800"], '"[\\"\ufffd\\"]"'),
        (Point(1, 2), '"[1,2]"'),
        (deque([1]), '"[1]"'),
        (range(3), '"[0,1,2]"'),
        ([[1], (2,), {"a": [Level.HIGH, Word.YES]}], '"[[1],[2],{\\"a\\":[2,\\"yes\\"]}]"'),
        ({"a": 1, "b": None}, '"{\\"a\\":1,\\"b\\":null}"'),
        (MappingProxyType({"a": 1}), '"{\\"a\\":1}"'),
        ({1: 2, None: 3, False: 4, (1,): 5}, '"{\\"1\\":2,\\"\\":3,\\"false\\":4,\\"[1]\\":5}"'),
        ({1: "x", "1": "y"}, '"{\\"1\\":\\"y\\"}"'),
        (dict(zip(("\ud800", "\udc00"), (1, 2), strict=True)), '"{\\"\ufffd\\":2}"'),
        ([Broken(), Unprintable(), Unhashable()], '"[\\"<Broken>\\",\\"<Unprintable>\\",\\"odd\\"]"'),
        (Broken(), '"\\"<Broken>\\""'),
    ],
    ids=type_name,
)
def test_values(value, text):
    """Every value is text, a number or a boolean, to the byte."""
    assert written(value) == text


def test_huge_text_is_kept():
    """Bounds on bytes are the window's: a value's text is whole."""
    huge = "x" * 2_000_000
    assert attributes(make(attributes={"a": huge}))["a"] == huge


def test_depth_is_bounded():
    """32 containers within each other are written, the next one is cut."""
    deep: Any = []
    for _ in range(31):
        deep = [deep]
    assert written(deep) == f'"{"[" * 32}{"]" * 32}"'
    assert written([deep]) == f'"{"[" * 32}\\"...\\"{"]" * 32}"'
    maps: Any = {}
    for _ in range(32):
        maps = {"a": maps}
    assert written(maps).count("{") == 32
    assert written(maps).count("...") == 1


def test_entries_are_bounded():
    """10,000 entries of one value are written, over all its depths, and one that never ends does end."""
    assert written([0] * 10_000) == f'"[{",".join(["0"] * 10_000)}]"'
    assert written([0] * 10_001) == f'"[{",".join(["0"] * 10_000)},\\"...\\"]"'
    assert written([[]] * 10_001) == f'"[{",".join(["[]"] * 10_000)},\\"...\\"]"'
    assert written(Endless()) == f'"[{",".join(["0"] * 10_000)},\\"...\\"]"'
    assert written(Endless([Endless()])).count("...") == 2
    assert written({n: n for n in range(10_001)}).endswith(',\\"9999\\":9999,\\"...\\":\\"...\\"}"')
    assert not written({n: n for n in range(10_000)}).endswith('...\\"}"')
    assert written(EndlessMap()) == '"{\\"0\\":0,\\"1\\":1,\\"2\\":2,\\"...\\":\\"...\\"}"'
    wide = json.loads(json.loads(written([[0] * 4000] * 4)))
    assert [len(part) for part in wide[:3]] == [4000, 4000, 1998]
    assert wide[2][-1] == "..."
    assert wide[3:] == ["..."]


def test_containers_that_hold_themselves_end():
    """A loop is written until it is too deep."""
    assert written(LOOP) == f'"{"[1," * 32}\\"...\\"{"]" * 32}"'
    assert written(MAP_LOOP).count("again") == 32


# Keys

SURROGATES = dict(zip(("\ud800", "\udfff", "\ufffd", "\ud83d\ude00"), (1, 2, 3, 4), strict=True))


def test_keys_become_text():
    """Keys are written as values are; of those that become equal one is left, with the last one's value."""
    wild = {1: "a", "1": "b", None: "c", Word.YES: "d", b"ab": "e", (1, "x"): "f", Loud("q"): "g", 2.5: "h"}
    found = attributes(make(attributes=wild, resource=None))
    del found["span.kind"]
    assert found == {"1": "b", "": "c", "yes": "d", "YWI=": "e", '[1,"x"]': "f", "q": "g", "2.5": "h"}


def test_keys_that_are_equal_after_replacement_are_one():
    """Lone surrogates become U+FFFD, the key then stands once, with the last value; pairs are joined."""
    found = attributes(make(attributes=SURROGATES, resource=None))
    assert found == {"\ufffd": 3, "😀": 4, "span.kind": "internal"}
    event = Event("e", dict(list(SURROGATES.items())[:2]), timestamp=START)
    assert body(make(events=(event,)))["events"][0]["attributes"] == {"\ufffd": 2}


def test_a_key_of_ours_in_another_type_is_the_users():
    """Text is compared, not the objects."""
    assert attributes(make(attributes={Loud("span.kind"): "mine"}))["span.kind"] == "mine"


def test_attributes_that_are_no_map():
    """They are none; the span goes on."""
    for wrong in (None, 5, "text", [("a", 1)], object()):
        assert attributes(make(attributes=wrong, resource=None)) == {"span.kind": "internal"}


def test_attributes_without_end_are_cut():
    """A map that never ends does not hold up the application, and one that breaks off gives what it had."""

    class Growing(Mapping[str, int]):
        def __init__(self, end: int | None) -> None:
            self.end = end

        def __len__(self) -> int:
            return 1

        def __getitem__(self, key: str) -> int:
            return 1

        def __iter__(self) -> Iterator[str]:
            number = 0
            while True:
                if number == self.end:
                    raise RuntimeError
                yield str(number)
                number += 1

    assert len(attributes(make(attributes=Growing(None), resource=None))) == 10_001
    assert attributes(make(attributes=Growing(2), resource=None)) == {"0": 1, "1": 1, "span.kind": "internal"}


def test_attributes_that_change_meanwhile():
    """A map that another thread changes is read again, and the span arrives."""

    class Grows:
        def __str__(self) -> str:
            shared[f"new {len(shared)}"] = 1
            return "grown"

    shared: dict[str, Any] = {"a": Grows()}
    assert loads(encode(make(attributes=shared)).body)["attributes"]["a"] == "grown"


# Names, events, links that are not what they should be


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("", ""),
        ("a\ud800", "a\ufffd"),
        (None, ""),
        (5, "5"),
        (Unprintable(), "<Unprintable>"),
        (Loud("q"), "q"),
    ],
)
def test_names_are_text(name, text):
    """Of spans and of events, and in the notice of one that is left out."""
    event = Event("e", timestamp=START)
    event._name = name
    found = body(make(name=name, events=(event,)))
    assert (found["name"], found["events"][0]["name"]) == (text, text)
    assert SpanEncoder().encode([make(name=name, context=None)])[1][0].name == text


def test_odd_events_and_links():
    """What is no event or link is one without anything; containers that are none are empty."""
    found = body(make(events=[None], links=[None]))
    assert found["events"] == [{"name": "", "timestamp": "2023-11-14T22:13:20.000000001Z", "attributes": {}}]
    nothing = f'[{{"trace_id":"{"0" * 32}","span_id":"{"0" * 16}","attributes":{{}}}}]'
    assert found["attributes"]["otel.links"] == nothing
    for wrong in (None, 5, object()):
        assert body(make(events=wrong, links=wrong))["events"] == []
    linked = Link(SimpleNamespace(trace_id=1, span_id=2), {"\ud800": 1})
    assert "0000000000000002" in attributes(make(links=[linked]))["otel.links"]


def test_events_of_a_subclass_are_read_by_their_properties():
    """An event may hide something too."""

    class Redacted(Event):
        @property
        def attributes(self) -> Mapping[str, Any]:
            return {"password": "***"}

    class RedactedLink(Link):
        @property
        def attributes(self) -> Mapping[str, Any]:
            return {"password": "***"}

    secret = {"password": "hunter2"}
    span = make(events=(Redacted("e", secret, timestamp=START),), links=(RedactedLink(PARENT, secret),))
    found = body(span)
    assert found["events"][0]["attributes"] == {"password": "***"}
    assert "hunter2" not in found["attributes"]["otel.links"]


def test_nothing_is_raised():
    """Whatever is in the batch, and whatever its properties raise, it is a notice."""

    class Hostile:
        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError("secret")

    encoded, unencodable = SpanEncoder().encode([None, 5, Hostile(), make()])  # type: ignore[list-item]
    assert len(encoded) == 1
    assert unencodable == [Unencodable("", "InvalidSpanError: no span context")] * 3


def test_a_reason_has_no_value_of_the_span(monkeypatch):
    """The text of an exception that is not ours stays out."""

    def fail(value: object) -> str:
        raise ValueError("hunter2")

    monkeypatch.setattr(encoding, "_time", fail)
    assert SpanEncoder().encode([make()]) == ([], [Unencodable("GET /", "ValueError while it was encoded")])


@pytest.mark.parametrize("signal", [KeyboardInterrupt, SystemExit])
def test_signals_pass(signal):
    """The one who presses Ctrl-C is heard."""

    class Stops:
        def __str__(self) -> str:
            raise signal

    with pytest.raises(signal):
        SpanEncoder().encode([make(attributes={"a": Stops()})])


# Flow names


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("billing", "billing"),
        ("  billing run ", "billing run"),
        ("", None),
        (" \n", None),
        (None, None),
        (5, "5"),
        (True, "true"),
        (Word.YES, "yes"),
        (Loud("q"), "q"),
        (2**60, str(2**60)),
        (("a", 1), '["a",1]'),
        (b"ab", "YWI="),
        ("a\ud800", "a\ufffd"),
    ],
)
def test_flow_names(value, name):
    """`versori.flow.name` is text without space around it; blank is none. It stays an attribute."""
    span = make(attributes={FLOW_NAME_ATTRIBUTE: value})
    assert FLOW_NAME_ATTRIBUTE == "versori.flow.name"
    assert encode(span).flow_name == name
    assert encode(by_properties(span)).flow_name == name
    assert FLOW_NAME_ATTRIBUTE in attributes(span)
    assert type(encode(span).flow_name) in (str, type(None))


def test_a_flow_name_of_the_resource_is_no_flow_name_of_the_span():
    """Only the span's own attribute counts."""
    resource = Resource({FLOW_NAME_ATTRIBUTE: "x"})
    assert encode(make(resource=resource), resource_attributes=[FLOW_NAME_ATTRIBUTE]).flow_name is None


# Threads and memory


def test_threads_at_once(monkeypatch):
    """Threads with one encoder, its tables emptied all the time, write what one thread writes."""
    monkeypatch.setattr(encoding, "_MAX_KEPT", 5)
    monkeypatch.setattr(encoding, "_MAX_SHARED", 2)
    resources = [Resource({"service.name": str(number)}) for number in range(4)]
    spans = [
        make(
            attributes={f"key {(number * 7 + n) % 23}": n for n in range(5)},
            resource=resources[number % 4],
            start_time=START + number * 10**9,
        )
        for number in range(60)
    ]
    encoder = SpanEncoder()
    expected = SpanEncoder().encode(spans)
    assert expected[1] == []
    results: list[Any] = []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [
            threading.Thread(target=lambda: results.extend(encoder.encode(spans) for _ in range(8)))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    finally:
        sys.setswitchinterval(interval)
    assert len(results) == 32
    assert all(result == expected for result in results)


def test_tables_stay_bounded():
    """Where nothing ever repeats, tables are emptied when full and hold no long text."""
    encoder = SpanEncoder()
    resources = []
    for number in range(3000):
        resource = Resource({"service.name": f"{number}"})
        resources.append(resource)
        event = Event("e", {f"event {number}": 1}, timestamp=START + number * 10**9)
        span = make(
            attributes={f"key {number}": f"{number}", "long" * 100 + f"{number}": 1, number: 1},
            events=(event,),
            resource=resource,
            instrumentation_scope=InstrumentationScope(f"scope {number}", "v" * (number * 3)),
        )
        [one], _ = encoder.encode([span])
        assert f'"key {number}":"{number}"'.encode() in one.body
        assert 0 < len(encoding._KEYS) <= 1024
        assert 0 < len(encoding._SECONDS) <= 1024
        assert len(encoder._shared) <= 256
    assert max(map(len, encoding._KEYS.values())) <= 128
    assert max(len(shared.joined) for _, shared in encoder._shared.values()) <= 4096


def test_tables_are_used():
    """A key, a second, a resource that comes again is found."""
    encoder = SpanEncoder()
    encoding._KEYS.clear()
    encoding._SECONDS.clear()
    encoder.encode([make(attributes={"a": 1, "b": 2}), make(attributes={"a": 1})])
    assert encoding._KEYS == {"a": '"a":', "b": '"b":'}
    assert encoding._SECONDS == {"1700000000": "2023-11-14T22:13:20"}
    assert len(encoder._shared) == 1
    edge = "k" * 125
    encoder.encode([make(attributes={edge: 1, edge + "k": 1})])
    assert encoding._KEYS.keys() == {"a", "b", edge}


def test_what_spans_share_is_kept_up_to_a_size():
    """Several resources are remembered at once; one whose attributes are too long for that is not."""
    encoder = SpanEncoder(["k"])
    resources = [Resource({"k": str(number)}) for number in range(256)]
    encoder.encode([make(resource=resource) for resource in resources])
    assert len(encoder._shared) == 256
    one_more = Resource({"k": "one more"})
    encoder.encode([make(resource=one_more)])
    assert len(encoder._shared) == 1
    around = len('"span.kind":"internal","k":""')
    fits, too_long = (Resource({"k": "v" * (size - around)}) for size in (4096, 4097))
    encoder.encode([make(resource=fits), make(resource=too_long)])
    assert [len(shared.joined) for _, shared in encoder._shared.values()][1:] == [4096]


def test_resources_are_not_kept_alive():
    """What is remembered of a resource does not hold it."""
    encoder = SpanEncoder()
    resource = Resource({"service.name": "short-lived"})
    gone = weakref.ref(resource)
    encoder.encode([make(resource=resource)])
    assert len(encoder._shared) == 1
    del resource
    gc.collect()
    assert gone() is None


# Anything at all, against the reference

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=8)
ODD_VALUES: list[Any] = [
    Colour.RED,
    Level.HIGH,
    Word.YES,
    Ratio("inf"),
    Ratio(0.1),
    Loud("q"),
    Unprintable(),
    Unhashable(),
    Liar(),
    Broken(),
    Point(1, "\ud800"),
    LOOP,
    MAP_LOOP,
    RELEASED,
    memoryview(b"abc"),
    bytearray(b"\xff"),
    Decimal("NaN"),
    IDENTITY,
    range(5),
    deque([None]),
    16**5000,
    2**53,
    -(2**53),
    MappingProxyType({"a": (1,)}),
    Exception("x"),
    int,
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
ASKED = ("service.name", "odd\ud800")
ENCODER = SpanEncoder(ASKED)


def meaning(encoded: EncodedSpan) -> dict[str, Any]:
    return {**encoded._asdict(), "body": loads(encoded.body)}


@settings(max_examples=250, deadline=None)
@given(SPANS)
@example(make())
def test_anything_means_what_the_reference_says(span):
    """Whatever is in a span, however it is read: valid JSON, valid by the schema, as the reference has it."""
    expected = reference(span, ASKED)
    for one in (span, by_properties(span), duck(span)):
        encoded, unencodable = ENCODER.encode([one])
        if expected is None:
            assert encoded == []
            assert [type(notice) for notice in unencodable] == [Unencodable]
            continue
        assert unencodable == []
        assert meaning(encoded[0]) == expected
        validator().validate(expected["body"])


@settings(max_examples=300, deadline=None)
@given(VALUES)
def test_any_value_means_what_the_reference_says(value):
    """The same for values alone, where more of them are tried."""
    span = make(attributes={"k": value}, resource=None)
    expected = reference(span)
    assert expected is not None
    assert meaning(encode(span)) == expected
