"""`versori-flow run`: a program under auto-instrumentation."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import Annotated

import typer

from . import launch
from .terminal import fail, say
from .tree import count
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
) -> None:
    """Start a program under auto-instrumentation: versori-flow run -- python app.py

    Variables that are set win, then the files of Versori's own CLI. Without any credentials the program gets a
    local platform of its own.
    """
    from ..settings.load import ConfigurationError

    try:
        environ = launch.instrumented(os.environ)
        environ.update(credentials(environ))
        if service_name is not None:
            environ["OTEL_SERVICE_NAME"] = service_name
        elif not launch.names_service(environ):
            environ["OTEL_SERVICE_NAME"] = name = launch.service_name(command)
            say(f"the service is called {name!r}, as OTEL_SERVICE_NAME is not set")
        url = launch.local_url(environ, launch.LOCAL_URL)
        if url is not None and not environ.get(launch.BASE_URL):
            if stay is None:
                stay = sys.stdin.isatty() and sys.stderr.isatty()
            raise typer.Exit(_run_locally(command, environ, stay=stay))
        launch.replace_process(command, {**environ, **(launch.local_credentials(url) if url else {})})
    except launch.LaunchError as error:
        fail(str(error), error.status)
    except ConfigurationError as error:
        fail("\n".join(error.problems))


def _run_locally(command: list[str], environ: dict[str, str], *, stay: bool) -> int:
    """Runs the program with a platform in this process, and says what arrived there."""
    from ..server import LocalPlatform

    port = launch.LOCAL_PORT if launch.is_free(launch.LOCAL_PORT) else 0
    with LocalPlatform(key=launch.LOCAL_KEY, port=port) as platform:
        say(f"no VERSORI_ credentials are set: the flows are at {platform.page_url}")
        status = launch.run_child(command, {**environ, **launch.local_credentials(platform.url)})
        # The status is the program's own, whenever the Ctrl-C comes.
        with contextlib.suppress(KeyboardInterrupt):
            for name in platform.names():
                say(f"{count(len(platform.spans(name)), 'span')} in the flow {name!r}")
            if not platform.names():
                say("no span arrived")
            if stay:
                say(f"the page stays at {platform.page_url} until Ctrl-C")
            while stay:
                time.sleep(1.0)  # a wait without end misses a signal that comes as it begins
    return status
