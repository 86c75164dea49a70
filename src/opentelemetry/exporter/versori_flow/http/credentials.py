"""The key in use: read again when its file changes, and taken out of every text that is shown."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

from ..settings.key import FileStamp, file_stamp, read_key_file
from ..settings.load import ConfigurationError
from ..settings.readers import BadValueError, Secret
from ..settings.table import Settings
from .redaction import redacted, redaction

# What the platform calls an id_token: header and payload of JSON in base64url, `eyJ` being `{"`.
_JWT = r"eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+"
# A key that is rotated every minute is still known a quarter of an hour later; an answer is never that late.
_FORMER_KEYS = 16
# Shorter header values are words such as "1" or "yes", which would tear holes into every message.
_SHORTEST_HEADER = 4


class Credentials:
    """The API key in use, and the header that carries it.

    Any thread may call any method, and none takes a lock that a fork could copy while it is held: key and
    stamp change by one assignment, so threads that read the file at once end with one of its contents.

    Args:
        settings: Where the key, or the file that holds it, and the scheme are from.

    Raises:
        ConfigurationError: No key is set, or the file has become unusable since it was checked.
    """

    def __init__(self, settings: Settings) -> None:
        # Why the file can't be read now, while the last good key is still in use.
        self._problem: str | None = None
        self._told: str | None = None
        self._scheme = settings.auth_scheme
        self._path = settings.api_key_file
        self._host = urlsplit(settings.base_url).hostname or ""
        self._headers = tuple(
            value for value in settings.headers.values() if len(value.reveal()) >= _SHORTEST_HEADER
        )
        self._current: tuple[Secret, FileStamp | None]
        # A dictionary for its order; its keys are the API keys seen, the one in use among them.
        self._seen: dict[Secret, None] = {}
        self._redaction: tuple[tuple[Secret, ...], Secret] | None = None
        if settings.api_key is not None:
            self._use(settings.api_key, None)
        elif self._path is None:
            raise ConfigurationError("VERSORI_API_KEY (keyword api_key) is not set: write the API key")
        else:
            try:
                self._use(*read_key_file(self._path))
            except BadValueError as problem:
                raise ConfigurationError(_about_file(str(problem))) from None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'a key' if self._path is None else 'a key file'})"

    def authorization(self) -> Secret:
        """The value of the Authorization header for the next request (RFC 9110 section 11.6.2), in Latin-1.

        A key file is looked at each time, and read if it is another one than last time.
        """
        if self._path is not None and not self._unchanged(self._path):
            self._read(self._path)
        key, _ = self._current
        scheme = self._scheme or ("JWT" if re.fullmatch(_JWT, key.reveal()) else "Bearer")
        return Secret(f"{scheme} {key.reveal()}")

    def reread(self, refused: Secret | None = None) -> bool:
        """Read the key file whatever its time stamp says: the platform refused the key.

        Args:
            refused: The `authorization` that was refused. None: the key in use up to now.

        Returns:
            Whether the key is another one now. Without a file: False.
        """
        if self._path is None:
            return False
        before, _ = self._current
        self._read(self._path)
        now, _ = self._current
        return now != (before if refused is None else Secret(refused.reveal().partition(" ")[2]))

    def take_problem(self) -> str | None:
        """Returns what is new about the file, to be logged: each trouble once, until it is another or over."""
        problem, told = self._problem, self._told
        self._told = problem
        return problem if problem != told else None

    def redact(self, text: str) -> str:
        """Replace by `***` the key, the keys before it and the values of the configured headers, however spelt."""
        secrets = (*list(self._seen), *self._headers)
        # Never stored apart: another thread may know a newer key.
        known = self._redaction
        if known is None or known[0] != secrets:
            known = self._redaction = (secrets, redaction(secrets, self._host))
        return redacted(known[1], text)

    def _unchanged(self, path: str) -> bool:
        try:
            return file_stamp(os.stat(path)) == self._current[1]
        except OSError:
            return False

    def _read(self, path: str) -> None:
        try:
            self._use(*read_key_file(path))
        except BadValueError as problem:
            # Whoever writes the file may be in the middle of it: no stamp, so that the next look reads again.
            self._current = (self._current[0], None)
            self._problem = f"{_about_file(str(problem))}; the last good key stays in use"
        else:
            self._problem = None

    def _use(self, key: Secret, stamp: FileStamp | None) -> None:
        # Known to `redact` before any request carries it.
        self._seen[key] = None
        self._current = (key, stamp)
        for former in list(self._seen)[:-_FORMER_KEYS]:
            if former != key:
                self._seen.pop(former, None)


def _about_file(problem: str) -> str:
    return f"VERSORI_API_KEY_FILE (keyword api_key_file) {problem}"
