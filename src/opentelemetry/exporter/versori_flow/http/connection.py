"""The way to the platform, by httpx alone: one line (a transport with one connection) per request under way.

    exchange -> a free line, or a new one -> httpx.HTTPTransport -> what `read` makes of the answer
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
from collections import deque
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from ssl import SSLError
from typing import TYPE_CHECKING

import httpx

from ..native import get_ident, monotonic, owner_of_sockets, tell_end
from ..untraced import untraced
from .answers import Answer, BrokenError, Stale
from .broken import broken, let_go
from .line import KEEPALIVE_SECONDS, Exchange, Head, Line, Origin
from .trust import Trust
from .watchdog import Watchdog

if TYPE_CHECKING:
    from ..settings.table import Settings

_MOST_FREE = 64
_LOGGERS = ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.proxy", "httpcore.socks")
_own: ContextVar[bool] = ContextVar("versori_flow_request", default=False)


class Connections:
    """Connections to the platform; requests may come from many threads.

    Raises:
        BrokenError: at construction, when a certificate, a key or a proxy can't be used.
    """

    def __init__(self, settings: Settings) -> None:
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(_not_ours)
        self._origin = Origin.of(settings.base_url)
        self._trust = Trust(settings)
        self._free: dict[int, deque[Line]] = {0: deque([self._first_line()])}
        self._watchdog = Watchdog()
        self._closed = False

    def exchange(
        self,
        method: str,
        url: str,
        head: Head,
        body: bytes | None,
        deadline: float,
        read: Callable[[Exchange], Answer],
        own_connection: bool,
        fresh: Callable[[], bool] | None,
    ) -> Answer:
        """Sends one request and returns what `read` makes of the answer.

        A connection that died while it was idle costs nothing but a second try, on a new one.

        Raises:
            BrokenError: when there is no whole answer by the deadline, or the client is closed.
        """
        with _ours():
            line = self._new_line() if own_connection else self._free_line()
            while True:
                exchange, keep = Exchange(line, deadline, fresh), False
                self._watchdog.watch(exchange)
                try:
                    if self._closed:
                        raise httpx.NetworkError("closed")
                    with contextlib.closing(exchange.send(method, url, head, body)):
                        answer = read(exchange)
                    keep = not (own_connection or exchange.cut_off)
                    return answer
                except (httpx.HTTPError, UnicodeError) as error:
                    tls = let_go(error)
                    if exchange.stale and not self._closed:
                        return Stale()
                    if self._closed or not exchange.died_idle(error):
                        raise self._trouble(error, tls, exchange) from None
                finally:
                    self._watchdog.leave(exchange)
                    exchange.end()
                    self._give_back(line, keep=keep)
                line = self._new_line()

    def _trouble(self, error: Exception, tls: SSLError | None, exchange: Exchange) -> BrokenError:
        trouble = broken(error, tls, exchange)
        if self._closed:
            trouble = BrokenError("closed", "the client is closed")
        elif exchange.cut_off and trouble.kind != "timeout":
            trouble = BrokenError("timeout", "no answer in time")
        trouble.answered = exchange.status > 0
        return trouble

    def _first_line(self) -> Line:
        # What is wrong with the proxies of the environment is known by it.
        try:
            return self._new_line()
        except ImportError:
            message = (
                "the environment names a SOCKS proxy, which needs `pip install httpx[socks]`;"
                " install that, or exempt the platform's host with NO_PROXY"
            )
        except (ValueError, httpx.InvalidURL):
            message = (
                "the proxy that the environment names (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY) is not a URL such as"
                " http://proxy.example:3128"
            )
        raise BrokenError("setting", message)

    def _new_line(self) -> Line:
        return Line(self._origin, self._trust.context())

    def _free_line(self) -> Line:
        free, tls = self._free_here(), self._trust.context()
        with contextlib.suppress(IndexError):
            while True:
                line = free.pop()
                if line.is_ours() and line.tls is tls:
                    return line
                line.close()
        return self._new_line()

    def _give_back(self, line: Line, *, keep: bool) -> None:
        if not keep:
            line.close()
            return
        line.idle_since = now = monotonic()
        free = self._free_here()
        free.append(line)
        with contextlib.suppress(IndexError):
            while len(free) > _MOST_FREE or now - (free[0].idle_since or 0) > KEEPALIVE_SECONDS:
                free.popleft().close()
        if self._closed:
            self._close_free(free)

    def _free_here(self) -> deque[Line]:
        """Those that are free for this thread; where they are its own they end with it."""
        owner = owner_of_sockets()
        if (free := self._free.get(owner)) is None:
            free = self._free.setdefault(owner, deque())
            tell_end(self)
        return free

    def leave_thread(self) -> None:
        """Closes those of the thread that calls: it ends."""
        self._close_free(self._free.pop(get_ident(), deque()))

    def _close_free(self, free: deque[Line]) -> None:
        with _ours(), contextlib.suppress(IndexError):
            while True:
                free.pop().close()

    def close(self) -> None:
        """Ends all connections without waiting; requests under way fail at once."""
        self._closed = True
        self._watchdog.end()
        for owner in {0, owner_of_sockets()}:
            self._close_free(self._free.get(owner, deque()))


@contextlib.contextmanager
def _ours() -> Iterator[None]:
    """Marks this thread's I/O as the exporter's own: neither logged nor traced."""
    mark = _own.set(True)
    try:
        with untraced():
            yield
    finally:
        _own.reset(mark)


def _not_ours(_record: logging.LogRecord) -> bool:
    return not _own.get()
