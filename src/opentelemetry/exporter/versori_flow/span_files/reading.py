"""Any of these files -> pieces of it, one at a time: memory does not grow with the file."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import ijson  # type: ignore[import-untyped]

from ..otlp import json_text
from ..otlp.members import as_object
from ..otlp.spans import Malformed, Received
from . import jaeger, saved_flow, zipkin

_GZIP = b"\x1f\x8b"
_FORMATS = {"resourceSpans": "OTLP", "data": "Jaeger", "spans": "a saved flow"}
"""By the first member that says what the file is."""

_LOOKED_AT = 100_000
"""Parts of a document that are looked at for it."""


class Unreadable(Exception):  # noqa: N818 - what is said of a file
    """The file, or what follows in it, can't be read; the text says why."""


class Piece(NamedTuple):
    """Some spans of a file, and how many bytes of it have been read by then."""

    received: Received
    position: int


class SpanFile:
    """One file.

    Args:
        path: Where it is.

    Attributes:
        form: What it holds, for people.
        flow: The name of the flow that it is, if it is one.

    Raises:
        Unreadable: It can't be opened, or is nothing that is known here.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.flow: str | None = None
        self._prefix = ""
        self.form = "OTLP"
        with self._opened() as file:
            try:
                self._look(file)
            except (ijson.JSONError, UnicodeDecodeError, EOFError, OSError) as error:
                raise Unreadable(f"{self.path} is no JSON of spans: {_first_line(error)}") from None

    def pieces(self, skip: int = 0) -> Iterator[Piece]:
        """The spans, piece by piece: a resource's, a trace's, or one.

        Args:
            skip: Pieces to leave out.

        Raises:
            Unreadable: What follows is no JSON; what came before was read.
        """
        read = self._reader()
        with self._opened() as file:
            raw = file.raw
            items = ijson.items(file.text, self._prefix, multiple_values=True, use_float=True)
            number = 0
            try:
                for item in items:
                    number += 1
                    if number > skip:
                        yield Piece(_tolerant(read, item), raw.tell())
            except (ijson.JSONError, UnicodeDecodeError, EOFError, OSError) as error:
                said = _first_line(error)
                raise Unreadable(f"{self.path} can't be read behind piece {number}: {said}") from None

    def _reader(self) -> Callable[[dict[str, Any]], Received]:
        if self.form == "OTLP":
            return _otlp
        if self.form == "Jaeger":
            return jaeger.read
        return zipkin.Reader().read if self.form == "Zipkin" else saved_flow.read

    def _look(self, file: _File) -> None:
        for number, (prefix, event, value) in enumerate(_parts(file.text)):
            if prefix == "" and event == "start_array":
                self.form, self._prefix = "Zipkin", "item"
                return
            if prefix == "" and event == "map_key" and value in _FORMATS:
                self.form, self._prefix = _FORMATS[value], f"{value}.item"
                if self.form != "a saved flow":
                    return
            elif prefix == "name" and event == "string" and self.flow is None:
                self.flow = value
            if (self.form == "a saved flow" and self.flow is not None) or number > _LOOKED_AT:
                break
        if self.form != "a saved flow" or self.flow is None:
            raise Unreadable(
                f"{self.path} is none of: OTLP in JSON, Jaeger's or Zipkin's JSON, a flow of the platform"
            )

    def _opened(self) -> _File:
        try:
            return _File(self.path)
        except OSError as error:
            raise Unreadable(f"{self.path} can't be read: {error.strerror or error}") from None


class _File:
    """A file, unpacked if need be, beside the bytes that it takes on disk."""

    def __init__(self, path: Path) -> None:
        self.raw = path.open("rb")
        packed = self.raw.read(2) == _GZIP
        self.raw.seek(0)
        self.text: Any = gzip.GzipFile(fileobj=self.raw) if packed else self.raw

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        self.text.close()
        self.raw.close()


def _parts(text: Any) -> Iterator[tuple[str, str, Any]]:
    # Without `use_float` a number of 5,000 digits ends the process: yajl's binding minds no error of int().
    parts: Iterator[tuple[str, str, Any]] = ijson.parse(text, multiple_values=True, use_float=True)
    return parts


def _otlp(group: dict[str, Any]) -> Received:
    return json_text.from_document({"resourceSpans": [group]})


def _tolerant(read: Callable[[dict[str, Any]], Received], item: Any) -> Received:
    try:
        return read(as_object(item, "a piece of the file"))
    except (Malformed, RecursionError) as error:
        return Received([], 1, str(error) or "it is nested too deep")


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0]
