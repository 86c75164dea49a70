"""A loopback server in a process of its own, as plain as one can be: it must not be what is measured.

PUT keeps the body and answers with it, as the platform does; GET answers with what was kept, or with the
platform's own 404; POST (OTLP, Zipkin) answers 200 with nothing; DELETE forgets everything.
"""

from __future__ import annotations

import multiprocessing
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

NO_SUCH_FLOW = b'{"code":"not_found","message":"flow not found"}'


def _serve(ready: Connection) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    ready.send(listener.getsockname()[1])
    flows: dict[bytes, bytes] = {}
    while True:
        client, _ = listener.accept()
        threading.Thread(target=_answer, args=(client, flows), daemon=True).start()


def _answer(client: socket.socket, flows: dict[bytes, bytes]) -> None:
    for method, path, body in requests_on(client):
        status, answer = b"200 OK", b""
        if method == b"PUT":
            flows[path] = answer = body
        elif method == b"GET":
            answer = flows.get(path, NO_SUCH_FLOW)
            status = b"200 OK" if path in flows else b"404 Not Found"
        elif method == b"DELETE":
            flows.clear()
        client.sendall(response(status, answer))


def requests_on(client: socket.socket) -> Iterator[tuple[bytes, bytes, bytes]]:
    """The requests of one connection, until it ends: method, path and body of each."""
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with client, client.makefile("rb", buffering=1 << 18) as stream:
        while request := stream.readline():
            method, path, _ = request.split(b" ", 2)
            length = 0
            while (line := stream.readline()) not in (b"\r\n", b""):
                if line[:15].lower() == b"content-length:":
                    length = int(line[15:])
            yield method, path, stream.read(length) if length else b""


def response(status: bytes, answer: bytes) -> bytes:
    """An answer, as it goes over the wire."""
    head = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % (status, len(answer)) + answer


@contextmanager
def sink() -> Iterator[str]:
    """Runs the server; gives its base URL."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    theirs.close()  # so that a server that could not start is an end of file, and no wait for ever
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.kill()
        process.join()
