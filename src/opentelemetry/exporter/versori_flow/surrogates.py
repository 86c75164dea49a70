"""Text as the platform gets it: no UTF-8 can hold a lone surrogate, of which Python's may have some."""

from __future__ import annotations


def clean(dirty: str) -> str:
    """Replace lone surrogates by U+FFFD, and pairs of them by the character that they stand for."""
    if dirty.isascii():
        return dirty
    return dirty.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
