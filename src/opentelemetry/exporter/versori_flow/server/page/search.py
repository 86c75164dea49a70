"""What is looked for, as it stands in the address: names, attributes, errors, and a least duration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from .model import inside, is_error, span_length, span_name, trace_id
from .text import plain

_WORDS = re.compile(r'(?:[^\s"]|"[^"]*"?)+')
_DURATION = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)\s*(ns|us|\u00b5s|\u03bcs|ms|s|min|)", re.IGNORECASE)
_UNITS = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9, "min": 60e9}


class Search(NamedTuple):
    """A search for spans; an empty one finds them all.

    Attributes:
        text: What was typed: words of a name, and pairs as `key=value`, where `*` stands for anything.
        error: Only spans that failed.
        least: The least duration, as it was typed.
        words: What a span's name must hold, in lower case.
        pairs: What its attributes, or those of one of its events, must be, in lower case.
        least_length: Nanoseconds; 0 where none was given or it can't be understood.
    """

    text: str
    error: bool
    least: str
    words: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    least_length: float

    @classmethod
    def read(cls, parameters: Mapping[str, str]) -> Search:
        """Reads the parameters `q`, `error` and `least` of an address."""
        text, least = parameters.get("q", "").strip(), parameters.get("least", "").strip()
        words, pairs = [], []
        for part in _WORDS.findall(text):
            key, equals, value = part.replace('"', "").partition("=")
            if key and equals:
                pairs.append((key, value.casefold()))
            else:
                words.append(f"{key}{equals}{value}".casefold())
        return cls(
            text, parameters.get("error") == "1", least, tuple(words), tuple(pairs), _duration(least) or 0
        )

    def __bool__(self) -> bool:
        return bool(self.words or self.pairs or self.error or self.least_length)

    @property
    def problem(self) -> str:
        """What can't be understood of it; empty where all can."""
        if self.least and _duration(self.least) is None:
            return "The least duration is a number and ns, us, ms, s or min, such as 100ms."
        return ""

    def parameters(self) -> dict[str, str]:
        """The parameters of an address that say this."""
        given = {"q": self.text, "error": "1" if self.error else "", "least": self.least}
        return {name: value for name, value in given.items() if value}

    def finds(self, span: Any) -> bool:
        """Whether a span, as it is stored, is one of those that are looked for."""
        if self.error and not is_error(span):
            return False
        if self.least_length and span_length(span) < self.least_length:
            return False
        if self.words:
            name = span_name(span).casefold()
            if not all(word in name for word in self.words):
                return False
        return all(_has(span, key, value) for key, value in self.pairs)


def _has(span: Any, key: str, value: str) -> bool:
    if key in ("trace", "span"):
        held: list[Any] = [inside(inside(span, "spanContext"), "spanId") if key == "span" else trace_id(span)]
    elif key == "name":
        held = [span_name(span)]
    else:
        events = inside(span, "events")
        holders = [span, *(events if isinstance(events, list) else [])]
        held = [inside(inside(holder, "attributes"), key) for holder in holders]
    return any(found is not None and _same(plain(found).casefold(), value) for found in held)


def _same(text: str, wanted: str) -> bool:
    if "*" not in wanted:
        return text == wanted
    # Brackets and question marks are themselves: only the star stands for something.
    return fnmatchcase(text, re.sub(r"([\[?])", r"[\1]", wanted))


def _duration(text: str) -> float | None:
    match = _DURATION.fullmatch(text)
    if match is None:
        return None
    unit = match[2].lower().replace("\u00b5", "u").replace("\u03bc", "u") or "ms"
    return float(match[1]) * _UNITS[unit]
