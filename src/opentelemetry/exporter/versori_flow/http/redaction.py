"""Takes what is secret out of a text, however it is spelt there. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ..settings.readers import Secret

# Shorter pieces of base64 occur in any text.
_SHORTEST_BASE64 = 6
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;"}
# A run of them counts as one, since escaping doubles them. A pattern begins at the start or the end of a run, and two
# elements never share one: a long run would be gone through again from each place in it.
_BACKSLASH = r"(?i:\\|%(?:25)*5c|&#0*92;|&#x0*5c;)"
_MORE_BACKSLASHES = f"{_BACKSLASH}*?"
_ESCAPED = r"(?:(?<!\\)\\*)?"


def redaction(secrets: Sequence[Secret], host: str) -> Secret:
    """Returns the pattern that matches any spelling of any secret, and as its first group the host, which is none.

    The longest comes first, since one may begin another: a secret that holds the host goes whole, and a word
    that is part of the host does not tear a hole into it.
    """
    kept = rf"((?i:{re.escape(host)}))" if host else r"((?!))"
    plain = (
        kept if each == Secret(host) else _spelt(each) for each in _longest_first({*secrets, Secret(host)})
    )
    pieces = _longest_first({Secret(piece) for secret in secrets for piece in _base64_pieces(secret)})
    # With the digits beside it, which hold some bits of the secret's ends.
    encoded = (rf"[\w+/-]?{re.escape(piece.reveal())}[\w+/-]?=*" for piece in pieces)
    return Secret(re.compile("|".join((*plain, *encoded))))


def redacted(pattern: Secret, text: str) -> str:
    """Returns the text with `***` for what `redaction` found."""
    # Without a function for each match: its frame would hold what was found.
    return "".join("***" if part is None else part for part in pattern.reveal().split(text))


def _longest_first(secrets: set[Secret]) -> list[Secret]:
    return sorted(secrets, key=lambda secret: len(secret.reveal()), reverse=True)


def _spelt(secret: Secret) -> str:
    spelt = map(_spellings, re.sub(r"\\+", r"\\", secret.reveal()))
    return "".join(spelt).removeprefix(_MORE_BACKSLASHES)


def _spellings(character: str) -> str:
    """A pattern for one character as plain text, URLs, JSON, Python and HTML write it."""
    plain = re.escape(character)
    if character.isascii() and (character.isalnum() or character in "-_."):
        return plain
    if character == "\\":
        return _MORE_BACKSLASHES + _BACKSLASH
    number = ord(character)
    ways = {plain, rf"(?<=\\)u{number:04x}", rf"(?<=\\)x{number:02x}", f"&#0*{number};", f"&#x0*{number:x};"}
    ways |= {_percent(character, "utf-8"), _percent(character, "latin-1")}
    if character == " ":
        ways.add(r"\+")
    if character in _HTML:
        ways.add(_HTML[character])
    return f"{_ESCAPED}(?i:{'|'.join(sorted(ways, key=len, reverse=True))})"


def _percent(character: str, encoding: str) -> str:
    # `%25` for `%` where a URL stands in another URL.
    return "".join(f"%(?:25)*{byte:02x}" for byte in character.encode(encoding))


def _base64_pieces(secret: Secret) -> Iterator[str]:
    """The base64 of a secret wherever it begins in what is encoded, as in `Basic` credentials."""
    from base64 import b64encode, urlsafe_b64encode  # only where an answer is to be redacted

    for charset in ("utf-8", "latin-1"):
        size = len(secret.reveal().encode(charset))
        for offset in range(3):
            # Cut to the digits that the secret alone decides.
            digits = slice((offset * 8 + 5) // 6, (offset + size) * 8 // 6)
            for encode in (b64encode, urlsafe_b64encode):
                if digits.stop - digits.start >= _SHORTEST_BASE64:
                    yield encode(bytes(offset) + secret.reveal().encode(charset))[digits].decode()
