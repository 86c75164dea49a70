"""One server for three protocols, with the same faults for each (see `benchmarks.taken` for the protocols).

A fault strikes all three alike, below their protocols: before, in the middle of, or after the work is done.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import select
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError

from benchmarks.taken import Taken

_RESET = struct.pack("ii", 1, 0)
"""A socket that lingers for no time at all is closed with RST."""

_AS_ORDERED = b'{"code":"ordered","message":"as ordered"}'
_TAKES_EFFECT = 0.01
"""Seconds until a process that was told to stop has stopped."""

_READ_AND_BEGUN = 0.002
"""Seconds within which an answer is read and the next request begins: it may be stopped anywhere in between."""

_STOPPED_LATE = "stopped after its answer"

_SPANS_OF_OTHERS = 5
"""What others write while it is stopped."""

POISON = "poison-pill"


@dataclass(frozen=True)
class Fault:
    """What goes wrong with a request.

    Attributes:
        kind: "status", "reset", "drip", "hole", "limit" (413 above `value` bytes), "poison" (400 for a body
            with the text `POISON` in it), "slow", or, for a read, "stopped before its answer" and "stopped
            after its answer": the application is stopped, and others write meanwhile.
        share: Of the requests, at random.
        value: The status, or the limit.
        body: What comes with the status.
        done: The work is done, whatever the status says.
        retry_after: Seconds for that header; None for none.
        seconds: How long it is stopped, or how long a slow answer takes.
    """

    kind: str
    share: float = 1.0
    value: int = 503
    body: bytes = _AS_ORDERED
    done: bool = False
    retry_after: int | None = None
    seconds: float = 0.0


FINE = Fault("none")
ALL_METHODS = ("GET", "PUT", "POST")


class FaultyServer:
    """Listens on a free port of 127.0.0.1, each connection in a thread.

    Args:
        remember: See `Taken`.

    Attributes:
        taken: What it was given.
        application: Its process, where a fault stops it.
        redis: Where the application keeps what is pending, if it is in a Redis.
        unplayed: Kinds of faults that were ordered, and have met no request.
    """

    def __init__(self, remember: bool = False) -> None:
        self.taken = Taken(remember)
        self.application = 0
        self.redis: Any = None
        self.unplayed: set[str] = set()
        self._plan: Iterator[Fault] = itertools.repeat(FINE)
        self._methods = ALL_METHODS
        self._over = threading.Event()
        self._chance = random.Random(7)
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._accept()

    # -- what goes wrong -----------------------------------------------------------------------------------

    def order(self, *plan: Fault, methods: tuple[str, ...] = ALL_METHODS) -> None:
        """What happens to one request after the other from now on, again and again.

        Whoever hangs in the fault before is let go.
        """
        self.unplayed |= {fault.kind for fault in plan if fault is not FINE}
        self._plan, self._methods = itertools.cycle(plan), methods
        self._over.set()
        self._over = threading.Event()

    def stop(self) -> None:
        """An outage: connections end with a reset, new ones are refused. The port stays reserved."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._over.set()
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    connection.shutdown(socket.SHUT_RDWR)
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", self.port))

    def start(self) -> None:
        """The outage is over."""
        self._listener.listen(256)
        self._accept()

    # -- connections ---------------------------------------------------------------------------------------

    def _accept(self) -> None:
        threading.Thread(target=self._listen, args=(self._listener,), daemon=True).start()

    def _listen(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._connections.add(client)
        with contextlib.suppress(OSError, ValueError), client, client.makefile("rb", 1 << 18) as stream:
            while request := stream.readline():
                if not self._answer(client, stream, request):
                    break
        with self._lock:
            self._connections.discard(client)

    def _strikes(self, method: str) -> Fault:
        """What happens to this request."""
        if method not in self._methods:
            return FINE
        fault = next(self._plan)
        if self._chance.random() >= fault.share:
            return FINE
        if fault.kind != _STOPPED_LATE:  # whether it meets anything shows later
            self.unplayed.discard(fault.kind)
        return fault

    def _answer(self, client: socket.socket, stream: Any, request: bytes) -> bool:
        """Answers one request; False when the connection has ended with it."""
        method, path, _ = request.decode("latin-1").split(" ", 2)
        length = 0
        while (line := stream.readline()) not in (b"\r\n", b""):
            if line[:15].lower() == b"content-length:":
                length = int(line[15:])
        over, fault = self._over, self._strikes(method)
        if fault.kind == "reset" and self._chance.random() < 0.5:
            stream.read(length // 2)  # in the middle of the request's body
            return _reset(client)
        body = stream.read(length)
        if len(body) < length:
            return False
        if fault.kind == "hole":
            over.wait()
            return False
        if fault.kind == "slow":
            over.wait(fault.seconds / 2)
        whole = self._carry_out(method, path, body, fault)
        if fault.kind == "slow":
            over.wait(fault.seconds / 2)
        if fault.kind == "reset":
            client.sendall(whole[: len(whole) // 2])  # in the middle of the answer: the work is done
            return _reset(client)
        if fault.kind == "drip":
            for at in range(len(whole)):
                client.sendall(whole[at : at + 1])
                if over.wait(0.25):
                    return False
        if fault.kind.startswith("stopped"):
            self._send_to_the_stopped(client, whole, fault)
        else:
            client.sendall(whole)
        return True

    def _carry_out(self, method: str, path: str, body: bytes, fault: Fault) -> bytes:
        """Does the work, or not; returns the answer as it goes over the wire."""
        answer = _refused(fault, body)
        if answer is None or fault.done:
            try:
                done = self.taken.take(method, path, body)
            except (ValueError, KeyError, DecodeError):
                done = 400, _AS_ORDERED  # two processes that share a connection mix their bytes
            answer = answer or done
        status, text = answer
        kind = "application/json" if text[:1] == b"{" else "text/html"
        head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(text)}\r\n"
        if fault.retry_after is not None and status == fault.value:
            head += f"Retry-After: {fault.retry_after}\r\n"
        return head.encode("ascii") + b"\r\n" + text

    def _send_to_the_stopped(self, client: socket.socket, whole: bytes, fault: Fault) -> None:
        """Sends what the application has read, which is stopped before it can write; others write meanwhile."""
        late = fault.kind == _STOPPED_LATE
        if late:
            client.sendall(whole)
            time.sleep(self._chance.uniform(0.0, _READ_AND_BEGUN))
        os.kill(self.application, signal.SIGSTOP)
        try:
            time.sleep(_TAKES_EFFECT)
            if late and select.select([client], [], [], 0)[0]:
                return  # its write was faster
            self.unplayed.discard(fault.kind)
            if not late:
                client.sendall(whole)
            self.taken.write(_SPANS_OF_OTHERS)
            time.sleep(fault.seconds)
        finally:
            os.kill(self.application, signal.SIGCONT)


def _refused(fault: Fault, body: bytes) -> tuple[int, bytes] | None:
    if fault.kind == "status":
        return fault.value, fault.body
    if fault.kind == "limit" and len(body) > fault.value:
        return 413, fault.body
    return (400, fault.body) if fault.kind == "poison" and POISON.encode() in body else None


def _reset(client: socket.socket) -> bool:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    return False
