"""A span as a row of a table, and back: what a row holds is believed by its checksum only."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from ..flow.journal import Kept

_LEAST, _MOST = -(1 << 63), (1 << 63) - 1


class Row(NamedTuple):
    """A span in a file, by its number there."""

    id: int
    flow: str
    kept: Kept


def values(rows: Iterable[Row]) -> Iterator[tuple[Any, ...]]:
    """What the columns of each hold."""
    last, flow_bytes, seed = None, b"", 0
    for number, flow, (key, start, end, is_root, body) in rows:
        if flow != last:
            last, flow_bytes = flow, as_bytes(flow)
            seed = zlib.crc32(flow_bytes)
        trace_id, span_id = map(as_bytes, key)
        start, end = _within(start), _within(end)
        yield (
            *(number, flow_bytes, trace_id, span_id, start, end, int(is_root)),
            *(_checksum(seed, trace_id, span_id, start, end, is_root, body), body),
        )


def row(columns: Sequence[Any]) -> Row | None:
    """A row that was read; None where it is not what was written."""
    number, flow, trace_id, span_id, start, end, is_root, checksum, body = columns
    texts = (flow, trace_id, span_id, body)
    if not all(isinstance(text, bytes) for text in texts):
        return None
    if not all(isinstance(figure, int) for figure in (start, end)) or is_root not in (0, 1):
        return None
    if _checksum(zlib.crc32(flow), trace_id, span_id, start, end, is_root, body) != checksum:
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


def _within(figure: int) -> int:
    return figure if _LEAST <= figure <= _MOST else max(_LEAST, min(_MOST, figure))


def _checksum(
    seed: int, trace_id: bytes, span_id: bytes, start: int, end: int, is_root: int, body: bytes
) -> int:
    members = b"%b %b %d %d %d" % (trace_id, span_id, start, end, is_root)
    return zlib.crc32(body, zlib.crc32(members, seed))
