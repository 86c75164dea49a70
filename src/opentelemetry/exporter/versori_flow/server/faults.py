"""Faults to order: what they are, how they are written, and whom they strike.

A fault is written as its kind, then options, with commas between them::

    status=503,retry-after=2,share=0.3,method=PUT
    reset,times=5
    drip,interval=1,part=headers,flow=shop

========== ====================================================================== =======================
kind       what the client meets                                                  own options
========== ====================================================================== =======================
status=N   that status and an ``Error``                                           retry-after, message,
                                                                                  code, fields, location,
                                                                                  body, apply
slow=S     the answer, S seconds late                                             apply
drip       the true answer, a byte at a time                                      interval, part
reset      a TCP reset; ``part=headers`` after the head of the true answer,       part, apply
           ``part=body`` in the middle of its body
blackhole  nothing: the connection stays open and silent                          apply
cut        the true answer's head and half of its body, then the end
flood      200 and a body without end, ``gzip=yes`` for a compressed one          gzip, apply
max-body=N 413 for a body of more than N bytes                                    message, code
poison=T   422 for a body with a span whose name or attributes hold the text T,   named, status, message,
           the span named in ``fields`` unless ``named=no``                       code
========== ====================================================================== =======================

Options of all kinds: ``times`` (how often it strikes before it is over), ``share`` (of the requests that it
could strike, spread evenly, or by chance with a ``seed``), ``method``, ``flow`` (one flow's name), ``delay``
(seconds to wait first). ``apply=yes`` carries the request out although the client never learns it.
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .fault_options import COMMON, DEFAULTS, KINDS, OPTIONS, OWN
from .replies import ApiError, Reply

_ALL_KINDS = f"the kinds are {', '.join(KINDS)}"


class FaultError(ValueError):
    """A fault that is not written as one; the message says what to write instead."""


@dataclass(frozen=True)
class Fault:
    """One fault, as ordered. ``parse_fault`` makes one of a text and checks it.

    Attributes:
        kind: One of status, slow, drip, reset, blackhole, cut, flood, max-body, poison.
        text: The words it was ordered with.
        times: How often it strikes before it is over; None for as long as it stands.
        share: Of the requests that it could strike, between 0 and 1.
        seed: Chance decides about the share, the same way each time; None spreads it evenly.
        method: The HTTP method that it strikes; None for all.
        flow: The name of the flow that it strikes; None for all, and for the list of flows.
        delay: Seconds to wait before anything else.
        apply: The request is carried out, although the client meets the fault.
        status: The status of the kinds status and poison.
        retry_after: The header of that name, in seconds or as a date; None for no header.
        message: The ``Error``'s message; None for one that says it was ordered.
        code: The ``Error``'s code.
        fields: Paths for the ``Error``'s fields.
        location: The header of that name; None for no header.
        body: A text to answer instead of an ``Error``; None for the ``Error``.
        interval: Seconds between two bytes that drip.
        part: Where a drip begins or a reset comes: "headers" or "body"; empty for a reset before any answer.
        limit: The bytes that a body may have for max-body.
        match: The text that poisons a span.
        named: The poisoned spans are named in ``fields``.
        gzip: The flood is compressed.
    """

    kind: str
    text: str
    times: int | None = None
    share: float = 1.0
    seed: int | None = None
    method: str | None = None
    flow: str | None = None
    delay: float = 0.0
    apply: bool = False
    status: int = 503
    retry_after: str | None = None
    message: str | None = None
    code: str = "ordered_fault"
    fields: tuple[str, ...] = ()
    location: str | None = None
    body: str | None = None
    interval: float = 1.0
    part: str = ""
    limit: int = 0
    match: str = ""
    named: bool = True
    gzip: bool = False

    def answer(self, fields: Sequence[str] = ()) -> Reply:
        """The answer of the kinds that answer by themselves."""
        headers = {}
        if self.retry_after is not None:
            headers["Retry-After"] = self.retry_after
        if self.location is not None:
            headers["Location"] = self.location
        if self.body is not None:
            return Reply(self.status, self.body.encode("utf-8"), headers, "text/plain; charset=utf-8")
        message = self.message or f"ordered: {self.text}"
        pairs = [(path, message) for path in (*self.fields, *fields)]
        return ApiError(self.status, self.code, message, pairs).answer(headers)


def parse_fault(text: str, **options: object) -> Fault:
    r"""Makes a fault of the words it is ordered with.

    Args:
        text: The kind and its options, e.g. ``"status=503,retry-after=2"``. A value with a comma in it goes
            in double quotes; ``\"`` is a quotation mark and ``\\`` a backslash.
        **options: More options, as in the text, with ``_`` for ``-``.

    Raises:
        FaultError: The text or an option says nothing that can be done.
    """
    lexer = shlex.shlex(text, posix=True)
    # An apostrophe is one, and no quotation mark.
    lexer.whitespace, lexer.whitespace_split, lexer.commenters, lexer.quotes = ",", True, "", '"'
    try:
        words = [word.strip() for word in lexer]
    except ValueError:
        raise FaultError(f"fault {text!r}: a quotation mark or backslash is left open") from None
    if not any(words):
        raise FaultError(f"a fault needs a kind; {_ALL_KINDS}")
    kind, has_value, value = (part.strip() for part in words[0].partition("="))
    kind = kind.replace("_", "-")
    if kind not in KINDS:
        raise FaultError(f"fault {text!r}: there is no kind {kind!r}{_guess(kind, KINDS)}; {_ALL_KINDS}")
    given: dict[str, object] = {}
    own, needed = KINDS[kind]
    if has_value:
        if own is None:
            raise FaultError(f"fault {text!r}: {kind} takes no value; write it as {kind!r}")
        given[own] = value
    for word in words[1:]:
        name, separator, value = (part.strip() for part in word.partition("="))
        if not separator:
            raise FaultError(f"fault {text!r}: {word!r} should be option=value")
        given[_option(text, kind, name)] = value
    for name, setting in options.items():
        given[_option(text, kind, name.replace("_", "-"))] = setting
    if needed and own not in given:
        raise FaultError(f"fault {text!r}: {kind} needs a value: {kind}=...")
    defaults = DEFAULTS.get(kind, {})
    fault = Fault(kind=kind, text=_in_words(kind, own, given), **{**defaults, **_converted(text, given)})
    _check_playable(text, fault)
    return fault


def _check_playable(text: str, fault: Fault) -> None:
    """Refuses what no HTTP answer can be: found now, and not when it is to be played."""
    try:
        reply = fault.answer()
        for name, value in reply.headers.items():
            if not value.isascii() or not value.isprintable():
                raise FaultError(f"fault {text!r}: {name.lower()} should be printable ASCII, as a header is")
    except UnicodeEncodeError:
        raise FaultError(f"fault {text!r}: its text holds half a character") from None


def _option(text: str, kind: str, name: str) -> str:
    """The attribute that an option sets, if this kind has it."""
    own, _ = KINDS[kind]
    allowed = {*COMMON, *OWN.get(kind, ()), *([own] if own else [])}
    if name not in allowed:
        raise FaultError(
            f"fault {text!r}: {kind} has no option {name!r}{_guess(name, allowed)}; "
            f"its options are {', '.join(sorted(allowed))}"
        )
    return name.replace("-", "_")


def _guess(word: str, words: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(words), 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _in_words(kind: str, own: str | None, given: dict[str, object]) -> str:
    words = [f"{kind}={_quoted(given[own])}" if own in given else kind]
    words += [f"{name.replace('_', '-')}={_quoted(value)}" for name, value in given.items() if name != own]
    return ",".join(words)


def _quoted(value: object) -> str:
    text = ";".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    if not {",", '"', "\\"}.intersection(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _converted(text: str, given: dict[str, object]) -> dict[str, Any]:
    converted = {}
    for name, value in given.items():
        convert, wanted = OPTIONS[name]
        try:
            converted[name] = convert(value)
        except (ValueError, TypeError):
            option = name.replace("_", "-")
            raise FaultError(f"fault {text!r}: {option} is {value!r}; it should be {wanted}") from None
    return converted
