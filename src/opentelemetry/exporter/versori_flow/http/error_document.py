"""What a refusal says: the platform's error document, `Retry-After`, and text that is safe to show. Pure."""

import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

_MESSAGE_LENGTH = 300
# Nobody means a wait beyond a day, and a date in the far future is a broken clock.
_LONGEST_RETRY_AFTER = 86_400.0
_SPAN = r"(?s)spans\[([0-9]{1,9})\](?:[.\[].*)?"
_TEXT = r'\s*:\s*"([^"\\]*)"'
_SECONDS = r"[0-9]{1,12}"


class ErrorDocument(NamedTuple):
    """The platform's `Error`, or the status in words where there is none that can be read.

    Attributes:
        code: Machine-readable; may be empty.
        message: As it was sent, secrets and control characters included.
        spans: The indices of the spans that `fields` names, in its order, each once.
        own_form: Whether it is the API's own: an object with the text of both `code` and `message`.
    """

    code: str
    message: str
    spans: tuple[int, ...]
    own_form: bool


def error_document(status: int, body: bytes) -> ErrorDocument:
    """Reads an error's body, whatever it is."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    whole = isinstance(document, dict)
    if document is None and body.lstrip().startswith(b"{"):
        document = _beginning(body.decode("utf-8", "replace"))
    if not isinstance(document, dict):
        document = {}
    own_form = whole and all(isinstance(document.get(name), str) for name in ("code", "message"))
    code, message, listed = _text(document, "code"), _text(document, "message"), document.get("fields")
    fields = [field for field in listed if isinstance(field, dict)] if isinstance(listed, list) else []
    named = [match for field in fields if (match := re.fullmatch(_SPAN, _text(field, "field")))]
    message = message or code or status_text(status)
    if fields and whole:
        # One is enough to see what is meant; all may be as many as there are spans.
        message += f" ({_text(fields[0], 'field')}: {_text(fields[0], 'message')})"
    return ErrorDocument(code, message, tuple(dict.fromkeys(int(match[1]) for match in named)), own_form)


def _beginning(text: str) -> dict[str, Any]:
    """What is known of a document that was too long to be read to its end, or is cut."""
    texts = {name: re.search(rf'"{name}"{_TEXT}', text) for name in ("code", "message")}
    known: dict[str, Any] = {name: found[1] for name, found in texts.items() if found}
    return {**known, "fields": [{"field": path} for path in re.findall(rf'"field"{_TEXT}', text)]}


def status_text(status: int) -> str:
    """Returns a status in words: `503 Service Unavailable`."""
    try:
        from http import HTTPStatus

        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"status {status}"


def retry_after(value: str, sent: str, now: float) -> float | None:
    """Returns the seconds that a `Retry-After` asks to wait, at most a day; None where it makes no sense.

    Args:
        value: The header: seconds, or a date (RFC 9110 section 10.2.3).
        sent: The answer's `Date`, which is of the same clock as such a date.
        now: Seconds since the Unix epoch by ours, for an answer without one.
    """
    if re.fullmatch(_SECONDS, value):
        seconds = float(value)
    elif (at := _timestamp(value)) is None:
        return None
    else:
        begin = _timestamp(sent)
        seconds = at - (now if begin is None else begin)
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER)


def _timestamp(text: str) -> float | None:
    from datetime import timezone
    from email.utils import parsedate_to_datetime

    try:
        date = parsedate_to_datetime(text)
        if date.tzinfo is None:  # those forms of a date that name no zone mean UTC
            date = date.replace(tzinfo=timezone.utc)
        return date.timestamp()
    except (ValueError, TypeError, IndexError, OverflowError, OSError):
        return None


def destination(location: str) -> str:
    """Returns where a redirect points: scheme and host, since the rest may carry anything."""
    try:
        parts = urlsplit(location)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "an unreadable address"
    return f"{parts.scheme or 'https'}://{parts.hostname}{port}" if parts.hostname else "another path"


def shown(text: str, redact: Callable[[str], str]) -> str:
    """Returns one short line of printable text without secrets."""
    # Before anything is cut or replaced, and after: a secret may be whole only then.
    line = "".join(c if c.isprintable() else " " for c in redact(text))
    line = redact(" ".join(line.split()))
    return line if len(line) <= _MESSAGE_LENGTH else line[: _MESSAGE_LENGTH - 1] + "…"


def _text(document: dict[str, Any], name: str) -> str:
    value = document.get(name)
    return value if isinstance(value, str) else ""
