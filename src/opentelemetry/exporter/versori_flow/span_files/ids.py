"""Ids as older tracers write them: hex digits, shorter ones with their zeros left out."""

from __future__ import annotations

from typing import Any

from ..otlp.members import text
from ..otlp.spans import BadSpan


def hex_id(owner: dict[str, Any], name: str, size: int) -> bytes:
    """An id of so many bytes; none where there is none.

    Raises:
        BadSpan: It is longer, or not hex.
    """
    given = text(owner, name)
    if not given:
        return b""
    try:
        made = bytes.fromhex(given.rjust(2 * size, "0"))
    except ValueError:
        made = b""
    if len(made) != size:
        raise BadSpan(f"{name} is not {2 * size} hex digits")
    return made
