"""Which files of a spool belong to a living process: a lock on a side file says so, for as long as it lives.

A POSIX lock ends with its process, however that ends, and no child inherits it. Within a process it stops
nobody, and closing the file anywhere drops it: so whoever looks for orphans looks first whether this very
process has the file.
"""

from __future__ import annotations

import contextlib
import fcntl
import os

_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW

_held: dict[str, int] = {}
"""The side files that this process has locked, all its exporters together: the descriptor of each."""


def start_anew() -> None:
    """In a forked child: the files stay with the parent."""
    for descriptor in _held.values():
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _held.clear()


def create(path: str) -> bool:
    """Makes a side file, and locks it; False where somebody was quicker to find it without a lock."""
    descriptor = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
    os.fchmod(descriptor, 0o600)  # whatever the umask says
    return _lock(path, descriptor)


def take(path: str) -> bool:
    """Locks a side file that its owner has let go; False where it lives, or the file is gone."""
    if path in _held:
        return False
    try:
        descriptor = os.open(path, _FLAGS)
    except FileNotFoundError:
        return False
    return _lock(path, descriptor)


def held(path: str) -> bool:
    """Whether this process has it."""
    return path in _held


def let_go(path: str) -> None:
    """Lets another process have it."""
    descriptor = _held.pop(path, None)
    if descriptor is not None:
        os.close(descriptor)


def remove(path: str) -> None:
    """Removes the side file, once nothing is left beside it."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    let_go(path)


def note(path: str, pending: int) -> None:
    """Writes down how many spans wait beside it: what is torn off the end of a log is missed by that alone."""
    with contextlib.suppress(OSError):
        os.pwrite(_held[path], b"%020d" % max(0, pending), 0)


def noted(path: str) -> int:
    """What was written down last."""
    try:
        return int(os.pread(_held[path], 20, 0) or 0)
    except (OSError, ValueError):
        return 0


def _lock(path: str, descriptor: int) -> bool:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Its heir may have removed it: then this is no file any more.
        if os.fstat(descriptor).st_ino == os.stat(path).st_ino:
            _held[path] = descriptor
            return True
    except (BlockingIOError, FileNotFoundError, PermissionError):
        pass  # its owner lives (EAGAIN or EACCES), or it has just been removed
    except OSError:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=start_anew)
