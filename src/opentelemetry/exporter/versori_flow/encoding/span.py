"""One `ReadableSpan` -> the bytes of one OTelSpan: pure, fast, and a span makes it raise nothing.

There is one way to write a span and two to read it:

```
a plain ReadableSpan of the SDK -----------------------------> _write -> EncodedSpan
anything else, or _write raised -> tidied: plain, clean parts -> _write -> EncodedSpan
                                                                    | raised
                                                                    +----> Unencodable
```

`_write` takes what almost every span is made of (text keys, valid ids, whole nanoseconds) and raises on the
rest: checking exact types is all the care that it can afford. `tidied` turns anything into what it takes.

The names of what OTelSpan has no field for follow OpenTelemetry's "Mapping to non-OTLP Formats"
(https://opentelemetry.io/docs/specs/otel/common/mapping-to-non-otlp/).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from json.encoder import encode_basestring as quote
from typing import Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import SpanContext, SpanKind, StatusCode
from opentelemetry.trace.span import DEFAULT_TRACE_STATE, TraceState

from ..encoded_span import EncodedSpan, Unencodable
from ..interruption import let_through
from ..surrogates import clean
from .members import members
from .tolerant import Kept, get, tidied
from .values import clean_text, integer, literal, text, time_text

FLOW_NAME_ATTRIBUTE = "versori.flow.name"
_LOST_ATTRIBUTES = "otel.dropped_attributes_count"
_MAX_SHARED = 256  # combinations of resource, kind and scope that are kept
_MAX_SHARED_TEXT = 4096  # characters of what one of them adds to each of its spans
_UNSET, _ERROR = StatusCode.UNSET, StatusCode.ERROR
# By id, as the hash of an enum's member is Python code.
_KIND_NAMES = {id(kind): kind.name.lower() for kind in SpanKind}
_CODES = {id(code): f'"{code.name}"' for code in StatusCode}
_FLAGS = {flags: str(flags) for flags in range(256)}

_Shared = tuple[dict[str, str], str]
"""What resource, kind and scope say of each of their spans: JSON values by attribute name, and all as members."""
_Parent = tuple[str | None, bool, str]
"""A parent's span id, whether its child is a root all the same, and the parent as members of the child."""


class SpanEncoder:
    """Encodes spans; several threads may use one at once.

    Args:
        resource_attributes: Names of the resource attributes that every span gets as attributes of its own.
            An attribute that the span itself has under that name wins.
    """

    def __init__(self, resource_attributes: Sequence[str]) -> None:
        self._resource_attributes = {clean_text(name): name for name in resource_attributes}
        # By the resource's id, as its hash makes JSON of it, and beside a weak reference, as another object
        # may get that id once it is gone.
        self._shared: dict[tuple[object, ...], tuple[Callable[[], object], _Shared]] = {}

    def encode(self, spans: Sequence[ReadableSpan]) -> list[EncodedSpan | Unencodable]:
        """Encode a batch; whatever is in the spans, only what a signal handler raises is raised.

        Returns:
            What became of each span, in the order of `spans`.
        """
        encoded: list[EncodedSpan | Unencodable] = []
        # What was made for one span and serves others, by the ids of what it is made of: a trace id, a parent.
        common: dict[object, Any] = {}
        for span in tuple(spans):  # which keeps them alive, so that no two of them have one id
            # Of this exact type it is known that its private fields are what its properties say: a subclass
            # may well hide a password in its `attributes`. The SDK's processors hand over no other type.
            if type(span) is ReadableSpan:
                try:
                    encoded.append(self._write(span, common))
                    continue
                except BaseException as error:  # noqa: BLE001 - not a plain one: the careful way follows
                    let_through(error)
            try:
                encoded.append(self._write(tidied(span), {}))
            except BaseException as error:  # noqa: BLE001 - one span must not take the rest of its batch along
                let_through(error)
                encoded.append(Unencodable(clean_text(get(span, "name")), _reason(error)))
        return encoded

    def _write(self, span: Any, common: dict[object, Any]) -> EncodedSpan:
        # The private fields: the properties copy all attributes and events, 3 us a span.
        if type(span._context) is not SpanContext:
            raise _InvalidSpanError("no span context")
        trace_id, span_id, _, flags, trace_state, valid = span._context
        if not valid:
            raise _InvalidSpanError("no valid span context")
        trace_hex = common.get(id(trace_id))
        if trace_hex is None:
            # Half the time of a format with 032x.
            trace_hex = common[id(trace_id)] = trace_id.to_bytes(16, "big").hex()
        span_hex = span_id.to_bytes(8, "big").hex()
        parent_hex, is_root, parent_members = None, True, ""
        parent = span._parent
        if parent is not None:
            known = common.get(id(parent))
            if known is None:
                known = common[id(parent)] = _parent(parent)
            parent_hex, is_root, parent_members = known

        start, end, ended = span._start_time, span._end_time, "true"
        if end is None:
            end, ended = start, "false"

        # The usual types first, without a call.
        kept, kind = span._attributes, type(span._attributes)
        attributes, lost_attributes = (
            (kept._dict, kept.dropped) if kind is BoundedAttributes else _entries(kept)
        )
        kept, kind = span._events, type(span._events)
        events, lost_events = (kept._dq, kept.dropped) if kind is BoundedList else _entries(kept)
        kept, kind = span._links, type(span._links)
        links, lost_links = (kept._dq, kept.dropped) if kind is BoundedList else _entries(kept)
        resource, kind, scope = span._resource, span._kind, span._instrumentation_scope
        key = (id(resource), id(kind), id(scope))
        found = common.get(key)
        if found is None:
            found = common[key] = self._shared_values(resource, kind, scope)
        shared, following = found
        joined = members(attributes, following, shared)
        status = span._status.status_code
        lost = lost_attributes or lost_events or lost_links
        if status is not _UNSET or links or lost or trace_state is not DEFAULT_TRACE_STATE:
            rare = _rare_values(span._status, trace_state, links, lost_attributes, lost_events, lost_links)
            # After at least one: an attribute, or the kind.
            joined += "".join(
                [
                    f',"{name}":{value}'
                    for name, value in rare
                    if name not in attributes and name not in shared
                ]
            )

        body = (
            f'{{"name":{quote(span._name)},"startTime":{time_text(start)},"endTime":{time_text(end)}'
            f',"duration":{(end - start) / 1_000_000!r},"attributes":{{{joined}}}'
            f',"status":{{"code":{1 if status is _ERROR else 0}}},"ended":{ended}'
            f',"events":[{",".join([_event(event) for event in events])}],"spanContext":'
            f'{{"traceId":"{trace_hex}","spanId":"{span_hex}","traceFlags":{_FLAGS[flags]}}}{parent_members}}}'
        )
        flow_name = attributes.get(FLOW_NAME_ATTRIBUTE)
        if flow_name is not None:
            flow_name = text(flow_name).strip() or None
        made = (trace_hex, span_hex, parent_hex, is_root, start, end, body.encode(), flow_name)
        return tuple.__new__(EncodedSpan, made)  # a third of the time of its constructor

    def _shared_values(self, resource: Any, kind: Any, scope: Any) -> _Shared:
        name, version = (None, None) if scope is None else (scope._name, scope._version)
        key = (id(resource), id(kind), name, version)
        found = self._shared.get(key)
        if found is not None and found[0]() is resource:
            return found[1]
        values = {"span.kind": quote(_KIND_NAMES[id(kind)])}
        for what, value in ("name", name), ("version", version):
            if value is not None and value != "":
                values[f"otel.scope.{what}"] = quote(value)
        attributes = get(resource, "attributes")
        for shown, asked in self._resource_attributes.items():
            try:
                values[shown] = clean(literal(attributes[asked]))
            except BaseException as error:  # noqa: BLE001 - it has none of that name, or is no resource
                let_through(error)
        shared = values, ",".join([f"{quote(name)}:{value}" for name, value in values.items()])
        if len(shared[1]) <= _MAX_SHARED_TEXT:
            if len(self._shared) >= _MAX_SHARED:
                self._shared.clear()
            try:
                self._shared[key] = weakref.ref(resource), shared
            except TypeError as error:  # None, for one, takes no weak reference
                let_through(error)
        return shared


class _InvalidSpanError(ValueError):
    """Its text may be shown: it holds nothing from the span."""


def _reason(error: BaseException) -> str:
    """Type and text; foreign exceptions may quote a value from the span, so that their text stays out."""
    name = type(error).__name__.lstrip("_")
    return f"{name}: {error}" if isinstance(error, _InvalidSpanError) else f"{name} while it was encoded"


def _parent(parent: Any) -> _Parent:
    if type(parent) is not SpanContext:
        raise TypeError
    trace_id, span_id, is_remote, flags, _, valid = parent
    if not valid:
        return None, True, ""
    span_hex = f"{span_id:016x}"
    context = f'{{"traceId":"{trace_id:032x}","spanId":"{span_hex}","traceFlags":{_FLAGS[flags]}}}'
    # Nothing says which of the two spellings a reader of the flow uses.
    return span_hex, is_remote is True, f',"parentSpanContext":{context},"parentSpanContenxt":{context}'


def _entries(container: Any) -> tuple[Any, int]:
    """The dict or list in a container of attributes, events or links, and how many entries that has lost."""
    kind = type(container)
    if kind is BoundedAttributes:
        return container._dict, container.dropped
    if kind is BoundedList:
        return container._dq, container.dropped
    if kind is Kept:
        return container.entries, container.lost
    if kind is dict or kind is tuple or kind is list:
        return container, 0
    if container is None:  # ReadableSpan's own default for attributes
        return {}, 0
    raise TypeError


def _counted_members(container: Any) -> str:
    """The attributes of an event or a link, which say for themselves how many were lost."""
    attributes, lost = _entries(container)
    joined = members(attributes)
    if lost and _LOST_ATTRIBUTES not in attributes:
        joined += f'{"," if joined else ""}"{_LOST_ATTRIBUTES}":{integer(lost)}'
    return joined


def _event(event: Any) -> str:
    if type(event) is not Event:
        raise TypeError
    kept: Any = event._attributes
    plain = type(kept) is BoundedAttributes and not kept.dropped  # as most are
    joined = members(kept._dict) if plain else _counted_members(kept)
    # One f-string: every other copy of a stack trace costs as much as an attribute.
    return (
        f'{{"name":{quote(event._name)},"timestamp":{time_text(event._timestamp)},"attributes":{{{joined}}}}}'
    )


def _link(link: Any) -> str:
    if type(link.context) is not SpanContext:
        raise TypeError
    trace_id, span_id, _, _, trace_state, _ = link.context
    state = _trace_state(trace_state)
    state = f',"trace_state":{quote(state)}' if state else ""
    ids = f'"trace_id":"{trace_id:032x}","span_id":"{span_id:016x}"'
    return f'{{{ids}{state},"attributes":{{{_counted_members(link.attributes)}}}}}'


def _trace_state(state: Any) -> str:
    """As the header of W3C Trace Context."""
    if type(state) is TraceState:
        return state.to_header()
    if type(state) is str:  # from `tidied`
        return state
    raise TypeError


def _rare_values(
    status: Any, trace_state: Any, links: Any, lost_attributes: int, lost_events: int, lost_links: int
) -> Iterator[tuple[str, str]]:
    """What most spans do not have: attribute names and their JSON values."""
    if status.status_code is not _UNSET:
        yield "otel.status_code", _CODES[id(status.status_code)]
        if status.description is not None and status.description != "":
            yield "otel.status_description", quote(status.description)
    if trace_state is not DEFAULT_TRACE_STATE and (state := _trace_state(trace_state)):
        yield "otel.trace_state", quote(state)
    if links:
        yield "otel.links", quote(f"[{','.join([_link(link) for link in links])}]")
    if lost_attributes:
        yield _LOST_ATTRIBUTES, integer(lost_attributes)
    if lost_events:
        yield "otel.dropped_events_count", integer(lost_events)
    if lost_links:
        yield "otel.dropped_links_count", integer(lost_links)
