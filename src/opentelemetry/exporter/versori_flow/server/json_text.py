"""Reading the body of a flow without losing a byte of it.

A body is kept as the text that came in. Only the member ``id``, which belongs to the platform, is ever cut
out or put in; everything else, white space and unknown members included, stays as it was sent.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, NoReturn

from .replies import ApiError

_SPACE = re.compile(r"[ \t\n\r]*")
# Python refuses to turn more than 4300 digits into an int; such a number is valid JSON all the same.
_MOST_DIGITS = 4000


@dataclass(frozen=True)
class Member:
    """Where one member of the top-level object stands in the text."""

    key: str
    start: int
    end: int


@dataclass(frozen=True)
class JsonText:
    """A JSON text, what it means, and where its top-level members are.

    Attributes:
        text: The text as it was sent.
        document: The parsed value, of any JSON type.
        members: The members of the top-level object in the order of the text; empty for other values.
    """

    text: str
    document: Any
    members: tuple[Member, ...]

    @classmethod
    def read(cls, raw: bytes) -> JsonText:
        """Reads a body.

        Raises:
            ApiError: 400, the bytes are not UTF-8, not JSON, or nested too deeply.
        """
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ApiError(400, "invalid_encoding", f"the body is not UTF-8: {error.reason}") from None
        try:
            return _read(text)
        except RecursionError:
            raise ApiError(400, "invalid_json", "the body is nested too deeply") from None
        except ValueError as error:
            raise ApiError(400, "invalid_json", f"the body is not JSON: {error}") from None

    def with_id(self, id_: str) -> bytes:
        """The body with this ``id`` as its first member, and with no other one.

        A body that is not an object comes back as it is.
        """
        if not isinstance(self.document, dict):
            return self.text.encode("utf-8")
        kept = [index for index, member in enumerate(self.members) if member.key != "id"]
        opening = self.members[0].start if self.members else self.text.index("{") + 1
        parts = [self.text[:opening], f'"id":"{id_}"']
        for index, following in zip(kept, [*kept[1:], None], strict=True):
            member = self.members[index]
            end = member.end if following is None else self.members[index + 1].start
            # The text from a member to the next one holds the comma and the space between them.
            parts += ["," if len(parts) == 2 else "", self.text[member.start : end]]
        parts.append(self.text[self.members[-1].end if self.members else opening :])
        return "".join(parts).encode("utf-8")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MOST_DIGITS else float(digits)


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=_integer)


def _read(text: str) -> JsonText:
    at = _skip(text, 0)
    if text[at : at + 1] != "{":
        return JsonText(text, _DECODER.decode(text), ())
    document: dict[str, Any] = {}
    members = []
    at = _skip(text, at + 1)
    closed = text[at : at + 1] == "}"
    while not closed:
        start = at
        if text[at : at + 1] != '"':
            raise json.JSONDecodeError("Expecting a member's name in double quotes", text, at)
        key, at = _DECODER.raw_decode(text, at)
        at = _skip(text, at)
        if text[at : at + 1] != ":":
            raise json.JSONDecodeError("Expecting ':'", text, at)
        document[key], at = _DECODER.raw_decode(text, _skip(text, at + 1))
        members.append(Member(key, start, at))
        at = _skip(text, at)
        closed = text[at : at + 1] == "}"
        if not closed:
            if text[at : at + 1] != ",":
                raise json.JSONDecodeError("Expecting ',' or '}'", text, at)
            at = _skip(text, at + 1)
    if (end := _skip(text, at + 1)) != len(text):
        raise json.JSONDecodeError("Extra data", text, end)
    return JsonText(text, document, tuple(members))


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return at if match is None else match.end()
