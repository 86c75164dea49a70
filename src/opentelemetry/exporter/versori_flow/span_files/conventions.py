"""How older tracers write ids (hex digits, shorter ones with their zeros left out), kinds and a status."""

from __future__ import annotations

from typing import Any

from ..otlp.members import text
from ..otlp.spans import BadSpan

KINDS = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
"""OTLP's numbers, by the tag `span.kind`."""

STATUS_CODES = {"OK": 1, "ERROR": 2}
"""OTLP's numbers, by the tag `otel.status_code`."""


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
