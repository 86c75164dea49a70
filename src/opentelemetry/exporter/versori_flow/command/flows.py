"""`versori-flow list`, `delete` and `export`: a project's flows, and one of them as a file."""

from __future__ import annotations

import json
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from .otlp_json import as_otlp
from .platform_api import AsJson, BaseUrl, Flow, opened
from .terminal import confirm, console, path, say
from .tree import count, has_failed, plain, span_count, start_of, traces_of

_TO_SECONDS = len("2026-03-01T10:00:00")


class Format(str, Enum):
    """What a flow is exported as."""

    json = "json"
    otlp = "otlp"


def list_(as_json: AsJson = False, base_url: BaseUrl = None) -> None:
    """List the flows of the project: what they hold, and when they were last added to."""
    with opened(base_url) as project:
        found = sorted((_summary(flow) for flow in project.flows()), key=lambda each: each["last"])
        place = project.place
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    if not found:
        typer.echo(f"there is no flow {place}")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("flow", "traces", "spans", "errors", "newest"):
        numeric = heading in ("traces", "spans", "errors")
        table.add_column(heading, justify="right" if numeric else "left", overflow="fold")
    for each in found:
        table.add_row(
            Text(plain(each["name"])),
            str(each["traces"]),
            str(each["spans"]),
            Text(str(each["errors"]), style="red" if each["errors"] else ""),
            Text(plain(each["last"][:_TO_SECONDS]).replace("T", " ")),
        )
    console().print(table)


def delete(
    flow: Annotated[str, typer.Argument(help="The flow's name.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    base_url: BaseUrl = None,
) -> None:
    """Delete a flow, with all its spans."""
    with opened(base_url) as project:
        if not yes:
            spans = count(span_count(project.flow(flow)), "span")
            confirm(f"Delete {plain(flow)!r} with {spans}, {project.place}?")
        project.delete(flow)
    say(f"{plain(flow)!r} is deleted")


def export(
    flow: Annotated[str, typer.Argument(help="The flow's name.")],
    form: Annotated[
        Format, typer.Option("--format", help="As the platform has it, or as OTLP in JSON.")
    ] = Format.json,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", parser=path, help="A file to write to.")
    ] = None,
    base_url: BaseUrl = None,
) -> None:
    """Print a flow: its JSON as it is stored, or OTLP JSON, which other tools and `versori-flow push` read."""
    left_out: list[str] = []
    with opened(base_url) as project:
        if form is Format.json:
            written = project.raw(flow)
        else:
            document, left_out = as_otlp(project.flow(flow), project.settings.resource_attributes)
            written = json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")
    if not written.endswith(b"\n"):
        written += b"\n"
    if output is None:
        sys.stdout.buffer.write(written)
    else:
        output.write_bytes(written)
    if left_out:
        say(f"{count(len(left_out), 'span')} left out: {plain(left_out[0])}")
        raise typer.Exit(1)


def _summary(flow: Flow) -> dict[str, Any]:
    traces = traces_of(flow.get("spans"))
    spans = [span for found in traces.values() for span in found]
    return {
        "name": str(flow.get("name", "")),
        "description": flow.get("description"),
        "traces": len(traces),
        "spans": len(spans),
        "errors": sum(map(has_failed, spans)),
        "first": min(map(start_of, spans), default=""),
        "last": max(map(start_of, spans), default=""),
    }
