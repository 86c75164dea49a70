"""OTLP in JSON -> spans, and answers in it.

`google.protobuf.json_format` reads the hex ids as base64, without an error, and takes 16 times as long.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from typing import Any, NoReturn

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link

from .members import as_object, integer, member, objects, text, wrong
from .spans import (
    BadSpan,
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

_MOST_CONTAINERS = 1_000_000
"""Objects and lists in one request. Two bytes of it become 64 or more in memory."""

_MOST_DEPTH = 100
"""Values within each other, as protobuf's own bound."""

_NOT_NUMBERS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def read(body: bytes) -> Received:
    """Reads an ExportTraceServiceRequest.

    Raises:
        Malformed: It is none.
    """
    if len(body) > _MOST_CONTAINERS and body.count(b"{") + body.count(b"[") > _MOST_CONTAINERS:
        raise Malformed(f"more than {_MOST_CONTAINERS} objects and lists")
    try:
        return from_document(json.loads(body, parse_constant=_no_constant))
    except RecursionError:
        raise Malformed("the body is nested too deep") from None
    except Malformed:
        raise
    except ValueError:  # not JSON, not UTF-8, a number of thousands of digits
        raise Malformed("the body is not JSON") from None


def from_document(document: Any) -> Received:
    """Reads a parsed ExportTraceServiceRequest.

    Raises:
        Malformed: It is none.
    """
    return gather(_found(as_object(document, "the body")), _span)


def _found(request: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Resource, Scope]]:
    for group in objects(request, "resourceSpans"):
        resource = Resource(_attributes(member(group, "resource"), 0))
        for inner in objects(group, "scopeSpans"):
            scope = member(inner, "scope")
            made = Scope(text(scope, "name"), text(scope, "version"))
            for span in objects(inner, "spans"):
                yield span, resource, made


def answer(rejected: int, reason: str) -> bytes:
    """An ExportTraceServiceResponse; `partialSuccess` is unset where all was taken."""
    # 64-bit integers are texts.
    partial = {"partialSuccess": {"rejectedSpans": str(rejected), "errorMessage": reason}}
    return json.dumps(partial if rejected else {}).encode()


def status(code: int, message: str) -> bytes:
    """A `google.rpc.Status`."""
    return json.dumps({"code": code, "message": message}).encode()


def _span(found: tuple[dict[str, Any], Resource, Scope]) -> ReadableSpan:
    span, resource, scope = found
    start, state = integer(span, "startTimeUnixNano"), member(span, "status")
    return make_span(
        name=text(span, "name"),
        trace_id=_id(span, "traceId"),
        span_id=_id(span, "spanId"),
        parent_id=_id(span, "parentSpanId"),
        flags=integer(span, "flags"),
        state=text(span, "traceState"),
        kind=integer(span, "kind"),
        times=(start, integer(span, "endTimeUnixNano")),
        attributes=_counted(span),
        events=[_event(event, start) for event in objects(span, "events")],
        links=[_link(link) for link in objects(span, "links")],
        dropped=(integer(span, "droppedEventsCount"), integer(span, "droppedLinksCount")),
        status=(integer(state, "code"), text(state, "message")),
        resource=resource,
        scope=scope,
    )


def _event(event: dict[str, Any], start: int) -> Event:
    return make_event(text(event, "name"), integer(event, "timeUnixNano"), _counted(event), start)


def _link(link: dict[str, Any]) -> Link:
    ids = _id(link, "traceId"), _id(link, "spanId")
    return Link(make_context(*ids, integer(link, "flags"), text(link, "traceState"), False), _counted(link))


def _counted(owner: dict[str, Any]) -> Any:
    return make_attributes(_attributes(owner, 0), integer(owner, "droppedAttributesCount"))


def _attributes(owner: dict[str, Any], depth: int, name: str = "attributes") -> dict[str, Any]:
    return {text(entry, "key"): _value(member(entry, "value"), depth) for entry in objects(owner, name)}


def _value(value: dict[str, Any], depth: int) -> Any:
    if depth > _MOST_DEPTH:
        raise Malformed("values are nested too deep")
    for which, given in value.items():
        if given is None:
            continue
        if which == "stringValue":
            return text(value, which)
        if which == "intValue":
            return integer(value, which)
        if which == "boolValue":
            return given if isinstance(given, bool) else wrong(which, "true or false")
        if which == "doubleValue":
            return _float(given)
        if which == "bytesValue":
            return _bytes(text(value, which))
        if which == "arrayValue":
            return [_value(item, depth + 1) for item in objects(member(value, which), "values")]
        if which == "kvlistValue":
            return _attributes(member(value, which), depth + 1, "values")
    return None


def _float(given: Any) -> float:
    if type(given) is str and given in _NOT_NUMBERS:
        return _NOT_NUMBERS[given]
    try:
        if isinstance(given, (int, float, str)) and not isinstance(given, bool):
            return float(given)
    except (ValueError, OverflowError):
        pass
    return wrong("doubleValue", "a number")


def _bytes(given: str) -> bytes:
    try:
        return base64.b64decode(given.replace("-", "+").replace("_", "/") + "=" * (-len(given) % 4))
    except (binascii.Error, ValueError):
        wrong("bytesValue", "base64")


def _id(owner: dict[str, Any], name: str) -> bytes:
    given = text(owner, name)
    size = 32 if name == "traceId" else 16
    try:
        made = bytes.fromhex(given)
    except ValueError:
        made = b"?"
    if (given and len(given) != size) or len(made) * 2 != len(given):
        raise BadSpan(f"{name} is not {size} hex digits")
    return made


def _no_constant(name: str) -> NoReturn:
    wrong(name, "JSON")
