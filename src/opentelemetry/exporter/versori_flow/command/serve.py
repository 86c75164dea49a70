"""`versori-flow serve`: the local platform, until it is told to stop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .launch import LOCAL_HOST, LOCAL_PORT
from .terminal import fail, has_ended, path


def serve(
    host: Annotated[
        str, typer.Option(help="Where to listen; anything but loopback lets others in.")
    ] = LOCAL_HOST,
    port: Annotated[int, typer.Option(help="The port, from 0 to 65535; 0 takes any.")] = LOCAL_PORT,
    data: Annotated[
        Path | None, typer.Option(parser=path, help="Keep the flows in this folder, not in memory.")
    ] = None,
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
        typer.Option(
            help="A fault, e.g. status=503,share=0.3; repeatable. The kinds: status=N, slow=S, drip, reset, "
            "blackhole, cut, flood, max-body=N, poison=T; `--fault help` says what each does."
        ),
    ] = None,
    allow_host: Annotated[list[str] | None, typer.Option(help="One more name to be asked by.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Print a line for each request.")] = False,
) -> None:
    """Serve a local platform: the flows' API, and a page that shows them."""
    from .. import server  # late: no other command takes it
    from ..server import faults

    if "help" in (fault or []):
        typer.echo(faults.__doc__)
        return
    try:
        server.serve(host, port, data, key, fault or [], allowed_hosts=allow_host or [], verbose=verbose)
    except ValueError as error:
        fail(str(error), 2)  # as any option that is not written as it should be
    except SystemExit as error:
        fail(str(error))
    has_ended()
