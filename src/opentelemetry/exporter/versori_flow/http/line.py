"""A line to the platform, and a request under way on it."""

from __future__ import annotations

import contextlib
import os
import socket
import urllib.request
from _socket import socket as native_socket
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import httpx

from ..descriptors import Identity, identity
from ..native import monotonic
from ..settings.readers import Secret

if TYPE_CHECKING:
    from ssl import SSLContext  # by this name alone gevent warns of what it can't replace here

Head = Sequence[tuple[bytes, Secret]]

# Longer than the batch processor's default schedule of 5 s, shorter than what load balancers allow (60 s).
KEEPALIVE_SECONDS = 30.0
_LIMITS = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEPALIVE_SECONDS)
# settimeout() refuses what the platform's time type can't hold, and a deadline may be infinite.
_LONGEST_WAIT = 3600.0
_LONGEST_CONNECT = 10.0
# Of a body: between two pieces the deadline is looked at, and what is left of one is copied at each send.
_PIECE = 1 << 18
_NO_BODY = httpx.ByteStream(b"")
# A flow is read and written in turn, and to parse its address is a twentieth of what a request takes.
_parsed = lru_cache(maxsize=256)(httpx.URL)


class Origin(NamedTuple):
    """Where the platform is."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, base_url: str) -> Origin:
        """The origin of the platform's address."""
        base = urlsplit(base_url)
        return cls(base.scheme, base.hostname or "", base.port or {"http": 80}.get(base.scheme, 443))

    def proxy(self, peer: tuple[str, int] | None) -> str:
        """Returns words for the proxy that a connection to `peer` goes to; empty where that is the platform."""
        if peer is None or peer == self[1:]:
            return ""
        return f"the proxy that {self.proxy_variable or 'the system'} names ({peer[0]}:{peer[1]})"

    @property
    def proxy_variable(self) -> str | None:
        """The variable of the environment that names a proxy for it; None where there is none."""
        named = urllib.request.getproxies_environment()
        return next((f"{name.upper()}_PROXY" for name in (self.scheme, "all") if named.get(name)), None)

    def proxy_url(self) -> str | None:
        """Returns the proxy that the environment or the system names for it; None: none, or NO_PROXY exempts it."""
        proxies = urllib.request.getproxies()
        named = proxies.get(self.scheme) or proxies.get("all")
        if not named or any(map(urllib.request.proxy_bypass, (self.host, f"{self.host}:{self.port}"))):
            return None
        return named if "://" in named else f"http://{named}"


class Line:
    """A transport with at most one connection; used by one thread at a time.

    httpx's client would add what a platform's API has no use for, cookies and redirects, and a third to the cost.

    Attributes:
        origin: Where the platform is.
        tls: What its connections are made with.
        held: The connection's socket.
        peer: Whom it is connected to: the platform, or a proxy.
        idle_since: When its last request ended; None before that.
    """

    def __init__(self, origin: Origin, tls: SSLContext) -> None:
        self.origin = origin
        self.tls = tls
        self.transport = httpx.HTTPTransport(verify=tls, limits=_LIMITS, proxy=origin.proxy_url())
        self.held: Any = None
        self._identity: Identity | None = None
        self.peer: tuple[str, int] | None = None
        self.idle_since: float | None = None

    def hold(self, sock: Any) -> None:
        """From now on this is the connection's socket."""
        self.held, self._identity = sock, identity(sock.fileno())

    def is_ours(self) -> bool:
        """Whether the socket's number is not another's by now; True where it is closed, or there is none."""
        return self.held is None or self.held.fileno() < 0 or identity(self.held.fileno()) == self._identity

    def close(self) -> None:
        """Closes the connection."""
        if not self.is_ours():
            self.held.detach()
        self.transport.close()


class Exchange:
    """One request, and its answer: the head is here, the body is still to be read.

    Attributes:
        connected: A connection was made for it.
        tls: With whom TLS was begun; and whether that is whom the line is connected to.
        status: The answer's; 0 before there is one.
        stale: It was given up: what it rests on is too old.
    """

    def __init__(self, line: Line, deadline: float, fresh: Callable[[], bool] | None) -> None:
        self.line = line
        self.deadline = deadline
        self.cut_off = False
        self.connected = False
        self.tls: tuple[str, bool] | None = None
        self.status = 0
        self.stale = False
        self._fresh = fresh
        self._copy: Any = None
        self._response: Any = None

    @property
    def proxy(self) -> str:
        """The proxy that the connection goes to, in words; empty without one."""
        return self.line.origin.proxy(self.line.peer)

    def send(self, method: str, url: str, head: Head, body: bytes | None) -> httpx.SyncByteStream:
        """Sends the request, and takes in the head of its answer; returns the rest, which is to be closed."""
        left = min(self.left(), _LONGEST_WAIT)
        # For each address of a name, and for the handshake: dead addresses should leave time for a live one.
        connect = min(_LONGEST_CONNECT, max(min(left, 1.0), left / 4))
        timeout = {"connect": connect, "read": left, "write": left, "pool": left}
        address = _parsed(url)
        request = httpx.Request(
            method,
            address,
            # Nowhere else are the header's values in the clear, and no variable of ours holds them.
            headers=[
                *([] if any(name.lower() == b"host" for name, _ in head) else [(b"Host", address.netloc)]),
                *[(name, value.reveal().encode("latin-1")) for name, value in head],
            ],
            # Not as `content`, for which httpx would make up the rest of the head, at twice the cost.
            stream=_NO_BODY if body is None else _Pieces(self, body),
            extensions={"timeout": timeout, "trace": self._trace},
        )
        response = self._response = self.line.transport.handle_request(request)
        self.status = response.status_code
        assert isinstance(response.stream, httpx.SyncByteStream)  # noqa: S101 - what a transport gives
        return response.stream

    def header(self, name: str) -> str:
        """Returns a header of the answer, by its name in lower case; empty where there is none."""
        wanted = name.encode()  # among bytes: to look it up by text takes as long as to send a header
        found = [value for key, value in self._response.headers.raw if key.lower() == wanted]
        return b", ".join(found).decode("utf-8", "replace").strip()

    def chunks(self) -> Iterator[bytes]:
        """Yields the answer's body as it was sent; raises httpx's error where it is cut."""
        for chunk in self._response.stream:
            self.left()
            yield chunk
        self.left()  # a body that ends with its connection looks whole when that was cut

    def left(self) -> float:
        """Returns the seconds left; raises where there are none."""
        seconds = self.deadline - monotonic()
        if seconds <= 0 or self.cut_off:
            raise httpx.ReadTimeout("the deadline has passed")
        return seconds

    def died_idle(self, error: Exception) -> bool:
        """Tells whether the connection had died before the request, which is what `error` says."""
        fresh = self.connected or self.line.idle_since is None
        return not (fresh or self.status or self.cut_off or isinstance(error, httpx.TimeoutException))

    def cut(self) -> None:
        """Ends the connection under the request; from any thread."""
        self.cut_off = True
        self._shut()

    def end(self) -> None:
        """Lets go of what was made for the request alone, and of its body."""
        self._response = None
        if self._copy is not None:
            self._copy.close()

    def may_send(self) -> None:
        """Raises where the process was stopped for too long meanwhile, or connecting took all the time."""
        self.left()
        if self._fresh is not None and not self._fresh():
            self.stale = True
            raise httpx.ReadTimeout("what it rests on is too old")

    def _trace(self, event: str, info: dict[str, Any]) -> None:
        """Follows the connection's socket; called on the thread of the request."""
        who, _, what = event.partition(".")
        if what == "send_request_headers.started":
            self.may_send()
        elif what == "connect_tcp.started":
            self.connected = True
            self.line.peer = (info.get("host", ""), info.get("port", 0))
        elif what in ("connect_tcp.complete", "start_tls.complete"):
            self._hold(info["return_value"].get_extra_info("socket"))
        elif what == "start_tls.started":
            self.tls = (info.get("server_hostname") or "", who == "connection")
            # TLS inside of TLS leaves the outer socket as it is.
            with contextlib.suppress(NotImplementedError):
                # The handshake takes its descriptor away from the object.
                self._copy = self.line.held.dup()
                self._hold(self._copy)

    def _hold(self, sock: Any) -> None:
        self.line.hold(sock)
        if self.cut_off:  # before it was held
            self._shut()

    def _shut(self) -> None:
        """Ends the connection under whoever waits for it; the socket stays theirs to close."""
        if (sock := self.line.held) is not None and self.line.is_ours():
            with contextlib.suppress(OSError):
                _shut_down(sock)


def _shut_down(sock: Any) -> None:
    if isinstance(sock, native_socket):
        # Not SSLSocket.shutdown: it drops the TLS layer first, and what is being sent would leave in the clear.
        native_socket.shutdown(sock, socket.SHUT_RDWR)
        return
    # That of a greenlet's socket would wake the greenlet itself, which is another thread's, or there is none.
    with contextlib.closing(native_socket(fileno=os.dup(sock.fileno()))) as copy:
        copy.shutdown(socket.SHUT_RDWR)


class _Pieces(httpx.SyncByteStream):
    """A request's body; it may have to stop in the middle."""

    def __init__(self, exchange: Exchange, body: bytes) -> None:
        self._exchange = exchange
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self._body), _PIECE):
            self._exchange.may_send()
            yield self._body[start : start + _PIECE]
