"""The body of an OTLP request: bounded in bytes, in what it unpacks to, in time, and over all requests."""

from __future__ import annotations

import asyncio
import zlib

from starlette.requests import Request

from .replies import Refusal

MOST_BYTES = 20 * 1024 * 1024
"""Of one request, on the wire and unpacked: as OTLP receivers have it (200 MiB of zeros are 199 KiB of gzip)."""

MOST_HELD = 4 * MOST_BYTES
"""Bytes of all requests that are being read or wait for their turn."""

_FIRST_PART = 1024

READ_WITHIN = 20.0
"""Seconds for a whole body; who sends it byte by byte is told."""


class Held:
    """Bytes that requests hold, all together. Used on the event loop alone."""

    def __init__(self) -> None:
        self._bytes = 0

    def take(self, count: int) -> None:
        """Counts bytes in.

        Raises:
            Refusal: 503, it would be too many.
        """
        if self._bytes + count > MOST_HELD:
            raise Refusal(503, f"the requests under way hold {MOST_HELD} bytes already", again=True)
        self._bytes += count

    def give_back(self, count: int) -> None:
        """They are held no more."""
        self._bytes -= count


async def read(request: Request, held: Held, within: float = READ_WITHIN) -> bytearray:
    """Reads the body; its bytes are counted as held.

    Raises:
        Refusal: 413, it is too large; 503, it takes too long, or all together are too large.
        ClientDisconnect: The client left in the middle of it.
    """
    body = bytearray()
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and (len(announced) > 12 or int(announced) > MOST_BYTES):
        raise Refusal(413, f"the body has {announced} bytes; {MOST_BYTES} are the most")

    async def fill() -> None:
        async for part in request.stream():
            if len(body) + len(part) > MOST_BYTES:
                raise Refusal(413, f"the body has more than {MOST_BYTES} bytes")
            held.take(len(part))
            body.extend(part)

    try:
        await asyncio.wait_for(fill(), within)
    except asyncio.TimeoutError:
        held.give_back(len(body))
        # Not 408: what is sent again on that is no matter of OTLP.
        raise Refusal(503, f"the body was not here within {within:g} s", again=True) from None
    except BaseException:
        held.give_back(len(body))
        raise
    return body


def unpacked(body: bytes | bytearray, encoding: str) -> bytes:
    """Undoes a content encoding.

    Raises:
        Refusal: 415, it is another one than gzip; 400, the body does not fit it; 413, it is too large unpacked.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return bytes(body)
    if encoding != "gzip":
        raise Refusal(415, f"content encoding {encoding[:40]!r}; gzip and none are known")
    packed, at, made = memoryview(body), 0, bytearray()
    while at < len(packed):  # several members are one body
        # What is behind a member is copied with each: in small parts that grow, or many members cost their square.
        unpacker, size = zlib.decompressobj(31), _FIRST_PART
        while not unpacker.eof:
            part, size = packed[at : at + size], 2 * size
            if not part:
                raise Refusal(400, "the body is not gzip: it is cut short")
            try:
                made += unpacker.decompress(part, MOST_BYTES + 1 - len(made))
            except zlib.error:
                raise Refusal(400, "the body is not gzip") from None
            if len(made) > MOST_BYTES:
                raise Refusal(413, f"the body unpacks to more than {MOST_BYTES} bytes")
            at += len(part) - len(unpacker.unused_data)
    return bytes(made)
