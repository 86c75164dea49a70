"""OTLP in JSON -> spans, and answers in it.

`google.protobuf.json_format` reads the hex ids as base64, without an error, and takes 16 times as long.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, NoReturn

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link

from .spans import (
    BadSpan,
    Malformed,
    Received,
    Resource,
    Scope,
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
_KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
_ENUMS: dict[str, int] = {
    **{f"SPAN_KIND_{name}": number for number, name in enumerate(_KINDS)},
    **{f"STATUS_CODE_{name}": number for number, name in enumerate(("UNSET", "OK", "ERROR"))},
}


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
    spans: list[ReadableSpan] = []
    rejected, reason = 0, ""
    for group in _list(_object(document, "the body"), "resourceSpans"):
        resource = Resource(_attributes(_member(group, "resource"), 0))
        for inner in _list(group, "scopeSpans"):
            scope = _member(inner, "scope")
            made = Scope(_text(scope, "name"), _text(scope, "version"))
            for span in _list(inner, "spans"):
                try:
                    spans.append(_span(span, resource, made))
                except BadSpan as error:
                    rejected, reason = rejected + 1, reason or str(error)
    return Received(spans, rejected, reason)


def answer(rejected: int, reason: str) -> bytes:
    """An ExportTraceServiceResponse; `partialSuccess` is unset where all was taken."""
    # 64-bit integers are texts.
    partial = {"partialSuccess": {"rejectedSpans": str(rejected), "errorMessage": reason}}
    return json.dumps(partial if rejected else {}).encode()


def status(code: int, message: str) -> bytes:
    """A `google.rpc.Status`."""
    return json.dumps({"code": code, "message": message}).encode()


def _span(span: dict[str, Any], resource: Resource, scope: Scope) -> ReadableSpan:
    start, state = _integer(span, "startTimeUnixNano"), _member(span, "status")
    return make_span(
        name=_text(span, "name"),
        trace_id=_id(span, "traceId"),
        span_id=_id(span, "spanId"),
        parent_id=_id(span, "parentSpanId"),
        flags=_integer(span, "flags"),
        state=_text(span, "traceState"),
        kind=_integer(span, "kind"),
        times=(start, _integer(span, "endTimeUnixNano")),
        attributes=_counted(span),
        events=[_event(event, start) for event in _list(span, "events")],
        links=[_link(link) for link in _list(span, "links")],
        dropped=(_integer(span, "droppedEventsCount"), _integer(span, "droppedLinksCount")),
        status=(_integer(state, "code"), _text(state, "message")),
        resource=resource,
        scope=scope,
    )


def _event(event: dict[str, Any], start: int) -> Event:
    return make_event(_text(event, "name"), _integer(event, "timeUnixNano"), _counted(event), start)


def _link(link: dict[str, Any]) -> Link:
    ids = _id(link, "traceId"), _id(link, "spanId")
    return Link(make_context(*ids, _integer(link, "flags"), _text(link, "traceState"), False), _counted(link))


def _counted(owner: dict[str, Any]) -> Any:
    return make_attributes(_attributes(owner, 0), _integer(owner, "droppedAttributesCount"))


def _attributes(owner: dict[str, Any], depth: int, name: str = "attributes") -> dict[str, Any]:
    return {_text(entry, "key"): _value(_member(entry, "value"), depth) for entry in _list(owner, name)}


def _value(value: dict[str, Any], depth: int) -> Any:
    if depth > _MOST_DEPTH:
        raise Malformed("values are nested too deep")
    for which, given in value.items():
        if given is None:
            continue
        if which == "stringValue":
            return _text(value, which)
        if which == "intValue":
            return _integer(value, which)
        if which == "boolValue":
            return given if isinstance(given, bool) else _wrong(which, "true or false")
        if which == "doubleValue":
            return _float(given)
        if which == "bytesValue":
            return _bytes(_text(value, which))
        if which == "arrayValue":
            return [_value(item, depth + 1) for item in _list(_member(value, which), "values")]
        if which == "kvlistValue":
            return _attributes(_member(value, which), depth + 1, "values")
    return None


def _float(given: Any) -> float:
    if type(given) is str and given in _NOT_NUMBERS:
        return _NOT_NUMBERS[given]
    try:
        if isinstance(given, (int, float, str)) and not isinstance(given, bool):
            return float(given)
    except (ValueError, OverflowError):
        pass
    return _wrong("doubleValue", "a number")


def _bytes(given: str) -> bytes:
    try:
        return base64.b64decode(given.replace("-", "+").replace("_", "/") + "=" * (-len(given) % 4))
    except (binascii.Error, ValueError):
        _wrong("bytesValue", "base64")


def _id(owner: dict[str, Any], name: str) -> bytes:
    given = _text(owner, name)
    size = 32 if name == "traceId" else 16
    try:
        made = bytes.fromhex(given)
    except ValueError:
        made = b"?"
    if (given and len(given) != size) or len(made) * 2 != len(given):
        raise BadSpan(f"{name} is not {size} hex digits")
    return made


def _integer(owner: dict[str, Any], name: str) -> int:
    """A whole number, which may be written as text, as 64-bit ones are; 0 where there is none."""
    given = owner.get(name)
    if type(given) is int:
        number = given
    elif given is None:
        return 0
    elif type(given) is str and name in ("kind", "code") and given in _ENUMS:
        return _ENUMS[given]
    else:
        number = _whole(given, name)
    lowest, below = (-(2**63), 2**63) if name == "intValue" else (0, 2**64)
    if not lowest <= number < below:
        _wrong(name, "a 64-bit integer")
    return number


def _whole(given: Any, name: str) -> int:
    try:
        if type(given) is str and given.isascii() and "_" not in given:
            return int(given)
        if type(given) is float and given.is_integer():
            return int(given)
    except (ValueError, OverflowError):
        pass
    return _wrong(name, "an integer")


def _text(owner: dict[str, Any], name: str) -> str:
    given = owner.get(name)
    if type(given) is str:
        return given
    return "" if given is None else _wrong(name, "text")


def _member(owner: dict[str, Any], name: str) -> dict[str, Any]:
    given = owner.get(name)
    return {} if given is None else _object(given, name)


def _object(given: Any, name: str) -> dict[str, Any]:
    return given if type(given) is dict else _wrong(name, "an object")


def _list(owner: dict[str, Any], name: str) -> list[dict[str, Any]]:
    given = owner.get(name)
    if given is None:
        return []
    if type(given) is not list or not all(type(item) is dict for item in given):
        _wrong(name, "a list of objects")
    return given


def _no_constant(name: str) -> NoReturn:
    _wrong(name, "JSON")


def _wrong(name: str, right: str) -> NoReturn:
    raise Malformed(f"{name} is not {right}")
