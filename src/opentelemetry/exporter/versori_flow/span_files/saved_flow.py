"""A span of a stored flow -> a span, with the attributes that the exporter once wrote."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Any

from opentelemetry.sdk.trace import Event, ReadableSpan

from ..otlp.members import integer, member, objects, text, wrong
from ..otlp.spans import Received, Resource, gather, make_span
from .conventions import KINDS, STATUS_CODES, hex_id

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?Z", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_NOTHING = Resource({})


def read(span: dict[str, Any]) -> Received:
    """Reads one span.

    Raises:
        Malformed: A member is of a wrong type.
    """
    return gather([span], _span)


def _span(span: dict[str, Any]) -> ReadableSpan:
    context, attributes = member(span, "spanContext"), dict(member(span, "attributes"))
    parent = member(span, "parentSpanContext") or member(span, "parentSpanContenxt")
    failed = integer(member(span, "status"), "code") == 1
    code = STATUS_CODES.get(str(attributes.get("otel.status_code", "")), 2 if failed else 0)
    return make_span(
        name=text(span, "name"),
        trace_id=hex_id(context, "traceId", 16),
        span_id=hex_id(context, "spanId", 8),
        parent_id=hex_id(parent, "spanId", 8),
        flags=integer(context, "traceFlags") & 0xFF,
        state="",
        kind=KINDS.get(str(attributes.get("span.kind", "")), 0),
        times=(_moment(span, "startTime"), _moment(span, "endTime") if span.get("ended") is not False else 0),
        attributes=attributes,
        events=[
            Event(text(event, "name"), dict(member(event, "attributes")), _moment(event, "timestamp"))
            for event in objects(span, "events")
        ],
        links=[],  # they stand in the attribute otel.links
        dropped=(0, 0),
        status=(code, ""),
        resource=_NOTHING,
        scope=None,
    )


def _moment(owner: dict[str, Any], name: str) -> int:
    found = _TIME.fullmatch(text(owner, name))
    if found is None:
        wrong(name, "a time in RFC 3339, UTC")
    try:
        moment = datetime.fromisoformat(found[1] + "+00:00") - _EPOCH
    except ValueError:
        wrong(name, "a time in RFC 3339, UTC")
    seconds = moment.days * 86_400 + moment.seconds
    return seconds * 1_000_000_000 + int((found[2] or "0").ljust(9, "0"))
