"""The way to the platform, by httpx alone: one line (a client with one connection) per request under way.

    exchange -> a free line, or a new one -> httpx.Client.send -> what `consume` makes of the answer
                    ^
    watchdog: cuts the requests whose deadline has passed; `close` cuts them all

httpx's timeouts are per operation, and an answer that drips passes all of them. So a request under way knows its
connection's socket, by which another thread ends it: whatever the request waits for fails at once. Where no thread
can be had, the timeouts remain. One thing nobody ends is the look-up of a name and the connecting itself.

Nothing here takes a lock: a signal handler may close, or begin a request, in the middle of another.
Only `api.py` imports this module, and only once a request is due.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from ssl import SSLContext
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

import httpx
from opentelemetry.context import (
    _SUPPRESS_HTTP_INSTRUMENTATION_KEY,
    _SUPPRESS_INSTRUMENTATION_KEY,
    attach,
    detach,
    set_value,
)

from ..settings.key import Secret
from .broken import BrokenError, Origin, named
from .line import KEEPALIVE_SECONDS, Line, Request
from .trust import CannotOpenError, tls_context
from .watchdog import Watchdog

if TYPE_CHECKING:
    from ..settings.load import Settings

_T = TypeVar("_T")
Head = Sequence[tuple[bytes, Secret]]

_MOST_FREE = 64
_LOGGERS = ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.proxy", "httpcore.socks")
_own: ContextVar[bool] = ContextVar("versori_flow_request", default=False)


class Reply:
    """An answer whose head is here, and whose body is still to be read.

    Attributes:
        proxy: The proxy that it came by, in words; empty without one.
    """

    def __init__(self, response: httpx.Response, request: Request, proxy: str) -> None:
        self.status = response.status_code
        self.proxy = proxy
        self._response = response
        self._request = request

    def header(self, name: str) -> str:
        """Returns a header, or an empty text."""
        value: str = self._response.headers.get(name, "")
        return value.strip()

    def chunks(self) -> Iterator[bytes]:
        """Yields the body as it was sent; raises httpx's error where it is cut."""
        for chunk in self._response.iter_raw():
            self._request.left()
            yield chunk
        self._request.left()  # a body that ends with its connection looks whole when that was cut


class Connections:
    """Connections to the platform; requests may come from many threads.

    Raises:
        CannotOpenError: at construction, when a certificate, a key or a proxy can't be used.
    """

    def __init__(self, settings: Settings) -> None:
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(_not_ours)
        base = urlsplit(settings.base_url)
        port = base.port or {"http": 80, "https": 443}.get(base.scheme, 0)
        self._origin = Origin(base.scheme, base.hostname or "", port)
        self._tls = tls_context(settings)
        self._free: deque[Line] = deque([_first(self._tls)])
        self._watchdog = Watchdog()
        self._closed = False

    def exchange(
        self,
        method: str,
        url: str,
        head: Head,
        body: bytes | None,
        deadline: float,
        consume: Callable[[Reply], _T],
        *,
        own_connection: bool = False,
    ) -> _T:
        """Sends one request and returns what `consume` makes of the answer.

        A connection that died while it was idle costs nothing but a second try, on a new one.

        Raises:
            BrokenError: when there is no whole answer by the deadline, or the client is closed.
        """

        def sent(request: Request) -> httpx.Request:
            # Nowhere else are the header's values in the clear, and no variable of ours holds them.
            return httpx.Request(
                method,
                url,
                headers=[(name, value.reveal().encode("latin-1")) for name, value in head],
                content=None if body is None else request.pieces(body),
                extensions=request.extensions(),
            )

        with _ours():
            if not own_connection:
                line = self._taken()
                try:
                    return self._once(line, sent, deadline, consume, keep=True)
                except _DiedIdleError:
                    pass
            return self._once(Line(self._tls), sent, deadline, consume, keep=not own_connection)

    def _once(
        self,
        line: Line,
        sent: Callable[[Request], httpx.Request],
        deadline: float,
        consume: Callable[[Reply], _T],
        *,
        keep: bool,
    ) -> _T:
        request, whole = Request(line, deadline), False
        self._watchdog.watch(request)
        try:
            if self._closed:
                raise httpx.NetworkError("closed")
            response = line.client.send(sent(request), stream=True)
            request.answered = True
            with contextlib.closing(response):
                result = consume(Reply(response, request, self._origin.proxy(line.peer)))
            whole = True
            return result
        except httpx.HTTPError as error:
            raise self._broken(error, request) from None
        finally:
            self._watchdog.leave(request)
            request.end()
            self._give_back(line, keep=keep and whole and not request.cut_off)

    def _broken(self, error: httpx.HTTPError, request: Request) -> Exception:
        line = request.line
        kind, message = named(error, self._origin, line.peer, request.tls)
        if self._closed:
            kind, message = "closed", "the client is closed"
        elif request.cut_off and kind != "timeout":
            kind, message = "timeout", "no answer in time"
        elif not (request.answered or request.connected or line.idle_since is None or kind == "timeout"):
            return _DiedIdleError()
        return BrokenError(kind, message, answered=request.answered)

    def _taken(self) -> Line:
        with contextlib.suppress(IndexError):
            return self._free.pop()
        return Line(self._tls)

    def _give_back(self, line: Line, *, keep: bool) -> None:
        if not keep:
            line.client.close()
            return
        line.idle_since = time.monotonic()
        self._free.append(line)
        with contextlib.suppress(IndexError):
            while len(self._free) > _MOST_FREE or (self._free[0].idle_since or 0) < (
                line.idle_since - KEEPALIVE_SECONDS
            ):
                self._free.popleft().client.close()
        if self._closed:
            self._close_free()

    def _close_free(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                self._free.pop().client.close()

    def close(self) -> None:
        """Ends all connections without waiting; requests under way fail at once."""
        self._closed = True
        self._watchdog.end()
        with _ours():
            self._close_free()


class _DiedIdleError(Exception):
    """The connection had died before the request."""


def _first(tls: SSLContext) -> Line:
    """A line; what is wrong with the proxies of the environment is known by it."""
    try:
        return Line(tls)
    except ImportError:
        raise CannotOpenError(
            "the environment names a SOCKS proxy, which needs `pip install httpx[socks]`;"
            " install that, or exempt the platform's host with NO_PROXY"
        ) from None
    except (ValueError, httpx.InvalidURL):
        raise CannotOpenError(
            "the proxy that the environment names (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY) is not a URL such as"
            " http://proxy.example:3128"
        ) from None


@contextlib.contextmanager
def _ours() -> Iterator[None]:
    """Marks this thread's I/O as the exporter's own: neither logged nor traced."""
    context = set_value(_SUPPRESS_INSTRUMENTATION_KEY, True)
    token = attach(set_value(_SUPPRESS_HTTP_INSTRUMENTATION_KEY, True, context))
    mark = _own.set(True)
    try:
        yield
    finally:
        _own.reset(mark)
        detach(token)


def _not_ours(_record: logging.LogRecord) -> bool:
    return not _own.get()
