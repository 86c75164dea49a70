"""The options of faults: which kind has which, and what makes a value of an option's text."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

# Kind -> the option that its own value sets, and whether it must have one.
KINDS: dict[str, tuple[str | None, bool]] = {
    "status": ("status", True),
    "slow": ("delay", True),
    "drip": ("interval", False),
    "reset": (None, False),
    "blackhole": (None, False),
    "cut": (None, False),
    "flood": (None, False),
    "max-body": ("limit", True),
    "poison": ("match", True),
}
DEFAULTS: dict[str, dict[str, Any]] = {
    "drip": {"part": "headers"},
    "max-body": {"status": 413},
    "poison": {"status": 422},
}
COMMON = ("times", "share", "seed", "method", "flow", "delay")
OWN = {
    "status": ("retry-after", "message", "code", "fields", "location", "body", "apply"),
    "slow": ("apply",),
    "drip": ("part",),
    "reset": ("part", "apply"),
    "blackhole": ("apply",),
    "flood": ("gzip", "apply"),
    "max-body": ("message", "code"),
    "poison": ("named", "status", "message", "code"),
}
_YES_OR_NO = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


def _text(value: Any) -> str:
    if not (text := str(value).strip()):
        raise ValueError
    return text


def _whole(low: int, high: int | None = None) -> Callable[[Any], int]:
    def convert(value: Any) -> int:
        number = int(str(value))
        if number < low or (high is not None and number > high):
            raise ValueError
        return number

    return convert


def _number(high: float = math.inf) -> Callable[[Any], float]:
    def convert(value: Any) -> float:
        number = float(str(value))
        if not 0 <= number <= high or math.isinf(number):
            raise ValueError
        return number

    return convert


def _yes_or_no(value: Any) -> bool:
    if (word := str(value).lower()) not in _YES_OR_NO:
        raise ValueError
    return _YES_OR_NO[word]


def _list(value: Any) -> tuple[str, ...]:
    return tuple(value.split(";") if isinstance(value, str) else map(str, value))


def _part(value: Any) -> str:
    if value not in ("headers", "body"):
        raise ValueError
    return str(value)


_FLAG: tuple[Callable[[Any], Any], str] = (_yes_or_no, "yes or no")
_SECONDS: tuple[Callable[[Any], Any], str] = (_number(), "seconds, 0 or more")
_WORDS: tuple[Callable[[Any], Any], str] = (_text, "a text")
# Every option: what makes a value of its text, and what the text should be.
OPTIONS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "status": (_whole(200, 599), "an HTTP status from 200 to 599"),
    "delay": _SECONDS,
    "interval": _SECONDS,
    "limit": (_whole(0), "a number of bytes"),
    "match": _WORDS,
    "times": (_whole(1), "a whole number, 1 or more"),
    "share": (_number(1), "a number from 0 to 1"),
    "seed": (_whole(0), "a whole number"),
    "method": (lambda value: _text(value).upper(), "an HTTP method"),
    "flow": _WORDS,
    "retry_after": (_text, "seconds or an HTTP date"),
    "message": _WORDS,
    "code": _WORDS,
    "fields": (_list, "paths with ; between them"),
    "location": _WORDS,
    "body": (str, "a text"),
    "part": (_part, "headers or body"),
    "named": _FLAG,
    "gzip": _FLAG,
    "apply": _FLAG,
}
