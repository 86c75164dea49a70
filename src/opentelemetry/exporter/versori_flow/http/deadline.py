"""Sockets that keep one deadline for a whole exchange, for httpcore to read and write through.

httpx's and httpcore's timeouts are per operation: an answer that drips a byte a second passes all of them.
Here every operation gets what is left of its exchange, whichever operation that is. One thing is not
bounded: the look-up of a host's name, which the C library does not let go of before its own time is up.

Only `transport.py` imports this module, and only once a request is due: httpcore takes 50 ms to import.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import httpcore

_T = TypeVar("_T")

# settimeout() refuses what the platform's time type can't hold, and a deadline may be infinite.
_LONGEST_WAIT = 3600.0
# What an answer may send ahead while the request is still being written: httpcore's bound for a whole head.
_LONGEST_HEAD = 100 * 1024
_INTERIM = b"HTTP/1.1 1"


@dataclass(slots=True)
class Exchange:
    """One request and its answer, as the sockets of the thread that runs it see them.

    Attributes:
        deadline: The `time.monotonic()` at which all of it has to be over.
        connected: Whether a connection was made for it, rather than taken from the pool.
        received: Bytes received for it.
        ended: Whether the other side ended the connection meanwhile.
    """

    deadline: float
    connected: bool = False
    received: int = 0
    ended: bool = False

    def left(self, late: type[Exception]) -> float:
        """Returns the seconds left; raises `late` when there are none."""
        seconds = self.deadline - time.monotonic()
        if seconds <= 0:
            raise late("the deadline has passed")
        return min(seconds, _LONGEST_WAIT)


class _Running(threading.local):
    exchange: Exchange | None = None


running = _Running()


def _exchange() -> Exchange:
    if running.exchange is None:
        raise RuntimeError("I/O outside of an exchange")
    return running.exchange


class TlsError(httpcore.ConnectError):
    """The TLS handshake failed: most often a certificate that isn't trusted."""


class Backend(httpcore.NetworkBackend):
    """Makes the connections, and can end all of them from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._shut = False

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connects to the first address of `host` that answers, within the deadline."""
        exchange = _exchange()
        exchange.connected = True
        try:
            addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} can't be looked up: {error}") from error
        late, problem = False, f"{host} has no address"
        for index, (family, kind, protocol, _, address) in enumerate(addresses):
            # An equal share each: an address that swallows everything must not cost the next one its turn.
            share = exchange.left(httpcore.ConnectTimeout) / (len(addresses) - index)
            try:
                return Stream(self, self._connect(family, kind, protocol, address, share))
            except TimeoutError:
                late, problem = True, f"no connection to {host} port {port} in time"
            except OSError as error:
                late, problem = False, f"no connection to {host} port {port}: {error}"
        # Made only here: kept in a variable, it would keep this call, and the body, until a collection.
        raise (httpcore.ConnectTimeout if late else httpcore.ConnectError)(problem)

    def _connect(self, family: int, kind: int, protocol: int, address: Any, seconds: float) -> socket.socket:
        sock = socket.socket(family, kind, protocol)
        try:
            self.enter(sock)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(seconds)
            sock.connect(address)
        except BaseException:
            self.leave(sock)
            sock.close()
            raise
        return sock

    def enter(self, sock: socket.socket) -> None:
        """Counts a socket among those that `shut` ends; raises OSError when that has happened already."""
        with self._lock:
            if self._shut:
                raise OSError("the client is closed")
            self._sockets.add(sock)

    def leave(self, sock: socket.socket) -> None:
        """Forgets a socket."""
        with self._lock:
            self._sockets.discard(sock)

    def shut(self) -> None:
        """Ends every connection; whoever waits for one wakes up. The sockets stay theirs to close."""
        with self._lock:
            self._shut = True
            for sock in self._sockets:
                with contextlib.suppress(OSError):
                    # Not SSLSocket.shutdown: it drops the TLS layer first, and what another thread is
                    # about to send, the key included, would leave in the clear.
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)


class Stream(httpcore.NetworkStream):
    """One connection, plain or TLS."""

    def __init__(self, backend: Backend, sock: socket.socket) -> None:
        self._backend = backend
        self._sock = sock
        self._early = b""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Reads what is there, or waits for it until the deadline."""
        if self._early:
            data, self._early = self._early, b""
            return data
        exchange = _exchange()
        try:
            self._sock.settimeout(exchange.left(httpcore.ReadTimeout))
            data = self._sock.recv(max_bytes)
        except TimeoutError as error:
            raise httpcore.ReadTimeout("no answer in time") from error
        except OSError as error:
            raise httpcore.ReadError(str(error)) from error
        exchange.received += len(data)
        exchange.ended = exchange.ended or not data
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Writes all of `buffer`, unless an answer comes while the other side takes no more of it."""
        exchange, rest = _exchange(), memoryview(buffer)
        try:
            self._sock.settimeout(0)
            while rest:
                taken = self._send(rest)
                rest = rest[taken:]
                if not taken and _wait(self._sock, exchange.left(httpcore.WriteTimeout)):
                    self._listen(exchange)
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    def _send(self, data: memoryview) -> int:
        """Returns how many bytes the other side took; 0 where it takes none now."""
        try:
            return self._sock.send(data)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0

    def _listen(self, exchange: Exchange) -> None:
        """Takes what arrived before the request was out.

        A server that refuses a body may say so at once and take no more of it. httpcore reads the answer
        after a WriteError. What is no answer yet (a TLS ticket, an interim 1xx) is kept, and writing goes on.
        """
        try:
            data = self._sock.recv(_LONGEST_HEAD)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        exchange.received += len(data)
        self._early += data
        head = self._early
        while head.startswith(_INTERIM) and b"\r\n\r\n" in head:
            head = head.partition(b"\r\n\r\n")[2]
        if not data or not _INTERIM.startswith(head[: len(_INTERIM)]) or len(self._early) > _LONGEST_HEAD:
            raise httpcore.WriteError("answered before all of the request was taken")

    def close(self) -> None:
        """Closes the connection; never waits."""
        self._backend.leave(self._sock)
        self._sock.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        """Goes over to TLS, within the deadline; inside of TLS where this is a proxy's tunnel already."""
        exchange = _exchange()
        try:
            if isinstance(self._sock, ssl.SSLSocket):
                return _TlsInTls(self, ssl_context, server_hostname)
            plain = self._sock
            plain.settimeout(exchange.left(httpcore.ConnectTimeout))
            # The new object takes the descriptor over, and is entered before anything can wait on it.
            self._sock = ssl_context.wrap_socket(
                plain, server_hostname=server_hostname, do_handshake_on_connect=False
            )
            self._backend.leave(plain)
            self._backend.enter(self._sock)
            self._sock.do_handshake()  # its timeout bounds the handshake as a whole
        except BaseException as error:
            self.close()
            if isinstance(error, TimeoutError | httpcore.TimeoutException):
                raise httpcore.ConnectTimeout("no TLS handshake in time") from error
            if isinstance(error, OSError | ValueError | httpcore.NetworkError):
                raise TlsError(f"no TLS with {server_hostname}: {error}") from error
            raise
        return self

    def get_extra_info(self, info: str) -> Any:
        """Returns what httpcore asks of a stream."""
        if info == "is_readable":
            return bool(self._early) or self._sock.fileno() < 0 or _wait(self._sock, 0, writing=False)
        if info == "ssl_object":
            return self._sock if isinstance(self._sock, ssl.SSLSocket) else None
        return self._sock if info == "socket" else None


class _TlsInTls(httpcore.NetworkStream):
    """TLS with the platform inside of TLS with a proxy, which no SSLSocket can do."""

    def __init__(self, outer: Stream, context: ssl.SSLContext, hostname: str | None) -> None:
        self._outer = outer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=hostname)
        self._run(self._tls.do_handshake)

    def _run(self, operation: Callable[[], _T]) -> _T:
        while True:
            with contextlib.suppress(ssl.SSLWantReadError):
                result = operation()
                self._flush()
                return result
            self._flush()
            data = self._outer.read(65536)
            if data:
                self._incoming.write(data)
            else:
                self._incoming.write_eof()

    def _flush(self) -> None:
        pending = self._outgoing.read()
        if pending:
            self._outer.write(pending)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Reads what is there, or waits for it until the deadline."""
        try:
            return self._run(lambda: self._tls.read(max_bytes))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""
        except OSError as error:
            raise httpcore.ReadError(str(error)) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Writes all of `buffer`."""
        rest = memoryview(buffer)
        try:
            while rest:
                piece = rest[:65536]
                rest = rest[self._run(lambda piece=piece: self._tls.write(piece)) :]  # type: ignore[misc]
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    def close(self) -> None:
        """Closes the connection; never waits."""
        self._outer.close()

    def get_extra_info(self, info: str) -> Any:
        """Returns what httpcore asks of a stream."""
        return self._tls if info == "ssl_object" else self._outer.get_extra_info(info)


def _wait(sock: socket.socket, seconds: float, *, writing: bool = True) -> bool:
    """Waits until the socket can be read (returns True), or written if that is asked for."""
    if hasattr(select, "poll"):  # unlike select(), right for descriptors beyond 1023
        poll = select.poll()
        poll.register(sock, select.POLLIN | (select.POLLOUT if writing else 0))
        events = poll.poll(seconds * 1000)
        return bool(events and events[0][1] & ~select.POLLOUT)
    readable, _, _ = select.select([sock], [sock] if writing else [], [], seconds)
    return bool(readable)
