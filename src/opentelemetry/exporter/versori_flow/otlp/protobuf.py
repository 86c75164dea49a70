"""OTLP in protobuf -> spans, and answers in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link

from .spans import (
    Malformed,
    Received,
    Resource,
    Scope,
    gather,
    make_attributes,
    make_context,
    make_event,
    make_span,
)

_MOST_EMPTY = 500_000
"""Members without content in one request. Two bytes of it become 70 in memory: 20 MiB would be 720."""

_EMPTY = re.compile(rb"[\x0a\x12\x1a\x22\x2a\x32\x3a\x42\x4a\x52\x5a\x62\x6a\x72\x7a]\x00")


def read(body: bytes) -> Received:
    """Reads an ExportTraceServiceRequest.

    Raises:
        Malformed: It is none.
    """
    if len(body) > _MOST_EMPTY and any(islice(_EMPTY.finditer(body), _MOST_EMPTY, None)):
        raise Malformed(f"more than {_MOST_EMPTY} members without content")
    try:
        request = ExportTraceServiceRequest.FromString(body)
    except DecodeError:
        raise Malformed("the body is not an ExportTraceServiceRequest in protobuf") from None
    return gather(_found(request), _span)


def _found(request: Any) -> Iterator[tuple[Any, Resource, Scope]]:
    for group in request.resource_spans:
        resource = Resource(_attributes(group.resource.attributes))
        for inner in group.scope_spans:
            scope = Scope(inner.scope.name, inner.scope.version)
            for span in inner.spans:
                yield span, resource, scope


def answer(rejected: int, reason: str) -> bytes:
    """An ExportTraceServiceResponse; `partial_success` is unset where all was taken."""
    response = ExportTraceServiceResponse()
    if rejected:
        response.partial_success.rejected_spans = rejected
        response.partial_success.error_message = reason
    return bytes(response.SerializeToString())


def status(code: int, message: str) -> bytes:
    """A `google.rpc.Status`: two fields, for which no library of Google's is needed."""
    text = message.encode()
    return b"\x08" + _varint(code) + b"\x12" + _varint(len(text)) + text


def _varint(number: int) -> bytes:
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*made, number])


def _span(found: tuple[Any, Resource, Scope]) -> ReadableSpan:
    span, resource, scope = found
    start = span.start_time_unix_nano
    return make_span(
        name=span.name,
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_id=span.parent_span_id,
        flags=span.flags,
        state=span.trace_state,
        kind=span.kind,
        times=(start, span.end_time_unix_nano),
        attributes=make_attributes(_attributes(span.attributes), span.dropped_attributes_count),
        events=[_event(event, start) for event in span.events],
        links=[_link(link) for link in span.links],
        dropped=(span.dropped_events_count, span.dropped_links_count),
        status=(span.status.code, span.status.message),
        resource=resource,
        scope=scope,
    )


def _event(event: Any, start: int) -> Event:
    attributes = make_attributes(_attributes(event.attributes), event.dropped_attributes_count)
    return make_event(event.name, event.time_unix_nano, attributes, start)


def _link(link: Any) -> Link:
    context = make_context(link.trace_id, link.span_id, link.flags, link.trace_state, False)
    return Link(context, make_attributes(_attributes(link.attributes), link.dropped_attributes_count))


def _attributes(entries: Iterable[Any]) -> dict[str, Any]:
    return {entry.key: _value(entry.value) for entry in entries}


def _value(value: Any) -> Any:
    which = value.WhichOneof("value")
    if which is None:
        return None
    if which == "array_value":
        return [_value(item) for item in value.array_value.values]
    if which == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    return getattr(value, which)
