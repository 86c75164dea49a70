"""Sending answers: true ones, and those that a fault has spoilt.

A spoilt answer needs the connection itself. ``ConnectionProtocol`` is uvicorn's HTTP protocol that also puts
itself into the request's scope, so that a response can reach the transport.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
import zlib
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import h11
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from .faults import Fault
from .replies import ApiError, Reply

_logger = logging.getLogger(__name__)
# What is no request of HTTP has its answer: strangers don't fill a log with it.
_logger.setLevel(logging.ERROR)
# Small enough to be on its way at once, so that what follows a part of an answer really is cut off.
_MOST_PART = 64 * 1024
_FLOOD = b" " * (64 * 1024)
# How long a client may take, in seconds, by what it is about to send.
_PATIENCE: dict[Any, float] = {h11.IDLE: 10.0, h11.SEND_BODY: 60.0}


class ConnectionProtocol(H11Protocol):
    """One connection, reachable from its requests; says nothing in uvicorn's loggers.

    A client has 10 s for the head of a request, and 60 s for its body; then the connection ends. Between two
    requests that is uvicorn's to do.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, {**app_state, "connection": self}, _loop)
        self.logger = _logger
        self.access_log = False
        # What is awaited of the client, and until when.
        self._awaited: object = None
        self._end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_more()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._await_more()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._set_end(None)

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP gets an ``Error`` too, unless an answer has begun."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.write(head_and_body(ApiError(400, "invalid_request", msg).answer()))
        self.transport.close()

    def _await_more(self) -> None:
        awaited = self.conn.their_state
        if awaited is not self._awaited:
            self._awaited = awaited
            self._set_end(_PATIENCE.get(awaited))

    def _set_end(self, seconds: float | None) -> None:
        if self._end is not None:
            self._end.cancel()
        self._end = None if seconds is None else self.loop.call_later(seconds, self._out_of_time)

    def _out_of_time(self) -> None:
        # Where nobody reads, the client can't send.
        if self.flow.read_paused:
            self._set_end(_PATIENCE[h11.SEND_BODY])
        else:
            self.transport.close()


class Connection:
    """The connection of one request, below HTTP."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._transport: asyncio.Transport = scope["state"]["connection"].transport
        self._receive = receive

    async def write(self, data: bytes) -> None:
        """Writes bytes and waits until the kernel has them."""
        self._transport.write(data)
        while self._transport.get_write_buffer_size() and not self._transport.is_closing():
            await asyncio.sleep(0.001)

    @property
    def closing(self) -> bool:
        """The connection is at its end."""
        return self._transport.is_closing()

    async def end(self) -> None:
        """Ends the connection in order."""
        self._transport.close()
        await self.until_gone()

    async def reset(self) -> None:
        """Resets the connection: what the client reads next is an error."""
        connection = self._transport.get_extra_info("socket")
        # A socket that lingers for no time at all is closed with RST instead of FIN.
        linger = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._transport.abort()
        await self.until_gone()

    async def until_gone(self) -> None:
        """Waits until the client, or this side, has ended the connection."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


class PlayedResponse(Response):
    """A response that plays what a function tells it to."""

    def __init__(self, play: Callable[[Connection], Awaitable[None]]) -> None:
        super().__init__()
        self._play = play

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._play(Connection(scope, receive))


def as_response(answer: Reply) -> Response:
    """The answer as it is."""
    if answer.status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
        # HTTP allows no body there, be it the one of an ordered fault.
        response = Response(b"", answer.status, answer.all_headers())
        del response.headers["content-length"]
        return response
    return Response(answer.body, answer.status, answer.all_headers())


def silence() -> Response:
    """No answer at all, for as long as the client stays."""
    return PlayedResponse(Connection.until_gone)


def reset(answer: Reply, part: str) -> Response:
    """A reset: before any answer, after its head, or in the middle of its body."""

    async def play(connection: Connection) -> None:
        if part:
            await connection.write(head(answer) + (_half(answer.body) if part == "body" else b""))
        await connection.reset()

    return PlayedResponse(play)


def cut(answer: Reply) -> Response:
    """The head and half of the body, then the end."""

    async def play(connection: Connection) -> None:
        await connection.write(head(answer) + _half(answer.body))
        await connection.end()

    return PlayedResponse(play)


def drip(answer: Reply, fault: Fault) -> Response:
    """The answer, a byte at a time from its first byte or from that of its body."""

    async def play(connection: Connection) -> None:
        dripping = head_and_body(answer)
        if fault.part == "body":
            await connection.write(head(answer))
            dripping = answer.body
        gone = asyncio.ensure_future(connection.until_gone())
        try:
            for byte in dripping:
                await connection.write(bytes([byte]))
                if (await asyncio.wait({gone}, timeout=fault.interval))[0]:
                    return
        finally:
            gone.cancel()
        await connection.end()

    return PlayedResponse(play)


def flood(*, compressed: bool) -> Response:
    """200 and a body that never ends, as fast as the client reads."""
    encoding = "Content-Encoding: gzip\r\n" if compressed else ""

    async def play(connection: Connection) -> None:
        start = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{encoding}Connection: close\r\n\r\n"
        await connection.write(start.encode("ascii"))
        # 31: a gzip header in front, and the largest window.
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        while not connection.closing:
            packed = packer.compress(_FLOOD) + packer.flush(zlib.Z_SYNC_FLUSH) if compressed else _FLOOD
            await connection.write(packed)
            await asyncio.sleep(0)
        await connection.until_gone()

    return PlayedResponse(play)


def head_and_body(answer: Reply) -> bytes:
    """An answer as it goes over a connection that ends with it."""
    return head(answer) + answer.body


def head(answer: Reply) -> bytes:
    """The status line and the headers of an answer, with its true length."""
    lines = [f"HTTP/1.1 {answer.status} {_phrase(answer.status)}"]
    lines += [f"{name}: {value}" for name, value in answer.all_headers().items()]
    lines += [f"Content-Length: {len(answer.body)}", "Connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1", "replace")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _half(body: bytes) -> bytes:
    return body[: min(len(body) // 2, _MOST_PART)]
