"""A folder of files that one process has for itself: private, and each file whole or not there.

A file is one line with the checksum and the length of what follows it. Version 0.1 wrote no such line.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import re
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from .replies import ApiError
from .request_body import MOST_BODY

try:
    import fcntl
except ImportError:  # Windows: two processes may have one folder there
    _CAN_LOCK = False
else:
    _CAN_LOCK = True

FILE_SUFFIX = ".flow"
_T = TypeVar("_T")
_logger = logging.getLogger(__name__)
_LOCK = ".lock"
_ASIDE = ".damaged-"
_UNFINISHED = re.compile(r"unfinished-.*\.tmp|.*-[0-9a-f]{16}\.tmp")  # the latter by version 0.1
_CHECKED = re.compile(rb"([0-9a-f]{64}) ([0-9]{1,12})\n")
_MOST_FILE = 2 * MOST_BODY
# A FIFO holds nobody up, and a link leads nowhere else; Windows has neither flag.
_CAREFUL = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DamagedError(ValueError):
    """A file is not what it should be; the message says why, for people."""


class PrivateFolder:
    """The folder, held until it is closed; all but ``close`` to be called by one thread at a time.

    Args:
        path: Where it is; made with mode 0700 where it is missing.

    Raises:
        OSError: It can't be written to, or another process holds it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pid = os.getpid()
        self._held: int | None = None
        try:
            _make(path)
            self._held = _hold(path / _LOCK)
            for name in os.listdir(path):
                if _UNFINISHED.fullmatch(name):
                    (path / name).unlink()
            self._make_private()
            # A folder that takes no file says so now.
            descriptor, trial = self._unfinished()
            os.close(descriptor)
            os.unlink(trial)
        except OSError as error:
            self.close()
            raise OSError(error.errno, error.strerror, str(path)) from None

    def close(self) -> None:
        """Lets another process have it; in a forked child, leaves it to the parent."""
        held, self._held = self._held, None
        if held is not None:
            if _CAN_LOCK and self._pid == os.getpid():
                # A program that is being started at this moment has the descriptor too.
                with contextlib.suppress(OSError):
                    fcntl.flock(held, fcntl.LOCK_UN)
            os.close(held)

    def read_all(self, read: Callable[[str, bytes, bool], _T]) -> list[_T]:
        """Reads all files; what is damaged is set aside under another name, and said.

        Args:
            read: Takes a file's name, its content, and whether that was checked; raises ``DamagedError``.
        """
        found = []
        for name in sorted(os.listdir(self._path)):
            if name.endswith(FILE_SUFFIX):
                try:
                    found.append(read(name, *_content(self._path / name)))
                except (DamagedError, OSError) as error:
                    self._set_aside(name, error)
        return found

    def write(self, stem: str, content: bytes) -> None:
        """Writes a file in place of what is there; on disk when this returns.

        Raises:
            ApiError: It can't; what was there is there still.
        """
        with self._told("stored"):
            descriptor, unfinished = self._unfinished()
            try:
                with open(descriptor, "wb") as file:
                    file.write(b"%s %d\n" % (_checksum(content), len(content)))
                    file.write(content)
                    file.flush()
                    os.fsync(descriptor)
                os.replace(unfinished, self._path / (stem + FILE_SUFFIX))
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(unfinished)
                raise
            _sync(self._path)

    def remove(self, stem: str) -> None:
        """Removes a file; gone from the disk when this returns.

        Raises:
            ApiError: It can't be removed.
        """
        with self._told("deleted"):
            (self._path / (stem + FILE_SUFFIX)).unlink(missing_ok=True)
            _sync(self._path)

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        if self._held is None:
            raise RuntimeError(f"{self._path} is closed, or belongs to another process")
        try:
            yield
        except OSError as error:
            full = error.errno in _NO_SPACE
            why = f"no space is left in {self._path}" if full else f"{self._path}: {error.strerror}"
            raise ApiError(
                507 if full else 500, "no_space" if full else "not_stored", f"the flow is not {what}: {why}"
            ) from error

    def _unfinished(self) -> tuple[int, str]:
        descriptor, path = tempfile.mkstemp(".tmp", "unfinished-", self._path)
        if os.name == "posix":
            os.fchmod(descriptor, 0o600)  # whatever the umask says
        return descriptor, path

    def _make_private(self) -> None:
        """Closes what version 0.1 made for all to read; a folder that holds other things stays as it is."""
        names = os.listdir(self._path)
        flows = [name for name in names if name.endswith(FILE_SUFFIX)]
        try:
            if len(names) == len(flows) + (_LOCK in names) + sum(_ASIDE in name for name in names):
                # Only taken away: who made it read-only wanted it so.
                os.chmod(self._path, os.stat(self._path).st_mode & 0o700)
            for name in flows:
                mode = os.lstat(self._path / name).st_mode
                if stat.S_ISREG(mode):
                    os.chmod(self._path / name, mode & 0o600)
        except PermissionError as error:
            _logger.warning("%s can't be made private: %s", self._path, error.strerror)

    def _set_aside(self, name: str, error: Exception) -> None:
        aside = f"{name}{_ASIDE}{time.time_ns()}"
        try:
            os.rename(self._path / name, self._path / aside)
        except OSError as kept:
            aside = f"the same name ({kept.strerror})"
        # As text that no terminal takes for orders.
        _logger.warning("in %s, %r holds no flow and is kept as %r: %s", self._path, name, aside, error)


def _make(path: Path) -> None:
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        with contextlib.suppress(FileExistsError):
            folder.mkdir(0o700)
            folder.chmod(0o700)  # whatever the umask says
            _sync(folder.parent)


def _hold(path: Path) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _CAREFUL, 0o600)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, f"{path.name} in it is no file")
        if _CAN_LOCK:
            os.fchmod(descriptor, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.read(descriptor, 20).decode("ascii", "replace").strip()
                raise OSError(errno.EBUSY, f"another local platform, process {holder}, has it") from None
            except OSError as error:
                _logger.warning("nothing keeps others out of %s: %s", path.parent, error.strerror)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, b"%d\n" % os.getpid())
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _content(path: Path) -> tuple[bytes, bool]:
    """The content of a file, and whether it was checked."""
    descriptor = os.open(path, os.O_RDONLY | _CAREFUL)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise DamagedError("it is no file")
    except BaseException:
        os.close(descriptor)
        raise
    with open(descriptor, "rb") as file:
        if status.st_size > _MOST_FILE:
            raise DamagedError(f"it has {status.st_size} bytes")
        raw = file.read()
    checked = _CHECKED.match(raw)
    if checked is None:
        return raw, False
    content = raw[checked.end() :]
    if len(content) != int(checked[2]):
        raise DamagedError(f"it has {len(content)} bytes where it should have {int(checked[2])}")
    if _checksum(content) != checked[1]:
        raise DamagedError("it has been changed")
    return content, True


def _checksum(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode("ascii")


def _sync(folder: Path) -> None:
    """Puts on disk which files a folder has; Windows does so by itself."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
