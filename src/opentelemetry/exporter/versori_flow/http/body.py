"""The bytes of an answer, taken in under a bound whatever their encoding does. Pure."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import hashlib

_PLAIN = ("", "identity")
_COMPRESSED = ("gzip", "x-gzip", "deflate")
_ZLIB_OR_GZIP = 32 + 15
_RAW = -15
# Compressed bytes may yield nothing without end: this much more than what they may come to.
_SLACK = 65536
# What of an answer to a PUT is looked at; the platform answers with the whole flow.
_START = 65536
_MEMBER = r'\s*[{,]\s*"([^"\\]*)"\s*:\s*'


class BodyError(Exception):
    """The body is larger than the bound, or not in the encoding that its header names."""


def taken(chunks: Iterable[bytes], encoding: str, bound: int) -> tuple[bytes, bytes]:
    """Returns a body, decoded, and its digest.

    Args:
        chunks: The body as it was sent.
        encoding: Its Content-Encoding.
        bound: The most bytes that it may have once decoded.

    Raises:
        BodyError: when it can't be had.
    """
    body, digest = io.BytesIO(), _new_digest()
    for chunk in _decoded(chunks, encoding, bound):
        if body.tell() + len(chunk) > bound:
            raise BodyError(f"the platform's answer has more than {bound} bytes")
        body.write(chunk)
        digest.update(chunk)
    return body.getvalue(), digest.digest()


def beginning(chunks: Iterable[bytes], encoding: str, bound: int) -> bytes:
    """Returns what there is of a body, decoded, up to so many bytes: all, or what came before it broke."""
    body = bytearray()
    with contextlib.suppress(Exception):
        for chunk in _decoded(chunks, encoding, bound):
            body += chunk
            if len(body) >= bound:
                break
    return bytes(body[:bound])


def drained(
    chunks: Iterable[bytes], encoding: str, bound: int, *, digested: bool
) -> tuple[bytes | None, bool]:
    """Reads a body without keeping it.

    Args:
        chunks: The body as it was sent.
        encoding: Its Content-Encoding.
        bound: The most bytes of it that are read.
        digested: Whether its digest is wanted: that takes a third of the time.

    Returns:
        Its digest as `taken` gives it; None when it is empty, goes on beyond `bound` bytes, is encoded, or is not
        wanted.
        And whether it is empty or begins as a flow does.
    """
    encoding, size, start = encoding.lower(), 0, b""
    digest = _new_digest() if digested and encoding in _PLAIN else None
    for chunk in chunks:
        if size < _START:
            start += chunk[: _START - size]
        size += len(chunk)
        if size > bound:
            digest = None
            break
        if digest is not None:
            digest.update(chunk)
    if not start.strip():
        digest = None  # an empty answer to a read, from a gateway say, must not look like the flow
    return None if digest is None else digest.digest(), _believed(start, encoding)


def _decoded(chunks: Iterable[bytes], encoding: str, bound: int) -> Iterable[bytes]:
    if encoding.lower() in _COMPRESSED:
        return _inflated(chunks, bound)
    if encoding.lower() not in _PLAIN:
        raise BodyError("the platform answered in an encoding that was not asked for")
    return chunks


def _believed(start: bytes, encoding: str) -> bool:
    if encoding in _COMPRESSED and start:
        try:
            start = next(_inflated([start], _START))
        except BodyError:
            return False
    elif encoding not in (*_COMPRESSED, *_PLAIN):
        return False
    return not start.strip() or _begins_a_flow(start.decode("utf-8", "replace"))


def _begins_a_flow(text: str) -> bool:
    """Tells whether this is the start of a JSON object with `spans`, and a name, if it stands before them."""
    position, members = 0, set[str]()
    member_at, value_at = re.compile(_MEMBER).match, json.JSONDecoder().raw_decode
    while member := member_at(text, position):
        if (member[0].lstrip()[0] == "{") != (not members):
            return False
        position = member.end()
        if member[1] == "spans":
            return text.startswith(("[", "null"), position) and not members & {"code", "message"}
        try:
            value, position = value_at(text, position)
        except (ValueError, RecursionError):
            return False  # no JSON, or longer than what is looked at
        if member[1] == "name" and not isinstance(value, str):
            return False
        members.add(member[1])
    return False


def _new_digest() -> hashlib._Hash:
    # Imported here: it loads OpenSSL, 3 ms that are no business of the application's start. With SHA
    # instructions SHA-256 is as fast as SHA-1 (1.1 ms for 2 MB, MD5 2.7, BLAKE2b 3.1), and FIPS has it too.
    from hashlib import sha256

    return sha256()


def _inflated(chunks: Iterable[bytes], bound: int) -> Iterator[bytes]:
    import zlib

    inflater, sent = zlib.decompressobj(_ZLIB_OR_GZIP), 0
    try:
        for chunk in chunks:
            if not sent and chunk and chunk[0] & 0x0F != 8 and chunk[0] != 0x1F:
                inflater = zlib.decompressobj(_RAW)  # "deflate" without its zlib header, as some send it
            sent += len(chunk)
            if sent > bound + _SLACK:
                raise BodyError(f"the platform's answer has more than {bound} bytes")
            while chunk and not inflater.eof:
                yield inflater.decompress(chunk, _SLACK)
                chunk = inflater.unconsumed_tail
            if inflater.unused_data or (chunk and inflater.eof):
                raise BodyError("the platform's compressed answer goes on after its end")
        yield inflater.flush()
    except zlib.error:
        raise BodyError("the platform's answer is not compressed as its header says") from None
    if not inflater.eof:
        raise BodyError("the platform's compressed answer has no end")
