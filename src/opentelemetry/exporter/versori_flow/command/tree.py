"""A stored flow as a tree for the terminal. Pure: what the platform holds in, what Rich prints out.

A flow may hold anything: other writers' spans of any shape, parents that have aged out or form a circle.
Every span is shown once, and no text of a span reaches the terminal as markup or as a control sequence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.text import Text
from rich.tree import Tree

_TO_MILLISECONDS = len("2026-03-01T10:00:00.000")
_LONGEST = 200  # characters shown of one text
_Span = Mapping[str, Any]


def flow_trees(
    flow: Mapping[str, Any], *, newest: int | None = None, levels: int = 12
) -> tuple[list[Tree], int]:
    """Draws the traces of a flow, the newest one last.

    Args:
        flow: The flow as the platform stores it, decoded.
        newest: How many traces at most; None for all of them.
        levels: How many levels are indented, by four columns each; what lies deeper stands on the last, and
            says its level.

    Returns:
        The trees, and how many older traces were left out.
    """
    traces = sorted(traces_of(flow.get("spans")).items(), key=lambda item: min(map(start_of, item[1])))
    left_out = 0 if newest is None else max(0, len(traces) - newest)
    return [draw_trace(trace_id, found, levels) for trace_id, found in traces[left_out:]], left_out


def span_count(flow: Mapping[str, Any]) -> int:
    """How many spans the flow holds; `spans: null` is an empty list."""
    spans = flow.get("spans")
    return len(spans) if isinstance(spans, list) else 0


def traces_of(spans: object) -> dict[str, list[_Span]]:
    """The spans by trace id; what is no span has none."""
    traces: dict[str, list[_Span]] = {}
    for found in spans if isinstance(spans, list) else []:
        span = found if isinstance(found, dict) else {"name": f"(not a span) {found}"}
        traces.setdefault(_id(span, "spanContext", "traceId"), []).append(span)
    return traces


def _id(span: _Span, context: str, key: str) -> str:
    holder = span.get(context)
    return str(holder.get(key) or "") if isinstance(holder, dict) else ""


def span_id(span: _Span) -> str:
    """Its id within the trace, or an empty text."""
    return _id(span, "spanContext", "spanId")


def has_failed(span: _Span) -> bool:
    """Whether its status is an error."""
    status = span.get("status")
    return isinstance(status, dict) and status.get("code") == 1


def start_of(span: _Span) -> str:
    """When it began, as text that sorts."""
    return str(span.get("startTime") or "")


def draw_trace(trace_id: str, spans: list[_Span], levels: int) -> Tree:
    """Draws one trace; the arguments are those of `flow_trees`."""
    spans.sort(key=start_of)
    several = len({attributes_of(span).get("service.name") for span in spans}) > 1
    title = Text("trace ", style="bold")
    title.append(plain(trace_id) or "without an id", style="cyan")
    started = plain(start_of(spans[0]))[:_TO_MILLISECONDS].replace("T", " ")
    title.append(f"  {started}  {count(len(spans), 'span')}", style="dim")
    tree = Tree(title, guide_style="dim")
    tops, children = parents_of(spans)
    drawn: set[int] = set()
    # The spans themselves come last: only those in a circle, and what hangs on them, are still to be drawn.
    for top in [*tops, *((span, "its parents form a circle") for span in spans)]:
        waiting = [(tree, *top, 1)]
        while waiting:
            above, span, note, depth = waiting.pop()
            if id(span) in drawn:
                continue
            drawn.add(id(span))
            if depth > levels and not note:
                note = f"level {depth}"
            branch = above.add(_line(span, note, with_service=several))
            for event in _events(span):
                branch.add(event)
            below = branch if depth < levels else above
            found = children.pop(span_id(span), [])
            waiting += [(below, child, "", depth + 1) for child in reversed(found)]
    return tree


def parents_of(spans: list[_Span]) -> tuple[list[tuple[_Span, str]], dict[str, list[_Span]]]:
    """The spans that stand under no other one, each with the reason where it has a parent; and the others."""
    known = {span_id(span) for span in spans}
    tops: list[tuple[_Span, str]] = []
    children: dict[str, list[_Span]] = {}
    for span in spans:
        # The API description has two spellings.
        parent = _id(span, "parentSpanContext", "spanId") or _id(span, "parentSpanContenxt", "spanId")
        if not parent:
            tops.append((span, ""))
        elif parent == span_id(span):
            tops.append((span, "its parent is itself"))
        elif parent not in known:
            tops.append((span, "its parent is not in the flow"))
        else:
            children.setdefault(parent, []).append(span)
    return tops, children


def _line(span: _Span, note: str, *, with_service: bool) -> Text:
    failed, attributes = has_failed(span), attributes_of(span)
    line = Text(plain(span.get("name")) or "(no name)", style="bold red" if failed else "bold")
    line.append(f"  {duration_text(span.get('duration'), span.get('ended'))}", style="yellow")
    if with_service and "service.name" in attributes:
        line.append(f"  {plain(attributes['service.name'])}", style="magenta")
    if failed:
        line.append(f"  ERROR {plain(attributes.get('otel.status_description'))}".rstrip(), style="red")
    if note:
        line.append(f"  ({note})", style="dim italic")
    return line


def duration_text(duration: object, ended: object = True) -> str:
    """Milliseconds, for people."""
    if ended is False:
        return "not ended"
    if isinstance(duration, bool) or not isinstance(duration, (int, float)):
        return "? ms"
    if duration >= 1000:
        return f"{duration / 1000:.2f} s"
    return f"{duration:.2f} ms" if duration >= 1 else f"{duration:.3f} ms"


def _events(span: _Span) -> Iterator[Text]:
    events = span.get("events")
    for event in events if isinstance(events, list) else []:
        if not isinstance(event, dict):
            continue
        attributes = attributes_of(event)
        if "exception.type" in attributes or "exception.message" in attributes:
            kind, message = attributes.get("exception.type"), attributes.get("exception.message")
            yield Text(f"! {': '.join(filter(None, (plain(kind), plain(message))))}", style="red")
        else:
            line = Text(f"* {plain(event.get('name'))}", style="blue")
            pairs = (f"  {plain(key)}={plain(value)}" for key, value in attributes.items())
            line.append("".join(pairs), style="dim")
            yield line


def attributes_of(owner: Mapping[str, Any]) -> Mapping[str, Any]:
    """Its attributes; none where they are something else."""
    attributes = owner.get("attributes")
    return attributes if isinstance(attributes, dict) else {}


def count(number: int, noun: str) -> str:
    """A number of things, in words."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def plain(value: object) -> str:
    """Text that a terminal shows and never obeys: one line, no control characters, not too long."""
    text = "" if value is None else str(value)
    if len(text) > _LONGEST:
        text = text[: _LONGEST - 1] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
