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
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY
from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import ServerState

from opentelemetry import context

from .responses import ConnectionProtocol

# For what would hold up the loop.
_THREADS = 2
# How long a request may take to notice that its connection is gone.
_LAST_WORDS = 2.0
_USED_UP = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_SAID_ONCE_IN = 60.0

# An address to listen on that is none to connect to, and what to connect to instead.
_EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - not bound here
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
        with contextlib.ExitStack() as probes:
            if port == 0:
                # A port that is asked for by number can be reserved.
                port = probes.enter_context(_bound(host, 0)).getsockname()[1]
            self._socket = _bound(host, port)
        self.host = host
        self.port = port
        self._lock = threading.Lock()
        self._run: _Run | None = None
        self._pid = os.getpid()
        self._reserve()

    @property
    def url(self) -> str:
        """Where it is reached from this host."""
        host = _EVERYWHERE.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def start(self) -> None:
        """Listens; returns when connections are taken. A second call does nothing.

        Raises:
            OSError: Another process listens on the port by now; not where the system can reserve it.
            RuntimeError: It is closed, or belongs to the process that this one was forked from.
        """
        with self._lock:
            self._check_usable()
            if self._run is not None:
                return
            if os.name == "posix":
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._run = _Run(self._app, self._socket.dup())
            try:
                self._run.start()
            except BaseException:
                self._end()
                raise

    def stop(self) -> None:
        """Ends at once, connections included; the port stays reserved, so that connections are refused.

        Raises:
            RuntimeError: It belongs to the process that this one was forked from.
        """
        with self._lock:
            if self._run is not None or self._pid != os.getpid():
                self._check_usable()
                self._end()

    def close(self) -> None:
        """Ends, and gives the port back; in a forked child, does nothing."""
        with self._lock:
            if self._pid == os.getpid():
                self._end()
                self._socket.close()

    def leave(self) -> None:
        """In a forked child: the port and the connections stay with the parent."""
        self._lock = threading.Lock()
        self._socket.close()
        run, self._run = self._run, None
        if run is not None:
            run.leave()

    def _check_usable(self) -> None:
        if self._pid != os.getpid():
            raise RuntimeError(f"the local platform belongs to process {self._pid}; make one here")
        if self._socket.fileno() < 0:
            raise RuntimeError("the local platform is closed")

    def _end(self) -> None:
        run, self._run = self._run, None
        if run is not None:
            run.end()
            self._reserve()

    def _reserve(self) -> None:
        """Bound without listening, the port refuses connections, and nobody else can have it meanwhile."""
        host, port = self._socket.getsockname()[:2]
        try:
            # Linux keeps others out once it has listened, and lets go of a port that nobody asked for by number.
            self._socket.listen()
            self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        except OSError:
            # Elsewhere a socket that has listened does so until it is closed.
            self._socket.close()
            self._socket = _bound(host, port)


class _Run:
    """The server between a start and a stop.

    Args:
        app: The ASGI application.
        listener: A socket of its own, to close when it is over.
    """

    def __init__(self, app: ASGIApp, listener: socket.socket) -> None:
        self._app = app
        self._listener = listener
        self._loop = asyncio.new_event_loop()
        # They end with the loop.
        self._loop.set_default_executor(ThreadPoolExecutor(_THREADS, "versori-local-platform"))
        self._ending = asyncio.Event()
        self._listening: Future[None] = Future()
        self._state = ServerState()
        self._thread = threading.Thread(target=self._play, name="versori-local-platform", daemon=True)

    def start(self) -> None:
        """Returns when connections are taken."""
        self._thread.start()
        self._listening.result()

    def end(self) -> None:
        """Returns when all is over; on the thread of the server itself, at once."""
        with contextlib.suppress(RuntimeError):  # it is over already
            self._loop.call_soon_threadsafe(self._ending.set)
        if self._thread.ident is None:
            self._loop.close()
            self._listener.close()
        elif self._thread is not threading.current_thread():
            self._thread.join()

    def leave(self) -> None:
        """In a forked child: closes what was inherited, and tells nobody on the other side."""
        self._listener.close()
        nowhere = os.open(os.devnull, os.O_RDWR)
        for connection in list(self._state.connections):
            descriptor = connection.transport.get_extra_info("socket").fileno()
            if descriptor >= 0:
                # The number stays taken: asyncio closes it once more when it is collected.
                os.dup2(nowhere, descriptor, inheritable=False)
        os.close(nowhere)

    def _play(self) -> None:
        # Under auto-instrumentation, serving a program's spans must not make more of them.
        context.attach(context.set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
        with contextlib.closing(self._loop), self._listener:
            try:
                self._loop.run_until_complete(self._serve())
            except Exception as error:
                if self._listening.done():
                    raise
                # Raised by start, on the thread that asked.
                self._listening.set_exception(error)

    async def _serve(self) -> None:
        loop, state = self._loop, self._state
        config = Config(self._app, log_config=None, lifespan="off", ws="none", proxy_headers=False)
        config.load()
        loop.set_exception_handler(_Complaints())
        server = await loop.create_server(
            lambda: ConnectionProtocol(config, state, {}, loop), sock=self._listener, backlog=1024
        )
        self._listening.set_result(None)
        await self._ending.wait()
        # A server that dies: nothing more is taken, nothing more is sent. Connections that are being accepted
        # come first: asyncio forgets their sockets, open, when it finds the server closed.
        with contextlib.suppress(NotImplementedError):  # the loop of Windows has no readers
            loop.remove_reader(self._listener)
        await _abandon(state)
        server.close()


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
