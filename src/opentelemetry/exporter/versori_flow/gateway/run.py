"""The gateway as a process: one or several workers behind one socket, until SIGTERM; then it drains."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
from inspect import signature
from types import FrameType
from typing import Any, NamedTuple

from uvicorn import Config, Server
from uvicorn.supervisors import Multiprocess

from ..server.responses import ConnectionProtocol
from .app import Application, Door

_KEEP_ALIVE = 75
"""Seconds: longer than any sender waits between two batches, so that none meets a connection that just ends."""

_DRAIN = 15
"""Seconds for the requests under way when the gateway ends; delivery has its own time after that."""

_BACKLOG = 1024


class Listening(NamedTuple):
    """Where a gateway listens, and with how many workers."""

    host: str
    port: int
    workers: int


def run(bound: socket.socket, listening: Listening, door: Door) -> None:
    """Serves on a socket of `bind` until SIGTERM or SIGINT, and closes it."""
    _as_many_connections_as_possible()
    application: Any = Application(door)
    config = Config(
        application,
        factory=True,
        http=ConnectionProtocol,
        ws="none",
        lifespan="on",
        workers=listening.workers,
        backlog=_BACKLOG,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=_DRAIN,
    )
    with bound:
        host = f"[{listening.host}]" if ":" in listening.host else listening.host
        print(f"Gateway at http://{host}:{bound.getsockname()[1]}; spans go to /v1/traces.", flush=True)
        if listening.workers > 1:
            supervisor: Any = Multiprocess
            # Older versions of uvicorn are told what the workers run.
            told = {"target": Server(config).run} if "target" in signature(supervisor).parameters else {}
            supervisor(config, sockets=[bound], **told).run()
        else:
            # The server raises the signal again that has ended it: being told to end is a good end.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, _told)
            Server(config).run(sockets=[bound])


def _told(number: int, frame: FrameType | None) -> None:
    """The gateway has drained by then."""


def bind(listening: Listening) -> socket.socket:
    """The socket of a gateway.

    Raises:
        OSError: The address can't be had.
    """
    host, port, _ = listening
    family = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
    return socket.create_server((host, port), family=family, backlog=_BACKLOG)


def _as_many_connections_as_possible() -> None:
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    logging.getLogger(__name__).debug("descriptors: %d, then %d; process %d", soft, hard, os.getpid())
