"""`versori-flow show`: a flow as trees."""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from . import launch
from .terminal import console, fail
from .tree import count, flow_trees, plain, span_count
from .versori_cli import credentials

if TYPE_CHECKING:
    from ..http.answers import Answer
    from ..settings.load import Settings

_MOST_DIGITS = 300  # Python refuses to convert thousands


def show(
    flow: Annotated[str, typer.Argument(help="The flow's name.")],
    traces: Annotated[int, typer.Option(min=1, help="How many traces: the newest.")] = 5,
    everything: Annotated[bool, typer.Option("--all", help="All traces of the flow.")] = False,
    base_url: Annotated[str | None, typer.Option(help="The API. Default: VERSORI_API_BASE_URL.")] = None,
) -> None:
    """Show a flow as a tree, its newest trace last.

    The VERSORI_ variables say where it is, as for the exporter, then the files of Versori's own CLI. Without
    credentials it is a local platform.
    """
    from ..settings.load import ConfigurationError

    try:
        settings = _show_settings(base_url)
    except ConfigurationError as error:
        fail("\n".join(error.problems))
    document = _read_flow(flow, settings)
    out = console()
    trees, left_out = flow_trees(document, newest=None if everything else traces, levels=out.width // 8)
    for tree in trees:
        out.print(tree)
        out.print()
    line = f"{plain(document.get('name', flow))}: {count(span_count(document), 'span')}"
    if left_out:
        line += f"; {count(left_out, 'older trace')} not shown (--all shows all)"
    out.print(Text(line, style="dim"))


def _show_settings(base_url: str | None) -> Settings:
    """The exporter's settings; those of a local platform where the variables name no other."""
    from ..settings.load import load_settings

    environ = {**os.environ, **({launch.BASE_URL: base_url} if base_url else {})}
    url = launch.local_url({**environ, **credentials(environ)}, launch.LOCAL_URL)
    return load_settings({"base_url": base_url} if url is None else launch.local_settings(url), True)


def _read_flow(name: str, settings: Settings) -> dict[str, Any]:
    """The stored flow; what keeps it from being read ends the command with one line."""
    from ..http import answers, api
    from ..http.credentials import Credentials

    client = api.FlowsApi(settings, Credentials(settings))
    with contextlib.closing(client):
        answer = client.get(name, time.monotonic() + settings.timeout)
    if not isinstance(answer, answers.Found):
        fail(_why_not(answer, name, settings))
    document = None
    with contextlib.suppress(ValueError, RecursionError):
        document = json.loads(answer.body, parse_int=lambda n: n if len(n) > _MOST_DIGITS else int(n))
    if not isinstance(document, dict):
        fail(f"what the platform has as {name!r} is not a flow")
    return document


def _why_not(answer: Answer, name: str, settings: Settings) -> str:
    """Why there is no flow to show, and what to do about it."""
    from ..http import answers

    message = getattr(answer, "message", "")
    match answer:
        case answers.Absent():
            return f"there is no flow {name!r} at {settings.base_url}"
        case answers.Denied(status=status):
            return f"the platform refuses the key ({status}): {message}"
        case answers.Unavailable(answered=False) if settings.base_url == launch.LOCAL_URL:
            return (
                f"no local platform answers at {launch.LOCAL_URL} ({message}): start one by `versori-flow serve`, "
                f"or set {', '.join(launch.REQUIRED)}"
            )
        case _:
            return f"{settings.base_url} does not give the flow: {message}"
