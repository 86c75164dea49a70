"""Texts that come again and again, encoded once: keys, and the seconds of times."""

from __future__ import annotations

from datetime import datetime, timedelta

from .values import quote

LAST_SECOND = 253_402_300_799  # Unix seconds: the end of the year 9999, after which RFC 3339 has no more
_MAX_KEPT = 1024  # entries of a table: a program has some hundred keys, and a second is wanted for a second
_MAX_KEPT_TEXT = 128  # characters of an entry: longer keys are rare, and a table of them would hold megabytes
_EPOCH = datetime(1970, 1, 1)

KEYS: dict[str, str] = {}  # '"key":' by key
SECONDS: dict[str, str] = {}  # date and time of a Unix second, by its digits


def _keep(table: dict[str, str], key: str, made: str) -> str:
    """Remember a text. The table is emptied when full, which needs no lock and no order of use."""
    if len(made) <= _MAX_KEPT_TEXT:
        if len(table) >= _MAX_KEPT:
            table.clear()
        table[key] = made
    return made


def key_text(key: str) -> str:
    """A key as JSON, with its colon."""
    if type(key) is not str:  # two of them may have one text, and the object would have one key twice
        raise TypeError
    return _keep(KEYS, key, quote(key) + ":")


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
    return _keep(SECONDS, second, (_EPOCH + timedelta(seconds=int(second))).isoformat())
