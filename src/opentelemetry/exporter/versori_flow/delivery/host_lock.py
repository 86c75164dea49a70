"""Turns: of the processes of one user on one host, one at a time reads a flow, merges, and writes it.

Without an ETag, who reads before another one has written erases what that one wrote. Reading back finds it,
unless it looks too early: children that begin and end together would lose spans. Between hosts, and where no
lock can be had (another file system, Windows), reading back is all that there is.

A lock is an open file, and ends with the process that holds it, however that ends.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
import zlib
from collections.abc import Iterator

try:
    import fcntl
except ImportError:  # Windows
    _CAN_LOCK = False
else:
    _CAN_LOCK = True

# The same for all of them: TMPDIR may differ. Where there is none, there are no turns.
_FOLDER = "/tmp"  # noqa: S108 - only a folder of our own in it is used
_LOOK_FIRST = 0.003
_LOOK_LAST = 0.03
"""Seconds between two looks, growing: thirty that wait, as after a burst of forks, would leave no processor
time to the one that they wait for."""

_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)


class Turns:
    """Takes turns at the flows of one target.

    Args:
        target: What tells two targets apart: flows of one name in two projects are two flows.
    """

    def __init__(self, *target: str) -> None:
        self._target = target
        self._held: set[int] = set()

    @contextlib.contextmanager
    def at(self, flow_name: str, deadline: float) -> Iterator[bool]:
        """Waits for the turn at a flow, and holds it.

        It waits for half of the time that is left: who is stuck there must not be the reason to do nothing.
        While the turn changes hands nobody is stuck, and it waits for longer: going on without it would erase
        what the others write.

        Args:
            flow_name: The flow.
            deadline: The `time.monotonic()` by which all that is done in the turn is over.

        Yields:
            Whether it is ours.
        """
        path = self._path(flow_name) if _CAN_LOCK else None
        descriptor = None if path is None else self._acquire(path, deadline)
        try:
            yield descriptor is not None
        finally:
            if descriptor is not None and path is not None:
                self._release(descriptor, path)

    def abandon(self) -> None:
        """Closes what a child inherited; the locks stay with the parent."""
        for descriptor in self._held:
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._held = set()

    def _path(self, flow_name: str) -> str | None:
        # Two flows of one number would take turns with each other: no harm.
        number = zlib.crc32("\0".join((*self._target, flow_name)).encode("utf-8", "replace"))
        folder = f"{_FOLDER}/versori-flow-{os.getuid()}"
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder, 0o700)
            # Anybody may have made it.
            return f"{folder}/{number:08x}" if os.lstat(folder).st_uid == os.getuid() else None
        except OSError:
            return None

    def _acquire(self, path: str, deadline: float) -> int | None:
        now = time.monotonic()
        patience, last_moment = (deadline - now) / 2, deadline - (deadline - now) / 5
        until, holder, pause = now + patience, (0, 0), _LOOK_FIRST
        while True:
            try:
                descriptor = os.open(path, _FLAGS, 0o600)
            except OSError:
                return None
            self._held.add(descriptor)
            try:
                if _lock(descriptor, path):
                    return descriptor
                # Each holder has a file of its own; the number of a file that is gone may come again.
                file = os.fstat(descriptor)
                if holder != (file.st_ino, file.st_ctime_ns):
                    holder = file.st_ino, file.st_ctime_ns
                    until = min(time.monotonic() + patience, last_moment)
            except OSError:
                until = 0.0  # no file system for locks
            self._close(descriptor)
            if time.monotonic() + pause >= until:
                return None
            time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - not in step with the others
            pause = min(1.3 * pause, _LOOK_LAST)

    def _release(self, descriptor: int, path: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(path)
        with contextlib.suppress(OSError):
            # Closing would do, were it not for children that have inherited it.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        self._close(descriptor)

    def _close(self, descriptor: int) -> None:
        self._held.discard(descriptor)
        with contextlib.suppress(OSError):
            os.close(descriptor)


def _lock(descriptor: int, path: str) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Its last holder has removed it: by now it may be no file any more, or another one.
        return os.fstat(descriptor).st_ino == os.stat(path).st_ino
    except (BlockingIOError, FileNotFoundError):
        return False
