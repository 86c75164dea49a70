"""A span as a row of a table, and back: what a row holds is believed by its checksum only."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ..flow.journal import Kept
from ..flow.window import Key

Place = tuple[str, Key]
"""A flow and a span in it."""

_LEAST, _MOST = -(1 << 63), (1 << 63) - 1
_MEMBERS = b"%b %b %d %d %d"
"""What a checksum is of, beside flow and body."""


class Row(NamedTuple):
    """A span in a file, by its number there."""

    id: int
    flow: str
    kept: Kept


def values(number: int, added: Mapping[Place, Kept]) -> Iterator[tuple[Any, ...]]:
    """What the columns of each hold; the first has that number, and so on."""
    last, flow_bytes, seed = None, b"", 0
    for (flow, _), ((trace_id, span_id), start, end, is_root, body, _) in added.items():
        if flow != last:
            last, flow_bytes = flow, as_bytes(flow)
            seed = zlib.crc32(flow_bytes)
        trace, span = as_bytes(trace_id), as_bytes(span_id)
        if not (_LEAST <= start <= _MOST and _LEAST <= end <= _MOST):
            start, end = (max(_LEAST, min(_MOST, figure)) for figure in (start, end))
        checksum = zlib.crc32(body, zlib.crc32(_MEMBERS % (trace, span, start, end, is_root), seed))
        yield number, flow_bytes, trace, span, start, end, is_root, checksum, body
        number += 1


def row(columns: Sequence[Any]) -> Row | None:
    """A row that was read; None where it is not what was written."""
    number, flow, trace_id, span_id, start, end, is_root, checksum, body = columns
    texts = (flow, trace_id, span_id, body)
    if not all(isinstance(text, bytes) for text in texts):
        return None
    if not all(isinstance(figure, int) for figure in (start, end)) or is_root not in (0, 1):
        return None
    if (
        zlib.crc32(body, zlib.crc32(_MEMBERS % (trace_id, span_id, start, end, is_root), zlib.crc32(flow)))
        != checksum
    ):
        return None
    key = (as_text(trace_id), as_text(span_id))
    return Row(number, as_text(flow), Kept(key, start, end, bool(is_root), body))


def ranges(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """First and last of each run of numbers that follow each other."""
    first = last = None
    for number in sorted(numbers):
        if first is None or last is None:
            first = number
        elif number != last + 1:
            yield first, last
            first = number
        last = number
    if first is not None and last is not None:
        yield first, last


def as_bytes(text: str) -> bytes:
    """Lone surrogates too, which SQLite can't hold as text."""
    return text.encode("utf-8", "surrogatepass")


def as_text(data: bytes) -> str:
    """The other way."""
    return data.decode("utf-8", "surrogatepass")
