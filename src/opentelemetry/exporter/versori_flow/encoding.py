"""One `ReadableSpan` -> the bytes of one OTelSpan: pure, fast, never raises.

There is one way of writing a span and two ways of reading it:

```
a plain ReadableSpan of the SDK ---------------------------------> _write -> EncodedSpan
anything else, or _write raised -> _Tidied: plain, clean parts --> _write -> EncodedSpan
                                                                     | raised
                                                                     +----> Unencodable
```

`_write` takes what almost every span is made of (text keys, valid ids, whole nanoseconds) and raises on the rest.
`_Tidied` is slow, reads public properties only, believes nothing, and makes parts that `_write` takes.

The names of what OTelSpan has no field for follow OpenTelemetry's "Mapping to non-OTLP Formats"
(https://opentelemetry.io/docs/specs/otel/common/mapping-to-non-otlp/), the texts of values its "AnyValue
representation for non-OTLP protocols" (https://opentelemetry.io/docs/specs/otel/common/).
"""

from __future__ import annotations

import json
import weakref
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice

# Escapes what JSON demands and leaves the rest of Unicode alone: shorter bodies than with ASCII only. Lone
# surrogates pass it and raise when the whole text becomes bytes, so that looking for them costs nothing.
from json.encoder import encode_basestring as _quote
from operator import index
from types import NoneType
from typing import Any, NamedTuple, TypeVar

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode, TraceFlags
from opentelemetry.trace.span import DEFAULT_TRACE_STATE, TraceState

FLOW_NAME_ATTRIBUTE = "versori.flow.name"
_RESOURCE_ATTRIBUTES = (
    "service.name",
    "service.version",
    "service.instance.id",
    "deployment.environment.name",
)
_LOST_ATTRIBUTES = "otel.dropped_attributes_count"

_MAX_DEPTH = (
    32  # of containers within each other: beyond what people read, far below Python's own limit of 1000
)
_MAX_ENTRIES = 10_000  # of a value in all its depth: one that never ends must not hold up the application
_CUT = '"..."'  # stands for what is beyond the two
_MAX_FLOAT = 1.7976931348623157e308
_NANOS = 1_000_000_000
_LAST_SECOND = 253_402_300_799  # of the year 9999, and the last one that RFC 3339 can write
_EPOCH = datetime(1970, 1, 1)
_MAX_KEPT = 1024  # entries of a table; a program has some hundred keys, and a second is wanted for a second
_MAX_KEPT_TEXT = (
    128  # characters of a cached key: longer ones are rare, and a table of them would hold megabytes
)
_MAX_SHARED = 256  # combinations of resource, kind and scope that are kept
_MAX_SHARED_TEXT = 4096  # characters of what one of them adds to its spans
_UNSET, _ERROR = StatusCode.UNSET, StatusCode.ERROR
_KIND_NAMES = {
    id(kind): kind.name.lower() for kind in SpanKind
}  # by id: hashing an enum member runs Python code
_BIG = "big"
_FLAGS = {flags: str(flags) for flags in range(256)}

_Key = TypeVar("_Key")


class EncodedSpan(NamedTuple):
    """One span, encoded once.

    A NamedTuple, not a frozen dataclass: one is made for every span, and that takes it a third of the time.
    """

    trace_id: str
    """32 lower-case hex digits."""
    span_id: str
    """16 lower-case hex digits."""
    parent_span_id: str | None
    """16 lower-case hex digits; None without a valid parent."""
    is_root: bool
    """No parent, or a remote one."""
    start: int
    """Unix nanoseconds, from 1970 to the end of 9999."""
    end: int
    """Unix nanoseconds; `start` where the span has not ended."""
    body: bytes
    """One OTelSpan of versori-flows.openapi.yaml: JSON in UTF-8."""
    flow_name: str | None
    """The span's own `versori.flow.name` as text, stripped; None where absent or blank."""


class Unencodable(NamedTuple):
    """A span that had to be left out."""

    name: str
    reason: str
    """Type of the exception and a short text; never a value from the span."""


class SpanEncoder:
    """Encodes spans; several threads may use one at once.

    Args:
        resource_attributes: Names of the resource attributes that every span gets as attributes of its own. An
            attribute that the span itself has under that name wins.
    """

    def __init__(self, resource_attributes: Sequence[str] = _RESOURCE_ATTRIBUTES) -> None:
        self._resource_attributes = {_clean(_text(name)): name for name in resource_attributes}
        # What spans of one resource, kind and scope share. Not by the resource itself: its hash makes JSON of it. By
        # its id, beside a weak reference, as another object may get that id once the resource is gone.
        self._shared: dict[
            tuple[object, ...], tuple[Callable[[], object], frozenset[str], dict[str, str], str]
        ] = {}

    def encode(self, spans: Sequence[ReadableSpan]) -> tuple[list[EncodedSpan], list[Unencodable]]:
        """Encode a batch; never raises, whatever is in the spans.

        Returns:
            The encoded spans in the order of `spans`, and those that had to be left out.
        """
        encoded: list[EncodedSpan] = []
        unencodable: list[Unencodable] = []
        for span in spans:
            # Of this exact type it is known that its private fields are what its properties say: a subclass may well
            # hide a password in its `attributes`. The SDK's processors hand over no other type.
            if type(span) is ReadableSpan:
                try:
                    encoded.append(self._write(span))
                    continue
                except Exception:  # noqa: BLE001, S110 - not a plain one: the careful way follows
                    pass
            try:
                encoded.append(self._write(_Tidied(span)))
            except Exception as error:  # noqa: BLE001 - one span must not take the rest of its batch along
                unencodable.append(Unencodable(_clean(_text(_get(span, "name"))), _reason(error)))
        return encoded, unencodable

    def _write(self, span: Any) -> EncodedSpan:
        # The private fields: the properties copy all attributes and events, 3 us a span.
        trace_id, span_id, _, flags, trace_state, valid = _known(span._context)
        if not valid:
            raise _InvalidSpanError("no valid span context")
        trace_hex, span_hex = trace_id.to_bytes(16, _BIG).hex(), span_id.to_bytes(8, _BIG).hex()
        context = f'{{"traceId":"{trace_hex}","spanId":"{span_hex}","traceFlags":{_FLAGS[flags]}}}'
        parent_hex, is_root, parents = None, True, ""
        if span._parent is not None:
            parent_trace_id, parent_id, is_remote, flags, _, valid = _known(span._parent)
            if valid:
                parent_hex, is_root = parent_id.to_bytes(8, _BIG).hex(), is_remote is True
                parent = (
                    f'{{"traceId":"{parent_trace_id.to_bytes(16, _BIG).hex()}"'
                    f',"spanId":"{parent_hex}","traceFlags":{_FLAGS[flags]}}}'
                )
                # Nothing says which of the two spellings a reader of the flow uses.
                parents = f',"parentSpanContext":{parent},"parentSpanContenxt":{parent}'

        start, end, ended = span._start_time, span._end_time, "true"
        if end is None:
            end, ended = start, "false"

        attributes, lost_attributes = _map(span._attributes)
        events, lost_events = _list(span._events)
        links, lost_links = _list(span._links)
        members = _members(attributes)
        names, shared, shared_joined = self._shared_members(
            span._resource, span._kind, span._instrumentation_scope
        )
        if names.isdisjoint(attributes):
            members.append(shared_joined)
        else:
            members += [shared[name] for name in shared if name not in attributes]
        status = span._status.status_code
        lost = lost_attributes or lost_events or lost_links
        if status is not _UNSET or links or lost or trace_state is not DEFAULT_TRACE_STATE:
            rare = _rare_members(span._status, trace_state, links, lost_attributes, lost_events, lost_links)
            members += [rare[name] for name in rare if name not in attributes and name not in names]

        body = (
            f'{{"name":{_quote(span._name)},"startTime":{_time(start)},"endTime":{_time(end)}'
            f',"duration":{(end - start) / 1_000_000!r},"attributes":{{{",".join(members)}}}'
            f',"status":{{"code":{1 if status is _ERROR else 0}}},"ended":{ended}'
            f',"events":[{",".join([_event(event) for event in events])}],"spanContext":{context}{parents}}}'
        )
        flow_name = attributes.get(FLOW_NAME_ATTRIBUTE)
        if flow_name is not None:
            flow_name = _text(flow_name).strip() or None
        # `_make` takes half the time of the constructor.
        return EncodedSpan._make(
            (trace_hex, span_hex, parent_hex, is_root, start, end, body.encode(), flow_name)
        )

    def _shared_members(
        self, resource: Any, kind: Any, scope: Any
    ) -> tuple[frozenset[str], dict[str, str], str]:
        """What resource, kind and scope say of each of their spans: JSON members by name, and all of them joined."""
        scope_name, scope_version = (None, None) if scope is None else (scope.name, scope.version)
        key = (id(resource), id(kind), scope_name, scope_version)
        found = self._shared.get(key)
        if found is not None and found[0]() is resource:
            return found[1:]
        values = {"span.kind": _quote(_KIND_NAMES[id(kind)])}
        if scope_name:
            values["otel.scope.name"] = _quote(scope_name)
        if scope_version:
            values["otel.scope.version"] = _quote(scope_version)
        values.update(self._from_resource(resource))
        members = {name: f"{_quote(name)}:{value}" for name, value in values.items()}
        names, joined = frozenset(members), ",".join(members.values())
        if resource is not None and len(joined) <= _MAX_SHARED_TEXT:
            if len(self._shared) >= _MAX_SHARED:
                self._shared.clear()
            self._shared[key] = weakref.ref(resource), names, members, joined
        return names, members, joined

    def _from_resource(self, resource: Any) -> Iterator[tuple[str, str]]:
        attributes = _get(resource, "attributes")
        for clean_name, name in self._resource_attributes.items():
            try:
                value = attributes[name]
            except Exception:  # noqa: BLE001, S112 - it has none of that name, or is no resource
                continue
            yield clean_name, _clean(_literal(value))


class _InvalidSpanError(ValueError):
    """Its text may be shown: it holds nothing from the span."""


_KEYS: dict[str, str] = {}  # '"key":' by key
_SECONDS: dict[str, str] = {}  # date and time of a Unix second, by its digits


def _keep(table: dict[_Key, str], key: _Key, text: str) -> str:
    """Remember a text. The table is emptied when full, which needs no lock and no order of use."""
    if len(text) <= _MAX_KEPT_TEXT:
        if len(table) >= _MAX_KEPT:
            table.clear()
        table[key] = text
    return text


def _key(key: str) -> str:
    if type(key) is not str:  # two of them may have one text, and the object would have one key twice
        raise TypeError
    return _keep(_KEYS, key, _quote(key) + ":")


def _time(nanos: int) -> str:
    if type(nanos) is not int:
        raise TypeError
    # Cut from the decimal digits: that takes two thirds of the time of divmod and a nine-digit format.
    digits = str(nanos) if nanos >= _NANOS else f"{nanos:010d}"
    second = digits[:-9]
    return f'"{_SECONDS.get(second) or _second(second)}.{digits[-9:]}Z"'


def _second(second: str) -> str:
    if not 0 <= int(second) <= _LAST_SECOND:
        raise OverflowError
    return _keep(_SECONDS, second, (_EPOCH + timedelta(seconds=int(second))).isoformat())


def _known(context: Any) -> Any:
    """The span context, a tuple, if it is exactly the SDK's."""
    if type(context) is not SpanContext:
        raise TypeError
    return context


class _Kept(NamedTuple):
    """A tidy dict or list, and how many entries it lost before."""

    entries: Any
    lost: int


def _map(attributes: Any) -> tuple[Any, int]:
    kind = type(attributes)
    if kind is BoundedAttributes:
        return attributes._dict, attributes.dropped
    if kind is dict:
        return attributes, 0
    if attributes is None:
        return {}, 0
    if kind is _Kept:
        return attributes
    raise TypeError


def _list(entries: Any) -> tuple[Any, int]:
    kind = type(entries)
    if kind is BoundedList:
        return entries._dq, entries.dropped
    if kind is tuple or kind is list:
        return entries, 0
    if kind is _Kept:
        return entries
    raise TypeError


def _members(attributes: Any) -> list[str]:
    """Attributes as members of a JSON object."""
    try:
        # Plain dicts of functions and of texts: this line runs twelve times a span.
        return [_KEYS[key] + _WRITERS[type(value)](value) for key, value in attributes.items()]
    except KeyError:  # a new key, or a value of an unusual type
        return [(_KEYS.get(key) or _key(key)) + _literal(value) for key, value in attributes.items()]


def _attributes(kept: Any) -> str:
    """The attributes of an event or a link."""
    attributes, lost = _map(kept)
    members = _members(attributes)
    if lost and _LOST_ATTRIBUTES not in attributes:
        members.append(f'"{_LOST_ATTRIBUTES}":{_int(lost)}')
    return f"{{{','.join(members)}}}"


def _event(event: Any) -> str:
    if type(event) is not Event:
        raise TypeError
    time = _time(event._timestamp)
    return (
        f'{{"name":{_quote(event._name)},"timestamp":{time},"attributes":{_attributes(event._attributes)}}}'
    )


def _link(link: Any) -> str:
    if type(link) is not Link:
        raise TypeError
    trace_id, span_id, _, _, trace_state, _ = _known(link.context)
    state = _state(trace_state)
    state = f',"trace_state":{_quote(state)}' if state else ""
    ids = f'"trace_id":"{trace_id:032x}","span_id":"{span_id:016x}"'
    return f'{{{ids}{state},"attributes":{_attributes(link.attributes)}}}'


def _state(trace_state: Any) -> str:
    """A trace state as the header of W3C Trace Context has it."""
    if type(trace_state) is TraceState:
        return trace_state.to_header()
    if type(trace_state) is str:  # _Tidied made it
        return trace_state
    raise TypeError


def _rare_members(
    status: Any, trace_state: Any, links: Any, lost_attributes: int, lost_events: int, lost_links: int
) -> dict[str, str]:
    """What most spans do not have: JSON members by attribute name."""
    members = {}
    code = status.status_code
    if code is not _UNSET:
        members["otel.status_code"] = f'"otel.status_code":"{code._name_}"'
        if status.description:
            members["otel.status_description"] = f'"otel.status_description":{_quote(status.description)}'
    if trace_state is not DEFAULT_TRACE_STATE and (state := _state(trace_state)):
        members["otel.trace_state"] = f'"otel.trace_state":{_quote(state)}'
    if links:
        joined_links = ",".join([_link(link) for link in links])
        members["otel.links"] = f'"otel.links":{_quote("[" + joined_links + "]")}'
    if lost_attributes:
        members[_LOST_ATTRIBUTES] = f'"{_LOST_ATTRIBUTES}":{_int(lost_attributes)}'
    if lost_events:
        members["otel.dropped_events_count"] = f'"otel.dropped_events_count":{_int(lost_events)}'
    if lost_links:
        members["otel.dropped_links_count"] = f'"otel.dropped_links_count":{_int(lost_links)}'
    return members


# Values as JSON. `_WRITERS`, below, has the functions for exact types, `_literal` the careful one for all others.


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _int(value: int) -> str:
    # Beyond these, readers that keep numbers as float64 (JavaScript) see another number.
    if -(2**53 - 1) <= value <= 2**53 - 1:
        return f"{value}"
    try:
        return f'"{value}"'
    except ValueError:  # more than 4300 digits: Python refuses to write them, in any base but a power of two
        return f'"{value:#x}"'


def _float(value: float) -> str:
    if -_MAX_FLOAT <= value <= _MAX_FLOAT:
        return f"{value!r}"
    return '"NaN"' if value != value else '"Infinity"' if value > 0 else '"-Infinity"'


def _bytes(value: Any) -> str:
    return f'"{b64encode(memoryview(value).tobytes()).decode()}"'


def _sequence(value: Sequence[Any]) -> str:
    """A list or tuple, most often one of plain values: those are neither deep nor need to be counted one by one."""
    if len(value) > _MAX_ENTRIES:
        return _container(value)
    try:
        return _quote(f"[{','.join([_PLAIN[type(item)](item) for item in value])}]")
    except KeyError:
        return _container(value)


def _container(value: object) -> str:
    return _quote(_nested(value, 1, iter(range(_MAX_ENTRIES))))


def _nested(value: Any, depth: int, entries: Iterator[int]) -> str:
    """A value within a value, as JSON within JSON text.

    Args:
        value: Anything.
        depth: Of containers around it, itself included if it is one.
        entries: Gives one item for each entry that may still be written, over all depths.
    """
    kind = type(value)
    if kind in _PLAIN:
        return _PLAIN[kind](value)
    container = _container_of(kind)
    if container is None:
        return _scalar(value)
    if depth > _MAX_DEPTH:
        return _CUT
    try:
        if container is Sequence:
            return _nested_sequence(value, depth, entries)
        return _nested_map(value, depth, entries)
    except Exception:  # noqa: BLE001 - a container that can't be read to its end
        return _described(value)


def _nested_sequence(value: Sequence[Any], depth: int, entries: Iterator[int]) -> str:
    items = []
    for item in value:
        if next(entries, None) is None:
            items.append(_CUT)
            break
        items.append(_nested(item, depth + 1, entries))
    return f"[{','.join(items)}]"


def _nested_map(value: Mapping[Any, Any], depth: int, entries: Iterator[int]) -> str:
    members = {}
    for key, item in value.items():
        if next(entries, None) is None:
            members["..."] = _CUT
            break
        members[_clean(_text(key))] = _nested(item, depth + 1, entries)
    return f"{{{','.join([f'{_quote(key)}:{item}' for key, item in members.items()])}}}"


def _container_of(kind: type) -> type | None:
    # By the type, not by isinstance: that believes an object's `__class__`, which mocks and proxies make up.
    if issubclass(kind, (str, bytes, bytearray, memoryview)):
        return None
    try:
        return Mapping if issubclass(kind, Mapping) else Sequence if issubclass(kind, Sequence) else None
    except Exception:  # noqa: BLE001 - an unhashable type
        return None


def _scalar(value: Any) -> str:
    kind = type(value)
    try:
        # What a subclass holds, as `json.dumps` writes it: 2 for an IntEnum's member, whatever its str() is.
        if issubclass(kind, str):
            return _quote(value)
        if issubclass(kind, int):
            return _int(int.__index__(value))
        if issubclass(kind, float):
            return _float(float.__float__(value))
        if issubclass(kind, (bytes, bytearray, memoryview)):
            return _bytes(value)
        return _quote(str(value))
    except Exception:  # noqa: BLE001 - a __str__ that raises, a memoryview that was released
        return _described(value)


def _described(value: object) -> str:
    return _quote(f"<{type(value).__name__}>")


def _other(value: object) -> str:
    return _scalar(value) if _container_of(type(value)) is None else _container(value)


_PLAIN: dict[type, Callable[[Any], str]] = {
    str: _quote,
    bool: _bool,
    int: _int,
    float: _float,
    bytes: _bytes,
    NoneType: lambda _: "null",
}
_WRITERS = {**_PLAIN, NoneType: lambda _: '""', list: _sequence, tuple: _sequence, dict: _container}


def _literal(value: object) -> str:
    """A value as JSON; never raises."""
    try:
        return _WRITERS.get(type(value), _other)(value)
    except Exception:  # noqa: BLE001 - an unhashable type
        return _described(value)


def _text(value: object) -> str:
    """A value as text: what it is as an attribute, without the quotes."""
    if type(value) is str:
        return value
    literal = _literal(value)
    return str(json.loads(literal)) if literal.startswith('"') else literal


def _clean(text: str) -> str:
    """Lone surrogates replaced, pairs of them joined."""
    return (
        text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    )


# The careful way.


class _Tidied:
    """A span whose parts `SpanEncoder._write` takes, made from the properties of anything that looks like a span."""

    def __init__(self, span: object) -> None:
        end = _moment(_get(span, "end_time"))
        start = _moment(_get(span, "start_time"))
        if start is None:
            start = end or 0
        self._name = _clean(_text(_get(span, "name")))
        self._context = _tidy_context(_get(span, "context"))
        self._parent = _tidy_context(_get(span, "parent"))
        self._start_time = start
        self._end_time = end
        self._attributes = _tidy_attributes(span)
        self._events = _tidy_list(span, "events", lambda event: _tidy_event(event, start))
        self._links = _tidy_list(span, "links", _tidy_link)
        self._resource = _get(span, "resource")
        kind = _get(span, "kind")
        self._kind = kind if type(kind) is SpanKind else SpanKind.INTERNAL
        self._instrumentation_scope = _tidy_scope(_get(span, "instrumentation_scope"))
        self._status = _tidy_status(_get(span, "status"))


class _Scope(NamedTuple):
    name: str
    version: str


class _Status(NamedTuple):
    status_code: StatusCode
    description: str


def _get(thing: object, name: str) -> Any:
    try:
        return getattr(thing, name, None)
    except Exception:  # noqa: BLE001 - a property that raises says nothing
        return None


def _moment(nanos: Any) -> int | None:
    try:
        return min(max(int(nanos), 0), _LAST_SECOND * _NANOS + _NANOS - 1)
    except Exception:  # noqa: BLE001 - no number: no time
        return None


def _whole(number: Any, below: int) -> int:
    """A whole number from 0 to `below`, else 0."""
    try:
        return index(number) if 0 <= index(number) < below else 0
    except Exception:  # noqa: BLE001 - no whole number
        return 0


def _tidy_context(context: object) -> SpanContext | None:
    if context is None:
        return None
    return SpanContext(
        trace_id=_whole(_get(context, "trace_id"), 2**128),
        span_id=_whole(_get(context, "span_id"), 2**64),
        is_remote=_get(context, "is_remote") is True,
        trace_flags=TraceFlags(_whole(_get(context, "trace_flags"), 256)),
        trace_state=_tidy_state(_get(context, "trace_state")),
    )


def _tidy_state(trace_state: Any) -> Any:
    """Its text: `_state` takes it, and more fits into that than into a TraceState, which says what it refuses."""
    try:
        entries = islice(trace_state.items(), _MAX_ENTRIES)
        return ",".join([f"{_clean(_text(key))}={_clean(_text(value))}" for key, value in entries])
    except Exception:  # noqa: BLE001 - not a map
        return _clean(_text(trace_state))


def _tidy_attributes(owner: object) -> _Kept:
    """The attributes of a span, event or link, as far as they can be read; keys with the same text become one."""
    attributes: dict[str, object] = {}
    try:
        for key, value in islice(_get(owner, "attributes").items(), _MAX_ENTRIES):
            attributes[_clean(_text(key))] = json.loads(_clean(_literal(value)))
    except Exception:  # noqa: BLE001, S110 - no map, or one that ends early
        pass
    return _Kept(attributes, _whole(_get(owner, "dropped_attributes"), 2**63))


def _tidy_list(span: object, name: str, tidy: Callable[[Any], object]) -> _Kept:
    entries: list[object] = []
    try:
        for entry in islice(_get(span, name), _MAX_ENTRIES):
            entries.append(tidy(entry))
    except Exception:  # noqa: BLE001, S110 - nothing to go through, or it ends early
        pass
    return _Kept(entries, _whole(_get(span, f"dropped_{name}"), 2**63))


def _tidy_event(event: object, start: int) -> Event:
    """An event without a time happened when its span began, for all that is known."""
    moment = _moment(_get(event, "timestamp"))
    tidy: Any = _tidy_attributes(event)
    return Event(_clean(_text(_get(event, "name"))), tidy, start if moment is None else moment)


def _tidy_link(link: object) -> Link:
    tidy: Any = _tidy_attributes(link)
    return Link(_tidy_context(_get(link, "context")) or SpanContext(0, 0, False), tidy)


def _tidy_scope(scope: object) -> _Scope:
    return _Scope(_clean(_text(_get(scope, "name"))), _clean(_text(_get(scope, "version"))))


def _tidy_status(status: object) -> _Status:
    code = _get(status, "status_code")
    return _Status(code if type(code) is StatusCode else _UNSET, _clean(_text(_get(status, "description"))))


def _reason(error: Exception) -> str:
    """Texts of foreign exceptions may quote a value from the span: they stay out."""
    name = type(error).__name__.lstrip("_")
    return (
        f"{name}: {error}" if isinstance(error, _InvalidSpanError) else f"{name}: it can't be written as JSON"
    )
