"""Spans of other programs, made as the SDK makes its own: the encoder knows no difference.

What OTLP can't say is taken for what it most probably was: who exports a span has sampled it, so that flags of
0 are "sampled"; and a parent has the flags of its child.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

T = TypeVar("T")

_SAMPLED = 1
_REMOTE = 0x300
"""Bits of `Span.flags`: it is known whether the parent is of another process, and it is."""

_FLAGS = [TraceFlags(number or _SAMPLED) for number in range(256)]
KINDS = (
    SpanKind.INTERNAL,  # unspecified
    SpanKind.INTERNAL,
    SpanKind.SERVER,
    SpanKind.CLIENT,
    SpanKind.PRODUCER,
    SpanKind.CONSUMER,
)
"""By OTLP's numbers."""

_CODES = tuple(Status(code) for code in (StatusCode.UNSET, StatusCode.OK, StatusCode.ERROR))


class Malformed(ValueError):  # noqa: N818 - what it says of a request or a span
    """What came is not OTLP; the text says where, and may be shown to whoever sent it."""


class BadSpan(Malformed):
    """One span that can't be taken, in a request that can."""


class Resource:
    """What a span's resource is asked for: its attributes."""

    __slots__ = ("__weakref__", "attributes")

    def __init__(self, attributes: dict[str, Any]) -> None:
        self.attributes = attributes


class Scope:
    """An instrumentation scope, under the names of the SDK's private fields and of its properties."""

    __slots__ = ("_name", "_version")

    def __init__(self, name: str, version: str) -> None:
        self._name = name
        self._version = version

    @property
    def name(self) -> str:
        """The scope's name."""
        return self._name

    @property
    def version(self) -> str:
        """The scope's version."""
        return self._version


class Received(NamedTuple):
    """What came in one request.

    Attributes:
        spans: As the SDK would have handed them over.
        rejected: How many more there were that can't be taken.
        reason: What is wrong with the first of those.
    """

    spans: list[ReadableSpan]
    rejected: int
    reason: str


def gather(found: Iterable[T], make: Callable[[T], ReadableSpan]) -> Received:
    """Makes spans of what was found; what can't be one is counted."""
    spans: list[ReadableSpan] = []
    rejected, reason = 0, ""
    for each in found:
        try:
            spans.append(make(each))
        except BadSpan as error:
            rejected, reason = rejected + 1, reason or str(error)
    return Received(spans, rejected, reason)


def make_context(trace_id: bytes, span_id: bytes, flags: int, state: str, is_remote: bool) -> SpanContext:
    """A context; ids of no bytes are those of an invalid one.

    Raises:
        BadSpan: An id has a wrong length.
    """
    if len(trace_id) not in (0, 16) or len(span_id) not in (0, 8):
        raise BadSpan(
            f"a trace id of {len(trace_id)} and a span id of {len(span_id)} bytes; 16 and 8 are right"
        )
    # The encoder takes the header's text too: a TraceState would drop what it does not like, and say so.
    given: Any = state or None
    return SpanContext(
        int.from_bytes(trace_id, "big"),
        int.from_bytes(span_id, "big"),
        is_remote,
        _FLAGS[flags & 0xFF],
        given,
    )


def make_attributes(entries: dict[str, Any], dropped: int) -> Any:
    """Attributes, and how many more there were."""
    if not dropped:
        return entries
    kept = BoundedAttributes(immutable=False)
    kept._dict, kept.dropped = entries, dropped
    return kept


def make_event(name: str, moment: int, attributes: Any, start: int) -> Event:
    """An event; without a time of its own it happened when its span began."""
    return Event(name, attributes, moment or start)


def make_span(
    *,
    name: str,
    trace_id: bytes,
    span_id: bytes,
    parent_id: bytes,
    flags: int,
    state: str,
    kind: int,
    times: tuple[int, int],
    attributes: Any,
    events: Sequence[Event],
    links: Sequence[Link],
    dropped: tuple[int, int],
    status: tuple[int, str],
    resource: Resource,
    scope: Scope | None,
) -> ReadableSpan:
    """A span as the SDK hands it over.

    Args:
        times: Start and end, in nanoseconds since the Unix epoch; an end of 0: it has not ended.
        dropped: How many more events and links there were.
        status: Code and message.

    Raises:
        BadSpan: It has no valid context, or a parent whose id has a wrong length.
    """
    context = make_context(trace_id, span_id, flags, state, False)
    if not context.is_valid:
        raise BadSpan("a span without a valid trace id and span id")
    parent = None
    if parent_id and any(parent_id):
        parent = make_context(trace_id, parent_id, flags, "", flags & _REMOTE == _REMOTE)
    start, end = times
    code, message = status
    found = _CODES[code] if 0 <= code < len(_CODES) else _CODES[0]
    if message and found is _CODES[2]:
        found = Status(StatusCode.ERROR, message)
    lost_events, lost_links = dropped
    # Its constructor would make a resource of its own where there is none, and takes no such parts.
    span = ReadableSpan.__new__(ReadableSpan)
    span.__dict__.update(
        _name=name,
        _context=context,
        _kind=KINDS[kind] if 0 <= kind < len(KINDS) else SpanKind.INTERNAL,
        _instrumentation_info=None,
        _instrumentation_scope=scope,
        _parent=parent,
        _start_time=start or end,
        _end_time=end or None,
        _attributes=attributes,
        _events=_counted(events, lost_events),
        _links=_counted(links, lost_links),
        _resource=resource,
        _status=found,
    )
    return span


def _counted(entries: Sequence[Any], dropped: int) -> Any:
    if not dropped:
        return entries
    kept = BoundedList.from_seq(max(1, len(entries)), entries)
    kept.dropped = dropped
    return kept
