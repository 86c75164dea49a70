"""A trace in the JSON of Jaeger's query service -> spans."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link

from ..otlp.members import integer, member, objects, text
from ..otlp.spans import Received, Resource, Scope, gather, make_context, make_span
from .conventions import KINDS, STATUS_CODES, hex_id

_SCOPES = (
    ("otel.scope.name", "otel.scope.version"),
    ("otel.library.name", "otel.library.version"),
)


def read(trace: dict[str, Any]) -> Received:
    """Reads one trace, with its processes.

    Raises:
        Malformed: A member is of a wrong type.
    """
    processes = member(trace, "processes")
    resources: dict[str, Resource] = {}
    for name in processes:
        process = member(processes, name)
        resources[name] = Resource({"service.name": text(process, "serviceName"), **_values(process, "tags")})
    unknown = Resource({})
    found = ((span, resources.get(text(span, "processID"), unknown)) for span in objects(trace, "spans"))
    return gather(found, _span)


def _span(found: tuple[dict[str, Any], Resource]) -> ReadableSpan:
    span, resource = found
    tags = _values(span, "tags")
    trace_id, start = hex_id(span, "traceID", 16), integer(span, "startTime") * 1000
    parent, links = b"", []
    for reference in objects(span, "references"):
        of_trace, of_span = hex_id(reference, "traceID", 16), hex_id(reference, "spanID", 8)
        if text(reference, "refType") == "CHILD_OF" and of_trace == trace_id and not parent:
            parent = of_span
        else:
            links.append(Link(make_context(of_trace, of_span, 1, "", False), {}))
    scope = None
    for name, version in _SCOPES:
        if name in tags and scope is None:
            scope = Scope(str(tags.pop(name)), str(tags.pop(version, "")))
    code = STATUS_CODES.get(
        str(tags.pop("otel.status_code", "")), 2 if tags.get("error") in (True, "true") else 0
    )
    if code == 2:
        tags.pop("error", None)
    return make_span(
        name=text(span, "operationName"),
        trace_id=trace_id,
        span_id=hex_id(span, "spanID", 8),
        parent_id=parent or hex_id(span, "parentSpanID", 8),
        flags=integer(span, "flags") & 0xFF,
        state=str(tags.pop("w3c.tracestate", "")),
        kind=KINDS.get(str(tags.pop("span.kind", "")), 0),
        times=(start, max(1, start + integer(span, "duration") * 1000)),
        attributes=tags,
        events=[_event(log) for log in objects(span, "logs")],
        links=links,
        dropped=(0, 0),
        status=(code, str(tags.pop("otel.status_description", ""))),
        resource=resource,
        scope=scope,
    )


def _event(log: dict[str, Any]) -> Event:
    fields = _values(log, "fields")
    name = str(fields.pop("event", fields.pop("message", "log")))
    return Event(name, fields, integer(log, "timestamp") * 1000)


def _values(owner: dict[str, Any], name: str) -> dict[str, Any]:
    return {text(tag, "key"): _value(tag) for tag in objects(owner, name)}


def _value(tag: dict[str, Any]) -> Any:
    value = tag.get("value")
    if tag.get("type") == "binary" and isinstance(value, str):
        try:
            return base64.b64decode(value)
        except (binascii.Error, ValueError):
            return value
    if tag.get("type") == "int64" and isinstance(value, str):
        return integer({"intValue": value}, "intValue")
    return value
