"""Any of these files -> pieces of it, one at a time: memory does not grow with the file."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import ijson  # type: ignore[import-untyped]

from ..encoding.span import FLOW_NAME_ATTRIBUTE
from ..otlp import json_text
from ..otlp.members import as_object
from ..otlp.spans import Malformed, Received
from . import jaeger, saved_flow, zipkin

_GZIP = b"\x1f\x8b"
_SAVED_FLOW = "a saved flow"
_FORMATS = {"resourceSpans": "OTLP", "data": "Jaeger", "spans": _SAVED_FLOW}
"""By the first member that says what the file is."""

_LOOKED_AT = 100_000
"""Parts of a document that are looked at for it."""

_BROKEN = (ijson.JSONError, UnicodeDecodeError, EOFError, OSError, zlib.error)


class Unreadable(Exception):  # noqa: N818 - what is said of a file
    """The file, or what follows in it, can't be read; the text says why."""


class Piece(NamedTuple):
    """Some spans of a file, and the flow that the file says they are of."""

    received: Received
    flow: str | None


class SpanFile:
    """One file.

    Args:
        path: Where it is.

    Attributes:
        form: What it holds, for people.
        seen: What of it `pieces` has read by now.

    Raises:
        Unreadable: It can't be opened, or is nothing that is known here.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.form = self._prefix = ""
        self._names: list[str | None] = []  # of flows, by document
        with self._opened() as file:
            self.seen = file.raw
            try:
                self._look(file)
            except _BROKEN as error:
                # A flow that is cut short has its name maybe, and spans before that.
                if self.form != _SAVED_FLOW or not any(self._names):
                    raise Unreadable(f"{self.path} is no JSON of spans: {_first_line(error)}") from None

    def pieces(self, skip: int) -> Iterator[Piece]:
        """The spans, piece by piece: a resource's, a trace's, or one.

        Args:
            skip: Pieces to leave out.

        Raises:
            Unreadable: What follows is no JSON; what came before was read.
        """
        read = self._reader()
        with self._opened() as file:
            self.seen = file.raw
            items = _saved_spans(file.text, self._names) if self.form == _SAVED_FLOW else self._items(file)
            number = 0
            try:
                for item, flow in items:
                    number += 1
                    if number > skip:
                        yield self._piece(read, item, flow)
            except _BROKEN as error:
                said = _first_line(error)
                raise Unreadable(f"{self.path} can't be read behind piece {number}: {said}") from None

    def _items(self, file: _File) -> Iterator[tuple[Any, None]]:
        for item in ijson.items(file.text, self._prefix, multiple_values=True, use_float=True):
            yield item, None

    def _piece(self, read: Callable[[dict[str, Any]], Received], item: Any, flow: str | None) -> Piece:
        if self.form == _SAVED_FLOW and not flow:
            return Piece(Received([], 1, "its flow has no name"), None)
        received = _tolerant(read, item)
        return Piece(received, _flow_of_resource(received) if self.form == "OTLP" else flow)

    def _reader(self) -> Callable[[dict[str, Any]], Received]:
        if self.form == "OTLP":
            return _otlp
        if self.form == "Jaeger":
            return jaeger.read
        return zipkin.Reader().read if self.form == "Zipkin" else saved_flow.read

    def _look(self, file: _File) -> None:
        for number, (prefix, event, value) in enumerate(_parts(file.text)):
            if prefix == "name" and event == "string":
                self._names[-1] = value
            elif prefix == "" and event == "start_map":
                self._names.append(None)
            if self.form:
                continue  # for the names, which may follow the spans
            if prefix == "" and event == "start_array":
                self.form, self._prefix = "Zipkin", "item"
                return
            if prefix == "" and event == "map_key" and value in _FORMATS:
                self.form, self._prefix = _FORMATS[value], f"{value}.item"
                if self.form != _SAVED_FLOW:
                    return
            elif number > _LOOKED_AT:
                break
        if not self.form or not any(self._names):
            raise Unreadable(
                f"{self.path} is none of: OTLP in JSON, Jaeger's or Zipkin's JSON, a flow of the platform"
            )

    def _opened(self) -> _File:
        try:
            return _File(self.path)
        except OSError as error:
            raise Unreadable(f"{self.path} can't be read: {error.strerror or error}") from None


class Seen:
    """A file as it lies there, and what of it has been read.

    Attributes:
        length: So many bytes.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.length = 0
        self.close = file.close

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        read = self._file.read(size)
        self._digest.update(read)
        self.length += len(read)
        return read

    def digest(self) -> str:
        """SHA-256 of what has been read, in hex."""
        return self._digest.hexdigest()


class _Text:
    """What a file says, behind the mark that editors on Windows put first."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._mark = codecs.BOM_UTF8
        self.close = file.close

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        read: bytes = self._file.read(size)
        if not (read and self._mark):
            return read
        mark, self._mark = self._mark, b""
        return read.removeprefix(mark) or self.read(size)


class _File:
    """A file, unpacked if need be, beside the bytes that it takes on disk."""

    def __init__(self, path: Path) -> None:
        file = path.open("rb")
        packed = file.read(2) == _GZIP
        file.seek(0)
        raw: Any = Seen(file)  # that it can't seek is no matter: nobody does
        self.raw: Seen = raw
        self.text: Any = _Text(gzip.GzipFile(fileobj=raw, mode="rb") if packed else raw)

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        self.text.close()
        self.raw.close()


def _parts(text: Any) -> Iterator[tuple[str, str, Any]]:
    # Without `use_float` a number of 5,000 digits ends the process: yajl's binding minds no error of int().
    parts: Iterator[tuple[str, str, Any]] = ijson.parse(text, multiple_values=True, use_float=True)
    return parts


def _saved_spans(text: Any, names: Sequence[str | None]) -> Iterator[tuple[Any, str | None]]:
    """The spans of saved flows, each with its flow's name."""
    document = -1

    def counted() -> Iterator[tuple[str, str, Any]]:
        nonlocal document
        for part in _parts(text):
            document += part[:2] == ("", "start_map")
            yield part

    for item in ijson.items(counted(), "spans.item"):
        yield item, names[document] if document < len(names) else None


def _flow_of_resource(received: Received) -> str | None:
    """What `export --format otlp` has written there."""
    found = received.spans[0].resource.attributes.get(FLOW_NAME_ATTRIBUTE) if received.spans else None
    return found.strip() or None if isinstance(found, str) else None


def _otlp(group: dict[str, Any]) -> Received:
    return json_text.from_document({"resourceSpans": [group]})


def _tolerant(read: Callable[[dict[str, Any]], Received], item: Any) -> Received:
    try:
        return read(as_object(item, "a piece of the file"))
    except (Malformed, RecursionError) as error:
        return Received([], 1, str(error) or "it is nested too deep")


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0]
