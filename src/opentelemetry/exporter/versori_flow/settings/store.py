"""The setting `store`: where spans wait for their delivery, as a URL."""

from __future__ import annotations

import errno
import os
import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from .readers import BadValueError, Secret, text

if TYPE_CHECKING:
    from .redis_url import FleetUrl

_HOPELESS = (
    *(errno.ENOTDIR, errno.EEXIST, errno.ENOENT, errno.EACCES, errno.EPERM),
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL),
)
"""What no time mends: a folder that can't be. A full or read-only disk can be mended while the program runs."""


_REDIS = re.compile(r"(rediss?(\+\w*)?|unix):/")


class StoreUrl(NamedTuple):
    """A store, checked.

    Attributes:
        text: As it is shown, without a password.
        folder: For `sqlite:`: the folder.
        full_sync: For `sqlite:`: whether each write waits for the disk.
        redis: For a Redis: where it is.
    """

    text: str
    folder: str | None
    full_sync: bool
    redis: FleetUrl | None = None

    @property
    def durable(self) -> bool:
        """Whether what it keeps outlives the process."""
        return self.folder is not None or self.redis is not None

    def __str__(self) -> str:
        return self.text


MEMORY = StoreUrl("memory:", None, False)


def parse(url: str) -> StoreUrl:
    """Reads a store's URL.

    Args:
        url: `memory:`, or `sqlite:///folder` with `?sync=full` or `?sync=normal`, whose path is absolute; or a
            Redis, in a form of `redis_url`.

    Raises:
        ValueError: It is none of these; the text says what is wrong.
    """
    scheme, colon, rest = url.partition(":")
    url = f"{scheme.lower()}{colon}{rest}"  # it means the same in any case
    if _REDIS.match(url):
        from . import redis_url  # few have one, and all would pay for the import

        redis = redis_url.parse(url)
        return StoreUrl(str(redis), None, False, redis)
    parts = urlsplit(url)
    if parts.scheme == "memory":
        if url.removeprefix("memory:").strip("/"):
            raise ValueError("has something after memory: leave it out")
        return MEMORY
    if parts.scheme != "sqlite":
        raise ValueError("is no store: write memory:, sqlite:///folder or redis://host")
    folder = unquote(parts.path)
    if not url.startswith("sqlite:///") or not folder.strip("/"):
        raise ValueError("names no folder by its whole path: write it as in sqlite:///var/lib/app/spans")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    sync = options.pop("sync", "normal")
    if options or sync not in ("normal", "full") or parts.fragment or "\0" in folder:
        raise ValueError("has an option that there isn't: leave out all but sync=normal and sync=full")
    folder = os.path.normpath("/" + folder.lstrip("/"))
    return StoreUrl(f"sqlite://{folder}", folder, sync == "full")


def store(value: object) -> StoreUrl:
    """A store's URL, if need be in a `Secret`; the folder that it names is made."""
    try:
        url = parse(text(Secret(value).reveal()))
        _make(url)
        if url.redis is not None and not _has_client():
            raise ValueError("takes an extra: pip install 'opentelemetry-exporter-versori-flow[redis]'")
    except ValueError as problem:
        raise BadValueError(str(problem)) from None
    return url


def _has_client() -> bool:
    from importlib.util import find_spec

    return find_spec("redis") is not None


def _make(url: StoreUrl) -> None:
    if url.folder is None:
        return
    if os.name != "posix":
        raise ValueError("needs the locks of a POSIX system: write memory:")
    try:
        os.makedirs(url.folder, 0o700, exist_ok=True)
    except OSError as error:
        if error.errno in _HOPELESS:
            raise ValueError(f"names the folder {url.folder} ({error.strerror}): name another one") from None
