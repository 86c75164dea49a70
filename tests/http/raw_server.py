"""A server of raw sockets: a handler gets the connection itself, and plays any half or broken answer."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Request:
    """One request as it came over the wire; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Handler = Callable[["RawServer", socket.socket], None]
Step = bytes | Callable[["RawServer", socket.socket], None]


class RawServer:
    """Listens on a free port of 127.0.0.1 and runs `handler` for each connection, in its own thread.

    Attributes:
        requests: What `read` took in, in the order of arrival.
        connections: How many connections there were.
        released: Set at the end of the test; a handler that holds an answer back waits for it.
    """

    def __init__(self, handler: Handler, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.released = threading.Event()
        self.arrived = threading.Semaphore(0)
        self._handler = handler
        self._tls = tls
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> RawServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for sock in self._open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)

    def read(self, sock: socket.socket) -> Request | None:
        """Takes in one whole request; None when the client is gone."""
        data = b""
        while b"\r\n\r\n" not in data:
            more = sock.recv(65536)
            if not more:
                return None
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = line.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (item.partition(":") for item in lines)}
        while len(body) < int(headers.get("content-length", 0)):
            more = sock.recv(1 << 20)
            if not more:
                return None
            body += more
        request = Request(method, target, headers, body)
        self.requests.append(request)
        self.arrived.release()
        return request

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), sock:
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
            with self._lock:
                self._open.add(sock)
            try:
                self._handler(self, sock)
            finally:
                with self._lock:
                    self._open.discard(sock)
                sock.close()


def play(*steps: Step) -> Handler:
    """One step per request, on whichever connection: bytes to send, or what to do with the socket."""
    left = list(steps)

    def handler(server: RawServer, sock: socket.socket) -> None:
        while server.read(sock) is not None and left:
            step = left.pop(0)
            if isinstance(step, bytes):
                sock.sendall(step)
            else:
                step(server, sock)

    return handler


def answer(status: int = 200, body: bytes = b"{}", **headers: str) -> bytes:
    """A whole answer; `retry_after="1"` is the header `Retry-After`."""
    lines = [f"HTTP/1.1 {status} Some Reason", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def drip(start: bytes, more: bytes) -> Step:
    """Sends `start`, and then a byte of `more`, again and again, for as long as someone listens."""

    def step(server: RawServer, sock: socket.socket) -> None:
        sock.sendall(start)
        while True:
            for byte in more:
                if server.released.wait(0.05):
                    return
                sock.sendall(bytes([byte]))

    return step


def pour(start: bytes, more: bytes) -> Step:
    """Sends `start`, and then `more`, again and again, as fast as it goes."""

    def step(server: RawServer, sock: socket.socket) -> None:
        sock.sendall(start)
        while not server.released.is_set():
            sock.sendall(more)

    return step


def hold(server: RawServer, _sock: socket.socket) -> None:
    """Never answers."""
    server.released.wait(30)


def cut(start: bytes) -> Step:
    """Sends `start` and closes the connection."""

    def step(_server: RawServer, sock: socket.socket) -> None:
        sock.sendall(start)
        sock.shutdown(socket.SHUT_RDWR)

    return step


def reset(start: bytes) -> Step:
    """Sends `start` and resets the connection."""

    def step(_server: RawServer, sock: socket.socket) -> None:
        sock.sendall(start)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        sock.close()

    return step
