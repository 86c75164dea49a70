"""The careful way to read a span: by its public properties, believing nothing of what they give."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import islice
from operator import index
from types import SimpleNamespace
from typing import Any

from opentelemetry.sdk.trace import Event
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode, TraceFlags

from ..interruption import let_through
from ..surrogates import clean
from .values import LAST_SECOND, MAX_ENTRIES, clean_text, literal


def tidied(span: object) -> SimpleNamespace:
    """A span made of plain parts, under the names of ReadableSpan's private fields.

    Text is text without lone surrogates, attribute values are text, numbers and booleans, times are whole
    nanoseconds from 1970 to 9999. What can't be read or is of a wrong type becomes what an unset part is.
    """
    start, end = _moment(get(span, "start_time")), _moment(get(span, "end_time"))
    if start is None:  # all that is known is when it ended
        start = end or 0
    kind, scope = get(span, "kind"), get(span, "instrumentation_scope")
    status = get(span, "status")
    code = get(status, "status_code")
    return SimpleNamespace(
        _name=clean_text(get(span, "name")),
        _context=_context(get(span, "context")),
        _parent=_context(get(span, "parent")),
        _start_time=start,
        _end_time=end,
        _attributes=_attributes(span),
        _events=_entries(span, "events", lambda event: _event(event, start)),
        _links=_entries(span, "links", _link),
        _resource=get(span, "resource"),
        _kind=kind if type(kind) is SpanKind else SpanKind.INTERNAL,
        _instrumentation_scope=SimpleNamespace(
            _name=clean_text(get(scope, "name")), _version=clean_text(get(scope, "version"))
        ),
        _status=SimpleNamespace(
            status_code=code if type(code) is StatusCode else StatusCode.UNSET,
            description=clean_text(get(status, "description")),
        ),
    )


class Kept(SimpleNamespace):
    """Attributes, events or links as `entries`, and how many of them were `lost` before."""


def get(thing: object, name: str) -> Any:
    """An attribute of anything; None where there is none, or where reading it raises."""
    try:
        return getattr(thing, name, None)
    except BaseException as error:  # noqa: BLE001 - a property can raise anything
        let_through(error)
        return None


def _moment(nanos: Any) -> int | None:
    try:
        return min(max(int(nanos), 0), LAST_SECOND * 10**9 + 999_999_999)
    except BaseException as error:  # noqa: BLE001 - no number, no time
        let_through(error)
        return None


def _whole(number: Any, below: int) -> int:
    try:
        return index(number) if 0 <= index(number) < below else 0
    except BaseException as error:  # noqa: BLE001 - no whole number
        let_through(error)
        return 0


def _context(context: object) -> SpanContext | None:
    if context is None:
        return None
    return SpanContext(
        trace_id=_whole(get(context, "trace_id"), 2**128),
        span_id=_whole(get(context, "span_id"), 2**64),
        is_remote=get(context, "is_remote") is True,
        trace_flags=TraceFlags(_whole(get(context, "trace_flags"), 256)),
        trace_state=_trace_state(get(context, "trace_state")),
    )


def _trace_state(state: Any) -> Any:
    """The header's text instead of a TraceState, which would refuse what is not quite valid, and say so."""
    try:
        return ",".join(
            [f"{clean_text(key)}={clean_text(value)}" for key, value in islice(state.items(), MAX_ENTRIES)]
        )
    except BaseException as error:  # noqa: BLE001 - not a map
        let_through(error)
        return clean_text(state)


def _attributes(owner: object) -> Kept:
    """Attributes of a span, event or link, as far as they can be read; keys of the same text become one."""
    attributes: dict[str, object] = {}
    try:
        for key, value in islice(get(owner, "attributes").items(), MAX_ENTRIES):
            attributes[clean_text(key)] = json.loads(clean(literal(value)))
    except BaseException as error:  # noqa: BLE001 - no map, or one that breaks off
        let_through(error)
    return Kept(entries=attributes, lost=_whole(get(owner, "dropped_attributes"), 2**63))


def _entries(span: object, name: str, tidy: Callable[[Any], object]) -> Kept:
    entries: list[object] = []
    try:
        entries.extend(tidy(entry) for entry in islice(get(span, name), MAX_ENTRIES))
    except BaseException as error:  # noqa: BLE001 - nothing to go through, or it breaks off
        let_through(error)
    return Kept(entries=entries, lost=_whole(get(span, f"dropped_{name}"), 2**63))


def _event(event: object, start: int) -> Event:
    """An event; without a time of its own it happened when its span began."""
    moment = _moment(get(event, "timestamp"))
    attributes: Any = _attributes(event)
    return Event(clean_text(get(event, "name")), attributes, start if moment is None else moment)


def _link(link: object) -> Link:
    attributes: Any = _attributes(link)
    return Link(_context(get(link, "context")) or SpanContext(0, 0, False), attributes)
