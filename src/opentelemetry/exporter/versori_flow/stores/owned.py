"""Which files of a spool belong to a living process: a lock on a side file says so, for as long as it lives.

A POSIX lock ends with its process, however that ends, and no child inherits it. Within a process it stops
nobody, and closing the file anywhere drops it: so whoever looks for orphans looks first whether this very
process has the file, by whatever name.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from typing import Any, NamedTuple

from ..descriptors import Identity, close, identity, of_status
from ..native import allocate_lock

# A FIFO of that name holds nobody up, and a link leads nowhere else.
_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class _Side(NamedTuple):
    """A side file that is locked."""

    descriptor: int
    identity: Identity


class _Table:
    """The side files that this process has locked, all its exporters together."""

    __slots__ = ("lock", "pid", "sides")

    def __init__(self) -> None:
        self.sides: dict[str, _Side] = {}
        self.start_anew()

    def start_anew(self) -> None:
        """In a forked child: the files stay with the parent."""
        sides, self.sides = self.sides, {}
        self.lock = allocate_lock()
        self.pid = os.getpid()
        for side in sides.values():
            close(*side)

    def entered(self) -> Any:
        """The lock, to be held by whoever changes the table."""
        if self.pid != os.getpid():
            self.start_anew()  # a fork that has told nobody
        return self.lock


_table = _Table()


def create(path: str) -> bool:
    """Makes a side file, and locks it; False where somebody was quicker to find it without a lock."""
    with _table.entered():
        descriptor = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.fchmod(descriptor, 0o600)  # whatever the umask says
            os.pwrite(descriptor, b"%020d" % 0, 0)  # later there may be no room for it
        except BaseException:
            os.close(descriptor)
            raise
        return _lock(path, descriptor)


def take(path: str) -> bool:
    """Locks a side file that its owner has let go; False where it lives, is another user's, or is gone.

    Raises:
        OSError: It can't be locked.
    """
    with _table.entered():
        try:
            if _has(of_status(os.lstat(path))):
                return False
            descriptor = os.open(path, _FLAGS)
        except (FileNotFoundError, PermissionError):
            return False
        return _lock(path, descriptor)


def held(path: str) -> bool:
    """Whether this process has it."""
    with _table.entered():
        return path in _table.sides


def is_ours(path: str) -> bool:
    """Whether our descriptor of it is still that, as are those of what is beside it; True where there is none."""
    side = _table.sides.get(path)
    return side is None or identity(side.descriptor) == side.identity


def let_go(path: str) -> None:
    """Lets another process have it."""
    with _table.entered():
        side = _table.sides.pop(path, None)
        if side is not None:
            close(*side)


def remove(path: str) -> None:
    """Removes the side file, once nothing is left beside it.

    Raises:
        OSError: It can't be removed; it stays locked, so that nobody here finds it again and again.
    """
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    let_go(path)


def note(path: str, pending: int) -> None:
    """Writes down how many spans wait beside it: what is torn off the end of a log is missed by that alone."""
    side = _table.sides.get(path)
    if side is not None and is_ours(path):
        with contextlib.suppress(OSError):
            os.pwrite(side.descriptor, b"%020d" % max(0, pending), 0)


def noted(path: str) -> int:
    """What was written down last, by whoever has it."""
    with _table.entered():
        try:
            known = of_status(os.lstat(path))
            for side in _table.sides.values():
                if side.identity == known == identity(side.descriptor):
                    return max(0, int(os.pread(side.descriptor, 20, 0) or 0))
            descriptor = os.open(path, _FLAGS)
            try:
                return max(0, int(os.pread(descriptor, 20, 0) or 0))
            finally:
                os.close(descriptor)
        except (OSError, ValueError):
            return 0


def is_there(path: str) -> bool:
    """Whether the side file is still where others look for it, and locked."""
    side = _table.sides.get(path)
    try:
        if side is None or not is_ours(path) or side.identity != of_status(os.lstat(path)):
            return False
        # Whoever has opened and closed it in this process has dropped the lock.
        fcntl.lockf(side.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _has(known: Identity) -> bool:
    return any(side.identity == known for side in _table.sides.values())


def _lock(path: str, descriptor: int) -> bool:
    try:
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode):
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its heir may have removed it: then this is no file any more.
            if of_status(status) == of_status(os.lstat(path)):
                _table.sides[path] = _Side(descriptor, of_status(status))
                return True
    except (BlockingIOError, FileNotFoundError, PermissionError):
        pass  # its owner lives (EAGAIN or EACCES), or it has just been removed
    except OSError:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_table.start_anew)
