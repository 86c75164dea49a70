"""The API key as a value: kept out of every text, and read from what was written or from a file."""

from __future__ import annotations

import os
import re
from typing import Any, NamedTuple

from .files import path_text, read_file
from .readers import FIELD, BadValueError, text

_PASTED_SCHEME = r"(?i)(bearer|jwt|basic)\s"
# Servers refuse header lines far shorter than this; it only keeps a wrong path from filling memory.
_LONGEST_KEY = 65_536


class Secret:
    """Text that no repr, log or pickle shows.

    Args:
        value: The text; `reveal` returns it.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The text itself, for the one place that sends it."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise TypeError("a secret is not pickled")


class FileStamp(NamedTuple):
    """What tells one state of a file from the next without reading it."""

    mtime_ns: int
    size: int
    inode: int


def key(value: object) -> Secret:
    """An API key that a header line can carry."""
    return Secret(_key_text(value.reveal() if isinstance(value, Secret) else text(value)))


def key_file(value: object) -> str:
    """The path of a file that holds a usable key now."""
    path = path_text(value)
    read_key_file(path)
    return path


def read_key_file(path: str) -> tuple[str, FileStamp]:
    """Read a key, and the stamp of the file it came from.

    Args:
        path: A regular file of UTF-8 text with the key alone; whitespace around the key is nothing.

    Raises:
        BadValueError: There is no usable key in it now.
    """
    content, status = read_file(path, limit=_LONGEST_KEY + 1)
    if len(content) > _LONGEST_KEY:
        raise BadValueError("names a file too large for a key: write the path of a file with the key alone")
    try:
        # With or without the mark that Windows editors put first.
        written = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadValueError("names a file that is not UTF-8 text: write the key into it as UTF-8") from None
    try:
        return _key_text(written), file_stamp(status)
    except BadValueError as problem:
        raise BadValueError(f"names a file whose content {problem}") from None


def file_stamp(status: os.stat_result) -> FileStamp:
    """The stamp in what `os.stat` or `os.fstat` returned."""
    return FileStamp(status.st_mtime_ns, status.st_size, status.st_ino)


def _key_text(written: str) -> str:
    stripped = written.strip()
    if not stripped:
        raise BadValueError("is empty: write the key")
    if re.match(_PASTED_SCHEME, stripped):
        raise BadValueError(
            "starts with a scheme: write the key alone, and the scheme as auth_scheme if need be"
        )
    if not re.fullmatch(FIELD, stripped):
        raise BadValueError(
            "has a line break or another character that a header can't carry: copy the key again"
        )
    return stripped
