"""The command `versori-flow`: `run` a program, `show` a flow, `serve` the local platform, ask the `doctor`."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from ..version import __version__
from . import launch as _launch
from .doctor import doctor
from .store import store
from .terminal import console, fail, say
from .tree import count, flow_trees, plain, span_count
from .versori_cli import credentials

if TYPE_CHECKING:
    from ..http.answers import Answer
    from ..settings.load import Settings

LOCAL_HOST = "127.0.0.1"
LOCAL_PORT = 8901  # the API description's own for development
LOCAL_URL = f"http://{LOCAL_HOST}:{LOCAL_PORT}"
_MOST_DIGITS = 300  # Python refuses to convert thousands

app = typer.Typer(
    name="versori-flow",
    help="Traces of Python programs as Versori flows.",
    no_args_is_help=True,
    add_completion=False,
    # What goes wrong is said in a line; a traceback with local variables could show a key.
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


app.add_typer(store, name="store")
app.command()(doctor)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"versori-flow {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
def serve(
    host: Annotated[
        str, typer.Option(help="Where to listen; anything but loopback lets others in.")
    ] = LOCAL_HOST,
    port: Annotated[int, typer.Option(help="The port; 0 takes any.")] = LOCAL_PORT,
    data: Annotated[Path | None, typer.Option(help="Keep the flows in this folder, not in memory.")] = None,
    key: Annotated[
        str | None,
        typer.Option(
            # Other users of this host can read the command line.
            envvar="VERSORI_FLOW_SERVE_KEY",
            help="The only API key to let in. Default: any.",
        ),
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(help="A fault, e.g. status=503,share=0.3; repeatable; `help` lists all."),
    ] = None,
    allow_host: Annotated[list[str] | None, typer.Option(help="One more name to be asked by.")] = None,
) -> None:
    """Serve a local platform: the flows' API, and a page that shows them."""
    from .. import server

    try:
        server.serve(host, port, data, key, fault or [], allowed_hosts=allow_host or [])
    except ValueError as error:
        fail(str(error))


@app.command(context_settings={"allow_interspersed_args": False})
def run(
    command: Annotated[list[str], typer.Argument(metavar="PROGRAM", help="What to start.")],
    service_name: Annotated[
        str | None, typer.Option(help="Its service.name. Default: OTEL_SERVICE_NAME, else the file's name.")
    ] = None,
    stay: Annotated[
        bool | None,
        typer.Option(
            "--stay/--no-stay",
            help="Keep the local platform up after the program has ended. Default: at a terminal.",
        ),
    ] = None,
) -> None:
    """Start a program under auto-instrumentation: versori-flow run -- python app.py

    Variables that are set win, then the files of Versori's own CLI. Without any credentials the program gets a
    local platform of its own.
    """
    from ..settings.load import ConfigurationError

    try:
        environ = _launch.instrumented(os.environ)
        environ.update(credentials(environ))
        if service_name is not None:
            environ["OTEL_SERVICE_NAME"] = service_name
        elif not _launch.names_service(environ):
            environ["OTEL_SERVICE_NAME"] = name = _launch.service_name(command)
            say(f"the service is called {name!r}, as OTEL_SERVICE_NAME is not set")
        url = _launch.local_url(environ, LOCAL_URL)
        if url is not None and not environ.get(_launch.BASE_URL):
            if stay is None:
                stay = sys.stdin.isatty() and sys.stderr.isatty()
            raise typer.Exit(_run_locally(command, environ, stay=stay))
        _launch.replace_process(command, {**environ, **(_launch.local_credentials(url) if url else {})})
    except _launch.LaunchError as error:
        fail(str(error), error.status)
    except ConfigurationError as error:
        fail("\n".join(error.problems))


@app.command()
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

    environ = {**os.environ, **({_launch.BASE_URL: base_url} if base_url else {})}
    url = _launch.local_url({**environ, **credentials(environ)}, LOCAL_URL)
    return load_settings({"base_url": base_url} if url is None else _launch.local_settings(url), True)


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
        case answers.Unavailable(answered=False) if settings.base_url == LOCAL_URL:
            return (
                f"no local platform answers at {LOCAL_URL} ({message}): start one by `versori-flow serve`, "
                f"or set {', '.join(_launch.REQUIRED)}"
            )
        case _:
            return f"{settings.base_url} does not give the flow: {message}"


def _run_locally(command: list[str], environ: dict[str, str], *, stay: bool) -> int:
    """Runs the program with a platform in this process, and says what arrived there."""
    from ..server import LocalPlatform

    port = LOCAL_PORT if _launch.is_free(LOCAL_PORT) else 0
    with LocalPlatform(key=_launch.LOCAL_KEY, port=port) as platform:
        say(f"no VERSORI_ credentials are set: the flows are at {platform.url}")
        status = _launch.run_child(command, {**environ, **_launch.local_credentials(platform.url)})
        # The status is the program's own, whenever the Ctrl-C comes.
        with contextlib.suppress(KeyboardInterrupt):
            for name in platform.names():
                say(f"{count(len(platform.spans(name)), 'span')} in the flow {name!r}")
            if not platform.names():
                say("no span arrived")
            if stay:
                say(f"the page stays at {platform.url} until Ctrl-C")
            while stay:
                time.sleep(1.0)  # a wait without end misses a signal that comes as it begins
    return status
