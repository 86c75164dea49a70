"""The key in use: read again when its file changes, and taken out of every text that is shown."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from ..settings.key import FileStamp, file_stamp, read_key_file
from ..settings.load import ConfigurationError, Settings
from ..settings.readers import BadValueError

# What the platform calls an id_token: header and payload of JSON in base64url, `eyJ` being `{"`.
_JWT = r"eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+"
# A key that is rotated every minute is still known a quarter of an hour later; an answer is never that late.
_FORMER_KEYS = 16
# Shorter header values are words such as "1" or "yes", which would tear holes into every message.
_SHORTEST_HEADER = 4
# Shorter pieces of base64 occur in any text.
_SHORTEST_BASE64 = 6
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;"}
# However many: escaping doubles them, and counting them would let a long run of them take for ever to fail.
_BACKSLASHES = r"(?i:\\|%(?:25)*5c|&#0*92;|&#x0*5c;)+"


class Credentials:
    """The API key in use, and the header that carries it.

    Any thread may call any method, and none takes a lock that a fork could copy while it is held: key and
    stamp change by one assignment, so threads that read the file at once end with one of its contents.

    Args:
        settings: Where the key, or the file that holds it, and the scheme are from.

    Raises:
        ConfigurationError: No key is set, or the file has become unusable since it was checked.

    Attributes:
        problem: Why the file can't be read now, while the last good key is still in use; None: all is well.
    """

    def __init__(self, settings: Settings) -> None:
        self.problem: str | None = None
        self._scheme = settings.auth_scheme
        self._path = settings.api_key_file
        self._headers = tuple(value for value in settings.headers.values() if len(value) >= _SHORTEST_HEADER)
        self._current: tuple[str, FileStamp | None]
        # A dictionary for its order; its keys are the API keys seen, the one in use among them.
        self._seen: dict[str, None] = {}
        self._redaction: tuple[tuple[str, ...], re.Pattern[str]] | None = None
        if settings.api_key is not None:
            self._use(settings.api_key.reveal(), None)
        elif self._path is None:
            raise ConfigurationError("VERSORI_API_KEY (keyword api_key) is not set: write the API key")
        else:
            try:
                self._use(*read_key_file(self._path))
            except BadValueError as problem:
                raise ConfigurationError(_about_file(str(problem))) from None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'a key' if self._path is None else 'a key file'})"

    def authorization(self) -> str:
        """The value of the Authorization header for the next request (RFC 9110 section 11.6.2), in Latin-1.

        A key file is looked at each time, and read if it is another one than last time.
        """
        if self._path is not None:
            self._look(self._path)
        key, _ = self._current
        scheme = self._scheme or ("JWT" if re.fullmatch(_JWT, key) else "Bearer")
        return f"{scheme} {key}"

    def reread(self, refused: str | None = None) -> bool:
        """Read the key file whatever its time stamp says: the platform refused the key.

        Args:
            refused: The `authorization` that was refused. None: the key in use up to now.

        Returns:
            Whether the key is another one now, so that a new attempt makes sense. Without a file: False.
        """
        if self._path is None:
            return False
        before, _ = self._current
        self._read(self._path)
        now, _ = self._current
        return now != before if refused is None else now != refused.partition(" ")[2]

    def redact(self, text: str) -> str:
        """Replace what is secret in a text by `***`.

        Secret are the key, the keys before it, and the values of the configured headers, each as it is and as
        URLs, JSON, Python, HTML or base64 write it.
        """
        secrets = (*list(self._seen), *self._headers)
        # Never stored apart: another thread may know a newer key.
        redaction = self._redaction
        if redaction is None or redaction[0] != secrets:
            redaction = self._redaction = (secrets, _pattern(secrets))
        return redaction[1].sub("***", text)

    def _look(self, path: str) -> None:
        try:
            unchanged = file_stamp(os.stat(path)) == self._current[1]
        except OSError:
            unchanged = False
        if not unchanged:
            self._read(path)

    def _read(self, path: str) -> None:
        try:
            key, stamp = read_key_file(path)
        except BadValueError as problem:
            # Whoever writes the file may be in the middle of it: no stamp, so that the next look reads again.
            self._current = (self._current[0], None)
            self.problem = f"{_about_file(str(problem))}; the last good key stays in use"
        else:
            self._use(key, stamp)
            self.problem = None

    def _use(self, key: str, stamp: FileStamp | None) -> None:
        # Known to `redact` before any request carries it.
        self._seen[key] = None
        self._current = (key, stamp)
        for former in list(self._seen)[:-_FORMER_KEYS]:
            if former != key:
                self._seen.pop(former, None)


def _about_file(problem: str) -> str:
    return f"VERSORI_API_KEY_FILE (keyword api_key_file) {problem}"


def _pattern(secrets: tuple[str, ...]) -> re.Pattern[str]:
    """What matches any spelling of any secret, the longest first: one may begin another."""
    longest_first = sorted(set(secrets), key=len, reverse=True)
    spellings = ["".join(map(_spellings, re.sub(r"\\+", r"\\", secret))) for secret in longest_first]
    pieces = {piece for secret in longest_first for piece in _base64_pieces(secret)}
    # With the digits beside it, which hold some bits of the secret's ends.
    encoded = [rf"[\w+/-]?{re.escape(piece)}[\w+/-]?=*" for piece in sorted(pieces, key=len, reverse=True)]
    return re.compile("|".join(spellings + encoded))


def _spellings(character: str) -> str:
    """A pattern for one character as plain text, URLs, JSON, Python and HTML write it."""
    plain = re.escape(character)
    if character.isascii() and (character.isalnum() or character in "-_."):
        return plain
    if character == "\\":
        return _BACKSLASHES
    ways = {
        rf"\\*{plain}",
        rf"\\+u{ord(character):04x}",
        rf"\\+x{ord(character):02x}",
        f"&#0*{ord(character)};",
        f"&#x0*{ord(character):x};",
        _percent(character, "utf-8"),
        _percent(character, "latin-1"),
    }
    if character == " ":
        ways.add(r"\+")
    if character in _HTML:
        ways.add(_HTML[character])
    return f"(?i:{'|'.join(sorted(ways, key=len, reverse=True))})"


def _percent(character: str, encoding: str) -> str:
    # `%25` for `%` where a URL stands in another URL.
    return "".join(f"%(?:25)*{byte:02x}" for byte in character.encode(encoding))


def _base64_pieces(secret: str) -> Iterator[str]:
    """The base64 of a secret wherever it begins in what is encoded, as in `Basic` credentials."""
    from base64 import b64encode, urlsafe_b64encode  # only where an answer is to be redacted

    for raw in {secret.encode(), secret.encode("latin-1")}:
        for offset in range(3):
            # Cut to the digits that the secret alone decides.
            digits = slice((offset * 8 + 5) // 6, (offset + len(raw)) * 8 // 6)
            for encode in (b64encode, urlsafe_b64encode):
                piece = encode(bytes(offset) + raw)[digits].decode()
                if len(piece) >= _SHORTEST_BASE64:
                    yield piece
