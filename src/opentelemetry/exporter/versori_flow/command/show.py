"""`versori-flow show`: a flow as trees."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.text import Text

from .platform_api import AsJson, BaseUrl, opened
from .terminal import console
from .tree import count, flow_trees, plain, span_count, start_of, traces_of


def show(
    flow: Annotated[str, typer.Argument(help="The flow's name.")],
    traces: Annotated[int, typer.Option(min=1, help="How many traces: the newest.")] = 5,
    everything: Annotated[bool, typer.Option("--all", help="All traces of the flow.")] = False,
    as_json: AsJson = False,
    base_url: BaseUrl = None,
) -> None:
    """Show a flow as a tree, its newest trace last.

    The VERSORI_ variables say where it is, as for the exporter, then the files of Versori's own CLI. Without
    credentials it is a local platform.
    """
    with opened(base_url) as project:
        document = project.flow(flow)
    newest = None if everything else traces
    if as_json:
        found = sorted(traces_of(document.get("spans")).values(), key=lambda spans: min(map(start_of, spans)))
        document["spans"] = [span for spans in found[-newest if newest else 0 :] for span in spans]
        typer.echo(json.dumps(document, indent=2))
        return
    out = console()
    trees, left_out = flow_trees(document, newest=newest, levels=out.width // 8)
    for tree in trees:
        out.print(tree)
        out.print()
    line = f"{plain(document.get('name', flow))}: {count(span_count(document), 'span')}"
    if left_out:
        line += f"; {count(left_out, 'older trace')} not shown (--all shows all)"
    out.print(Text(line, style="dim"))
