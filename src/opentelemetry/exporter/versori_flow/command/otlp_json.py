"""A stored flow as OTLP in JSON: the exporter's mapping, read backwards. Pure.

Attributes that the exporter wrote for want of a field become that field again, where they can be read as such;
all others stay attributes. Lists and maps stay the JSON text that they became: a text may have been one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from .tree import attributes_of

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_TIME = re.compile(r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_TRACE_ID, _SPAN_ID = re.compile(r"[0-9a-fA-F]{32}"), re.compile(r"[0-9a-fA-F]{16}")
_KINDS = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
_CODES = {"OK": 1, "ERROR": 2}
_COUNTS = ("attributes", "events", "links")
_LOST = "otel.dropped_attributes_count"
_NAMES = {"name": "versori.flow.name", "description": "versori.flow.description"}
"""What the flow itself says stands in the resource."""

_Made = dict[str, Any]


def as_otlp(flow: Mapping[str, Any], resource_attributes: Sequence[str]) -> tuple[_Made, list[str]]:
    """The flow as one `ExportTraceServiceRequest` in OTLP's JSON.

    Args:
        flow: The flow as the platform stores it, decoded.
        resource_attributes: Attributes of spans that are their resource's.

    Returns:
        The document, and why spans were left out, one text each.
    """
    of_flow = {shown: flow[name] for name, shown in _NAMES.items() if isinstance(flow.get(name), str)}
    groups: dict[str, tuple[_Made, dict[str, _Made]]] = {}
    left_out = []
    spans = flow.get("spans")
    for span in spans if isinstance(spans, list) else []:
        try:
            made, rest = _span(span if isinstance(span, dict) else {})
        except ValueError as error:
            left_out.append(str(error))
            continue
        resource = {name: rest.pop(name) for name in resource_attributes if name in rest} | of_flow
        scope = {
            name: rest.pop(f"otel.scope.{name}")
            for name in ("name", "version")
            if isinstance(rest.get(f"otel.scope.{name}"), str)
        }
        made["attributes"] = _attributes(rest)
        same = groups.setdefault(json.dumps(resource), ({"attributes": _attributes(resource)}, {}))
        scopes = same[1].setdefault(json.dumps(scope), {"scope": scope, "spans": []})
        scopes["spans"].append(made)
    whole = [
        {"resource": resource, "scopeSpans": list(scopes.values())} for resource, scopes in groups.values()
    ]
    return {"resourceSpans": whole}, left_out


def _span(span: _Made) -> tuple[_Made, _Made]:
    """One span without its attributes, and those that no field takes."""
    rest = dict(attributes_of(span))
    context = _member(span, "spanContext")
    parent = _member(span, "parentSpanContext") or _member(span, "parentSpanContenxt")
    made: _Made = {
        "traceId": _hex(context.get("traceId"), _TRACE_ID, "trace id"),
        "spanId": _hex(context.get("spanId"), _SPAN_ID, "span id"),
        "name": str(span.get("name") or ""),
        "startTimeUnixNano": _nanoseconds(span.get("startTime")),
        "endTimeUnixNano": "0" if span.get("ended") is False else _nanoseconds(span.get("endTime")),
    }
    if parent:
        made["parentSpanId"] = _hex(parent.get("spanId"), _SPAN_ID, "parent's span id")
    flags = context.get("traceFlags")
    if isinstance(flags, int) and 0 < flags < 1 << 32:
        made["flags"] = int(flags)
    if isinstance(rest.get("otel.trace_state"), str):
        made["traceState"] = rest.pop("otel.trace_state")
    if rest.get("span.kind") in _KINDS:
        made["kind"] = _KINDS[rest.pop("span.kind")]
    made["status"] = _status(span, rest)
    for what in _COUNTS:
        if (lost := _taken_count(rest, f"otel.dropped_{what}_count")) is not None:
            made[f"dropped{what.capitalize()}Count"] = lost
    events = span.get("events")
    made["events"] = [_event(event) for event in (events if isinstance(events, list) else [])]
    if (links := _links(rest.get("otel.links"))) is not None:
        made["links"] = links
        del rest["otel.links"]
    return made, rest


def _status(span: _Made, rest: _Made) -> _Made:
    status = {}
    if rest.get("otel.status_code") in _CODES:
        status["code"] = _CODES[rest.pop("otel.status_code")]
    elif _member(span, "status").get("code") == 1:
        status["code"] = _CODES["ERROR"]
    if isinstance(rest.get("otel.status_description"), str):
        status["message"] = rest.pop("otel.status_description")
    return status


def _event(event: object) -> _Made:
    if not isinstance(event, dict):
        raise ValueError("an event is no object")
    rest = dict(attributes_of(event))
    made: _Made = {"timeUnixNano": _nanoseconds(event.get("timestamp")), "name": str(event.get("name") or "")}
    if (lost := _taken_count(rest, _LOST)) is not None:
        made["droppedAttributesCount"] = lost
    return {**made, "attributes": _attributes(rest)}


def _links(text: object) -> list[_Made] | None:
    """The links that the text stands for; None where it is something else."""
    try:
        found = json.loads(text) if isinstance(text, str) else None
        return [_link(link) for link in found] if isinstance(found, list) else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _link(link: _Made) -> _Made:
    if link.keys() - {"trace_id", "span_id", "trace_state", "attributes"}:
        raise ValueError("it is more than the exporter writes")
    rest = dict(link.get("attributes") or {})
    made: _Made = {
        "traceId": _hex(link["trace_id"], _TRACE_ID, "trace id"),
        "spanId": _hex(link["span_id"], _SPAN_ID, "span id"),
    }
    if link.get("trace_state"):
        made["traceState"] = str(link["trace_state"])
    if (lost := _taken_count(rest, _LOST)) is not None:
        made["droppedAttributesCount"] = lost
    return {**made, "attributes": _attributes(rest)}


def _taken_count(rest: _Made, name: str) -> int | None:
    """What was lost, out of the attributes; None where they don't say."""
    found = rest.get(name)
    if type(found) is not int or not 0 < found < 1 << 32:
        return None
    del rest[name]
    return found


def _attributes(attributes: Mapping[str, Any]) -> list[_Made]:
    return [{"key": name, "value": _value(value)} for name, value in attributes.items()]


def _value(value: Any) -> _Made:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        fits = -(1 << 63) <= value < 1 << 63
        return {"intValue": str(value)} if fits else {"stringValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    return {"stringValue": value if isinstance(value, str) else json.dumps(value)}


def _member(owner: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = owner.get(name)
    return found if isinstance(found, dict) else {}


def _hex(value: object, form: re.Pattern[str], what: str) -> str:
    if not isinstance(value, str) or not form.fullmatch(value):
        raise ValueError(f"its {what} is not {form.pattern[-3:-1]} hexadecimal digits")
    return value.lower()


def _nanoseconds(value: object) -> str:
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("one of its times is none of RFC 3339")
    zone = "+00:00" if found[3] in "Zz" else found[3]
    since = datetime.fromisoformat(found[1] + zone) - _EPOCH
    whole = (since.days * 86_400 + since.seconds) * 1_000_000_000
    return str(max(0, whole + int((found[2] or "0")[:9].ljust(9, "0"))))
