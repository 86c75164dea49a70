"""One flow on the screen: its traces as waterfalls, one of them alone, its calls, or two traces side by side."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from ..saved_flows import SavedFlow
from .calls import CallGraph, differences
from .links import Links, number
from .model import Span, Trace, inside, read_traces
from .search import Search
from .text import length, line, moment, plain, visible
from .waterfall import Row, Shape, Waterfall, Zoom, between, event_words, lay_out

# What a page shows before it is asked for more: a browser takes thousands of elements, not a hundred thousand.
_OPEN_ROWS = 300
_ALONE_ROWS = 500
_MOST_TRACES = 100
_MOST_TO_CHOOSE = 50
_MOST_RAW = 4_000
_KEPT = (
    *("q", "error", "least", "trace", "open", "fold", "levels", "from", "to"),
    *("rows", "traces", "in", "span", "view", "a", "b"),
)


class NoSuchTraceError(Exception):
    """The trace or the span of the address is not in the flow, or not any more."""


class Entry(NamedTuple):
    """One trace in the list; `waterfall` is None where it is closed."""

    trace: Trace
    waterfall: Waterfall | None
    found: int


class FlowScreens:
    """Draws up the screens of flows; remembers the traces of the latest."""

    def __init__(self) -> None:
        self._traces = lru_cache(maxsize=16)(_traces)

    def screen(self, flow: SavedFlow, query: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
        """The name of a template, and what it takes.

        Raises:
            NoSuchTraceError: The address names a trace that is not there.
        """
        parameters = _parameters(query)
        links, search = Links(flow.address, parameters), Search.read(parameters)
        traces = self._traces(flow)
        values: dict[str, Any] = {
            "flow": flow,
            "name": line(flow.address.name) or "(no name)",
            "description": visible((flow.document or {}).get("description") or ""),
            "raw": "" if flow.document else visible(flow.raw[:_MOST_RAW].decode("utf-8", "replace")),
            "search": search,
            "view": parameters.get("view", ""),
            "traces": traces,
            **self.panel(flow, query),
        }
        if values["view"] == "calls":
            graph = CallGraph(_searched(traces, search))
            return "calls.html", {**values, "graph": graph, "picture": graph.picture()}
        if values["view"] == "compare":
            return "compare.html", {**values, **_compared(traces, parameters)}
        if "trace" in parameters:
            trace = _wanted(traces, parameters["trace"])
            shape = _shape(parameters, search, _ALONE_ROWS)._replace(wanted=parameters.get("span", ""))
            waterfall = lay_out(trace, shape, Zoom.read(parameters, trace.length))
            return "trace.html", {
                **values,
                "entry": Entry(trace, waterfall, 0),
                "links_of": _RowLinks(links, parameters),
            }
        return "flow.html", {
            **values,
            **_entries(traces, parameters, search),
            "links_of": _RowLinks(links, parameters),
        }

    def panel(self, flow: SavedFlow, query: Mapping[str, str]) -> dict[str, Any]:
        """What the template of the details takes: `span` is None where none is asked for, or it has gone."""
        links = Links(flow.address, _parameters(query))
        key, trace_key = query.get("span", ""), query.get("in") or query.get("trace", "")
        trace = next((trace for trace in self._traces(flow) if key and trace.key == trace_key), None)
        span = None if trace is None else trace.span(key)
        if trace is None or span is None:
            return {"span": None, "links": links}
        return {
            "links": links,
            "span": span,
            "span_trace": trace,
            "facts": _facts(span, trace),
            "attributes": _pairs(span.stored),
            "events": [(event_words(event, span), _pairs(event)) for event in span.events()],
            "zoom": {} if span.start is None or trace.start is None else _around(span, trace),
        }

    def find(self, flow: SavedFlow, trace_id: str, span_id: str) -> str | None:
        """The address of a trace or a span by its ids; None where the flow does not have it."""
        for trace in self._traces(flow):
            if trace_id and trace.id != trace_id:
                continue
            span = next((span for span in trace.spans if span.span_id == span_id), None) if span_id else None
            if span is not None or not span_id:
                links = Links(flow.address, {})
                if span is None:
                    return links.bare(trace=trace.key)
                return links.bare(trace=trace.key, span=span.key) + row_anchor(trace, span)
        return None


class _RowLinks:
    """The addresses on the rows of a waterfall, of which there are many."""

    def __init__(self, links: Links, parameters: Mapping[str, str]) -> None:
        self._links = links
        self._folded = _keys(parameters, "fold")
        self._stems: dict[str, str] = {}

    def span(self, trace: Trace, row: Row) -> str:
        """Shows the details of a span."""
        if trace.key not in self._stems:
            self._stems[trace.key] = self._links("/flow", **{"span": None, "in": trace.key})
        return f"{self._stems[trace.key]}&span={row.span.key}{row_anchor(trace, row.span)}"

    def fold(self, row: Row) -> str:
        """Folds a subtree away, or unfolds it."""
        folded = [key for key in self._folded if key != row.span.key]
        if len(folded) == len(self._folded):
            folded.append(row.span.key)
        return self._links(fold=",".join(folded) or None)


def row_anchor(trace: Trace, span: Span) -> str:
    """Where in its page a span's row is."""
    return f"#r-{trace.key}-{span.key}"


def _parameters(query: Mapping[str, str]) -> dict[str, str]:
    return {name: query[name] for name in _KEPT if query.get(name)}


def _traces(flow: SavedFlow) -> list[Trace]:
    return read_traces(flow.spans)


def _wanted(traces: list[Trace], key: str) -> Trace:
    for trace in traces:
        if trace.key == key:
            return trace
    raise NoSuchTraceError


def _searched(traces: list[Trace], search: Search) -> list[Trace]:
    if not search:
        return traces
    return [trace for trace in traces if any(search.finds(span.stored) for span in trace.spans)]


def _entries(traces: list[Trace], parameters: Mapping[str, str], search: Search) -> dict[str, Any]:
    """The traces of a flow: those that were asked for are open, and the newest while there is room."""
    asked = {*_keys(parameters, "open"), parameters.get("in", "")}
    most = number(parameters.get("traces")) or _MOST_TRACES
    shape = _shape(parameters, search, _OPEN_ROWS)
    found = _searched(traces, search)
    entries, rows = [], 0
    for place, trace in enumerate(found[:most]):
        opened = None
        if trace.key in asked or place == 0 or (rows and rows + len(trace.spans) <= _OPEN_ROWS):
            wanted = parameters.get("span", "") if trace.key == parameters.get("in") else ""
            opened = lay_out(trace, shape._replace(wanted=wanted), Zoom(0, trace.length))
            rows += len(opened.rows)
        matches = sum(search.finds(span.stored) for span in trace.spans) if search else 0
        entries.append(Entry(trace, opened, matches))
    return {
        "entries": entries,
        "older": len(found) - len(entries),
        "shown": len(entries),
        "found": len(found),
    }


def _compared(traces: list[Trace], parameters: Mapping[str, str]) -> dict[str, Any]:
    if len(traces) < 2:
        return {"pair": [], "differences": [], "choices": []}
    pair = [
        next((trace for trace in traces if trace.key == parameters.get(name)), otherwise)
        for name, otherwise in (("a", traces[1]), ("b", traces[0]))
    ]
    # One scale for both, so that a longer bar is a longer time.
    longest = max(trace.length for trace in pair)
    return {
        "pair": [lay_out(trace, Shape(), Zoom(0, longest)) for trace in pair],
        "differences": differences(*pair),
        "choices": list(dict.fromkeys([*traces[:_MOST_TO_CHOOSE], *pair])),
        "links_of": None,
    }


def _shape(parameters: Mapping[str, str], search: Search, most: int) -> Shape:
    rows = number(parameters.get("rows"))
    return Shape(frozenset(_keys(parameters, "fold")), number(parameters.get("levels")), search, rows or most)


def _facts(span: Span, trace: Trace) -> list[tuple[str, str, None]]:
    waited = sum(child.length for child in span.children)
    facts = [
        ("service", span.service),
        ("duration", "" if span.start is None else length(span.length)),
        ("in its children", length(waited) if waited else ""),
        ("after trace start", "" if span.start is None else length(span.start - (trace.start or 0))),
        ("start", visible(inside(span.stored, "startTime", ""))),
        ("end", visible(inside(span.stored, "endTime", ""))),
        ("trace", visible(trace.id)),
        ("span", visible(span.span_id)),
        ("parent", visible(span.parent_id)),
        ("state", "" if inside(span.stored, "ended", True) else "has not ended"),
    ]
    return [(name, text, None) for name, text in facts if text]


def _pairs(holder: Any) -> list[tuple[str, str, str | None]]:
    """Attributes, whole: name, value as it is shown, and what to copy where that is another text."""
    attributes = inside(holder, "attributes")
    if not isinstance(attributes, dict):
        return []
    return [(visible(key), *_value(value)) for key, value in attributes.items()]


def _value(value: Any) -> tuple[str, str | None]:
    text, shown = plain(value), visible(value)
    return shown, None if text == shown else text


def _around(span: Span, trace: Trace) -> dict[str, str]:
    """The part of the time line that a span takes, with a little on both sides."""
    start = (span.start or 0) - (trace.start or 0)
    margin = max(span.length / 20, 1)
    return between(max(start - margin, 0), min(start + span.length + margin, max(trace.length, 1)))


def _keys(parameters: Mapping[str, str], name: str) -> list[str]:
    return [key for key in parameters.get(name, "").split(",") if key]


def started(trace: Trace) -> str:
    """When a trace began, for people."""
    return moment(trace.start)
