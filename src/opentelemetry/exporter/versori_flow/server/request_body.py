"""Reading the body of a request off the connection, whole and bounded."""

from __future__ import annotations

import zlib

from starlette.requests import Request

from .replies import ApiError

# Sixteen times what the exporter sends by default; more than that is a mistake, not a flow.
MOST_BODY = 64 * 1024 * 1024


async def read_body(request: Request) -> bytes:
    """Reads the body of a request.

    Raises:
        ApiError: 413, it has more than 64 MiB.
        ClientDisconnect: The client left in the middle of it.
    """
    parts = []
    size = 0
    async for part in request.stream():
        size += len(part)
        # What is too much is read all the same: an answer in the middle of a body is lost with most clients.
        if size <= MOST_BODY:
            parts.append(part)
    if size > MOST_BODY:
        raise ApiError(413, "too_large", f"the body has {size} bytes; {MOST_BODY} are the most")
    return b"".join(parts)


def decoded(raw: bytes, encoding: str) -> bytes:
    """Undoes a content encoding.

    Raises:
        ApiError: 415, it is another one than gzip or identity; 400, the body does not fit it; 413, it is
            too large once unpacked.
    """
    encoding = encoding.strip().lower()
    if encoding == "identity":
        return raw
    if encoding != "gzip":
        raise ApiError(
            415, "unsupported_encoding", f"content encoding {encoding!r}; gzip and identity are known"
        )
    unpacker = zlib.decompressobj(31)
    try:
        text = unpacker.decompress(raw, MOST_BODY)
    except zlib.error as error:
        raise ApiError(400, "invalid_encoding", f"the body is not gzip: {error}") from None
    if unpacker.unconsumed_tail:
        raise ApiError(413, "too_large", f"the body unpacks to more than {MOST_BODY} bytes")
    if not unpacker.eof:
        raise ApiError(400, "invalid_encoding", "the body is not gzip: it is cut short")
    return text
