"""An HTTP server in a thread of its own: it ends at once and comes back on the same port."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import math
import os
import socket
import threading
from concurrent.futures import Future
from typing import Any

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY
from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import ServerState

from opentelemetry import context

from .responses import ConnectionProtocol

# How long a request may take to notice that its connection is gone.
_LAST_WORDS = 2.0
_USED_UP = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_SAID_ONCE_IN = 60.0

_logger = logging.getLogger(__name__)


class HttpServer:
    """Serves one application on one address.

    Args:
        app: The ASGI application.
        host: The address to listen on.
        port: The port; 0 for any free one.

    Raises:
        OSError: The port is taken, or the address is not one of this host's.
    """

    def __init__(self, app: ASGIApp, host: str, port: int) -> None:
        self._app = app
        self._socket = _bound(host, port)
        self.host = host
        self.port: int = self._socket.getsockname()[1]
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending: asyncio.Event | None = None

    @property
    def running(self) -> bool:
        """The server listens."""
        return self._thread is not None

    def start(self) -> None:
        """Listens; returns when connections are taken. A second call does nothing.

        Raises:
            OSError: Another process listens on the port by now.
        """
        if self._thread is not None:
            return
        listening: Future[None] = Future()
        thread = threading.Thread(
            target=self._run, args=(listening,), name="versori-local-platform", daemon=True
        )
        thread.start()
        listening.result()
        self._thread = thread

    def stop(self) -> None:
        """Ends at once, connections included; the port stays reserved, so that connections are refused."""
        if self._thread is None or self._loop is None or self._ending is None:
            return
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join()
        self._thread = None

    def close(self) -> None:
        """Ends, and gives the port back."""
        self.stop()
        self._socket.close()

    def _run(self, listening: Future[None]) -> None:
        # Under auto-instrumentation, serving a program's spans must not make more of them.
        context.attach(context.set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
        with contextlib.closing(asyncio.new_event_loop()) as self._loop:
            try:
                self._loop.run_until_complete(self._serve(listening))
            except Exception as error:
                if listening.done():
                    raise
                # Raised by start, on the thread that asked.
                listening.set_exception(error)

    async def _serve(self, listening: Future[None]) -> None:
        self._ending = asyncio.Event()
        loop = asyncio.get_running_loop()
        config = Config(self._app, log_config=None, lifespan="off", ws="none", proxy_headers=False)
        config.load()
        state = ServerState()
        loop.set_exception_handler(_Complaints())
        server = await loop.create_server(
            lambda: ConnectionProtocol(config, state, {}, loop), sock=self._socket, backlog=1024
        )
        listening.set_result(None)
        await self._ending.wait()
        # A server that dies: nothing more is taken, nothing more is sent. Connections that are being accepted
        # come first: asyncio forgets their sockets, open, when it finds the server closed.
        with contextlib.suppress(NotImplementedError):  # the loop of Windows has no readers
            loop.remove_reader(self._socket)
        await _abandon(state)
        address = self._socket.getsockname()
        server.close()
        # Bound without listening, the port refuses connections and nobody else can have it meanwhile.
        self._socket = _bound(*address[:2])


class _Complaints:
    """Says in a line, at most once a minute, that connections can't be taken.

    asyncio tries again by itself, a thousand times a second, and by default with a traceback each time.
    """

    def __init__(self) -> None:
        self._again_at = -math.inf

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in _USED_UP:
            loop.default_exception_handler(context)
        elif loop.time() >= self._again_at:
            self._again_at = loop.time() + _SAID_ONCE_IN
            _logger.error("connections have to wait: %s; `ulimit -n` sets how many there can be", error)


async def _abandon(state: ServerState) -> None:
    """Ends all connections, those included that are being accepted at this moment."""
    loop = asyncio.get_running_loop()
    end = loop.time() + _LAST_WORDS
    this = {asyncio.current_task()}
    while state.connections or asyncio.all_tasks() - this:
        for connection in list(state.connections):
            connection.transport.abort()
        if loop.time() > end:
            for task in asyncio.all_tasks() - this:
                task.cancel()
            await asyncio.sleep(0)
            return
        await asyncio.sleep(0.001)


def _bound(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    bound = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":
            # Connections of before, which the kernel still keeps for a while, don't stand in the way.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound
