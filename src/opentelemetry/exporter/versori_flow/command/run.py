"""`versori-flow run`: a program under auto-instrumentation."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import webbrowser
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from ..settings.load import SAY_AT_END
from . import launch
from .local import start_platform
from .platform_api import Flow, Project
from .terminal import fail, path, say
from .tree import count, plain, span_id, traces_of
from .versori_cli import credentials


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
    data: Annotated[
        Path | None,
        typer.Option(parser=path, help="Start a local platform that keeps its flows in this folder."),
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Start a local platform on this port; 0 takes any.")
    ] = None,
    show_page: Annotated[bool, typer.Option("--open", help="Open the platform's page in a browser.")] = False,
) -> None:
    """Start a program under auto-instrumentation: versori-flow run -- python app.py

    Variables that are set win, then the files of Versori's own CLI. Without any credentials the flows go to the
    local platform that runs on port 8901, else to one that is started for the program.
    """
    from ..settings.load import ConfigurationError

    try:
        environ = launch.instrumented(os.environ)
        environ.update(credentials(environ))
        url = launch.local_url(environ, launch.LOCAL_URL)
        if url is None:
            _check(environ)
        if service_name is not None:
            environ["OTEL_SERVICE_NAME"] = service_name
        elif not launch.names_service(environ):
            environ["OTEL_SERVICE_NAME"] = name = launch.service_name(command)
            say(f"the service is called {name!r}, as OTEL_SERVICE_NAME is not set")
        own, named = data is not None or port is not None, bool(environ.get(launch.BASE_URL, "").strip())
        if url is None or (own and named):
            if own:
                fail("--data and --port are for a local platform, and the variables name another: unset them")
            # The program takes this process' place, so that it is the exporter that says how many spans went where.
            launch.replace_process(command, {SAY_AT_END: "true", **environ})
            return
        if stay is None:
            stay = sys.stdin.isatty() and sys.stderr.isatty()
        running = None if own else Project.running(url, named=named)
        if running is not None:
            status = _run_beside(command, environ, *running, show_page=show_page)
        else:
            status = _run_locally(command, environ, data, port, stay=stay, show_page=show_page)
        raise typer.Exit(status)
    except launch.LaunchError as error:
        fail(str(error), error.status)
    except ConfigurationError as error:
        fail("\n".join(error.problems))


def _check(environ: dict[str, str]) -> None:
    """Raises what keeps the exporter from being made: the program would run untraced."""
    from ..settings.load import load_settings

    exporters = environ.get("OTEL_TRACES_EXPORTER", "").split(",")
    if "versori_flow" in map(str.strip, exporters) and not environ.get("OTEL_CONFIG_FILE"):
        os.environ.update(environ)
        load_settings()


def _run_beside(
    command: list[str], environ: dict[str, str], project: Project, flows: list[Flow] | str, *, show_page: bool
) -> int:
    """Runs the program with a platform that runs already, and says what arrived there."""
    url = project.settings.base_url
    with contextlib.closing(project):
        say(f"the flows are on the local platform that runs at {url}")
        if show_page:
            webbrowser.open(url)
        before = _held(flows)
        status = launch.run_child(command, {**environ, **launch.local_credentials(url)})
        found = project.poll_all()
        if isinstance(found, str):
            say(f"what arrived can't be said: {url} does not answer ({found})")
        else:
            _tell(_held(found) - before)
    return status


def _run_locally(
    command: list[str],
    environ: dict[str, str],
    data: Path | None,
    port: int | None,
    *,
    stay: bool,
    show_page: bool,
) -> int:
    """Runs the program with a platform in this process, and says what arrived there."""
    with start_platform(data, port, launch.LOCAL_KEY) as platform:
        say(f"no VERSORI_ credentials are set: the flows are at {platform.page_url}")
        if show_page:
            webbrowser.open(platform.page_url)
        before = _held(platform.flows())
        status = launch.run_child(command, {**environ, **launch.local_credentials(platform.url)})
        # The status is the program's own, whenever the Ctrl-C comes.
        with contextlib.suppress(KeyboardInterrupt):
            _tell(_held(platform.flows()) - before)
            if stay:
                say(f"the page stays at {platform.page_url} until Ctrl-C")
            while stay:
                time.sleep(1.0)  # a wait without end misses a signal that comes as it begins
    return status


def _held(flows: Iterable[Flow] | str) -> set[tuple[str, str, str]]:
    """Each span by its flow and its ids: in a full flow as many leave as arrive."""
    return {
        (str(flow.get("name", "")), trace_id, span_id(span))
        for flow in ([] if isinstance(flows, str) else flows)
        for trace_id, spans in traces_of(flow.get("spans")).items()
        for span in spans
    }


def _tell(arrived: set[tuple[str, str, str]]) -> None:
    for name, spans in Counter(sorted(flow for flow, _, _ in arrived)).items():
        say(f"{count(spans, 'span')} in the flow {plain(name)!r}")
    if not arrived:
        say("no span arrived")
