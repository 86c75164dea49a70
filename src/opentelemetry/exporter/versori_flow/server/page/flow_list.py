"""The list of flows: what it says of each, which ones it shows, and in which order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from ..saved_flows import SavedFlow
from .links import Links, list_address, number
from .model import is_error, trace_id
from .search import Search
from .text import ago, bytes_size, line, token

# More take a browser longer than they take a reader; the search and the order are over all of them.
_ROWS = 200


class Counts(NamedTuple):
    """What a flow holds."""

    spans: int
    traces: int
    errors: int


class Line(NamedTuple):
    """What the list says of a flow; `found` counts the spans that were searched for."""

    flow: SavedFlow
    counts: Counts
    found: int
    parameters: dict[str, str]

    @property
    def name(self) -> str:
        """Its name for people."""
        return line(self.flow.address.name) or "(no name)"

    @property
    def link(self) -> str:
        """Where it is shown, with what was searched for."""
        return Links(self.flow.address, self.parameters)()

    @property
    def id(self) -> str:
        """Names its row in the page."""
        return token("\0".join(self.flow.address))

    @property
    def size(self) -> str:
        """Its size for people."""
        return bytes_size(len(self.flow.raw))

    @property
    def changed(self) -> str:
        """When it was stored."""
        return moment_of(self.flow)

    @property
    def ago(self) -> str:
        """How long ago that was."""
        return ago(time.time() - self.flow.changed_at)


_ORDERS: dict[str, Callable[[Line], Any]] = {
    "name": lambda line: line.name.casefold(),
    "seen": lambda line: line.flow.changed_at,
    "traces": lambda line: line.counts.traces,
    "spans": lambda line: line.counts.spans,
    "errors": lambda line: line.counts.errors,
    "size": lambda line: len(line.flow.raw),
    "project": lambda line: line.flow.address.project_id,
}
# What people look for first: names from A, everything else from its largest.
_UPWARDS = ("name", "project")


class FlowList:
    """Draws up the list; remembers what it has counted for as long as a flow stays as it is."""

    def __init__(self) -> None:
        self._counts: WeakKeyDictionary[SavedFlow, Counts] = WeakKeyDictionary()

    def counts(self, flow: SavedFlow) -> Counts:
        """What a flow holds."""
        found = self._counts.get(flow)
        if found is None:
            spans = flow.spans
            found = Counts(len(spans), len({trace_id(span) for span in spans}), sum(map(is_error, spans)))
            self._counts[flow] = found
        return found

    def screen(self, flows: Iterable[SavedFlow], parameters: Mapping[str, str]) -> dict[str, Any]:
        """What the template of the list takes."""
        flows = list(flows)
        search, order = Search.read(parameters), parameters.get("sort", "seen")
        order = order if order in _ORDERS else "seen"
        most = number(parameters.get("rows")) or _ROWS
        backwards = (parameters.get("dir") or ("asc" if order in _UPWARDS else "desc")) == "desc"
        lines = [line for flow in flows if (line := self._line(flow, search)) is not None]
        lines.sort(key=_ORDERS[order], reverse=backwards)
        return {
            "lines": lines[:most],
            "more": max(len(lines) - most, 0),
            "more_link": list_address({**search.parameters(), **_order(parameters), "rows": str(most * 5)}),
            "all": len(flows),
            # One alone says nothing.
            "projects": len({flow.address[:2] for flow in flows}),
            "search": search,
            "order": order,
            "backwards": backwards,
            "sort_link": lambda column: _sort_link(column, order, backwards, search),
        }

    def _line(self, flow: SavedFlow, search: Search) -> Line | None:
        found = 0
        if search:
            found = sum(map(search.finds, flow.spans))
            # A flow's own name is looked for too.
            only_words = search.words and not (search.pairs or search.error or search.least_length)
            named = only_words and all(word in flow.address.name.casefold() for word in search.words)
            if not found and not named:
                return None
        # Where only the flow's name was found there is nothing to search for inside.
        return Line(flow, self.counts(flow), found, search.parameters() if found else {})


def _order(parameters: Mapping[str, str]) -> dict[str, str]:
    return {name: parameters[name] for name in ("sort", "dir") if parameters.get(name)}


def moment_of(flow: SavedFlow) -> str:
    """When a flow was stored, for people."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(flow.changed_at))


def _sort_link(column: str, order: str, backwards: bool, search: Search) -> str:
    first = "asc" if column in _UPWARDS else "desc"
    other = ("asc" if backwards else "desc") if column == order else first
    return list_address({**search.parameters(), "sort": column, "dir": other})
