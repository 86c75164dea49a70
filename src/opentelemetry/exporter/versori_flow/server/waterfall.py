"""Traces as a page can show them: a tree of spans, each with its place on the trace's time line.

What is stored need not have been written by this project. Nothing here trusts the shape of a span: what can't
be understood is shown as it is, and every number that reaches the page was made here.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(?:[Zz]|([+-])(\d\d):?(\d\d))")
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MS = 1_000_000
# Beyond these a page helps nobody and a browser suffers.
_MOST_TEXT = 8_000
_MOST_NAME = 200
_MOST_ITEMS = 200
_MOST_DEPTH = 16
_SERVICES = 6
# Per cent of the time line: what is shorter is still to be seen.
_LEAST_WIDTH = 0.5


@dataclass(frozen=True)
class Mark:
    """An event on the time line, in per cent of the trace."""

    at: str
    name: str
    after: str
    attributes: list[tuple[str, str]]


@dataclass
class Row:
    """One span of a waterfall; ``left`` and ``width`` are in per cent of the trace."""

    name: str
    service: str
    start: int | None
    length: int
    error: bool
    span_id: str
    parent_id: str
    attributes: list[tuple[str, str]]
    facts: list[tuple[str, str]]
    events: list[Any]
    depth: int = 0
    left: str = "0"
    width: str = "0"
    duration: str = ""
    colour: int = 0
    marks: list[Mark] = field(default_factory=list)


@dataclass
class Trace:
    """One trace: its rows in the order of the tree, and what its headline says."""

    id: str
    name: str
    start: int | None
    started: str
    duration: str
    errors: int
    rows: list[Row]
    services: list[tuple[str, int]]
    ticks: list[tuple[int, str]]


def traces(spans: Iterable[Any]) -> list[Trace]:
    """The traces of a flow, newest first."""
    groups: dict[str, list[Row]] = {}
    for span in spans:
        groups.setdefault(trace_id(span), []).append(_row(span))
    found = [_trace(id_, rows) for id_, rows in groups.items()]
    return sorted(found, key=lambda trace: -math.inf if trace.start is None else trace.start, reverse=True)


def trace_id(span: Any) -> str:
    """The id of the trace that a span belongs to; empty where it names none."""
    return _id(span, "spanContext", "traceId")


def is_error(span: Any) -> bool:
    """Whether a span says that it failed."""
    return bool(_inside(_inside(span, "status"), "code") == 1)


def length(nanoseconds: float) -> str:
    """A length of time for people."""
    if nanoseconds >= 60_000 * _MS:
        minutes, seconds = divmod(nanoseconds / 1e9, 60)
        return f"{minutes:.0f} min {seconds:02.0f} s" if minutes < 1000 else f"{minutes / 60:.3g} h"
    for unit, size in (("s", 1000 * _MS), ("ms", _MS), ("\N{MICRO SIGN}s", 1000)):
        if nanoseconds >= size:
            # Three digits, but no exponent for the thousand that 999.6 rounds to.
            digits = ".3g" if nanoseconds < 999 * size else ".0f"
            return f"{nanoseconds / size:{digits}} {unit}"
    return f"{nanoseconds:.0f} ns" if nanoseconds else "0 ms"


def moment(nanoseconds: int | None) -> str:
    """A moment for people, in UTC."""
    if nanoseconds is None:
        return "at an unknown time"
    try:
        at = _EPOCH + timedelta(microseconds=nanoseconds // 1000)
    except OverflowError:
        return "out of time"  # its offset took it before the year 1, or after 9999
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d} UTC"


def shown(value: Any, most: int = _MOST_TEXT) -> str:
    """Any JSON value as text, cut where it gets too long."""
    if isinstance(value, str):
        text = value
    else:
        try:
            text = json.dumps(value, ensure_ascii=False)
        except (RecursionError, ValueError):
            text = "(can't be shown)"
    if len(text) <= most:
        return text
    return f"{text[:most]}\N{HORIZONTAL ELLIPSIS} ({len(text) - most} more characters)"


def _trace(id_: str, rows: list[Row]) -> Trace:
    starts = [row.start for row in rows if row.start is not None]
    start = min(starts, default=None)
    ends = [row.start + row.length for row in rows if row.start is not None]
    total = max(ends, default=0) - (start or 0)
    services: dict[str, int] = {}
    for row in rows:
        services.setdefault(row.service, len(services) % _SERVICES)
        row.colour = services[row.service]
        _place(row, start, total)
    ordered = _ordered(rows)
    return Trace(
        id=id_,
        name=ordered[0].name,
        start=start,
        started=moment(start),
        duration=length(total),
        errors=sum(row.error for row in rows),
        rows=ordered,
        services=[(name, colour) for name, colour in services.items() if name],
        ticks=[(quarter * 25, length(total * quarter / 4)) for quarter in range(1, 4)] if total else [],
    )


def _place(row: Row, start: int | None, total: int) -> None:
    if row.start is None or start is None:
        row.marks = [_mark(event, None, "0") for event in row.events]
        return
    row.duration = length(row.length)
    left = min(_share(row.start - start, total), 100 - _LEAST_WIDTH)
    width = max(_share(row.length, total), _LEAST_WIDTH)
    row.left, row.width = f"{left:.2f}", f"{min(width, 100 - left):.2f}"
    for event in row.events:
        at = _nanoseconds(_inside(event, "timestamp"))
        place = left if at is None else min(max(_share(at - start, total), 0.0), 100.0)
        row.marks.append(_mark(event, None if at is None else at - row.start, f"{place:.2f}"))


def _mark(event: Any, after: int | None, at: str) -> Mark:
    name = shown(_inside(event, "name", event), _MOST_NAME)
    return Mark(at, name, "" if after is None else f"+{length(max(after, 0))}", _attributes(event))


def _ordered(rows: list[Row]) -> list[Row]:
    """Parents before their children, siblings by start; what goes in circles is not left out."""
    rows = sorted(rows, key=lambda row: math.inf if row.start is None else row.start)
    known = {row.span_id for row in rows if row.span_id}
    children: dict[str, list[Row]] = {}
    tops = []
    for row in rows:
        if row.parent_id in known and row.parent_id != row.span_id:
            children.setdefault(row.parent_id, []).append(row)
        else:
            tops.append(row)
    ordered: list[Row] = []
    placed: set[int] = set()
    # The rows themselves come last: only those in a circle, and what hangs on them, are still to be placed.
    for top in [*tops, *rows]:
        waiting = [(top, 0)]
        while waiting:
            row, depth = waiting.pop()
            if id(row) in placed:
                continue
            placed.add(id(row))
            row.depth = min(depth, _MOST_DEPTH)
            ordered.append(row)
            waiting += [(child, depth + 1) for child in reversed(children.pop(row.span_id, ()))]
    return ordered


def _row(span: Any) -> Row:
    start = _nanoseconds(_inside(span, "startTime"))
    end = _nanoseconds(_inside(span, "endTime"))
    events = _inside(span, "events")
    attributes = _inside(span, "attributes")
    parent = _id(span, "parentSpanContext", "spanId") or _id(span, "parentSpanContenxt", "spanId")
    row = Row(
        name=shown(_inside(span, "name", span), _MOST_NAME) or "(no name)",
        service=shown(_inside(attributes, "service.name", ""), _MOST_NAME),
        start=start,
        length=_length(_inside(span, "duration"), start, end),
        error=is_error(span),
        span_id=_id(span, "spanContext", "spanId"),
        parent_id=parent,
        attributes=_attributes(span),
        facts=[],
        events=events[:_MOST_ITEMS] if isinstance(events, list) else [],
    )
    row.facts = [
        (name, text)
        for name, text in (
            ("start", shown(_inside(span, "startTime", ""), _MOST_NAME)),
            ("end", shown(_inside(span, "endTime", ""), _MOST_NAME)),
            ("span", row.span_id),
            ("parent", parent),
            ("", "" if _inside(span, "ended", True) else "has not ended"),
        )
        if text
    ]
    return row


def _attributes(holder: Any) -> list[tuple[str, str]]:
    attributes = _inside(holder, "attributes")
    if not isinstance(attributes, dict):
        return []
    pairs = [(shown(key, _MOST_NAME), shown(value)) for key, value in list(attributes.items())[:_MOST_ITEMS]]
    if len(attributes) > _MOST_ITEMS:
        pairs.append(("\N{HORIZONTAL ELLIPSIS}", f"{len(attributes) - _MOST_ITEMS} more attributes"))
    return pairs


def _inside(holder: Any, name: str, otherwise: Any = None) -> Any:
    return holder.get(name, otherwise) if isinstance(holder, dict) else otherwise


def _id(span: Any, context: str, name: str) -> str:
    value = _inside(_inside(span, context), name)
    return shown(value, 64) if isinstance(value, str) else ""


def _share(part: float, whole: float) -> float:
    return 100 * part / whole if whole > 0 else 0.0


def _length(duration: Any, start: int | None, end: int | None) -> int:
    """Nanoseconds: what the span says, else what its times say."""
    if isinstance(duration, (int, float)) and not isinstance(duration, bool) and 0 <= duration < 1e15:
        return round(duration * _MS)
    return max(end - start, 0) if start is not None and end is not None else 0


def _nanoseconds(text: Any) -> int | None:
    """Nanoseconds since the epoch; None for anything but a time of RFC 3339."""
    match = _TIME.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    date, time, fraction, sign, hours, minutes = match.groups()
    try:
        # A leap second is shown as the second before it.
        moment = datetime.fromisoformat(f"{date}T{re.sub(':60$', ':59', time)}+00:00")
    except ValueError:
        return None
    seconds = (moment - _EPOCH) // timedelta(seconds=1)
    if sign:
        offset = int(hours) * 3600 + int(minutes) * 60
        seconds -= offset if sign == "+" else -offset
    return seconds * 1_000_000_000 + int((fraction or "").ljust(9, "0"))
