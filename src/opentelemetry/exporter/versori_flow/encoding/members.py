"""Attributes as the members of a JSON object, by templates: who has the same keys differs in its values alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..interruption import let_through
from .values import WRITERS, key_text, literal

_MAX_KEPT = 512  # templates: a program has some tens of combinations of keys
_MAX_KEPT_TEXT = 8192  # characters of one of them
_NONE: dict[str, str] = {}

# By what follows and the keys, in their order: what stands before each value, with a place for it, and the rest.
TEMPLATES: dict[tuple[str, tuple[str, ...]], list[str]] = {}


def members(attributes: Mapping[str, Any], following: str = "", values: Mapping[str, str] = _NONE) -> str:
    """The members of a JSON object that has attributes, and then others.

    Args:
        attributes: Keys and values.
        following: The other members.
        values: The same, JSON by name: where an attribute has one of these names, it wins.

    Raises:
        TypeError: A key is no text.
        ValueError: The attributes change meanwhile.
    """
    keys = tuple(attributes)
    parts = (TEMPLATES.get((following, keys)) or _template(following, values, keys)).copy()
    try:
        # Functions by exact type: this runs for each attribute of each span.
        parts[1::2] = [WRITERS[type(value)](value) for value in attributes.values()]
    except KeyError as error:  # a value of an unusual type
        let_through(error)
        parts[1::2] = [literal(value) for value in attributes.values()]
    return "".join(parts)


def _template(following: str, values: Mapping[str, str], keys: tuple[str, ...]) -> list[str]:
    parts = [part for key in keys for part in (f",{key_text(key)}", "")]
    if values.keys().isdisjoint(keys):
        rest = following
    else:
        rest = ",".join([f"{key_text(name)}{value}" for name, value in values.items() if name not in keys])
    parts.append(f",{rest}" if rest else "")
    parts[0] = parts[0][1:]
    if sum(map(len, parts)) <= _MAX_KEPT_TEXT:
        if len(TEMPLATES) >= _MAX_KEPT:
            TEMPLATES.clear()  # which needs no lock and no order of use
        TEMPLATES[following, keys] = parts
    return parts
