"""The stored flow: reading it without touching foreign bytes. Pure.

What other writers put into a flow goes back to the platform byte for byte: members that the API description
does not know, spans with unknown fields, numbers of any length. The standard library's scanner finds where
each value begins and ends; the text between is kept, never written anew.
"""

import json
import re
from collections.abc import Iterable, Iterator
from datetime import date
from functools import lru_cache
from typing import Any, NamedTuple

from .window import Key

MAX_VALUES = 1_000_000
"""Values in a document, and one more for each 16 bytes beyond 16 MB: real ones take that much and more, and
who sends empty lists only makes each byte cost 30."""

MAX_SPANS = 100_000
"""Spans in a document, and one more for each 64 bytes beyond 6.4 MB."""

MAX_MEMBERS = 1000
"""Members of the flow itself."""

_TWIN = "#TWIN"  # in capitals, which no id has: it makes nobody else's key
_BLANK = re.compile(r"[ \t\n\r]*")
_EPOCH = date(1970, 1, 1).toordinal()
_TIME = r"(?a)(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))"


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


# An integer of 4,300 digits raises when it is converted, a float never does; neither is looked at here.
_DECODER = json.JSONDecoder(parse_int=float, parse_constant=_refuse_constant)


class UnreadableFlow(ValueError):  # noqa: N818 - it is an outcome, met with match
    """A stored flow that can't be read as one. It must not be overwritten."""


class StoredSpan(NamedTuple):
    """One span as the platform has it.

    Attributes:
        key: (trace id, span id), lower case; for a span without usable ids ("", a digest of its bytes). No two
            spans of one flow have the same: see `_tell_apart`.
        start: Nanoseconds since the Unix epoch, as `end`; 0 where the span does not say.
    """

    key: Key
    start: int
    end: int
    is_root: bool
    body: bytes


class StoredFlow(NamedTuple):
    """A flow as the platform has it.

    Attributes:
        digest: Of the whole answer.
        description: As JSON, as it stands; text, unless somebody wrote something else.
        members: `"name": value` of every member but name, description and spans, as they stand.
        twins: Keys that several of the spans had before they were told apart; see `first_twin`.
    """

    digest: bytes
    name: str
    description: bytes
    members: tuple[bytes, ...]
    spans: tuple[StoredSpan, ...]
    twins: frozenset[Key] = frozenset()

    @property
    def texts(self) -> dict[Key, bytes]:
        """Each span as it stands, by its key."""
        return {span.key: span.body for span in self.spans}


def read(body: bytes, digest: bytes) -> StoredFlow:
    """Reads a stored flow, what the platform answered to a GET.

    Raises:
        UnreadableFlow: It is not JSON, not a flow, or more than is parsed; its text says why.
    """
    try:
        if _too_many_values(body):
            raise UnreadableFlow(f"it has more values than a flow of {len(body)} bytes may have")
        return _read(body.decode("utf-8-sig"), digest)
    except RecursionError:
        raise UnreadableFlow("it is nested too deeply") from None
    except UnicodeDecodeError:
        raise UnreadableFlow("it is not UTF-8") from None
    except UnreadableFlow:
        raise
    except ValueError as error:
        raise UnreadableFlow(f"it is not a flow in JSON: {error}") from None


def _too_many_values(body: bytes) -> bool:
    """Counts before anything is parsed, which takes memory for each value."""
    most = max(MAX_VALUES, len(body) // 16)
    if len(body) <= 2 * most:
        return False
    if (values := _containers_and_commas(body)) <= most or values > 4 * most:
        return values > most
    # Perhaps it is text that has so many commas, in few strings.
    plain = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    return plain.count(b'"') > 2 * most or _containers_and_commas(b"".join(plain.split(b'"')[::2])) > most


def _containers_and_commas(body: bytes) -> int:
    return sum(map(body.count, (b",", b"[", b"{")))


def _read(source: str, digest: bytes) -> StoredFlow:
    known: dict[str, Any] = {}
    members: list[bytes] = []
    twins: frozenset[Key] = frozenset()
    end = _skip_blank(source, 0)
    if source[end : end + 1] != "{":
        raise ValueError("an object was expected")
    for name, at in (walk := _Members(source, end)):
        if name in known:
            raise UnreadableFlow(f"it has {name} twice")
        if name == "spans" and source[at : at + 1] == "[":
            known[name], twins = _tell_apart(_spans(walk, at))
            continue
        value = walk.value(at)
        if name == "description":
            known[name] = source[at : walk.end].encode()
        elif name == "spans" and value is not None:
            raise UnreadableFlow("its spans are no list")
        elif name in ("name", "spans"):
            known[name] = value if name == "name" else ()
        elif len(members) >= MAX_MEMBERS:
            raise UnreadableFlow(f"it has more than {MAX_MEMBERS} members")
        else:
            members.append(source[walk.start : walk.end].encode())
    if _skip_blank(source, walk.end) != len(source):
        raise ValueError("there is text behind the flow")
    for name in ("name", "description", "spans"):
        if name not in known:
            raise UnreadableFlow(f"it is no flow: it has no {name}")
    if not isinstance(known["name"], str):
        raise UnreadableFlow("it is no flow: its name is no text")
    return StoredFlow(digest, known["name"], known["description"], tuple(members), known["spans"], twins)


class _Members:
    """The members of one object, one after the other: where each begins, its name, and where its value is.

    Whoever iterates moves `end` behind each value (see `value`) before asking for the next.
    """

    def __init__(self, source: str, at: int) -> None:
        self.source = source
        self.start = at
        self.end = at

    def __iter__(self) -> Iterator[tuple[str, int]]:
        source = self.source
        at = _skip_blank(source, self.end + 1)
        if source[at : at + 1] == "}":
            self.end = at + 1
            return
        while True:
            self.start = at
            name = self.value(at)
            at = _skip_blank(source, self.end)
            if not isinstance(name, str) or source[at : at + 1] != ":":
                raise ValueError(f"a member was expected at character {self.start}")
            yield name, _skip_blank(source, at + 1)
            at = _skip_blank(source, self.end)
            if source[at : at + 1] == "}":
                self.end = at + 1
                return
            if source[at : at + 1] != ",":
                raise ValueError(f"a comma was expected at character {at}")
            at = _skip_blank(source, at + 1)

    def value(self, at: int) -> Any:
        value, self.end = _DECODER.raw_decode(self.source, at)
        return value


def _spans(walk: _Members, at: int) -> Iterator[StoredSpan]:
    source = walk.source
    left = max(MAX_SPANS, len(source) // 64)
    at = _skip_blank(source, at + 1)
    while source[at : at + 1] != "]":
        if not left:
            raise UnreadableFlow("it has more spans than are read")
        left -= 1
        value = walk.value(at)
        yield _span(value, source[at : walk.end].encode())
        at = _skip_blank(source, walk.end)
        if source[at : at + 1] == ",":
            at = _skip_blank(source, at + 1)
            if source[at : at + 1] != "]":
                continue
        elif source[at : at + 1] == "]":
            continue
        raise ValueError(f"a comma and a span were expected at character {at}")
    walk.end = at + 1


def _tell_apart(read: Iterable[StoredSpan]) -> tuple[tuple[StoredSpan, ...], frozenset[Key]]:
    """Gives spans of one key a key each, and names those keys: who wrote them meant two, and both are kept.

    The keys depend on the spans alone, not on their order, so that the next read gives the same ones.
    """
    spans: list[StoredSpan] = []
    first: dict[Key, int] = {}
    twins: dict[Key, list[int]] = {}
    for index, span in enumerate(read):
        if (one := first.setdefault(span.key, index)) != index:
            twins.setdefault(span.key, [one]).append(index)
        spans.append(span)
    for (trace_id, span_id), indices in twins.items():
        indices.sort(key=lambda index: (spans[index].start, spans[index].body))
        for number, index in enumerate(indices[1:], 2):
            spans[index] = spans[index]._replace(key=(trace_id, f"{span_id}{_TWIN}{number}"))
    return tuple(spans), frozenset(twins)


def first_twin(key: Key) -> Key:
    """The key that spans had in common before they were told apart."""
    return key[0], key[1].partition(_TWIN)[0]


def says(stored: bytes, text: bytes) -> bool:
    """Whether a stored span is this text: the platform may write it in a way of its own, and add members."""
    there, here = _DECODER.decode(stored.decode()), _DECODER.decode(text.decode())
    return isinstance(there, dict) and all(there.get(name) == value for name, value in here.items())


def _span(value: Any, body: bytes) -> StoredSpan:
    span = value if isinstance(value, dict) else {}
    trace_id, span_id = _ids(span.get("spanContext"))
    usable = trace_id.strip("0") and span_id.strip("0")
    key = (trace_id, span_id) if usable else ("", _fingerprint(body))
    parents = (span.get("parentSpanContext"), span.get("parentSpanContenxt"))
    return StoredSpan(
        key,
        _nanoseconds(span.get("startTime")),
        _nanoseconds(span.get("endTime")),
        not any(_ids(parent)[1].strip("0") for parent in parents),
        body,
    )


def _fingerprint(body: bytes) -> str:
    # Imported here: it loads OpenSSL, which is no business of the application's start.
    from hashlib import blake2b

    return blake2b(body, digest_size=16).hexdigest()


def _ids(context: Any) -> tuple[str, str]:
    if not isinstance(context, dict):
        return "", ""
    trace_id, span_id = context.get("traceId"), context.get("spanId")
    return (
        trace_id.lower() if isinstance(trace_id, str) else "",
        span_id.lower() if isinstance(span_id, str) else "",
    )


def _nanoseconds(value: Any) -> int:
    match = re.fullmatch(_TIME, value) if isinstance(value, str) else None
    if match is None:
        return 0
    year, month, day, hour, minute, second, fraction, sign, off_hours, off_minutes = match.groups()
    try:
        midnight = _midnight(int(year), int(month), int(day))
    except ValueError:  # the thirteenth month
        return 0
    seconds = midnight + int(hour) * 3600 + int(minute) * 60 + int(second)
    if sign:
        offset = int(off_hours) * 3600 + int(off_minutes) * 60
        seconds += offset if sign == "-" else -offset
    return seconds * 1_000_000_000 + int((fraction or "0").ljust(9, "0")[:9])


@lru_cache(maxsize=64)
def _midnight(year: int, month: int, day: int) -> int:
    return (date(year, month, day).toordinal() - _EPOCH) * 86_400


def _skip_blank(source: str, at: int) -> int:
    match = _BLANK.match(source, at)
    return match.end() if match is not None else at
