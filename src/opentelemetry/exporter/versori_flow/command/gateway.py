"""`versori-flow gateway`: receives OTLP, delivers flows."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from .terminal import fail, has_ended, say
from .versori_cli import credentials

_TOKEN = "VERSORI_FLOW_GATEWAY_TOKEN"  # noqa: S105 - the variable's name
_PORT = 4318
"""OTLP's own for HTTP: what every SDK sends to unless told otherwise."""


def gateway(
    host: Annotated[
        str, typer.Option(help="Where to listen; anything but loopback takes --token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes any.")] = _PORT,
    token: Annotated[
        str | None, typer.Option(help=f"What senders carry as a bearer token. Default: {_TOKEN}.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes behind the one port.")] = 1,
    allow_host: Annotated[list[str] | None, typer.Option(help="One more name to be asked by.")] = None,
) -> None:
    """Take OTLP/HTTP from programs in any language, and deliver their spans to Versori.

    The VERSORI_ variables say where to and with which key, as for the exporter, then the files of Versori's own
    CLI. Senders never see that key.
    """
    from ..server.access import is_loopback
    from ..settings.load import ConfigurationError, load_settings

    given = token if token is not None else os.environ.get(_TOKEN, "")
    if token is not None and not token.strip():
        fail("--token is empty; leave it out on loopback, or give senders one")
    given = given.strip()
    if not given.isascii() or not given.isprintable():
        fail("the token has characters that no header carries: write printable ASCII")
    if not given and not is_loopback(host):
        fail(f"{host} lets others in: give senders a token by --token or {_TOKEN}")
    try:
        os.environ.update(credentials(os.environ))
        settings = load_settings()
    except ConfigurationError as error:
        fail("\n".join(error.problems))
    from ..gateway.app import Door
    from ..gateway.run import Listening, bind, run

    if workers > 1 and not settings.store.durable:
        say("several workers without a durable store: what one of them has not delivered ends with it")
    listening = Listening(host, port, workers)
    try:
        bound = bind(listening)
    except OSError as error:
        fail(f"the gateway can't listen on {host} port {port}: {error.strerror or error}")
    run(bound, listening, Door(given or None, tuple(allow_host or ())))
    has_ended()
