"""Members of JSON objects that somebody else has written, each of the type that it must have."""

from __future__ import annotations

from typing import Any, NoReturn

from .spans import Malformed

_KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
_ENUMS: dict[str, int] = {
    **{f"SPAN_KIND_{name}": number for number, name in enumerate(_KINDS)},
    **{f"STATUS_CODE_{name}": number for number, name in enumerate(("UNSET", "OK", "ERROR"))},
}


def integer(owner: dict[str, Any], name: str) -> int:
    """A whole number, which may be written as text, as 64-bit ones are; 0 where there is none."""
    given = owner.get(name)
    if type(given) is int:
        number = given
    elif given is None:
        return 0
    elif type(given) is str and name in ("kind", "code") and given in _ENUMS:
        return _ENUMS[given]
    else:
        number = _whole(given, name)
    lowest, below = (-(2**63), 2**63) if name == "intValue" else (0, 2**64)
    if not lowest <= number < below:
        wrong(name, "a 64-bit integer")
    return number


def _whole(given: Any, name: str) -> int:
    try:
        if type(given) is str and given.isascii() and "_" not in given:
            return int(given)
        if type(given) is float and given.is_integer():
            return int(given)
    except (ValueError, OverflowError):
        pass
    return wrong(name, "an integer")


def text(owner: dict[str, Any], name: str) -> str:
    """A text; empty where there is none."""
    given = owner.get(name)
    if type(given) is str:
        return given
    return "" if given is None else wrong(name, "text")


def member(owner: dict[str, Any], name: str) -> dict[str, Any]:
    """An object; empty where there is none."""
    given = owner.get(name)
    return {} if given is None else as_object(given, name)


def as_object(given: Any, name: str) -> dict[str, Any]:
    """What must be an object."""
    return given if type(given) is dict else wrong(name, "an object")


def objects(owner: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """A list of objects; empty where there is none."""
    given = owner.get(name)
    if given is None:
        return []
    if type(given) is not list or not all(type(item) is dict for item in given):
        wrong(name, "a list of objects")
    return given


def wrong(name: str, right: str) -> NoReturn:
    """Says what a member should be.

    Raises:
        Malformed: Always.
    """
    raise Malformed(f"{name} is not {right}")
