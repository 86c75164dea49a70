"""The encoding of a span, written to be obvious and not to be fast: what `encoding.py` must mean.

It reads public properties only and makes a plain dict; it knows nothing of tables, bytes or exact types.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from opentelemetry.trace import SpanKind, StatusCode

RESOURCE_ATTRIBUTES = (
    "service.name",
    "service.version",
    "service.instance.id",
    "deployment.environment.name",
)
_EPOCH = datetime(1970, 1, 1)
_LAST_SECOND = (datetime(9999, 12, 31, 23, 59, 59) - _EPOCH) // timedelta(seconds=1)


def reference(
    span: object, resource_attributes: Sequence[str] = RESOURCE_ATTRIBUTES
) -> dict[str, Any] | None:
    """The fields of `EncodedSpan`, with `body` as a dict; None if the span can't be encoded."""
    ids = context(prop(span, "context"))
    if ids is None:
        return None
    parent = context(prop(span, "parent"))
    start, end = moment(prop(span, "start_time")), moment(prop(span, "end_time"))
    if start is None:
        start = 0 if end is None else end
    last = start if end is None else end
    attributes = attributes_of(span)
    code = prop(prop(span, "status"), "status_code")
    body = {
        "name": text(prop(span, "name")),
        "startTime": time(start),
        "endTime": time(last),
        "duration": (last - start) / 10**6,
        "attributes": {**ours(span), **from_resource(span, resource_attributes), **attributes},
        "status": {"code": 1 if code is StatusCode.ERROR else 0},
        "ended": end is not None,
        "events": [event(item, start) for item in items(prop(span, "events"))],
        "spanContext": ids,
    }
    if parent is not None:
        body["parentSpanContext"] = parent
        body["parentSpanContenxt"] = parent
    flow_name = text(attributes.get("versori.flow.name")).strip()
    return {
        "trace_id": ids["traceId"],
        "span_id": ids["spanId"],
        "parent_span_id": None if parent is None else parent["spanId"],
        "is_root": parent is None or prop(prop(span, "parent"), "is_remote") is True,
        "start": start,
        "end": last,
        "body": body,
        "flow_name": flow_name or None,
    }


def ours(span: object) -> dict[str, Any]:
    """What the schema has no field for."""
    kind, status = prop(span, "kind"), prop(span, "status")
    scope, links = prop(span, "instrumentation_scope"), items(prop(span, "links"))
    found: dict[str, Any] = {
        "otel.scope.name": text(prop(scope, "name")),
        "otel.scope.version": text(prop(scope, "version")),
        "otel.trace_state": trace_state(prop(span, "context")),
    }
    if prop(status, "status_code") in (StatusCode.OK, StatusCode.ERROR):
        found["otel.status_code"] = prop(status, "status_code").name
        found["otel.status_description"] = text(prop(status, "description"))
    if links:
        found["otel.links"] = dump([link(item) for item in links])
    found = {name: value for name, value in found.items() if value != ""}
    for what in ("attributes", "events", "links"):
        if count(prop(span, f"dropped_{what}")):
            found[f"otel.dropped_{what}_count"] = count(prop(span, f"dropped_{what}"))
    found["span.kind"] = kind.name.lower() if isinstance(kind, SpanKind) else "internal"
    return found


def from_resource(span: object, names: Sequence[str]) -> dict[str, Any]:
    found = {}
    for name in names:
        with suppress(Exception):
            found[text(name)] = value(prop(prop(span, "resource"), "attributes")[name])
    return found


def attributes_of(owner: object) -> dict[str, Any]:
    found = {}
    with suppress(Exception):
        for key, item in islice(prop(owner, "attributes").items(), 10_000):
            found[text(key)] = value(item)
    return found


def counted_attributes_of(owner: object) -> dict[str, Any]:
    """Of an event or link."""
    found = attributes_of(owner)
    if lost := count(prop(owner, "dropped_attributes")):
        found.setdefault("otel.dropped_attributes_count", lost)
    return found


def event(item: object, start: int) -> dict[str, Any]:
    timestamp = moment(prop(item, "timestamp"))
    return {
        "name": text(prop(item, "name")),
        "timestamp": time(start if timestamp is None else timestamp),
        "attributes": counted_attributes_of(item),
    }


def link(item: object) -> dict[str, Any]:
    target = prop(item, "context")
    state = trace_state(target)
    return {
        "trace_id": f"{whole(prop(target, 'trace_id'), 2**128):032x}",
        "span_id": f"{whole(prop(target, 'span_id'), 2**64):016x}",
        **({"trace_state": state} if state else {}),
        "attributes": counted_attributes_of(item),
    }


def context(found: object) -> dict[str, Any] | None:
    trace_id, span_id = whole(prop(found, "trace_id"), 2**128), whole(prop(found, "span_id"), 2**64)
    if trace_id == 0 or span_id == 0:
        return None
    flags = whole(prop(found, "trace_flags"), 256)
    return {"traceId": f"{trace_id:032x}", "spanId": f"{span_id:016x}", "traceFlags": flags}


def trace_state(found: object) -> str:
    state = prop(found, "trace_state")
    try:
        return ",".join(f"{text(key)}={text(item)}" for key, item in state.items())
    except Exception:
        return text(state)


def prop(thing: object, name: str) -> Any:
    try:
        return getattr(thing, name, None)
    except Exception:
        return None


def items(sequence: Any) -> list[Any]:
    try:
        return list(islice(sequence, 10_000))
    except Exception:
        return []


def whole(number: Any, below: int) -> int:
    return int(number) if isinstance(number, int) and 0 <= number < below else 0


def count(number: Any) -> int:
    return whole(number, 2**63)


def moment(nanos: Any) -> int | None:
    try:
        number = int(nanos)
    except Exception:
        return None
    return max(0, min(number, _LAST_SECOND * 10**9 + 999_999_999))


def time(nanos: int) -> str:
    second = _EPOCH + timedelta(seconds=nanos // 10**9)
    return f"{second.year:04d}-{second:%m-%dT%H:%M:%S}.{nanos % 10**9:09d}Z"


def clean(dirty: str) -> str:
    joined = re.sub(
        "([\ud800-\udbff])([\udc00-\udfff])",
        lambda pair: chr(0x10000 + (ord(pair[1]) - 0xD800) * 0x400 + ord(pair[2]) - 0xDC00),
        dirty,
    )
    return re.sub("[\ud800-\udfff]", "\ufffd", joined)


def dump(plain: Any) -> str:
    return clean(json.dumps(plain, ensure_ascii=False, separators=(",", ":"), allow_nan=False))


def text(anything: object) -> str:
    plain = value(anything)
    return plain if isinstance(plain, str) else dump(plain)


def value(anything: Any) -> str | int | float | bool:
    """An attribute's value."""
    if anything is None:
        return ""
    if container(anything):
        return dump(nested(anything, 1, [10_000]))
    plain = scalar(anything)
    return clean(plain) if isinstance(plain, str) else plain


def container(anything: Any) -> Any:
    kind = type(anything)
    try:
        if issubclass(kind, (str, bytes, bytearray, memoryview)):
            return None
        return Mapping if issubclass(kind, Mapping) else Sequence if issubclass(kind, Sequence) else None
    except Exception:
        return None


def scalar(anything: Any) -> str | int | float | bool:
    kind = type(anything)
    try:
        if kind is bool:
            return bool(anything)
        if issubclass(kind, str):
            return "".join(chr(ord(character)) for character in str.__iter__(anything))
        if issubclass(kind, int):
            number = int.__index__(anything)
            if abs(number) < 2**53:
                return number
            return str(number) if abs(number) < 10**4000 else hex(number)
        if issubclass(kind, float):
            number = float.__float__(anything)
            if math.isnan(number):
                return "NaN"
            return number if math.isfinite(number) else "Infinity" if number > 0 else "-Infinity"
        if issubclass(kind, (bytes, bytearray, memoryview)):
            return base64.b64encode(memoryview(anything).tobytes()).decode()
        return str(anything)
    except Exception:
        return f"<{kind.__name__}>"


def nested(anything: Any, depth: int, left: list[int]) -> Any:
    if anything is None:
        return None
    kind = container(anything)
    if not kind:
        return scalar(anything)
    if depth > 32:
        return "..."
    plain: list[Any] = []
    try:
        for item in anything.items() if kind is Mapping else anything:
            if left[0] == 0:
                plain.append(("...", "...") if kind is Mapping else "...")
                break
            left[0] -= 1
            key, inner = item if kind is Mapping else (None, item)
            read = nested(inner, depth + 1, left)
            plain.append((text(key), read) if kind is Mapping else read)
    except Exception:
        return f"<{type(anything).__name__}>"
    return dict(plain) if kind is Mapping else plain
