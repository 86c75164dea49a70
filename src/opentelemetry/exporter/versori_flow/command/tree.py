"""A stored flow as a tree for the terminal. Pure: what the platform holds in, what Rich prints out.

A flow may hold anything: other writers' spans of any shape, parents that have aged out or form a circle.
Every span is shown once, and no text of a span reaches the terminal as markup or as a control sequence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.text import Text
from rich.tree import Tree

_TO_MILLISECONDS = len("2026-03-01T10:00:00.000")
_LONGEST = 200  # characters shown of one text


@dataclass(slots=True, eq=False)
class _Node:
    """One span, and what was found about its place."""

    span: Mapping[str, Any]
    parent: _Node | None = None
    children: list[_Node] = field(default_factory=list)
    note: str = ""

    @property
    def start(self) -> str:
        return str(self.span.get("startTime") or "")


def flow_trees(
    flow: Mapping[str, Any], *, newest: int | None = None, levels: int = 12
) -> tuple[list[Tree], int]:
    """Draws the traces of a flow, the newest one last.

    Args:
        flow: The flow as the platform stores it, decoded.
        newest: How many traces at most; None for all of them.
        levels: How many levels are indented, by four columns each; what lies deeper stands on the last.

    Returns:
        The trees, and how many older traces were left out.
    """
    traces = sorted(_traces(flow.get("spans")).items(), key=lambda item: min(node.start for node in item[1]))
    left_out = 0 if newest is None else max(0, len(traces) - newest)
    return [_draw_trace(trace_id, nodes, levels) for trace_id, nodes in traces[left_out:]], left_out


def span_count(flow: Mapping[str, Any]) -> int:
    """How many spans the flow holds; `spans: null` is an empty list."""
    spans = flow.get("spans")
    return len(spans) if isinstance(spans, list) else 0


def _traces(spans: object) -> dict[str, list[_Node]]:
    traces: dict[str, list[_Node]] = {}
    for span in spans if isinstance(spans, list) else []:
        node = _Node(span) if isinstance(span, dict) else _Node({"name": str(span)}, note="not a span")
        traces.setdefault(_identity(node.span.get("spanContext"), "traceId"), []).append(node)
    return traces


def _identity(context: object, key: str) -> str:
    return str(context.get(key) or "") if isinstance(context, dict) else ""


def _parent(span: Mapping[str, Any]) -> str:
    """The parent's id, under either spelling of the API description."""
    spellings = ("parentSpanContext", "parentSpanContenxt")
    return next(filter(None, (_identity(span.get(name), "spanId") for name in spellings)), "")


def _draw_trace(trace_id: str, nodes: list[_Node], levels: int) -> Tree:
    roots = _link(nodes)
    services = {_attributes(node.span).get("service.name") for node in nodes}
    title = Text("trace ", style="bold")
    title.append(plain(trace_id) or "without an id", style="cyan")
    started = plain(min(node.start for node in nodes))[:_TO_MILLISECONDS].replace("T", " ")
    title.append(f"  {started}", style="dim")
    title.append(f"  {len(nodes)} span{'' if len(nodes) == 1 else 's'}", style="dim")
    tree = Tree(title, guide_style="dim")
    waiting = [(tree, node, 1) for node in reversed(roots)]
    while waiting:
        above, node, depth = waiting.pop()
        branch = above.add(_line(node, with_service=len(services) > 1))
        for event in _events(node.span):
            branch.add(event)
        below = branch if depth < levels else above
        waiting.extend((below, child, depth + 1) for child in reversed(node.children))
    return tree


def _link(nodes: list[_Node]) -> list[_Node]:
    """Hangs each node under its parent and returns those that have none here, by start time."""
    nodes.sort(key=lambda node: node.start)
    known: dict[str, _Node] = {}
    for node in nodes:
        known.setdefault(_identity(node.span.get("spanContext"), "spanId"), node)
    roots = []
    for node in nodes:
        parent = _parent(node.span)
        if parent and parent in known and known[parent] is not node:
            node.parent = known[parent]
            node.parent.children.append(node)
        else:
            if parent:
                node.note = f"its parent is {'itself' if parent in known else 'not in the flow'}"
            roots.append(node)
    _break_circles(nodes, roots)
    return roots


def _break_circles(nodes: list[_Node], roots: list[_Node]) -> None:
    """Makes a root of the earliest span of each circle of parents, which no root leads to."""
    reached = {id(node) for root in roots for node in _walk(root)}
    for node in nodes:
        if id(node) in reached or node.parent is None:
            continue
        node.parent.children.remove(node)
        node.note = "its parents form a circle"
        roots.append(node)
        reached.update(id(found) for found in _walk(node))


def _walk(root: _Node) -> Iterator[_Node]:
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(node.children)


def _line(node: _Node, *, with_service: bool) -> Text:
    span = node.span
    failed = _failed(span)
    line = Text(plain(span.get("name")) or "(no name)", style="bold red" if failed else "bold")
    line.append(f"  {_duration(span)}", style="yellow")
    attributes = _attributes(span)
    if with_service and "service.name" in attributes:
        line.append(f"  {plain(attributes['service.name'])}", style="magenta")
    if failed:
        line.append(f"  ERROR {_error_message(span)}".rstrip(), style="red")
    if node.note:
        line.append(f"  ({node.note})", style="dim italic")
    return line


def _failed(span: Mapping[str, Any]) -> bool:
    status = span.get("status")
    return isinstance(status, dict) and status.get("code") == 1


def _error_message(span: Mapping[str, Any]) -> str:
    return plain(_attributes(span).get("otel.status_description"))


def _duration(span: Mapping[str, Any]) -> str:
    if span.get("ended") is False:
        return "not ended"
    duration = span.get("duration")
    if isinstance(duration, bool) or not isinstance(duration, (int, float)):
        return "? ms"
    if duration >= 1000:
        return f"{duration / 1000:.2f} s"
    return f"{duration:.2f} ms" if duration >= 1 else f"{duration:.3f} ms"


def _events(span: Mapping[str, Any]) -> Iterator[Text]:
    events = span.get("events")
    for event in events if isinstance(events, list) else []:
        if not isinstance(event, dict):
            continue
        attributes = _attributes(event)
        if "exception.type" in attributes or "exception.message" in attributes:
            kind, message = attributes.get("exception.type"), attributes.get("exception.message")
            yield Text(f"! {': '.join(filter(None, (plain(kind), plain(message))))}", style="red")
        else:
            line = Text(f"* {plain(event.get('name'))}", style="blue")
            line.append("".join(_pairs(attributes.items())), style="dim")
            yield line


def _pairs(items: Iterable[tuple[str, object]]) -> Iterator[str]:
    return (f"  {plain(key)}={plain(value)}" for key, value in items)


def _attributes(owner: Mapping[str, Any]) -> Mapping[str, Any]:
    attributes = owner.get("attributes")
    return attributes if isinstance(attributes, dict) else {}


def plain(value: object) -> str:
    """Text that a terminal shows and never obeys: one line, no control characters, not too long."""
    text = "" if value is None else str(value)
    if len(text) > _LONGEST:
        text = text[: _LONGEST - 1] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
