"""One server for three protocols, with the same faults for each, that counts what it was given.

    GET, PUT /…/workflows/{flow}    Versori's flows: a PUT replaces the flow and is answered with it
    POST /v1/traces                 OTLP/HTTP, protobuf
    POST /api/v2/spans              Zipkin, JSON

A fault strikes all three alike, below their protocols: before, in the middle of, or after the work is done.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
import struct
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_RESET = struct.pack("ii", 1, 0)
"""A socket that lingers for no time at all is closed with RST."""

_NO_SUCH_FLOW = b'{"code":"not_found","message":"flow not found"}'


@dataclass(frozen=True)
class Fault:
    """What goes wrong, and how often.

    Attributes:
        kind: "status", "reset", "drip", "hole", "limit" (413 above `value` bytes) or "poison" (400 for a
            body with the text `POISON` in it).
        share: Of the requests, at random.
        value: The status, or the limit.
        retry_after: Seconds for that header; None for none.
    """

    kind: str
    share: float = 1.0
    value: int = 503
    retry_after: int | None = None


POISON = "poison-pill"


class FaultyServer:
    """Listens on a free port of 127.0.0.1, each connection in a thread.

    Args:
        remember: Keep the ids of all spans that were ever taken, and not only of those that stand in a flow.
    """

    def __init__(self, remember: bool = False) -> None:
        self.shown: set[str] = set()
        self._remember = remember
        self._flows: dict[str, bytes] = {}
        self._received: Counter[str] = Counter()
        self._fault: Fault | None = None
        self._over = threading.Event()
        self._chance = random.Random(7)
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._accept()

    # -- what goes wrong -----------------------------------------------------------------------------------

    def order(self, fault: Fault | None) -> None:
        """A fault from now on; None: none any more. Whoever hangs in the one before is let go."""
        self._fault = fault
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

    def forget(self) -> None:
        """Loses all that is stored."""
        with self._lock:
            self.shown |= set(self._stored())
            self._flows = {}

    # -- what came in --------------------------------------------------------------------------------------

    def result(self) -> Counter[str]:
        """How often each span stands in the flows, or was received."""
        with self._lock:
            return self._stored() + self._received

    def _stored(self) -> Counter[str]:
        counts: Counter[str] = Counter()
        for body in self._flows.values():
            counts.update(_ids_of_flow(body))
        return counts

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

    def _answer(self, client: socket.socket, stream: Any, request: bytes) -> bool:
        """Answers one request; False when the connection has ended with it."""
        method, path, _ = request.decode("latin-1").split(" ", 2)
        length = 0
        while (line := stream.readline()) not in (b"\r\n", b""):
            if line[:15].lower() == b"content-length:":
                length = int(line[15:])
        fault, over, luck = self._fault, self._over, self._chance.random()
        kind = fault.kind if fault is not None and luck < fault.share else None
        if kind == "reset" and luck < fault.share / 2:
            stream.read(length // 2)  # in the middle of the request's body
            return _reset(client)
        body = stream.read(length)
        if len(body) < length:
            return False
        if kind == "hole":
            over.wait()
            return False
        status, answer = self._carry_out(method, path, body, fault if kind else None)
        retry_after = fault.retry_after if kind and status == fault.value else None
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(answer)}\r\n"
        if retry_after is not None:
            head += f"Retry-After: {retry_after}\r\n"
        whole = head.encode("ascii") + b"\r\n" + answer
        if kind == "reset":
            client.sendall(whole[: len(whole) // 2])  # in the middle of the answer: the work is done
            return _reset(client)
        if kind == "drip":
            for at in range(len(whole)):
                client.sendall(whole[at : at + 1])
                if over.wait(0.25):
                    return False
        client.sendall(whole)
        return True

    def _carry_out(self, method: str, path: str, body: bytes, fault: Fault | None) -> tuple[int, bytes]:
        kind = fault.kind if fault else None
        error = b'{"code":"ordered","message":"as ordered"}'
        if fault is not None and kind == "status":
            return fault.value, error
        if fault is not None and kind == "limit" and len(body) > fault.value:
            return 413, error
        if kind == "poison" and POISON.encode() in body:
            return 400, error
        try:
            return self._take(method, path, body)
        except (ValueError, KeyError, DecodeError):
            return 400, error  # two processes that share a connection mix their bytes

    def _take(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        with self._lock:
            if method == "GET":
                return (200, self._flows[path]) if path in self._flows else (404, _NO_SUCH_FLOW)
            if method == "PUT":
                ids = _ids_of_flow(body)
                self._flows[path] = body
                if self._remember:
                    self.shown.update(ids)
                return 200, body
            ids = _ids_of_zipkin(body) if path.endswith("spans") else _ids_of_otlp(body)
            self._received.update(ids)
            return (202 if path.endswith("spans") else 200), b""


def _reset(client: socket.socket) -> bool:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    return False


def _ids_of_flow(body: bytes) -> list[str]:
    return [span["spanContext"]["spanId"] for span in json.loads(body)["spans"]]


def _ids_of_zipkin(body: bytes) -> list[str]:
    return [span["id"] for span in json.loads(body)]


def _ids_of_otlp(body: bytes) -> list[str]:
    request = ExportTraceServiceRequest.FromString(body)
    return [
        span.span_id.hex()
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
