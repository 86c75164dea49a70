"""From what was written to what is meant: the value readers behind the table in `table.py`.

Each takes one raw value (a variable's text, a keyword argument, a node of YAML) and returns the checked one,
or raises `BadValueError`. Its texts never quote the value: a key in the wrong variable stays unlogged.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from string import ascii_letters, digits
from typing import Any, TypeVar
from urllib.parse import urlsplit

_T = TypeVar("_T")
_Number = TypeVar("_Number", int, float)

# Sets of characters and no patterns: compiling those took half the time of making an exporter.
# RFC 9110 section 5.6.2: what a header name or an authentication scheme is made of.
TOKEN = frozenset(ascii_letters + digits + "!#$%&'*+.^_`|~-")
_ULID = frozenset(ascii_letters + digits).difference("IiLlOoUu")
# RFC 3986; `urlsplit` would drop a line break without a word.
_URL = frozenset(ascii_letters + digits + "._~!$&'()*+,;=:@%/?#[]-")
_HOST = frozenset(ascii_letters + digits + "_-")


class BadValueError(ValueError):
    """One value can't be used; `args` holds a text per problem, and none of them quotes the value."""


class Secret:
    """What no repr, log or pickle shows, and no traceback with locals. A `Secret` of one is that one."""

    __slots__ = ("_value",)

    def __init__(self, value: object) -> None:
        self._value: Any = value._value if isinstance(value, Secret) else value

    def reveal(self) -> Any:
        """The value itself, for the one place that sends it."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and bool(self._value == other._value)

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise TypeError("Secret can't be pickled: make one exporter in each process")


def hidden_text(value: Secret) -> Secret:
    """Text without surrounding whitespace; anything that YAML made of unquoted text is refused."""
    if not isinstance(value.reveal(), str):
        raise BadValueError(f"must be text, not {kind(type(value.reveal()))}: quote it")
    try:
        value.reveal().encode()
    except UnicodeEncodeError:
        raise BadValueError("is not valid UTF-8: write it in UTF-8") from None
    return Secret(value.reveal().strip())


def text(value: object) -> str:
    """As `hidden_text`, of what may be seen."""
    return str(hidden_text(Secret(value)).reveal())


def ulid(value: object) -> str:
    """A ULID in either case, as it was written."""
    written = text(value)
    if len(written) != 26 or written[0] not in "01234567" or not _ULID.issuperset(written):
        raise BadValueError(
            f"is no ULID ({len(written)} characters): write the 26 letters and digits of the id, "
            "as in 01ARZ3NDEKTSV4RRFFQ69G5FAV (no I, L, O or U; the first is 0 to 7)"
        )
    return written


def token(value: object) -> str:
    """An authentication scheme; the two that the platform documents in their usual spelling."""
    written = text(value)
    if not written or not TOKEN.issuperset(written):
        raise BadValueError(
            "is no authentication scheme: write Bearer, JWT or another single word, without the key"
        )
    return {"bearer": "Bearer", "jwt": "JWT"}.get(written.lower(), written)


def choice(*known: _T) -> Callable[[object], _T]:
    """One of some words, in any case."""

    def read(value: object) -> _T:
        written = text(value).lower()
        for word in known:
            if word == written:
                return word
        raise BadValueError(f"is not known: write {' or '.join(map(str, known))}")

    return read


def boolean(value: object) -> bool:
    """True or false, as OpenTelemetry reads it from a variable: in any case, and nothing but these words."""
    written = str(value).strip().lower() if isinstance(value, bool | str) else ""
    if written not in ("true", "false"):
        raise BadValueError("is neither true nor false: write one of them")
    return written == "true"


def number(
    wanted: type[_Number], at_least: float, advice: str, at_most: float = math.inf
) -> Callable[[object], _Number]:
    """A number between two bounds, as one or as text; the advice is what to write instead of another."""

    def read(value: object) -> _Number:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise BadValueError(f"must be a number, not {kind(type(value))}")
        try:
            number = wanted(value)
            if not math.isfinite(float(value)) or not (isinstance(value, str) or number == value):
                raise ValueError
        except (ValueError, OverflowError):
            digits_alone = "is no whole number: write digits alone"
            raise BadValueError(digits_alone if wanted is int else "is no number: write one") from None
        if not at_least <= number <= at_most:
            raise BadValueError(f"is too {'small' if number < at_least else 'large'}: write {advice}")
        return number

    return read


def names(value: object) -> tuple[str, ...]:
    """Names, once each and in order, from text with commas, a list, or a mapping's keys without values."""
    if isinstance(value, str):
        value = [item for item in value.split(",") if item.strip()]
    elif isinstance(value, Mapping) and all(item is None for item in value.values()):
        value = list(value)
    if not isinstance(value, list | tuple):
        raise BadValueError(f"must be a list of names, not {kind(type(value))}: write a,b or [a, b]")
    read = dict.fromkeys(map(text, value))
    if "" in read:
        raise BadValueError("has an empty item: leave it out")
    return tuple(read)


def meter_provider(value: Any) -> Any:
    """Something that gives meters."""
    if not callable(getattr(value, "get_meter", None)):
        raise BadValueError("is no MeterProvider: give one from opentelemetry.sdk.metrics, in code")
    return value


def flow_name(value: object) -> str | Callable[[Any], str]:
    """A callable, or a template whose form is right."""
    if callable(value):
        return value  # what it returns is looked at per span
    template = text(value)
    template_parts(template)
    return template


def template_parts(template: str) -> list[tuple[str, bool]]:
    """Literal text with False, the name of an attribute with True: what a flow name template is made of.

    Placeholders such as `{service.name}` are resource attributes; `{{` and `}}` stand for the braces.
    """
    parts: list[tuple[str, bool]] = []
    for part in re.findall(r"\{\{|\}\}|\{[^{}]*\}|[^{}]+|[{}]", template):
        if part in ("{", "}"):
            raise BadValueError(
                f"has a `{part}` without its partner: close the placeholder, or write `{part * 2}`"
            )
        named = part[0] == "{" != part[1]
        name = part[1:-1].strip()
        if named and not name:
            raise BadValueError(
                "has an empty placeholder: name an attribute of the resource, as in {service.name}"
            )
        parts.append((name, True) if named else (part[0] if part in ("{{", "}}") else part, False))
    return parts


def base_url(value: object) -> str:
    """An absolute http or https URL without a slash at its end; nothing else may hide in it."""
    written = text(value)
    advice = "write it as in https://platform.versori.com/api/v2"
    if not _URL.issuperset(written):
        raise BadValueError(
            "has a character that a URL can't hold: percent-encode it, "
            "or write an international host in its xn-- form"
        )
    try:
        url = urlsplit(written)
        port = url.port
    except ValueError:
        raise BadValueError(f"is not a URL: {advice}") from None
    if "@" in url.netloc:
        raise BadValueError(
            "holds a user name or a password: write the URL without, the key has its own setting"
        )
    if "?" in written or "#" in written:
        raise BadValueError("has a query or a fragment: write the URL without `?` and `#`")
    if url.scheme not in ("http", "https"):
        raise BadValueError(f"is neither an http nor an https URL: {advice}")
    # With the brackets of an IPv6 address, which `hostname` drops.
    host, colon, behind = url.netloc.rpartition(":")
    if port == 0 or not _is_host(host if colon and "]" not in behind else url.netloc):
        raise BadValueError(f"has no usable host or port: {advice}")
    return written.rstrip("/")


def _is_host(host: str) -> bool:
    """Whether it can be resolved; labels longer than DNS takes raise what no HTTP client expects."""
    try:
        if host.startswith("["):
            return host.endswith("]") and "%" not in host and bool(IPv6Address(host[1:-1]))
        if host.count(".") == 3 and host.replace(".", "").isdigit() and not host.endswith("."):
            return bool(IPv4Address(host))
    except ValueError:
        return False
    labels = host.removesuffix(".").split(".")
    return len(host) <= 253 and all(0 < len(label) <= 63 and _HOST.issuperset(label) for label in labels)


def is_loopback(url: str) -> bool:
    """Whether requests to this base URL stay on this machine; no if it is none."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def kind(given: type) -> str:
    """What a value of some type is called in a problem's text."""
    for kinds, name in (
        (bool, "true or false"),
        ((int, float), "a number"),
        (Mapping, "a mapping"),
        ((list, tuple), "a list"),
        (type(None), "null"),
    ):
        if issubclass(given, kinds):
            return name
    return f"a value of type {given.__name__}"
