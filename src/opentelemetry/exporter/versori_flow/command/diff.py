"""`versori-flow diff`: what changed between two traces of a flow, or between two flows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from statistics import median
from typing import Annotated, Any, NamedTuple

import typer
from rich.table import Table
from rich.text import Text

from .platform_api import AsJson, BaseUrl, Flow, opened
from .terminal import console, fail
from .tree import duration_text, has_failed, parents_of, plain, span_id, start_of, traces_of

_LEAST = 1.0  # milliseconds: below it, and below a fifth, a difference is noise
_SHARE = 0.2
_STYLES = {"came": "green", "went": "red", "slower": "yellow", "faster": "cyan", "errors": "bold red"}


class Kind(NamedTuple):
    """All spans of one name under the same parents' names.

    Attributes:
        number: How many there are.
        duration: The median of their durations, in milliseconds; None where none is known.
        errors: How many failed.
    """

    number: int
    duration: float | None
    errors: int


class Change(NamedTuple):
    """What became of the spans of one kind; the path leads to them from their root."""

    path: tuple[str, ...]
    what: tuple[str, ...]
    before: Kind | None
    after: Kind | None


def compare(before: Sequence[Any], after: Sequence[Any]) -> list[Change]:
    """Compares spans by their place in the tree: the names from the root down to them.

    Args:
        before: Spans of one or several traces.
        after: As many as there are.
    """
    old, new = _kinds(before), _kinds(after)
    places = ((path, old.get(path), new.get(path)) for path in _in_order(new, old))
    return [Change(path, _what(was, now), was, now) for path, was, now in places]


def diff(
    flow: Annotated[str, typer.Argument(help="The flow's name.")],
    other: Annotated[str | None, typer.Argument(help="Another flow, to compare all of both.")] = None,
    trace: Annotated[
        list[str] | None,
        typer.Option(help="The trace to compare, by the beginning of its id; twice: first with second."),
    ] = None,
    as_json: AsJson = False,
    base_url: BaseUrl = None,
) -> None:
    """Say which spans came, went, became slower or faster, or failed: in two traces of a flow, or in two flows.

    Without --trace it compares the newest trace of the flow with the one before it; with one, that one with the
    newest. Spans are matched by their names and those of their parents; durations are medians.
    """
    with opened(base_url) as project:
        document = project.flow(flow)
        second = None if other is None else project.flow(other)
    if second is not None:
        if trace:
            fail("--trace is for two traces of one flow: leave it out, or the second flow")
        names, sides = (flow, str(other)), (_all(document), _all(second))
    else:
        (first_id, first), (second_id, later) = _two_traces(document, flow, trace or [])
        names, sides = (first_id, second_id), (first, later)
    changes = compare(*sides)
    if as_json:
        typer.echo(json.dumps(_as_json(names, changes), indent=2))
    else:
        _print(names, changes)


def _two_traces(document: Flow, flow: str, wanted: list[str]) -> list[tuple[str, list[Any]]]:
    found = sorted(traces_of(document.get("spans")).items(), key=lambda item: min(map(start_of, item[1])))
    chosen = []
    for beginning in wanted:
        matching = [item for item in found if item[0].startswith(beginning.lower())]
        if len(matching) != 1:
            fail(
                f"{len(matching) or 'no'} traces of {plain(flow)!r} begin with {beginning!r}: "
                "write an id as `versori-flow show` has it"
            )
        chosen += matching
    if len(chosen) > 2:
        fail("two traces can be compared: give --trace twice at most")
    rest = [item for item in found if item not in chosen]
    chosen += rest[len(rest) - (2 - len(chosen)) :] if len(chosen) < 2 else []
    if len(chosen) < 2:
        fail(f"{plain(flow)!r} has {len(found)} trace: it takes two to compare, or another flow")
    return chosen


def _all(document: Flow) -> list[Any]:
    return [span for spans in traces_of(document.get("spans")).values() for span in spans]


def _kinds(spans: Sequence[Any]) -> dict[tuple[str, ...], Kind]:
    grouped: dict[tuple[str, ...], list[Any]] = {}
    for trace in traces_of(list(spans)).values():
        tops, children = parents_of(sorted(trace, key=start_of))
        waiting: list[tuple[Any, tuple[str, ...]]]
        waiting = [(span, (str(span.get("name")),)) for span, _ in reversed(tops)]
        while waiting:
            span, path = waiting.pop()
            grouped.setdefault(path, []).append(span)
            below = children.pop(span_id(span), [])
            waiting += [(child, (*path, str(child.get("name")))) for child in reversed(below)]
        for circle in children.values():  # what hangs on no root
            for span in circle:
                grouped.setdefault((str(span.get("name")),), []).append(span)
    return {path: _kind(found) for path, found in grouped.items()}


def _kind(spans: list[Any]) -> Kind:
    durations = [
        span["duration"]
        for span in spans
        if isinstance(span.get("duration"), (int, float)) and not isinstance(span["duration"], bool)
    ]
    return Kind(len(spans), median(durations) if durations else None, sum(map(has_failed, spans)))


def _in_order(new: dict[tuple[str, ...], Kind], old: dict[tuple[str, ...], Kind]) -> list[tuple[str, ...]]:
    """The paths of both, what went behind its former siblings."""
    last: dict[tuple[str, ...], tuple[str, ...]] = {}  # of the new paths that begin so
    for path in reversed(new):
        above = path
        while above not in last:
            last[above] = path
            above = above[:-1]
    behind: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for path in reversed(old):
        if path not in new:
            above = path[:-1]
            behind.setdefault(last.get(above, above), []).append(path)
    order, waiting = [], [*reversed(new)] or behind.pop((), [])
    while waiting:
        path = waiting.pop()
        order.append(path)
        # What hangs on a deeper path stands nearer to it.
        waiting += sorted(behind.get(path, []), key=len)
    return order


def _what(before: Kind | None, after: Kind | None) -> tuple[str, ...]:
    if before is None or after is None:
        return ("came",) if before is None else ("went",)
    said = []
    if before.duration is not None and after.duration is not None:
        more = after.duration - before.duration
        if abs(more) >= max(_LEAST, _SHARE * before.duration):
            said.append("slower" if more > 0 else "faster")
    if before.errors != after.errors:
        said.append("errors")
    if before.number != after.number:
        said.append("count")
    return tuple(said)


def _as_json(names: Sequence[str], changes: list[Change]) -> dict[str, Any]:
    spans = [
        {
            "path": change.path,
            "what": change.what,
            "before": change.before and change.before._asdict(),
            "after": change.after and change.after._asdict(),
        }
        for change in changes
    ]
    return {"before": names[0], "after": names[1], "spans": spans}


def _print(names: Sequence[str], changes: list[Change]) -> None:
    out = console()
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("what", "span"):
        table.add_column(heading, overflow="fold")
    for name in names:
        table.add_column(plain(name)[:16], justify="right")
    for change in changes:
        what = ", ".join(change.what)
        style = _STYLES.get(change.what[0], "") if change.what else "dim"
        indent = "  " * min(len(change.path) - 1, out.width // 8)
        table.add_row(
            Text(what, style=style),
            Text(indent + (plain(change.path[-1]) or "(no name)"), style=style),
            *(_side(kind) for kind in (change.before, change.after)),
        )
    out.print(table)
    counts = {what: sum(what in change.what for change in changes) for what in _STYLES}
    said = ", ".join(f"{number} {what}" for what, number in counts.items() if number)
    out.print(Text(said or "no difference", style="dim"))


def _side(kind: Kind | None) -> Text:
    if kind is None:
        return Text("-", style="dim")
    text = Text(duration_text(kind.duration))
    if kind.number > 1:
        text.append(f" x{kind.number}", style="dim")
    if kind.errors:
        text.append(f" {kind.errors} ERROR", style="red")
    return text
