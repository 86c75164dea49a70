"""An OTLP span, and the span that the SDK hands over, become the same bytes."""

from __future__ import annotations

import base64
import gzip
import json
import logging
import math
from collections.abc import Iterator
from itertools import chain
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)
from starlette.requests import Request

from opentelemetry.exporter.versori_flow import VersoriFlowSpanExporter
from opentelemetry.exporter.versori_flow.encoding.span import FLOW_NAME_ATTRIBUTE
from opentelemetry.exporter.versori_flow.otlp import json_text
from opentelemetry.exporter.versori_flow.otlp.endpoint import TracesEndpoint
from opentelemetry.exporter.versori_flow.server import LocalPlatform
from opentelemetry.exporter.versori_flow.server.http_server import HttpServer
from tests.encoding.spans import encode, new_encoder

TEXT = st.text(max_size=6)
KEYS = st.one_of(TEXT.filter(bool), st.sampled_from(["otel.links", "service.name", FLOW_NAME_ATTRIBUTE]))
SCALARS = st.one_of(TEXT, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.binary(max_size=5))
VALUES = st.recursive(
    st.one_of(SCALARS, st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=6,
)
ATTRIBUTES = st.dictionaries(KEYS, VALUES, max_size=5)
CONTEXTS = st.builds(
    SpanContext,
    trace_id=st.integers(1, 2**128 - 1),
    span_id=st.integers(1, 2**64 - 1),
    is_remote=st.booleans(),
    trace_flags=st.just(TraceFlags(1)),
    trace_state=st.sampled_from([None, TraceState([("a", "1"), ("b", "x=2")])]),
)
LINKED = st.builds(SpanContext, st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.booleans())
TIMES = st.integers(1, 2**62)
STATUSES = st.one_of(
    st.just(Status()), st.just(Status(StatusCode.OK)), TEXT.map(lambda said: Status(StatusCode.ERROR, said))
)


class Ids(IdGenerator):
    """Draws them."""

    def __init__(self, draw: Any) -> None:
        self._draw = draw

    def generate_span_id(self) -> int:
        return int(self._draw(st.integers(1, 2**64 - 1)))

    def generate_trace_id(self) -> int:
        return int(self._draw(st.integers(1, 2**128 - 1)))


@st.composite
def sdk_spans(draw: Any) -> list[ReadableSpan]:
    """Spans that the SDK itself has made and ended, some with more than its limits let it keep."""
    kept = InMemorySpanExporter()
    limits = SpanLimits(max_span_attributes=4, max_events=2, max_links=2, max_event_attributes=2)
    resource = Resource(draw(st.dictionaries(KEYS, SCALARS, max_size=3)))
    provider = TracerProvider(
        resource=resource, span_limits=limits, shutdown_on_exit=False, id_generator=Ids(draw)
    )
    provider.add_span_processor(SimpleSpanProcessor(kept))
    for _ in range(draw(st.integers(1, 3))):
        tracer = provider.get_tracer(draw(st.one_of(st.just("shop"), TEXT)), draw(st.one_of(st.none(), TEXT)))
        parent = draw(st.one_of(st.none(), CONTEXTS))
        span = tracer.start_span(
            draw(TEXT),
            set_span_in_context(NonRecordingSpan(parent)) if parent else None,
            draw(st.sampled_from(SpanKind)),
            draw(ATTRIBUTES),
            [Link(context, draw(ATTRIBUTES)) for context in draw(st.lists(LINKED, max_size=3))],
            draw(TIMES),
        )
        for _ in range(draw(st.integers(0, 3))):
            span.add_event(draw(TEXT), draw(ATTRIBUTES), draw(TIMES))
        span.set_status(draw(STATUSES))
        span.end(draw(TIMES))
    return list(kept.get_finished_spans())


def any_value(value: AnyValue) -> dict[str, Any]:
    """As OTLP's JSON has it."""
    which = value.WhichOneof("value")
    if which is None:
        return {}
    found = getattr(value, which)
    match which:
        case "array_value":
            return {"arrayValue": {"values": [any_value(item) for item in found.values]}}
        case "kvlist_value":
            return {"kvlistValue": {"values": attributes(found.values)}}
        case "int_value":
            return {"intValue": str(found)}
        case "bytes_value":
            return {"bytesValue": base64.b64encode(found).decode()}
        case "double_value" if not math.isfinite(found):
            return {"doubleValue": "NaN" if found != found else "Infinity" if found > 0 else "-Infinity"}
    return {{"string_value": "stringValue", "bool_value": "boolValue"}.get(which, "doubleValue"): found}


def attributes(entries: Any) -> list[dict[str, Any]]:
    return [{"key": entry.key, "value": any_value(entry.value)} for entry in entries]


def as_json(request: Any) -> bytes:
    """A request as another SDK writes it in JSON, with members that nobody knows."""

    def span(one: Any) -> dict[str, Any]:
        return {
            "traceId": one.trace_id.hex(),
            "spanId": one.span_id.hex().upper(),
            "parentSpanId": one.parent_span_id.hex(),
            "traceState": one.trace_state,
            "flags": one.flags,
            "name": one.name,
            "kind": one.kind,
            "startTimeUnixNano": str(one.start_time_unix_nano),
            "endTimeUnixNano": one.end_time_unix_nano,
            "attributes": attributes(one.attributes),
            "droppedAttributesCount": one.dropped_attributes_count,
            "events": [
                {
                    "timeUnixNano": str(event.time_unix_nano),
                    "name": event.name,
                    "attributes": attributes(event.attributes),
                    "droppedAttributesCount": event.dropped_attributes_count,
                }
                for event in one.events
            ],
            "droppedEventsCount": one.dropped_events_count,
            "links": [
                {
                    "traceId": link.trace_id.hex(),
                    "spanId": link.span_id.hex(),
                    "attributes": attributes(link.attributes),
                    "droppedAttributesCount": link.dropped_attributes_count,
                }
                for link in one.links
            ],
            "droppedLinksCount": one.dropped_links_count,
            "status": {"code": one.status.code, "message": one.status.message},
            "unheardOf": [{"x": None}],
        }

    groups = [
        {
            "resource": {"attributes": attributes(group.resource.attributes)},
            "scopeSpans": [
                {
                    "scope": {"name": inner.scope.name, "version": inner.scope.version},
                    "spans": [span(one) for one in inner.spans],
                }
                for inner in group.scope_spans
            ],
        }
        for group in request.resource_spans
    ]
    return json.dumps({"resourceSpans": groups, "unheardOf": 1}).encode()


def in_order(spans: list[ReadableSpan]) -> list[tuple[object, ...]]:
    return sorted((tuple(made) for made in new_encoder().encode(spans)), key=repr)


class Receiver:
    """Takes OTLP over HTTP, and keeps the spans."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []
        self._endpoint = TracesEndpoint(self._take, lambda request: None)
        self.server = HttpServer(self, "127.0.0.1", 0)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await (await self._endpoint(Request(scope, receive)))(scope, receive, send)

    def _take(self, spans: Any) -> Any:
        self.spans += spans
        return SimpleNamespace(left=(), lost=0)


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    running = Receiver()
    running.server.start()
    yield running
    running.server.stop()


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(sdk_spans(), st.booleans())
def test_one_mapping(receiver, spans, packed):
    """Sent as OTLP, in protobuf and in JSON, a span becomes what it becomes in the exporter, byte for byte."""
    logging.getLogger("opentelemetry.attributes").setLevel(logging.ERROR)  # it says what limits drop
    request = encode_spans(spans)
    direct = in_order(spans)
    for content_type, body in (
        ("application/x-protobuf", request.SerializeToString() + b"\xfa\x3f\x01x"),  # and an unknown field
        ("application/json", as_json(request)),
    ):
        receiver.spans.clear()
        encoding = {"Content-Encoding": "gzip"} if packed else {}
        answer = httpx.post(
            f"http://127.0.0.1:{receiver.server.port}/v1/traces",
            content=gzip.compress(body) if packed else body,
            headers={"Content-Type": content_type, **encoding},
            trust_env=False,
        )
        assert (answer.status_code, answer.content) == (200, b"{}" if "json" in content_type else b"")
        assert all(type(span) is ReadableSpan for span in receiver.spans)
        assert in_order(receiver.spans) == direct


def stored(platform: LocalPlatform) -> dict[str, list[str]]:
    return {
        flow: sorted(json.dumps(one, sort_keys=True) for one in platform.spans(flow))
        for flow in platform.names()
    }


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(sdk_spans(), min_size=1, max_size=3).map(lambda drawn: [*chain(*drawn)]))
def test_what_is_stored_is_one(spans):
    """What the exporter stores of spans is what a platform stores that got them as OTLP: flow by flow."""
    assume(len({(one.context.trace_id, one.context.span_id) for one in spans}) == len(spans))
    logging.getLogger("opentelemetry.attributes").setLevel(logging.ERROR)
    with LocalPlatform() as direct, LocalPlatform() as received:
        exporter = VersoriFlowSpanExporter(
            api_key="k",
            organisation_id=direct.organisation_id,
            project_id=direct.project_id,
            base_url=direct.url,
        )
        exporter.export(spans)
        exporter.shutdown()
        request = encode_spans(spans)
        answer = httpx.post(
            f"{received.url}/v1/traces",
            content=as_json(request),
            headers={"Content-Type": "application/json"},
            trust_env=False,
        )
        assert answer.status_code == 200
        count = sum(map(len, stored(direct).values()))
        assert count == len(spans)
        received.wait_for(lambda p: sum(map(len, stored(p).values())) == count)
        assert stored(received) == stored(direct)


def span(**members: Any) -> dict[str, Any]:
    return {"traceId": "0" * 31 + "1", "spanId": "0" * 15 + "1", "startTimeUnixNano": "5", **members}


def read_json(*spans: Any, **members: Any) -> Any:
    return json_text.read(
        json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}], **members}]}).encode()
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"traceId": ""},
        {"traceId": "0" * 32},
        {"traceId": "1" * 31},
        {"traceId": "x" * 32},
        {"spanId": "1" * 18},
        {"spanId": "1 1 1 1 1 1 1 1 "},
        {"parentSpanId": "11"},
        {"links": [{"traceId": "11", "spanId": "1" * 16}]},
    ],
    ids=str,
)
def test_a_span_without_right_ids_is_rejected_alone(wrong):
    """What comes with it is taken, and the reason is given."""
    received = read_json(span(**wrong), span())
    assert (len(received.spans), received.rejected) == (1, 1)
    assert "id" in received.reason.lower()


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        {"resourceSpans": 5},
        {"resourceSpans": ["x"]},
        {"resourceSpans": [{"resource": []}]},
        *(
            {"resourceSpans": [{"scopeSpans": [{"spans": [span(**part)]}]}]}
            for part in (
                {"name": 5},
                {"kind": "SERVER"},
                {"kind": True},
                {"startTimeUnixNano": "-1"},
                {"startTimeUnixNano": str(2**64)},
                {"startTimeUnixNano": "1_0"},
                {"startTimeUnixNano": 1.5},
                {"attributes": {"a": 1}},
                {"attributes": [{"key": "a", "value": 1}]},
                {"attributes": [{"key": "a", "value": {"intValue": str(2**63)}}]},
                {"attributes": [{"key": "a", "value": {"intValue": "9" * 5000}}]},
                {"attributes": [{"key": "a", "value": {"boolValue": 1}}]},
                {"attributes": [{"key": "a", "value": {"bytesValue": "a"}}]},
                {"attributes": [{"key": "a", "value": {"doubleValue": ["NaN"]}}]},
                {"attributes": [{"key": "a", "value": {"doubleValue": "x"}}]},
                {"traceId": 5},
            )
        ),
    ],
    ids=lambda wrong: json.dumps(wrong)[:200],
)
def test_what_is_no_request_is_refused(wrong):
    """A wrong type anywhere refuses the request, and names the member."""
    with pytest.raises(json_text.Malformed):
        json_text.read(json.dumps(wrong).encode())


def test_forms_that_other_senders_use():
    """Enums by name, null for what is unset, whole doubles and URL-safe base64 are read as they are meant."""
    received = read_json(
        span(
            kind="SPAN_KIND_SERVER",
            status={"code": "STATUS_CODE_ERROR", "message": "m"},
            endTimeUnixNano=7.0,
            parentSpanId=None,
            flags=0x301,
            events=[{"name": "e"}],
            attributes=[
                {"key": "b", "value": {"bytesValue": "_-8"}},
                {"key": "i", "value": {"stringValue": None, "intValue": 1e3}},
                {"key": "n"},
            ],
        ),
        resource=None,
    )
    [one] = received.spans
    shown = json.loads(encode(one).body)
    assert shown["attributes"] == {
        "b": "/+8=",
        "i": 1000,
        "n": "",
        "span.kind": "server",
        "otel.status_code": "ERROR",
        "otel.status_description": "m",
    }
    assert shown["endTime"] == "1970-01-01T00:00:00.000000007Z"
    assert shown["events"][0]["timestamp"] == shown["startTime"]


def test_a_span_that_has_not_ended():
    """An end of 0 is no end."""
    [one] = read_json(span()).spans
    assert json.loads(encode(one).body)["ended"] is False
