"""Reading the body of a request off the connection, whole and bounded."""

from __future__ import annotations

import zlib

from starlette.requests import Request

from .replies import ApiError

# Sixteen times what the exporter sends by default; more than that is a mistake, not a flow.
MOST_BODY = 64 * 1024 * 1024
# A value takes up to a hundred bytes in memory, be it two in the text, and while they are parsed nothing else
# runs: this many take a second. Spans are larger; a default window holds some hundred thousand values.
MOST_VALUES = 2_000_000
# In front of each value, but for the first.
_STARTS = (b"[", b"{", b",")


async def read_body(request: Request, most: int = MOST_BODY) -> bytes:
    """Reads the body of a request.

    Args:
        request: The request.
        most: How many bytes are taken.

    Raises:
        ApiError: 413, it has more, or holds too many values. The rest is not read: the connection lets it
            pass once this is answered.
        ClientDisconnect: The client left in the middle of it.
    """
    parts = []
    size = values = 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise ApiError(413, "too_large", f"the body has more than {most} bytes")
        # In what is compressed it counts next to nothing, and is counted again.
        values = _count_values(part, values)
        parts.append(part)
    return b"".join(parts)


def decoded(raw: bytes, encoding: str) -> bytes:
    """Undoes a content encoding.

    Raises:
        ApiError: 415, it is another one than gzip or identity; 400, the body does not fit it; 413, it is
            too large once unpacked, or holds too many values then.
    """
    encoding = encoding.strip().lower()
    if encoding not in ("identity", "gzip"):
        raise ApiError(
            415, "unsupported_encoding", f"content encoding {encoding!r}; gzip and identity are known"
        )
    return raw if encoding == "identity" else _unpacked(raw)


def _unpacked(raw: bytes) -> bytes:
    unpacker = zlib.decompressobj(31)
    try:
        text = unpacker.decompress(raw, MOST_BODY)
    except zlib.error as error:
        raise ApiError(400, "invalid_encoding", f"the body is not gzip: {error}") from None
    if unpacker.unconsumed_tail:
        raise ApiError(413, "too_large", f"the body unpacks to more than {MOST_BODY} bytes")
    if not unpacker.eof:
        raise ApiError(400, "invalid_encoding", "the body is not gzip: it is cut short")
    if unpacker.unused_data:
        raise ApiError(400, "invalid_encoding", "the body is not gzip: something follows it")
    _count_values(text)
    return text


def _count_values(text: bytes, before: int = 0) -> int:
    # Those inside of strings count too: to tell them apart takes a parser.
    values = before + sum(map(text.count, _STARTS))
    if values > MOST_VALUES:
        raise ApiError(413, "too_large", f"the body holds more than {MOST_VALUES} values")
    return values
