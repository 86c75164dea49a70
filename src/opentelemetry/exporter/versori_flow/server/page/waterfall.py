"""What of a trace is on the screen: the rows that are neither folded away nor filtered out, and their bars."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from .model import Span, Trace, inside, nanoseconds
from .search import Search
from .text import length, line

# Per cent of the time line: what is shorter is still to be seen.
_LEAST_WIDTH = 0.4
# Marks are elements too: on a row, and on all rows that a page may open with.
_MOST_MARKS = 12
_MARKS = 1000
_INDENTED = 40
_OFFSET = re.compile(r"\d{1,15}(\.\d{1,6})?")
_MS = 1_000_000


class Zoom(NamedTuple):
    """A part of a trace's time, in nanoseconds from its start."""

    start: int
    end: int

    @classmethod
    def read(cls, parameters: Mapping[str, str], whole: int) -> Zoom:
        """Reads `from` and `to`, in milliseconds from the start; what makes no sense is the whole trace."""
        start, end = _offset(parameters.get("from")), _offset(parameters.get("to"))
        start = min(start or 0, whole)
        end = whole if end is None else min(end, whole)
        return cls(start, end) if start < end else cls(0, whole)

    def part(self, start: float, end: float) -> dict[str, str]:
        """The parameters for a part of this part; both ends are shares from 0 to 1."""
        span = self.end - self.start
        return between(self.start + span * start, self.start + span * end)


class Shape(NamedTuple):
    """How traces are shown.

    Attributes:
        folded: Keys of spans whose subtrees are folded away.
        levels: How many levels are shown; None for all.
        search: Which spans are shown, and what they hang on.
        most: How many rows at most.
        wanted: The key of a span that has its row however far down that is.
    """

    folded: frozenset[str] = frozenset()
    levels: int | None = None
    search: Search = Search.read({})
    most: int = 300
    wanted: str = ""


class Row(NamedTuple):
    """One row.

    Attributes:
        left: Where its bar begins, in per cent; empty where it has none here.
        marks: Where events are, in per cent, each with its words.
        below: How many spans hang on it.
        folded: Those are not shown.
        found: It is what was searched for; the others only lead there.
        indent: Its depth, as far as it is drawn.
    """

    span: Span
    left: str
    width: str
    duration: str
    marks: list[tuple[str, str]]
    below: int
    folded: bool
    found: bool
    indent: int


class Waterfall(NamedTuple):
    """One trace on the screen.

    Attributes:
        more: How many rows there would be beyond these.
        more_errors: How many of those failed.
        hidden: How many spans are folded away or don't belong to what was searched for.
        ticks: Per cent and words for the ruler.
        deepest: The number of levels.
    """

    trace: Trace
    zoom: Zoom
    rows: list[Row]
    more: int
    more_errors: int
    hidden: int
    ticks: list[tuple[int, str]]
    deepest: int

    @property
    def zoomed(self) -> bool:
        """Less than the whole trace is on the time line."""
        return self.zoom != (0, self.trace.length)


def lay_out(trace: Trace, shape: Shape, zoom: Zoom) -> Waterfall:
    """Puts a trace on the screen."""
    found, kept = _kept(trace, shape.search)
    shown = [span for span in _unfolded(trace, shape) if kept is None or span in kept]
    sizes = _sizes(trace)
    most = shape.most
    if shape.wanted:
        most = max(most, 1 + next((at for at, span in enumerate(shown) if span.key == shape.wanted), 0))
    rows = [_row(span, trace, shape, zoom, sizes[span], found) for span in shown[:most]]
    beyond = shown[most:]
    total = zoom.end - zoom.start
    return Waterfall(
        trace=trace,
        zoom=zoom,
        rows=rows,
        more=len(beyond),
        more_errors=sum(span.error for span in beyond),
        hidden=len(trace.spans) - len(shown),
        ticks=[(part * 25, length(zoom.start + total * part / 4)) for part in range(4)] if total else [],
        deepest=max(span.depth for span in trace.spans) + 1,
    )


def between(start: float, end: float) -> dict[str, str]:
    """The parameters that zoom, for nanoseconds from a trace's start."""
    return {
        "from": f"{start / _MS:.6f}".rstrip("0").rstrip("."),
        "to": f"{end / _MS:.6f}".rstrip("0").rstrip("."),
    }


def _kept(trace: Trace, search: Search) -> tuple[set[Span] | None, set[Span] | None]:
    """The spans that were searched for, and those with all that they hang on; None for all."""
    if not search:
        return None, None
    found = {span for span in trace.spans if search.finds(span.stored)}
    kept: set[Span] = set()
    for span in found:
        above: Span | None = span
        while above is not None and above not in kept:
            kept.add(above)
            above = above.parent
    return found, kept


def _unfolded(trace: Trace, shape: Shape) -> list[Span]:
    if not shape.folded and shape.levels is None:
        return trace.spans
    shown, closed = [], set()
    for span in trace.spans:
        if span.parent is not None and span.parent in closed:
            closed.add(span)
            continue
        shown.append(span)
        if _is_folded(span, shape):
            closed.add(span)
    return shown


def _is_folded(span: Span, shape: Shape) -> bool:
    # Where only some levels are shown, a named span is one that was opened again.
    return (shape.levels is not None and span.depth + 1 >= shape.levels) != (span.key in shape.folded)


def _sizes(trace: Trace) -> dict[Span, int]:
    sizes = dict.fromkeys(trace.spans, 0)
    for span in reversed(trace.spans):
        if span.parent is not None:
            sizes[span.parent] += sizes[span] + 1
    return sizes


def _row(span: Span, trace: Trace, shape: Shape, zoom: Zoom, below: int, found: set[Span] | None) -> Row:
    left = width = ""
    if span.start is not None and trace.start is not None:
        left, width = _bar(span.start - trace.start - zoom.start, span.length, zoom.end - zoom.start)
    return Row(
        span=span,
        left=left,
        width=width,
        duration="" if span.start is None else length(span.length),
        marks=_marks(span, trace, zoom, max(min(_MARKS // shape.most, _MOST_MARKS), 1)),
        below=below,
        folded=bool(below) and _is_folded(span, shape),
        found=found is None or span in found,
        indent=min(span.depth, _INDENTED),
    )


def _bar(start: int, lasting: int, total: int) -> tuple[str, str]:
    """Where a bar begins and how wide it is, in per cent; empty where all of it is out of sight."""
    if start > total or start + lasting < 0:
        return "", ""
    left = min(max(_share(start, total), 0), 100 - _LEAST_WIDTH)
    width = max(_share(min(start + lasting, total), total) - left, _LEAST_WIDTH)
    return f"{left:.2f}", f"{min(width, 100 - left):.2f}"


def _marks(span: Span, trace: Trace, zoom: Zoom, most: int) -> list[tuple[str, str]]:
    """The events that are in sight, some of them where there are very many."""
    marks: dict[str, str] = {}
    for event in span.events():
        at = nanoseconds(inside(event, "timestamp"))
        if at is None or trace.start is None or len(marks) >= most:
            continue
        place = _share(at - trace.start - zoom.start, zoom.end - zoom.start)
        if 0 <= place <= 100:
            marks.setdefault(f"{place:.1f}", event_words(event, span))
    return list(marks.items())


def event_words(event: Any, span: Span) -> str:
    """The name of an event, and how long after the span's start it was."""
    name = line(inside(event, "name", event))
    at = nanoseconds(inside(event, "timestamp"))
    return name if at is None or span.start is None else f"{name} +{length(max(at - span.start, 0))}"


def _share(part: float, whole: float) -> float:
    return 100 * part / whole if whole > 0 else 0.0


def _offset(text: str | None) -> int | None:
    return round(float(text) * _MS) if text and _OFFSET.fullmatch(text) else None
