"""The folder of a spool, which the processes of one user on one host share.

<target>-<owner>.db      what one process has pending; nobody else opens it while that one lives
<target>-<owner>.lock    locked by that process for as long as it lives
<target>-<owner>.corrupt-<time>    a damaged file, kept for a person to look at
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from typing import NamedTuple

from . import owned
from .connection import PAGE, Limits, StoreError, told
from .spool_file import SpoolFile, Target

_CORRUPT_KEPT = 3
_MOST_LOG_BYTES = 4 << 20
_LEAST_PAGES = 8
"""What a file takes that holds nothing."""

_TRIALS = 3
_SIDE = ".lock"
_OURS = re.compile(r"[0-9a-f]{8}-\d+-[0-9a-f]{16}\.(db|lock|corrupt-\d+)(-wal|-journal)?")


class Folder(NamedTuple):
    """Where files are, and what holds for each.

    Attributes:
        path: The folder.
        full_sync: Whether each write waits for the disk; otherwise a power cut may take the last second.
        max_bytes: What all files in it may take together.
    """

    path: str
    full_sync: bool
    max_bytes: int

    @property
    def log_bytes(self) -> int:
        """What the log of one file may take, about; and twice what is to be written at once."""
        return min(_MOST_LOG_BYTES, self.max_bytes // 8)

    def new(self, target: Target) -> SpoolFile:
        """Makes a file of this process.

        Raises:
            StoreError: It can't be made.
        """
        with told(self.path):
            self._make_path()
        limits = self._limits(self.room(None))
        if limits.max_bytes < _LEAST_PAGES * PAGE:
            raise StoreError(f"its {self.max_bytes} bytes are used up")
        for _ in range(_TRIALS):
            stem = os.path.join(self.path, f"{target.tag}-{os.getpid()}-{secrets.token_hex(8)}")
            file = SpoolFile(stem, limits)
            try:
                if file.create(target):
                    return file
            except BaseException:
                file.remove()
                raise
        raise StoreError("another process takes each new file for an orphan")

    def sides(self, target: Target | None) -> list[str]:
        """The side files of a target, or of all of them."""
        prefix = "" if target is None else f"{target.tag}-"
        return [
            path
            for path in self._paths()
            if path.endswith(_SIDE) and os.path.basename(path).startswith(prefix)
        ]

    def file(self, side: str) -> SpoolFile:
        """The file that a side file belongs to."""
        return SpoolFile(side.removesuffix(_SIDE), self._limits(self.max_bytes))

    def room(self, own: SpoolFile | None) -> int:
        """Bytes that a file may take beside its log, the others being as large as they are."""
        taken, corrupt = self.log_bytes * 3 // 2, 0
        for path in self._paths():
            if own is None or not path.startswith(own.path):
                with contextlib.suppress(OSError):
                    size = os.lstat(path).st_size
                    taken += size
                    corrupt += size if ".corrupt-" in path else 0
        # What nobody may ever look at must not keep new spans out for ever.
        return max(0, self.max_bytes - taken + max(0, corrupt - self.max_bytes // 2))

    def set_aside(self, file: SpoolFile) -> str:
        """Renames a damaged file, and removes its side file; the last three are kept. Returns its name then."""
        file.close()
        owned.note(file.side, 0)  # they are counted
        aside = f"{file.path.removesuffix('.db')}.corrupt-{time.time_ns()}"
        try:
            os.rename(file.path, aside)
        except OSError:
            return file.path  # it stays, and stays ours: another process may do better
        with contextlib.suppress(OSError):
            os.rename(file.path + "-wal", aside + "-wal")
        file.remove()
        corrupt = [path for path in self._paths() if ".corrupt-" in path and not path.endswith("-wal")]
        for path in sorted(corrupt, key=lambda path: path.rpartition("-")[2])[:-_CORRUPT_KEPT]:
            for suffix in ("", "-wal"):
                with contextlib.suppress(OSError):
                    os.unlink(path + suffix)
        return aside

    def _limits(self, max_bytes: int) -> Limits:
        return Limits(self.full_sync, max_bytes, self.log_bytes)

    def _make_path(self) -> None:
        path, missing = os.path.abspath(self.path), []
        while not os.path.lexists(path):
            missing.append(path)
            path = os.path.dirname(path)
        for path in reversed(missing):
            with contextlib.suppress(FileExistsError):  # another process was quicker
                os.mkdir(path, 0o700)
                os.chmod(path, 0o700)  # whatever the umask says

    def _paths(self) -> list[str]:
        try:
            with os.scandir(self.path) as files:
                return sorted(file.path for file in files if _OURS.fullmatch(file.name))
        except OSError:  # nobody has left anything, or it can't be read
            return []
