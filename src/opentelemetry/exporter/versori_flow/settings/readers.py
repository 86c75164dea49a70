"""From what was written to what is meant: the value readers behind the table in `table.py`.

Each takes one raw value (a variable's text, a keyword argument, a node of YAML) and returns the checked one,
or raises `BadValueError`. Its texts never quote the value: a key in the wrong variable stays unlogged.
"""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

_T = TypeVar("_T")
_Number = TypeVar("_Number", int, float)

# Patterns as text: each is compiled when it is first needed, and most processes need two of them.
# RFC 9110 section 5.6.2: what a header name or an authentication scheme is made of.
_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
# Latin-1 without controls: what a header line can carry (RFC 9110 section 5.5).
FIELD = r"[\x20-\x7e\xa0-\xff]*"
# ASCII, since the Kelvin sign would pass for a K otherwise.
_ULID = r"(?ai)[0-7][0-9A-HJKMNP-TV-Z]{25}"
# Labels as long as DNS takes them: resolving any other raises what no HTTP client expects.
_HOST = r"(?=.{1,253}$)([0-9A-Za-z_-]{1,63}\.)*[0-9A-Za-z_-]{1,63}\.?|\[[0-9A-Fa-f:.]+\]"
# RFC 3986; `urlsplit` would drop a line break without a word.
_URL_TEXT = r"[0-9A-Za-z._~!$&'()*+,;=:@%/?#\[\]-]*"
_OUR_HEADERS = (
    *("Authorization", "Content-Type", "Content-Length", "Content-Encoding"),
    *("Accept-Encoding", "Transfer-Encoding", "Host"),
)
# Longer waits are a mistaken unit, and some platforms' waits overflow on them.
_LONGEST_SECONDS = 86_400.0


class BadValueError(ValueError):
    """One value can't be used; `args` holds a text per problem, and none of them quotes the value."""


def text(value: object) -> str:
    """Text without surrounding whitespace; anything that YAML made of unquoted text is refused."""
    if not isinstance(value, str):
        raise BadValueError(f"must be text, not {_kind(value)}: quote it")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadValueError("is not valid UTF-8: write it in UTF-8") from None
    return value.strip()


def ulid(value: object) -> str:
    """A ULID in either case, as it was written."""
    written = text(value)
    if not re.fullmatch(_ULID, written):
        raise BadValueError(
            f"is no ULID ({len(written)} characters): write the 26 letters and digits of the id, "
            "as in 01ARZ3NDEKTSV4RRFFQ69G5FAV (no I, L, O or U; the first is 0 to 7)"
        )
    return written


def token(value: object) -> str:
    """An authentication scheme; the two that the platform documents in their usual spelling."""
    written = text(value)
    if not re.fullmatch(_NAME, written):
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


def whole(at_least: int) -> Callable[[object], int]:
    """A whole number from a bound on."""

    def read(value: object) -> int:
        number = _number(value, int)
        if number < at_least:
            raise BadValueError(f"is too small: write {at_least} or more")
        return number

    return read


def seconds(*, zero: bool) -> Callable[[object], float]:
    """Seconds, with a fraction if need be; 0 where it has a meaning."""

    def read(value: object) -> float:
        number = _number(value, float)
        if number < 0 or (number == 0 and not zero):
            raise BadValueError(f"is too small: write seconds, {'0 or more' if zero else 'more than 0'}")
        if number > _LONGEST_SECONDS:
            raise BadValueError(f"is too large: write seconds, {_LONGEST_SECONDS:.0f} at most")
        return number

    return read


def names(value: object) -> tuple[str, ...]:
    """Names, once each and in order, from text with commas, a list, or a mapping's keys without values."""
    if isinstance(value, str):
        value = [item for item in value.split(",") if item.strip()]
    elif isinstance(value, Mapping) and all(item is None for item in value.values()):
        value = list(value)
    if not isinstance(value, list | tuple):
        raise BadValueError(f"must be a list of names, not {_kind(value)}: write a,b or [a, b]")
    read = dict.fromkeys(map(text, value))
    if "" in read:
        raise BadValueError("has an empty item: leave it out")
    return tuple(read)


def headers(value: object) -> Mapping[str, str]:
    """Header names and values, from `k=v,k=v` as OTEL_EXPORTER_OTLP_HEADERS has it, a mapping or a list.

    A list's items are `k=v` texts or mappings with `name` and `value`. Only the text form is percent-decoded.
    """
    read: dict[str, str] = {}
    problems: list[str] = []
    for number, item in enumerate(_header_items(value), 1):
        try:
            name, content = _header(item)
            if name.lower() in map(str.lower, read):
                raise BadValueError("is there twice: leave one out")
            read[name] = content
        except BadValueError as problem:
            problems += (f"item {number} {what}" for what in problem.args)
    if problems:
        raise BadValueError(*problems)
    return MappingProxyType(read)


def _header_items(value: object) -> Iterator[object]:
    if isinstance(value, str):
        yield from (item for item in value.split(",") if item.strip())
    elif isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _header_items(item) if isinstance(item, str) else [item]
    else:
        raise BadValueError(f"must be k=v,k=v or a mapping, not {_kind(value)}: write name=value")


def _header(item: object) -> tuple[str, str]:
    if isinstance(item, str):
        name, equals, content = (unquote(part).strip() for part in text(item).partition("="))
        if not equals:
            raise BadValueError("has no `=`: write name=value, with %2C for a comma")
    else:
        if isinstance(item, Mapping) and item.keys() == {"name", "value"}:
            item = (item["name"], item["value"])
        if not isinstance(item, tuple) or len(item) != 2:
            raise BadValueError("is no header: write name=value, or a mapping with name and value")
        name, content = map(text, item)
    if not re.fullmatch(_NAME, name):
        raise BadValueError("has a name that is no header's: write letters, digits and hyphens")
    if name.title() in _OUR_HEADERS:
        raise BadValueError(f"is {name.title()}, which the exporter sets: leave it out")
    if not re.fullmatch(FIELD, content):
        raise BadValueError("has a value with a character that a header can't carry: leave it out")
    return name, content


def meter_provider(value: Any) -> Any:
    """Something that gives meters."""
    if not callable(getattr(value, "get_meter", None)):
        raise BadValueError("is no MeterProvider: give one from opentelemetry.sdk.metrics, in code")
    return value


def base_url(value: object) -> str:
    """An absolute http or https URL without a slash at its end; nothing else may hide in it."""
    written = text(value)
    advice = "write it as in https://platform.versori.com/api/v2"
    if not re.fullmatch(_URL_TEXT, written):
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
    if port == 0 or not _is_host(re.sub(r":[0-9]*$", "", url.netloc)):
        raise BadValueError(f"has no usable host or port: {advice}")
    return written.rstrip("/")


def _is_host(host: str) -> bool:
    """Whether it can be resolved: with the brackets of an IPv6 address, which `hostname` drops."""
    if not re.fullmatch(_HOST, host):
        return False
    try:
        if host[0] == "[":
            IPv6Address(host[1:-1])
        elif re.fullmatch(r"[0-9]+(\.[0-9]+){3}", host):
            IPv4Address(host)
    except ValueError:
        return False
    return True


def is_loopback(url: str) -> bool:
    """Whether requests to a checked base URL stay on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def pem_file(value: object) -> str:
    """The path of a readable file that holds something in PEM form."""
    path = path_text(value)
    if b"-----BEGIN " not in read_file(path)[0]:
        raise BadValueError("names a file without a PEM block: write the path of one with a -----BEGIN line")
    return path


def path_text(value: object) -> str:
    """A path, from text or an `os.PathLike`; not looked at further, as it need not be UTF-8."""
    path = os.fspath(value) if isinstance(value, os.PathLike) else value
    return path.strip() if isinstance(path, str) else text(path)


def read_file(path: str, limit: int = -1) -> tuple[bytes, os.stat_result]:
    """Read up to `limit` bytes of a regular file (-1: all of it), and its status from just before."""
    try:
        # A pipe would make the open wait for its writer.
        if stat.S_ISREG(os.stat(path).st_mode):
            with open(path, "rb") as file:
                # The status first: a write in between then shows as a change later, never as none.
                status = os.fstat(file.fileno())
                return file.read(limit), status
    except OSError as error:
        raise BadValueError(
            f"names a file that can't be read ({error.strerror}): write the path of a readable one"
        ) from None
    except ValueError:
        raise BadValueError("is no path: write the path of a file") from None
    raise BadValueError("names something that is not a file: write the path of a regular file")


def _number(value: object, kind: type[_Number]) -> _Number:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise BadValueError(f"must be a number, not {_kind(value)}")
    try:
        number = kind(value)
        if math.isfinite(float(value)) and (isinstance(value, str) or number == value):
            return number
    except (ValueError, OverflowError):
        pass  # said below
    raise BadValueError(
        "is no whole number: write digits alone" if kind is int else "is no number: write one"
    )


def _kind(value: object) -> str:
    for kinds, name in (
        (bool, "true or false"),
        ((int, float), "a number"),
        (Mapping, "a mapping"),
        ((list, tuple), "a list"),
        (type(None), "null"),
    ):
        if isinstance(value, kinds):
            return name
    return f"a value of type {type(value).__name__}"
