"""One span of the SDK -> the bytes of one OTelSpan: every rule by example."""

from __future__ import annotations

import gc
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Decision, Sampler, SamplingResult
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from opentelemetry.exporter.versori_flow.encoded_span import EncodedSpan, Unencodable
from opentelemetry.exporter.versori_flow.encoding import members, values
from opentelemetry.exporter.versori_flow.encoding import span as encoding
from opentelemetry.exporter.versori_flow.encoding.span import FLOW_NAME_ATTRIBUTE, SpanEncoder
from tests.encoding.reference import RESOURCE_ATTRIBUTES, reference
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
    resource_of,
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


def recorded(sampler: Sampler, attributes: dict[str, Any]) -> ReadableSpan:
    """A span as a processor gets it at its end."""

    class Keeps(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            found.append(span)

    found: list[ReadableSpan] = []
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    provider.add_span_processor(Keeps())
    provider.get_tracer("shop").start_span("s", attributes=attributes).end()
    return found[0]


def test_values_that_newer_sdks_keep():
    """None, bytes, maps, nested and mixed lists reach the span in newer SDKs, and are JSON text there."""
    given = {
        "none": None,
        "bytes": b"\x00\xff",
        "map": {"a": {"b": [1, None]}},
        "nested": [[1], ["a", {"k": 2.5}]],
        "mixed": [1, "a", None],
    }
    span = recorded(ALWAYS_ON, given)
    assert meaning(encode(span)) == reference(span)
    if span.attributes is not None and span.attributes.keys() >= given.keys():
        found = attributes(span)
        assert {name: found[name] for name in given} == {
            "none": "",
            "bytes": "AP8=",
            "map": '{"a":{"b":[1,null]}}',
            "nested": '[[1],["a",{"k":2.5}]]',
            "mixed": '[1,"a",null]',
        }
    else:
        assert tuple(map(int, version("opentelemetry-sdk").split(".")[:2])) < (1, 40)


class RecordOnly(Sampler):
    def should_sample(self, *_: Any, **__: Any) -> SamplingResult:
        return SamplingResult(Decision.RECORD_ONLY)

    def get_description(self) -> str:
        return "records what it does not sample"


def test_a_recorded_span_that_was_sampled_out():
    """It reaches `on_end`; whoever hands it on all the same gets it with the flag that says so."""
    span = recorded(RecordOnly(), {"a": 1})
    assert span.context is not None
    assert not span.context.trace_flags.sampled
    assert body(span)["spanContext"]["traceFlags"] % 2 == 0


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


@pytest.mark.parametrize(
    ("parent", "trace", "root"),
    [
        (PARENT, f"{TRACE_ID:032x}", False),
        (SpanContext(TRACE_ID, 0xAB, is_remote=True, trace_flags=TraceFlags(1)), f"{TRACE_ID:032x}", True),
        (SpanContext(0xF00D, 0xAB, False, TraceFlags(1)), f"{0xF00D:032x}", False),
        (None, None, True),
        (SpanContext(0, 1, False), None, True),
        (SpanContext(1, 0, False), None, True),
        (SpanContext(2**128, 1, False), None, True),
    ],
)
def test_parents(parent, trace, root):
    """Written in both spellings, as they were said; an invalid one is none; a remote one makes a root."""
    found, encoded = body(make(parent=parent)), encode(make(parent=parent))
    written = trace and {"traceId": trace, "spanId": "00000000000000ab", "traceFlags": 1}
    assert (found.get("parentSpanContext"), found.get("parentSpanContenxt")) == (written, written)
    assert encoded.parent_span_id == (trace and "00000000000000ab")
    assert encoded.is_root is encode(by_properties(make(parent=parent))).is_root is root


@pytest.mark.parametrize("flags", [0, 1, 3, 255])
def test_the_context_is_whole(flags):
    """All 128 and 64 bits of the ids, and the byte of W3C Trace Context as a number; not sampled is 0."""
    context = SpanContext(2**128 - 1, 2**64 - 1, False, TraceFlags(flags))
    expected = {"traceId": "f" * 32, "spanId": "f" * 16, "traceFlags": flags}
    assert body(make(context=context))["spanContext"] == expected
    assert encode(make(context=context))[:2] == ("f" * 32, "f" * 16)


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


def context_of(state: Any) -> SpanContext:
    return SpanContext(1, 2, False, trace_state=state)


def status_like(code: Any, description: Any = None) -> Any:
    return SimpleNamespace(status_code=code, description=description)


BROKEN = {"otel.status_code": "ERROR", "otel.status_description": "no"}
SCOPE = {"otel.scope.name": "shop", "otel.scope.version": "1"}
OURS: list[tuple[str, Any, dict[str, str]]] = [
    *(("status", unset, {}) for unset in (Status(), None, status_like(SpanKind.SERVER), status_like(0, "x"))),
    ("status", Status(StatusCode.OK), {"otel.status_code": "OK"}),
    ("status", Status(StatusCode.ERROR), {"otel.status_code": "ERROR"}),
    ("status", Status(StatusCode.ERROR, ""), {"otel.status_code": "ERROR"}),
    ("status", Status(StatusCode.ERROR, "no"), BROKEN),
    ("status", status_like(StatusCode.OK, 0), {"otel.status_code": "OK", "otel.status_description": "0"}),
    ("status", status_like(StatusCode.UNSET, "x"), {}),
    *(("kind", kind, {"span.kind": kind.name.lower()}) for kind in SpanKind),
    *(("kind", other, {"span.kind": "internal"}) for other in (None, "server", StatusCode.OK)),
    *(("instrumentation_scope", none, {}) for none in (None, "none")),
    ("instrumentation_scope", InstrumentationScope("shop"), {"otel.scope.name": "shop"}),
    ("instrumentation_scope", InstrumentationScope("shop", ""), {"otel.scope.name": "shop"}),
    ("instrumentation_scope", InstrumentationScope("", "1"), {"otel.scope.version": "1"}),
    ("instrumentation_scope", InstrumentationScope("shop", "1"), SCOPE),
    ("instrumentation_scope", InstrumentationScope(0, 1.0), dict(zip(SCOPE, ("0", "1.0"), strict=True))),
    (
        "instrumentation_scope",
        InstrumentationScope(["a"], "\ud800"),
        dict(zip(SCOPE, ('["a"]', "\ufffd"), strict=True)),
    ),
    # The header's text of W3C Trace Context.
    (
        "context",
        context_of(TraceState([("vendor", "1"), ("other", "2")])),
        {"otel.trace_state": "vendor=1,other=2"},
    ),
    ("context", context_of(TraceState()), {}),
    ("context", context_of({"a": 1, "\ud800": None}), {"otel.trace_state": "a=1,\ufffd="}),
    ("context", context_of("a=1"), {"otel.trace_state": "a=1"}),
    ("context", context_of(7), {"otel.trace_state": "7"}),
]


@pytest.mark.parametrize(("part", "value", "expected"), OURS)
def test_what_has_no_field_is_an_attribute(part, value, expected):
    """Status code and description, kind, scope and trace state, where they are set; whatever else stands there."""
    found = body(make(resource=None, **{part: value}))
    assert found["attributes"] == {"span.kind": "internal", **expected}
    assert found["status"] == {"code": 1 if expected.get("otel.status_code") == "ERROR" else 0}


def test_lost_attributes_events_and_links_are_counted():
    """The counts of what the SDK dropped are attributes, where they are not 0, on events and links too."""

    def kept(container: Any, lost: int) -> Any:
        container.dropped = lost
        return container

    def some(lost: int) -> Any:
        return kept(BoundedAttributes(attributes={"a": 1}), lost)

    event, link = Event("e", some(4), timestamp=START), Link(PARENT, some(5))
    parts = {
        "attributes": some(1),
        "events": kept(BoundedList.from_seq(5, [event]), 2),
        "links": kept(BoundedList.from_seq(5, [link]), 3),
    }
    found = body(make(**parts))
    counts = {f"otel.dropped_{what}_count": part.dropped for what, part in parts.items()}
    assert {name: value for name, value in found["attributes"].items() if "dropped" in name} == counts
    assert found["events"][0]["attributes"] == {"a": 1, "otel.dropped_attributes_count": 4}
    (linked,) = loads(found["attributes"]["otel.links"])
    assert linked["attributes"] == {"a": 1, "otel.dropped_attributes_count": 5}
    for what in parts:  # each alone is said too
        empty = kept(BoundedAttributes() if what == "attributes" else BoundedList(1), 7)
        assert attributes(make(**{what: empty}))[f"otel.dropped_{what}_count"] == 7
    assert not [name for name in attributes(make()) if "dropped" in name]
    event._attributes._dict["otel.dropped_attributes_count"] = "mine"
    again = body(make(**parts))["events"][0]["attributes"]
    assert again == {"a": 1, "otel.dropped_attributes_count": "mine"}


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

    def with_everything(own: dict[str, Any]) -> ReadableSpan:
        kept, events, links = (
            BoundedAttributes(attributes=own),
            BoundedList(1),
            BoundedList.from_seq(1, [Link(PARENT)]),
        )
        kept.dropped, events.dropped, links.dropped = 3, 1, 2
        return make(
            context=SpanContext(1, 2, False, trace_state=TraceState([("a", "b")])),
            status=Status(StatusCode.ERROR, "d"),
            instrumentation_scope=InstrumentationScope("n", "v"),
            attributes=kept,
            events=events,
            links=links,
        )

    names = attributes(with_everything({})).keys()
    assert len(names) == 12
    for name in names:
        found = attributes(with_everything({name: "mine"}))
        assert found[name] == "mine"
        assert found.keys() == names


@pytest.mark.parametrize(
    ("resource", "asked", "shown"),
    [
        (Resource({"service.name": "o", "host.name": "h"}), RESOURCE_ATTRIBUTES, {"service.name": "o"}),
        (Resource({"h": "h\ud800", "n": (1, 2)}), ("n", "h", "absent", "h"), {"n": "[1,2]", "h": "h\ufffd"}),
        (resource_of({"a\udfff": {1: None}}), ["a\udfff"], {"a\ufffd": '{"1":null}'}),
        (Resource({"service.name": "o"}), (), {}),
        (None, RESOURCE_ATTRIBUTES, {}),
        (object(), RESOURCE_ATTRIBUTES, {}),
    ],
)
def test_resource_attributes(resource, asked, shown):
    """Those that are asked for are copied, where the resource has them, by the rules for attributes."""
    found = attributes(make(resource=resource), resource_attributes=asked)
    assert found == {"span.kind": "internal", **shown}


def test_resources_are_told_apart():
    """Spans of several providers in one batch, in turns, keep their own resource, scope and kind."""
    resources = [Resource({"service.name": name}) for name in "abc"]
    scopes = [InstrumentationScope(name, version) for name in "xy" for version in "12"]
    parts = list(product(resources, scopes, SpanKind)) * 2
    spans = [make(resource=of, instrumentation_scope=scope, kind=kind) for of, scope, kind in parts]
    for span, one in zip(spans, new_encoder().encode(spans), strict=True):
        assert meaning(one)["body"]["attributes"] == reference(span)["body"]["attributes"]


def test_a_resource_at_the_address_of_a_gone_one_is_another():
    """What is remembered of a resource is not taken for its successor's."""
    encoder = new_encoder()
    for number in range(200):
        [one] = encoder.encode([make(resource=Resource({"service.name": str(number)}))])
        assert loads(one.body)["attributes"]["service.name"] == str(number)


class MadeWhenAsked(list[int]):
    """Spans of which nobody else keeps anything, each in a trace of its own."""

    def __iter__(self):
        for number in super().__iter__():
            trace = 2**100 + number
            context = SpanContext(trace, 7, is_remote=False, trace_flags=TraceFlags(1))
            parent = SpanContext(trace, number, is_remote=False, trace_flags=TraceFlags(1))
            yield make(context=context, parent=parent, resource=Resource({"service.name": str(number)}))


def test_spans_that_are_made_when_they_are_asked_for_do_not_take_over_parts_of_those_before():
    for number, one in enumerate(new_encoder().encode(MadeWhenAsked(range(1, 200))), start=1):
        trace, parent = f"{2**100 + number:032x}", f"{number:016x}"
        assert (one.trace_id, one.parent_span_id) == (trace, parent)
        body = loads(one.body)
        assert body["spanContext"]["traceId"] == body["parentSpanContext"]["traceId"] == trace
        assert body["attributes"]["service.name"] == str(number)


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


def test_a_flow_name_of_the_resource_is_no_flow_name_of_the_span():
    """Only the span's own attribute counts."""
    resource = Resource({FLOW_NAME_ATTRIBUTE: "x"})
    assert encode(make(resource=resource), resource_attributes=[FLOW_NAME_ATTRIBUTE]).flow_name is None


def test_threads_at_once(monkeypatch):
    """Threads with one encoder, its tables emptied all the time, write what one thread writes."""
    monkeypatch.setattr(values, "_MAX_SECONDS", 5)
    monkeypatch.setattr(members, "_MAX_KEPT", 5)
    monkeypatch.setattr(encoding, "_MAX_SHARED", 2)
    resources = [Resource({"service.name": str(number)}) for number in range(4)]
    keys = [{f"key {(number * 7 + n) % 23}": n for n in range(5)} for number in range(60)]
    spans = [
        make(attributes=own, resource=resources[number % 4], start_time=START + number * 10**9)
        for number, own in enumerate(keys)
    ]
    encoder, expected = new_encoder(), new_encoder().encode(spans)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as threads:
            assert list(threads.map(encoder.encode, [spans] * 32)) == [expected] * 32
    finally:
        sys.setswitchinterval(interval)


def test_tables_stay_bounded():
    """Where nothing ever repeats, tables are emptied when full and hold no long text."""
    encoder = new_encoder()
    for number in range(3000):
        own = {f"key {number}": f"{number}", "long" * 100 + f"{number}": 1, number: 1}
        [one] = encoder.encode([make(attributes=own, start_time=START + number * 10**9)])
        assert f'"key {number}":"{number}"'.encode() in one.body
        assert 0 < len(members.TEMPLATES) <= 512
        assert 0 < len(values.SECONDS) <= 1024
    encoder.encode([make(attributes={"k" * 9000: 1})])
    assert max(sum(map(len, parts)) for parts in members.TEMPLATES.values()) <= 8192


def test_tables_are_used():
    """A combination of keys, a second, a resource that comes again is found."""
    encoder, kept = SpanEncoder([]), members.TEMPLATES
    kept.clear()
    values.SECONDS.clear()
    encoder.encode([make(attributes={"a": 1, "b": 2}), make(attributes={"a": 1}), make(attributes={"a": 3})])
    kind = '"span.kind":"internal"'
    assert kept == {
        (kind, ("a", "b")): ['"a":', "", ',"b":', "", f",{kind}"],
        (kind, ("a",)): ['"a":', "", f",{kind}"],
    }
    assert values.SECONDS == {"1700000000": "2023-11-14T22:13:20"}
    assert len(encoder._shared) == 1
    edge = "k" * (8192 - len(f'"":,{kind}'))
    encoder.encode([make(attributes={edge: 1}), make(attributes={edge + "k": 1})])
    assert {keys for _, keys in kept} == {("a", "b"), ("a",), (edge,)}


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
