"""What is secret, and never a local variable in plain: the API key, from a setting or a file, and headers."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from urllib.parse import unquote

from .readers import TOKEN, BadValueError, Secret, hidden_text, kind, text

FileStamp = tuple[int, int, int]
"""What tells one state of a file from the next without reading it: time of change, size, inode."""

# Latin-1 without controls: what a header line can carry (RFC 9110 section 5.5).
_FIELD = frozenset(map(chr, [*range(0x20, 0x7F), *range(0xA0, 0x100)]))
_PASTED_SCHEMES = ("bearer ", "jwt ", "basic ")
# Servers refuse header lines far shorter than this; it only keeps a wrong path from filling memory.
_LONGEST_KEY = 65_536
_OUR_HEADERS = (
    *("Authorization", "Content-Type", "Content-Length", "Content-Encoding"),
    *("Accept-Encoding", "Transfer-Encoding", "Host"),
)


def key(value: Secret) -> Secret:
    """An API key that a header line can carry."""
    written = hidden_text(value)
    if not written.reveal():
        raise BadValueError("is empty: write the key")
    if written.reveal().lower().startswith(_PASTED_SCHEMES):
        raise BadValueError(
            "starts with a scheme: write the key alone, and the scheme as auth_scheme if need be"
        )
    if not _FIELD.issuperset(written.reveal()):
        raise BadValueError(
            "has a line break or another character that a header can't carry: copy the key again"
        )
    return written


def key_file(value: object) -> str:
    """The path of a file that holds a usable key now."""
    path = _path_text(value)
    read_key_file(path)
    return absolute(path)


def read_key_file(path: str) -> tuple[Secret, FileStamp]:
    """Read a key, alone in a regular file of UTF-8 text, and the stamp of that file.

    Raises:
        BadValueError: There is no usable key in it now.
    """
    content, status = read_file(path, _LONGEST_KEY + 1)
    if len(content.reveal()) > _LONGEST_KEY:
        raise BadValueError("names a file too large for a key: write the path of a file with the key alone")
    try:
        # With or without the mark that Windows editors put first.
        written = Secret(content.reveal().decode().removeprefix("\ufeff"))
    except UnicodeDecodeError:
        raise BadValueError("names a file that is not UTF-8 text: write the key into it as UTF-8") from None
    try:
        return key(written), file_stamp(status)
    except BadValueError as problem:
        raise BadValueError(f"names a file whose content {problem}") from None


def file_stamp(status: os.stat_result) -> FileStamp:
    """The stamp in what `os.stat` or `os.fstat` returned."""
    return status.st_mtime_ns, status.st_size, status.st_ino


def pem_file(value: object) -> str:
    """The path of a readable file that holds something in PEM form: a wrong one is told at construction."""
    path = _path_text(value)
    if b"-----BEGIN " not in read_file(path)[0].reveal():
        raise BadValueError("names a file without a PEM block: write the path of one with a -----BEGIN line")
    return absolute(path)


def _path_text(value: object) -> str:
    """A path, from text or an `os.PathLike`; not looked at further, as it need not be UTF-8."""
    path = os.fspath(value) if isinstance(value, os.PathLike) else value
    return path.strip() if isinstance(path, str) else text(path)


def absolute(path: str) -> str:
    """The same path from wherever the program may go: it is read again later, and a daemon goes to `/`."""
    try:
        return os.path.abspath(path)
    except OSError:  # there is no working directory any more
        return path


def read_file(path: str, limit: int = -1) -> tuple[Secret, os.stat_result]:
    """Read up to `limit` bytes of a regular file (-1: all of it), and its status from just before.

    Raises:
        BadValueError: There is no such file, or it can't be read.
    """
    try:
        # A pipe would make the open wait for its writer.
        if stat.S_ISREG(os.stat(path).st_mode):
            with open(path, "rb") as file:
                # The status first: a write in between then shows as a change later, never as none.
                status = os.fstat(file.fileno())
                return Secret(file.read(limit)), status
    except OSError as error:
        raise BadValueError(
            f"names a file that can't be read ({error.strerror}): write the path of a readable one"
        ) from None
    except ValueError:
        raise BadValueError("is no path: write the path of a file") from None
    raise BadValueError("names something that is not a file: write the path of a regular file")


def headers(value: Secret) -> Mapping[str, Secret]:
    """Header names and values, from `k=v,k=v` as OTEL_EXPORTER_OTLP_HEADERS has it, a mapping or a list.

    A list's items are `k=v` texts or mappings with `name` and `value`. Only the text form is percent-decoded.
    """
    read: dict[str, Secret] = {}
    problems: list[str] = []
    for number, item in enumerate(_header_items(value), 1):
        try:
            name, content = _header(item)
            if name.lower() in map(str.lower, read):
                raise BadValueError("is there twice: leave one out")
            read[name] = content
        except BadValueError as problem:
            problems += (f"item {number} {what}" for what in problem.args)
    if problems:
        raise BadValueError(*problems)
    return MappingProxyType(read)


def _header_items(value: Secret) -> Iterator[Secret]:
    if isinstance(value.reveal(), str):
        yield from map(Secret, filter(str.strip, value.reveal().split(",")))
    elif isinstance(value.reveal(), Mapping):
        yield from map(Secret, value.reveal().items())
    elif isinstance(value.reveal(), list | tuple):
        for item in map(Secret, value.reveal()):
            yield from _header_items(item) if isinstance(item.reveal(), str) else [item]
    else:
        raise BadValueError(
            f"must be k=v,k=v or a mapping, not {kind(type(value.reveal()))}: write name=value"
        )


def _header(item: Secret) -> tuple[str, Secret]:
    if isinstance(item.reveal(), str):
        if "=" not in hidden_text(item).reveal():
            raise BadValueError("has no `=`: write name=value, with %2C for a comma")
        name = unquote(item.reveal().partition("=")[0]).strip()
        content = Secret(unquote(item.reveal().partition("=")[2]).strip())
    else:
        if isinstance(item.reveal(), Mapping) and item.reveal().keys() == {"name", "value"}:
            item = Secret((item.reveal()["name"], item.reveal()["value"]))
        if not isinstance(item.reveal(), tuple) or len(item.reveal()) != 2:
            raise BadValueError("is no header: write name=value, or a mapping with name and value")
        name = text(item.reveal()[0])
        content = hidden_text(Secret(item.reveal()[1]))
    if not name or not TOKEN.issuperset(name):
        raise BadValueError("has a name that is no header's: write letters, digits and hyphens")
    if name.title() in _OUR_HEADERS:
        raise BadValueError(f"is {name.title()}, which the exporter sets: leave it out")
    if not _FIELD.issuperset(content.reveal()):
        raise BadValueError("has a value with a character that a header can't carry: leave it out")
    return name, content
