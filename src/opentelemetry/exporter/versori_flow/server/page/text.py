"""What is stored, as text for people: nothing in it is obeyed, and nothing is hidden."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime, timedelta, timezone
from typing import Any

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MS = 1_000_000
_MOST_NAME = 200
# Control characters, marks that turn the direction of text, separators of lines, and halves of characters.
_CONTROL = "\x00-\x08\x0b-\x1f\x7f-\x9f"
_MARKS = "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\U000e0000-\U000e007f\ud800-\udfff"
_HIDDEN = re.compile(f"[{_CONTROL}{_MARKS}]")
_HIDDEN_IN_LINE = re.compile(f"[\t\n{_CONTROL}{_MARKS}]")


def visible(value: Any) -> str:
    """Any JSON value as text, whole; what a reader would not see stands as an escape."""
    return _HIDDEN.sub(_escape, plain(value))


def line(value: Any, most: int = _MOST_NAME) -> str:
    """Any JSON value as one line, cut where it gets too long; what a reader would not see is an escape."""
    text = plain(value)
    cut = text[:most] + "\N{HORIZONTAL ELLIPSIS}" if len(text) > most else text
    return _HIDDEN_IN_LINE.sub(_escape, cut)


def plain(value: Any) -> str:
    """Any JSON value as text: a text as it is, anything else as JSON."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False)
    except (RecursionError, ValueError):
        return "(can't be shown)"


def token(text: str) -> str:
    """A short name for a text, fit for addresses and for ids of elements: an id of hex digits is its own."""
    if text.isascii() and text.isalnum() and len(text) <= 64:
        return text
    return "_" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def length(nanoseconds: float) -> str:
    """A length of time for people."""
    if nanoseconds >= 60_000 * _MS:
        minutes, seconds = divmod(nanoseconds / 1e9, 60)
        return f"{minutes:.0f} min {seconds:02.0f} s" if minutes < 1000 else f"{minutes / 60:.3g} h"
    for unit, size in (("s", 1000 * _MS), ("ms", _MS), ("\N{MICRO SIGN}s", 1000)):
        if nanoseconds >= size:
            # Three digits, but no exponent for the thousand that 999.6 rounds to.
            digits = ".3g" if nanoseconds < 999 * size else ".0f"
            return f"{nanoseconds / size:{digits}} {unit}"
    return f"{nanoseconds:.0f} ns" if nanoseconds else "0 ms"


def moment(nanoseconds: int | None) -> str:
    """A moment for people, in UTC."""
    if nanoseconds is None:
        return "at an unknown time"
    try:
        at = _EPOCH + timedelta(microseconds=nanoseconds // 1000)
    except OverflowError:
        return "out of time"  # its offset took it before the year 1, or after 9999
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d} UTC"


def bytes_size(size: int) -> str:
    """A number of bytes for people."""
    if size < 1000:
        return f"{size} B"
    return f"{size / 1000:.3g} kB" if size < 999_500 else f"{size / 1e6:.3g} MB"


def ago(seconds: float) -> str:
    """How long ago something was, for people."""
    if seconds < 2:
        return "just now"
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def count(number: int, noun: str) -> str:
    """A number of things, in words."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")
