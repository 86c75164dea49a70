"""One span of the SDK -> the bytes of one OTelSpan: every rule by example."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from opentelemetry.exporter.versori_flow.encoded_span import EncodedSpan, Unencodable
from opentelemetry.exporter.versori_flow.encoding import span as encoding
from opentelemetry.exporter.versori_flow.encoding.span import FLOW_NAME_ATTRIBUTE, SpanEncoder
from tests.encoding.reference import reference
from tests.encoding.spans import (
    END,
    PARENT,
    START,
    TRACE_ID,
    Loud,
    Word,
    attributes,
    body,
    by_properties,
    duck,
    encode,
    loads,
    make,
    meaning,
    new_encoder,
    sdk_spans,
)


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

    def careful(span: object) -> None:
        raise AssertionError(span)

    monkeypatch.setattr(encoding, "tidied", careful)
    *encoded, bare = new_encoder().encode([*spans, make(attributes=None, events=[], links=[])])
    assert encoded == expected
    assert type(bare) is EncodedSpan


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
    before, lost, after = new_encoder().encode([first, make(name="lost", context=context), last])
    assert (type(before), type(lost), type(after)) == (EncodedSpan, Unencodable, EncodedSpan)
    assert (before[1], lost, after[1]) == ("0000000000000001", ("lost", reason), "0000000000000003")


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
    encoded = new_encoder().encode(spans)
    for span, one in zip(spans, encoded, strict=True):
        assert loads(one.body)["attributes"] == {
            "span.kind": span.kind.name.lower(),
            "otel.scope.name": span.instrumentation_scope.name,
            "otel.scope.version": span.instrumentation_scope.version,
            "service.name": span.resource.attributes["service.name"],
        }


def test_a_resource_at_the_address_of_a_gone_one_is_another():
    """What is remembered of a resource is not taken for its successor's."""
    encoder = new_encoder()
    for number in range(200):
        [one] = encoder.encode([make(resource=Resource({"service.name": str(number)}))])
        assert loads(one.body)["attributes"]["service.name"] == str(number)


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
    encoder = new_encoder()
    expected = new_encoder().encode(spans)
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
    encoder = new_encoder()
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
        [one] = encoder.encode([span])
        assert f'"key {number}":"{number}"'.encode() in one.body
        assert 0 < len(encoding._KEYS) <= 1024
        assert 0 < len(encoding._SECONDS) <= 1024
        assert len(encoder._shared) <= 256
    assert max(map(len, encoding._KEYS.values())) <= 128
    assert max(len(joined) for _, (_, joined) in encoder._shared.values()) <= 4096


def test_tables_are_used():
    """A key, a second, a resource that comes again is found."""
    encoder = new_encoder()
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
    assert [len(joined) for _, (_, joined) in encoder._shared.values()][1:] == [4096]


def test_resources_are_not_kept_alive():
    """What is remembered of a resource does not hold it."""
    encoder = new_encoder()
    resource = Resource({"service.name": "short-lived"})
    gone = weakref.ref(resource)
    encoder.encode([make(resource=resource)])
    assert len(encoder._shared) == 1
    del resource
    gc.collect()
    assert gone() is None


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
