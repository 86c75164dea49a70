"""Which span calls which: a flow's spans by service and name, with what the calls between them took."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from .model import Trace

# Beyond these the picture helps nobody; the table has them all.
_MOST_IN_PICTURE = 40
_WIDTH, _HEIGHT, _ACROSS, _DOWN = 200, 66, 250, 84


class Name(NamedTuple):
    """What a kind of span goes by."""

    service: str
    name: str


@dataclass(slots=True)
class Calls:
    """The spans of one kind, or those of one kind that another kind calls."""

    lengths: list[int] = field(default_factory=list)
    errors: int = 0

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.lengths)

    def percentile(self, share: int) -> int:
        """The nearest rank, in nanoseconds."""
        ordered = sorted(self.lengths)
        return ordered[max(-(-share * len(ordered) // 100) - 1, 0)]


class Box(NamedTuple):
    """One kind of span in the picture."""

    name: Name
    calls: Calls
    x: int
    y: int


class Line(NamedTuple):
    """One kind of call in the picture, as the path of a curve."""

    caller: Name
    called: Name
    calls: Calls
    path: str
    x: int
    y: int


class Picture(NamedTuple):
    """The graph, drawn."""

    boxes: list[Box]
    lines: list[Line]
    width: int
    height: int
    left_out: int


class CallGraph:
    """The calls of some traces.

    Attributes:
        kinds: Every kind of span with its spans.
        edges: Caller and called, with the spans that were called; no caller where none is known.
    """

    def __init__(self, traces: Iterable[Trace]) -> None:
        self.kinds: dict[Name, Calls] = {}
        self.edges: dict[tuple[Name | None, Name], Calls] = {}
        for trace in traces:
            for span in trace.spans:
                name = Name(span.service, span.name)
                above = span.parent
                caller = None if above is None else Name(above.service, above.name)
                for calls in (
                    self.kinds.setdefault(name, Calls()),
                    self.edges.setdefault((caller, name), Calls()),
                ):
                    calls.lengths.append(span.length)
                    calls.errors += span.error

    def table(self) -> list[tuple[Name | None, Name, Calls]]:
        """All calls, the most time first."""
        rows = [(caller, called, calls) for (caller, called), calls in self.edges.items()]
        return sorted(rows, key=lambda row: -sum(row[2].lengths))

    def picture(self) -> Picture:
        """The kinds in columns, each to the right of the first that calls it."""
        often = sorted(self.kinds, key=lambda name: -self.kinds[name].count)[:_MOST_IN_PICTURE]
        columns = self._columns(set(often))
        places: dict[Name, tuple[int, int]] = {}
        for number, column in enumerate(columns):
            for row, name in enumerate(self._in_order(column, places)):
                places[name] = (12 + number * _ACROSS, 16 + row * _DOWN)
        boxes = [Box(name, self.kinds[name], *place) for name, place in places.items()]
        lines = [
            _line(caller, called, calls, places)
            for (caller, called), calls in self.edges.items()
            if caller is not None and caller in places and called in places
        ]
        height = max(map(len, columns), default=0) * _DOWN
        return Picture(boxes, lines, len(columns) * _ACROSS - 26, height + 12, len(self.kinds) - len(places))

    def _columns(self, wanted: set[Name]) -> list[list[Name]]:
        columns: list[list[Name]] = []
        placed: set[Name] = set()
        column = [called for caller, called in self.edges if caller is None and called in wanted]
        while column:
            columns.append(column)
            placed.update(column)
            called_by = (called for caller, called in self.edges if caller in column)
            column = [name for name in dict.fromkeys(called_by) if name in wanted and name not in placed]
        return columns

    def _in_order(self, column: list[Name], places: dict[Name, tuple[int, int]]) -> list[Name]:
        """Near those that call them, so that few lines cross."""

        def height(name: Name) -> float:
            above = [
                places[caller][1] for caller, called in self.edges if called == name and caller in places
            ]
            return sum(above) / len(above) if above else 0.0

        return sorted(column, key=height)


def _line(caller: Name, called: Name, calls: Calls, places: dict[Name, tuple[int, int]]) -> Line:
    x1, y1 = places[caller][0] + _WIDTH, places[caller][1] + _HEIGHT // 2
    x2, y2 = places[called][0], places[called][1] + _HEIGHT // 2
    if caller == called:
        top = y1 - _HEIGHT // 2
        path = f"M{x1 - 40} {top} c 0 -18, 30 -18, 30 0"
        return Line(caller, called, calls, path, x1 - 25, top - 2)
    bend = max((x2 - x1) // 2, 40)
    path = f"M{x1} {y1} C {x1 + bend} {y1}, {x2 - bend} {y2}, {x2} {y2}"
    return Line(caller, called, calls, path, x2 - 4, y2 - 6)


class Difference(NamedTuple):
    """One kind of span in two traces; no calls where a trace has none."""

    name: Name
    first: Calls | None
    second: Calls | None

    @property
    def longer(self) -> int:
        """Nanoseconds that the second one spends more in it."""
        return _total(self.second) - _total(self.first)


def differences(first: Trace, second: Trace) -> list[Difference]:
    """What two traces spend their time in, the largest difference first."""
    left, right = CallGraph([first]).kinds, CallGraph([second]).kinds
    found = [Difference(name, left.get(name), right.get(name)) for name in dict.fromkeys([*left, *right])]
    return sorted(found, key=lambda difference: -abs(difference.longer))


def _total(calls: Calls | None) -> int:
    return 0 if calls is None else sum(calls.lengths)
