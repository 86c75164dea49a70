"""A flow as a page can show it: traces, each a tree of spans with their times.

What is stored need not have been written by this project. Nothing here trusts the shape of a span: what can't
be understood is shown as it is, and every number that reaches the page was made here.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

from .text import line, token

_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(?:[Zz]|([+-])(\d\d):?(\d\d))")
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_SECOND = timedelta(seconds=1)
_MS = 1_000_000
_SERVICES = 6


class Link(NamedTuple):
    """A span that another one names."""

    trace_id: str
    span_id: str


@dataclass(slots=True, eq=False)
class Span:
    """One span in its trace.

    Attributes:
        key: Names it within its trace, in addresses; the span's id where that is one and no other span has it.
        stored: The span as it is stored, of any JSON type.
        start: Nanoseconds since the epoch; None where the span has no time that can be read.
        length: Nanoseconds.
        message: What the error says of itself; empty where it says nothing, or there is no error.
        colour: The number of its service within the trace.
        critical: The trace would have ended earlier, had this span.
    """

    key: str
    stored: Any
    name: str
    service: str
    start: int | None
    length: int
    error: bool
    message: str
    span_id: str
    parent_id: str
    depth: int = 0
    colour: int = 0
    critical: bool = False
    parent: Span | None = None
    children: list[Span] = field(default_factory=list)

    @property
    def end(self) -> int | None:
        """Nanoseconds since the epoch."""
        return None if self.start is None else self.start + self.length

    def events(self) -> list[Any]:
        """The events, whatever they look like."""
        found = inside(self.stored, "events")
        return found if isinstance(found, list) else []

    def links(self) -> list[Link]:
        """The spans that this one names as links."""
        text = inside(inside(self.stored, "attributes"), "otel.links")
        try:
            found = json.loads(text) if isinstance(text, str) else None
        except (ValueError, RecursionError):
            return []
        return list(_links(found)) if isinstance(found, list) else []


@dataclass(eq=False)
class Trace:
    """One trace.

    Attributes:
        key: Names it within its flow, in addresses.
        spans: All spans, in the order of the tree.
        start: Nanoseconds since the epoch; None where no span has a time.
        length: Nanoseconds from the first start to the last end.
        services: Those that have a name, each with the number of its colour.
    """

    id: str
    key: str
    spans: list[Span]
    start: int | None
    length: int
    errors: int
    services: list[tuple[str, int]]

    @property
    def name(self) -> str:
        """The name of its first span."""
        return self.spans[0].name

    def span(self, key: str) -> Span | None:
        """The span of that key, or None."""
        return next((span for span in self.spans if span.key == key), None)


def read_traces(spans: Iterable[Any]) -> list[Trace]:
    """The traces of a flow, newest first."""
    groups: dict[str, list[Span]] = {}
    for span in spans:
        groups.setdefault(trace_id(span), []).append(_span(span))
    found = [_trace(id_, spans_of) for id_, spans_of in groups.items()]
    return sorted(found, key=lambda trace: -math.inf if trace.start is None else trace.start, reverse=True)


def trace_id(span: Any) -> str:
    """The id of the trace that a span belongs to; empty where it names none."""
    return _id(span, "spanContext", "traceId")


def is_error(span: Any) -> bool:
    """Whether a span says that it failed."""
    return bool(inside(inside(span, "status"), "code") == 1)


def span_name(span: Any) -> str:
    """The name of a span as one line."""
    return line(inside(span, "name", span)) or "(no name)"


def span_length(span: Any) -> int:
    """Nanoseconds: what the span says, else what its times say."""
    duration = inside(span, "duration")
    if isinstance(duration, (int, float)) and not isinstance(duration, bool) and 0 <= duration < 1e15:
        return round(duration * _MS)
    start, end = nanoseconds(inside(span, "startTime")), nanoseconds(inside(span, "endTime"))
    return max(end - start, 0) if start is not None and end is not None else 0


def inside(holder: Any, name: str, otherwise: Any = None) -> Any:
    """A member of what may be an object."""
    return holder.get(name, otherwise) if isinstance(holder, dict) else otherwise


def nanoseconds(text: Any) -> int | None:
    """Nanoseconds since the epoch; None for anything but a time of RFC 3339."""
    match = _TIME.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    date, time, fraction, sign, hours, minutes = match.groups()
    if time.endswith(":60"):
        time = time[:-2] + "59"  # a leap second is shown as the second before it
    try:
        moment = datetime.fromisoformat(f"{date}T{time}+00:00")
    except ValueError:
        return None
    seconds = (moment - _EPOCH) // _SECOND
    if sign:
        offset = int(hours) * 3600 + int(minutes) * 60
        seconds -= offset if sign == "+" else -offset
    return seconds * 1_000_000_000 + int((fraction or "").ljust(9, "0"))


def _span(stored: Any) -> Span:
    error = is_error(stored)
    span_id = _id(stored, "spanContext", "spanId")
    return Span(
        key=token(span_id) if span_id else "",
        stored=stored,
        name=span_name(stored),
        service=line(inside(inside(stored, "attributes"), "service.name", "")),
        start=nanoseconds(inside(stored, "startTime")),
        length=span_length(stored),
        error=error,
        message=_message(stored) if error else "",
        span_id=span_id,
        # The API description has two spellings.
        parent_id=_id(stored, "parentSpanContext", "spanId") or _id(stored, "parentSpanContenxt", "spanId"),
    )


def _message(stored: Any) -> str:
    """What a failed span says: its status, else its last exception."""
    said = inside(inside(stored, "attributes"), "otel.status_description")
    if said:
        return line(said)
    events = inside(stored, "events")
    for event in reversed(events if isinstance(events, list) else []):
        attributes = inside(event, "attributes")
        parts = [inside(attributes, f"exception.{part}") for part in ("type", "message")]
        if any(parts):
            return ": ".join(line(part) for part in parts if part)
    return ""


def _trace(id_: str, spans: list[Span]) -> Trace:
    starts = [span.start for span in spans if span.start is not None]
    start = min(starts, default=None)
    ends = [span.end for span in spans if span.end is not None]
    services: dict[str, int] = {}
    taken: set[str] = set()
    for number, span in enumerate(spans):
        if not span.key or span.key in taken:
            span.key = f"{span.key}_{number}"
        taken.add(span.key)
    ordered = _ordered(spans)
    for span in ordered:
        span.colour = services.setdefault(span.service, len(services) % _SERVICES)
    _mark_critical(ordered)
    return Trace(
        id=id_,
        key=token(id_) if id_ else "_",
        spans=ordered,
        start=start,
        length=max(ends, default=0) - (start or 0),
        errors=sum(span.error for span in spans),
        services=[(name, colour) for name, colour in services.items() if name],
    )


def _ordered(spans: list[Span]) -> list[Span]:
    """Parents before their children, siblings by start; what goes in circles is not left out."""
    spans = sorted(spans, key=lambda span: math.inf if span.start is None else span.start)
    known = {span.span_id for span in spans if span.span_id}
    children: dict[str, list[Span]] = {}
    tops = []
    for span in spans:
        if span.parent_id in known and span.parent_id != span.span_id:
            children.setdefault(span.parent_id, []).append(span)
        else:
            tops.append(span)
    ordered: list[Span] = []
    placed: set[int] = set()
    # The spans themselves come last: only those in a circle, and what hangs on them, are still to be placed.
    for top in [*tops, *spans]:
        waiting: list[tuple[Span, Span | None]] = [(top, None)]
        while waiting:
            span, parent = waiting.pop()
            if id(span) in placed:
                continue
            placed.add(id(span))
            ordered.append(span)
            if parent is not None:
                span.parent, span.depth = parent, parent.depth + 1
                parent.children.append(span)
            below = children.pop(span.span_id, ())
            waiting += [(child, span) for child in reversed(below)]
    return ordered


def _mark_critical(ordered: list[Span]) -> None:
    """Walks back from the end of the longest tree: whoever ended last was what was waited for."""
    tops = [span for span in ordered if span.parent is None and span.end is not None]
    if not tops or len(ordered) == 1:
        return
    last = max(tops, key=lambda span: span.end or 0)
    waiting: list[tuple[Span, int]] = [(last, last.end or 0)]
    while waiting:
        span, until = waiting.pop()
        span.critical = True
        for child in sorted(span.children, key=lambda child: child.end or 0, reverse=True):
            if child.start is None or child.end is None or child.start >= until:
                continue
            # What was still running at that moment was not waited for; what had ended by then was.
            if child.end <= until:
                waiting.append((child, child.end))
                until = child.start


def _links(found: list[Any]) -> Iterator[Link]:
    for link in found:
        context = inside(link, "context") or inside(link, "spanContext") or link
        named = [
            next((str(context[key]) for key in keys if isinstance(context, dict) and context.get(key)), "")
            for keys in (("traceId", "trace_id"), ("spanId", "span_id"))
        ]
        if any(named):
            yield Link(*named)


def _id(span: Any, context: str, name: str) -> str:
    value = inside(inside(span, context), name)
    return value[:64] if isinstance(value, str) else ""
