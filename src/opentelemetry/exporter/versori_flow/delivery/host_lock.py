"""Turns: of the processes of one user on one host, one at a time reads a flow, merges, and writes it.

Without an ETag, who reads before another one has written erases what that one wrote. Reading back finds it,
unless it looks too early: children that begin and end together would lose spans. Between hosts, and where no
lock can be had (another file system, Windows), reading back is all that there is.

A turn is a POSIX lock on a file: it ends with the process that holds it, however that ends, and no child
inherits it. Within a process such a lock stops nobody, and closing the file anywhere drops it: so whoever
looks for a turn here looks first whether this very process has it.
"""

import contextlib
import os
import random
import zlib
from typing import NamedTuple

from ..descriptors import Identity, close, identity
from .log import logger
from .turns import Turn

try:
    import fcntl
except ImportError:  # Windows
    _CAN_LOCK = False
else:
    _CAN_LOCK = True

# The same for all of them: TMPDIR may differ. Where there is none, there are no turns.
_FOLDER = "/tmp"  # noqa: S108 - only a folder of our own in it is used
_FOREVER = float("inf")
_LOOK_FIRST = 0.003
_LOOK_LAST = 0.03
"""Seconds between two looks, growing: thirty that wait, as after a burst of forks, would leave no processor
time to the one that they wait for."""

_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)

_held: dict[str, list[tuple[int, Identity | None]]] = {}
"""The turns of this process, all its exporters together: the descriptor of each, by its path."""


def start_anew() -> None:
    """In a forked child: what was inherited is closed; the turns stay with the parent."""
    for path in list(_held):
        _let_go(path)


class HostTurn(NamedTuple):
    """A turn that is held."""

    path: str

    def touch(self) -> None:
        """Shows whoever waits that its holder is alive."""
        with contextlib.suppress(OSError):
            os.utime(self.path)

    def release(self) -> None:
        """Lets the next one have it."""
        if self.path in _held:  # not in a child
            with contextlib.suppress(OSError):
                os.unlink(self.path)
            _let_go(self.path)


class HostWait:
    """The wait for a turn: a look now and then, until it is ours, or was in vain.

    It lasts for half of the time that is left: who is stuck there must not be the reason to do nothing. While
    the turn changes hands nobody is stuck, and it lasts for longer: going on without it would erase what the
    others write.

    Args:
        path: The file to lock; None: there are no turns here.
        deadline: When all that is done in the turn is over, in seconds of the same clock as `now`.

    Attributes:
        put_off: False: an attempt is made, with the turn or without; for the others see `turns.Wait`.
    """

    def __init__(self, path: str | None, deadline: float, now: float) -> None:
        self.turn: Turn | None = None
        self.vain = False
        self.put_off = False
        self.next_look = now
        self._path = path
        self._deadline = deadline
        self._begun = now
        self._patience = (deadline - now) / 2
        self._until = now + self._patience
        self._holder: tuple[int, int] | None = None
        # For all that was seen: the turn has not changed hands.
        self._is_stuck = True
        self._pause = _LOOK_FIRST

    def over(self, now: float, deadline: float, patient: bool = True, awaited: float = _FOREVER) -> bool:
        """Looks; True when the wait is over, one way or the other: see `turns.Wait`."""
        if self._path is None:
            return True
        try:
            if _lock(self._path):
                self.turn = HostTurn(self._path)
                return True
            holder = _holder(self._path)
        except OSError:  # no file system for locks
            return True
        if not patient:
            self.vain = True
            return True
        if holder != self._holder:
            # Each holder has a file of its own; the number of a file that is gone may come again.
            if self._holder is not None:
                self._until, self._is_stuck = now + self._patience, False
            self._holder = holder
        end = min(self._deadline, deadline, awaited if self._is_stuck else _FOREVER)
        last_moment = end - (end - self._begun) / 5
        self.next_look = now + self._pause * random.uniform(0.5, 1.0)  # noqa: S311 - not in step with others
        self._pause = min(1.3 * self._pause, _LOOK_LAST)
        self.vain = self.next_look >= min(self._until, last_moment)
        return self.vain


class HostLock:
    """The turns at the flows of one target.

    Args:
        target: What tells two targets apart: flows of one name in two projects are two flows.
    """

    def __init__(self, *target: str) -> None:
        self._target = target
        self._said = False

    def wait(self, flow_name: str, deadline: float, now: float) -> HostWait:
        """Begins to wait for the turn at a flow."""
        path = self._path(flow_name)
        if path is None and not self._said:
            self._said = True
            logger.debug(
                "processes of this host can't take turns at a flow here: each reads back what it wrote"
            )
        return HostWait(path, deadline, now)

    def holder(self, flow_name: str) -> object:
        """What tells one holder of the turn at a flow from another; None where there is none."""
        path = self._path(flow_name)
        return None if path is None else _holder(path)

    def _path(self, flow_name: str) -> str | None:
        # Two flows of one number would take turns with each other: no harm.
        number = zlib.crc32("\0".join((*self._target, flow_name)).encode("utf-8", "replace"))
        folder = private_folder()
        return None if folder is None else f"{folder}/{number:08x}"


def private_folder() -> str | None:
    """A folder of this user's own, the same for all processes of the host; None where there is none."""
    if not _CAN_LOCK:
        return None
    user = os.getuid()
    folder = f"{_FOLDER}/versori-flow-{user}"
    try:
        try:
            owner = os.lstat(folder).st_uid
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder, 0o700)
            owner = os.lstat(folder).st_uid
    except OSError:
        return None
    return folder if owner == user else None  # anybody may have made it


def spool_folder() -> str | None:
    """Where processes that end leave spans to each other; None where there are no turns."""
    folder = private_folder()
    return None if folder is None else f"{folder}/spool"


def anything_left() -> bool:
    """Whether some process may have left spans: a look that imports nothing."""
    folder = spool_folder()
    try:
        with os.scandir(folder or "") as files:
            return next(files, None) is not None
    except OSError:
        return False


def _lock(path: str) -> bool:
    mine: list[tuple[int, Identity | None]] = []
    if _held.setdefault(path, mine) is not mine:
        return False
    try:
        descriptor = os.open(path, _FLAGS, 0o600)
        mine.append((descriptor, identity(descriptor)))
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Its last holder has removed it: by now it may be no file any more, or another one.
        if os.fstat(descriptor).st_ino == os.stat(path).st_ino:
            return True
    except (BlockingIOError, FileNotFoundError, PermissionError):
        pass  # another process has it (EAGAIN or EACCES), or has just removed it
    except BaseException:
        _let_go(path)  # nobody here would ever have it again
        raise
    _let_go(path)
    return False


def _let_go(path: str) -> None:
    for held in _held.get(path, ()):
        close(*held)
    _held.pop(path, None)


def _holder(path: str) -> tuple[int, int] | None:
    try:
        file = os.stat(path)
    except FileNotFoundError:
        return None
    return file.st_ino, file.st_ctime_ns
