"""Spans as Redis holds them, and changes cut into steps. Pure.

An item is `size is_root trace:span end start text`: bytes of the text, and times in nanoseconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from struct import pack
from typing import NamedTuple
from urllib.parse import quote, unquote

from ..flow.journal import Change, Kept
from ..flow.ledger import DropReason
from ..flow.window import Key

# One step of Redis holds up everybody else's.
_MOST_SPANS = 512
_MOST_BYTES = 2 << 20
_MOST_FLOWS = 64

_WHY = (DropReason.WINDOW_FULL, None, DropReason.REFUSED, DropReason.TOO_LARGE)
"""Why a span left the window without a PUT, by the number that Redis has for it; None: it moved away."""


class Piece(NamedTuple):
    """What one step does to one flow."""

    flow: bytes
    items: list[bytes]
    settled: bytes
    gone: bytes
    theirs: list[bytes]


def batches(changes: Sequence[Change]) -> Iterator[list[Piece]]:
    """Cuts changes into steps that don't hold up Redis for long."""
    batch: list[Piece] = []
    spans = size = 0
    for change in changes:
        gone = b" ".join(b"%b=%d" % (id_of(key), _WHY.index(change.dropped.get(key))) for key in change.gone)
        piece = Piece(as_bytes(change.flow), [], b" ".join(map(id_of, change.settled)), gone, [])
        batch.append(piece)
        for kept in {kept.key: kept for kept in change.added}.values():
            item = _packed(kept)
            if spans == _MOST_SPANS or (spans and size + len(item) > _MOST_BYTES):
                yield batch
                piece = Piece(piece.flow, [], b"", b"", [])
                batch, spans, size = [piece], 0, 0
            piece.items.append(item)
            if kept.key in change.theirs:
                piece.theirs.append(id_of(kept.key))
            spans += 1
            size += len(item)
        if len(batch) == _MOST_FLOWS:
            yield batch
            batch, spans, size = [], 0, 0
    if batch:
        yield batch


def id_of(key: Key) -> bytes:
    trace_id, span_id = key
    if not (trace_id.isalnum() and span_id.isalnum()):
        trace_id, span_id = (quote(part, safe="", errors="surrogatepass") or "%" for part in key)
    return as_bytes(f"{trace_id}:{span_id}")


def key_of(span: bytes) -> Key:
    trace_id, _, span_id = as_text(span).partition(":")
    if "%" in trace_id or "%" in span_id:
        trace_id, span_id = (
            "" if part == "%" else unquote(part, errors="surrogatepass") for part in (trace_id, span_id)
        )
    return trace_id, span_id


def left_by(told: Sequence[bytes]) -> dict[Key, DropReason | None]:
    """Spans that have left, as a script tells them with their scores, and why; None: they moved away."""
    # A change is a whole number, and less by eighths where it was told why.
    return {
        key_of(span): _WHY[int(-8 * float(score)) % 8]
        for span, score in zip(told[::2], told[1::2], strict=True)
    }


def _packed(kept: Kept) -> bytes:
    """An item, with what the script needs of it before it."""
    span = id_of(kept.key)
    trace = span[: span.index(b":")]
    body = kept.body
    item = b"%d %d %b %d %d %b" % (len(body), kept.is_root, span, kept.end, kept.start, body)
    end = pack(">dII", kept.end // 1000, len(body), len(item))
    return b"%b%b%b%b%b%b" % (pack(">H", len(trace)), trace, pack(">H", len(span)), span, end, item)


def kept_of(item: bytes) -> Kept:
    _, is_root, span, end, start, body = item.split(b" ", 5)
    return Kept(key_of(span), int(start), int(end), is_root == b"1", body)


def as_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def as_text(name: bytes) -> str:
    return name.decode("utf-8", "surrogatepass")
