"""Anything as the JSON of an attribute value: text, number or boolean, and nothing else. And keys, and times.

The texts follow OpenTelemetry's "AnyValue representation for non-OTLP protocols"
(https://opentelemetry.io/docs/specs/otel/common/). Lone surrogates are left in: `clean` replaces them.
"""

from __future__ import annotations

import json
from binascii import b2a_base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

# Escapes what JSON demands and leaves the rest of Unicode alone: shorter bodies than with ASCII only. Lone
# surrogates pass it and raise when the whole text becomes bytes, so that looking for them costs nothing.
from json.encoder import encode_basestring as quote
from types import NoneType
from typing import Any

from ..interruption import let_through
from ..surrogates import clean

MAX_ENTRIES = 10_000  # of a value in all its depth: one that never ends must not hold up the application
_MAX_DEPTH = 32  # of containers within each other: beyond what people read, far below Python's limit of 1000
_SMALL = 1024
_CUT = '"..."'  # stands for what is beyond the two


def literal(value: object) -> str:
    """A value as JSON; never raises."""
    return (_find(WRITERS, type(value)) or _other)(value)


def text(value: object) -> str:
    """A value as text: what it is as an attribute, without the quotes; never raises."""
    if type(value) is str:
        return value
    written = literal(value)
    return str(json.loads(written)) if written.startswith('"') else written


def clean_text(value: object) -> str:
    return clean(text(value))


def integer(value: int) -> str:
    # Beyond these, readers that keep numbers as float64 (JavaScript) see another number.
    if -(2**53 - 1) <= value <= 2**53 - 1:
        return f"{value}"
    try:
        return f'"{value}"'
    except ValueError as error:  # over 4300 digits Python writes only in bases that are powers of two
        let_through(error)
        return f'"{value:#x}"'


class _Integers(dict[int, str]):
    """Integers as JSON: the small ones, as most are (status codes, ports, counts), without Python code."""

    def __missing__(self, value: int) -> str:
        return integer(value)


def _float(value: float) -> str:
    if -1.7976931348623157e308 <= value <= 1.7976931348623157e308:
        return f"{value!r}"
    return '"NaN"' if value != value else '"Infinity"' if value > 0 else '"-Infinity"'


def _bytes(value: Any) -> str:
    return f'"{b2a_base64(memoryview(value).tobytes(), newline=False).decode()}"'


def _sequence(value: Sequence[Any]) -> str:
    """A list or tuple, most often one of plain values: not deep, and counted by its length."""
    if len(value) > MAX_ENTRIES:
        return _container(value)
    try:
        return quote(f"[{','.join([_PLAIN[type(item)](item) for item in value])}]")
    except (KeyError, TypeError) as error:  # an item of another type, or of one that is unhashable
        let_through(error)
        return _container(value)


def _container(value: object) -> str:
    return quote(_nested(value, 1, iter(range(MAX_ENTRIES))))


def _other(value: object) -> str:
    return _scalar(value) if _container_type(type(value)) is None else _container(value)


# By exact type, so that a subclass, which may mean anything, takes the careful way.
_PLAIN: dict[type, Callable[[Any], str]] = {
    str: quote,
    bool: {True: "true", False: "false"}.__getitem__,
    int: _Integers({value: str(value) for value in range(_SMALL)}).__getitem__,
    float: _float,
    bytes: _bytes,
    NoneType: lambda _: "null",
}
WRITERS: dict[type, Callable[[Any], str]] = {
    **_PLAIN,
    NoneType: lambda _: '""',
    list: _sequence,
    tuple: _sequence,
    dict: _container,
}


def _find(writers: dict[type, Callable[[Any], str]], kind: type) -> Callable[[Any], str] | None:
    try:
        return writers.get(kind)
    except TypeError as error:  # an unhashable type
        let_through(error)
        return None


def _nested(value: Any, depth: int, entries: Iterator[int]) -> str:
    """A value within JSON text.

    Args:
        value: Anything.
        depth: How many containers it is in, itself included if it is one.
        entries: Gives one item for each entry that may still be written, over all depths.
    """
    kind = type(value)
    write = _find(_PLAIN, kind)
    if write is not None:
        return write(value)
    container = _container_type(kind)
    if container is None:
        return _scalar(value)
    if depth > _MAX_DEPTH:
        return _CUT
    try:
        if container is Mapping:
            return _nested_map(value, depth, entries)
        return _nested_sequence(value, depth, entries)
    except BaseException as error:  # noqa: BLE001 - it can't be read to its end
        let_through(error)
        return _described(value)


def _nested_sequence(value: Sequence[Any], depth: int, entries: Iterator[int]) -> str:
    items = []
    for item in value:
        if next(entries, None) is None:
            items.append(_CUT)
            break
        items.append(_nested(item, depth + 1, entries))
    return f"[{','.join(items)}]"


def _nested_map(value: Mapping[Any, Any], depth: int, entries: Iterator[int]) -> str:
    members = {}
    for key, item in value.items():
        if next(entries, None) is None:
            members["..."] = _CUT
            break
        members[clean_text(key)] = _nested(item, depth + 1, entries)
    return f"{{{','.join([f'{quote(key)}:{item}' for key, item in members.items()])}}}"


def _container_type(kind: type) -> object:
    """Mapping, Sequence or None.

    By the type, as isinstance believes an object's `__class__`, which mocks and proxies make up.
    """
    try:
        if issubclass(kind, (str, bytes, bytearray, memoryview)):
            return None
        return Mapping if issubclass(kind, Mapping) else Sequence if issubclass(kind, Sequence) else None
    except BaseException as error:  # noqa: BLE001 - an unhashable type
        let_through(error)
        return None


def _scalar(value: Any) -> str:
    kind = type(value)
    try:
        # What a subclass holds, as `json.dumps` writes it: 2 for an IntEnum's member, whatever its str() is.
        if issubclass(kind, str):
            return quote(value)
        if issubclass(kind, int):
            return integer(int.__index__(value))
        if issubclass(kind, float):
            return _float(float.__float__(value))
        if issubclass(kind, (bytes, bytearray, memoryview)):
            return _bytes(value)
        return quote(str(value))
    except BaseException as error:  # noqa: BLE001 - a __str__ that raises, a memoryview that was released
        let_through(error)
        return _described(value)


def _described(value: object) -> str:
    return quote(f"<{type(value).__name__}>")


LAST_SECOND = 253_402_300_799  # Unix seconds: the end of the year 9999, after which RFC 3339 has no more
_EPOCH = datetime(1970, 1, 1)
_MAX_SECONDS = 1024  # that are kept: each is wanted for as long as it lasts
SECONDS: dict[str, str] = {}  # date and time of a Unix second, by its digits


def key_text(key: str) -> str:
    """A key as JSON, with its colon."""
    if type(key) is not str:  # two of them may have one text, and the object would have one key twice
        raise TypeError
    return quote(key) + ":"


def time_text(nanos: int) -> str:
    """RFC 3339 with nine digits, in quotes."""
    if type(nanos) is not int:
        raise TypeError
    # Cut from the decimal digits: that takes two thirds of the time of divmod and a nine-digit format.
    digits = str(nanos) if nanos >= 1_000_000_000 else f"{nanos:010d}"
    second = digits[:-9]
    return f'"{SECONDS.get(second) or _second(second)}.{digits[-9:]}Z"'


def _second(second: str) -> str:
    if not 0 <= int(second) <= LAST_SECOND:
        raise OverflowError
    if len(SECONDS) >= _MAX_SECONDS:
        SECONDS.clear()  # which needs no lock and no order of use
    made = SECONDS[second] = (_EPOCH + timedelta(seconds=int(second))).isoformat()
    return made
