"""The folder of a spool, which the processes of one user on one host share.

<target>-<owner>.db      what one process has pending; nobody else opens it while that one lives
<target>-<owner>.lock    locked by that process for as long as it lives
<target>-<owner>.corrupt-<time>    a damaged file, kept for a person to look at
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from typing import NamedTuple

from .spool_file import SpoolFile, Target

_CORRUPT_KEPT = 3
_LEAST_BYTES = 1 << 20
_SIDE = ".lock"


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

    def new(self, target: Target) -> SpoolFile:
        """Makes a file of this process.

        Raises:
            StoreError: It can't be made.
            OSError: The folder can't.
        """
        os.makedirs(self.path, 0o700, exist_ok=True)
        stem = os.path.join(self.path, f"{target.tag}-{os.getpid()}-{secrets.token_hex(8)}")
        file = SpoolFile(stem, self.full_sync, self.room(None))
        try:
            file.create(target)
        except BaseException:
            file.remove()
            raise
        return file

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
        return SpoolFile(side.removesuffix(_SIDE), self.full_sync, self.max_bytes)

    def room(self, own: SpoolFile | None) -> int:
        """Bytes that a file may take, the others being as large as they are."""
        taken = 0
        for path in self._paths():
            if own is None or not path.startswith(own.path):
                with contextlib.suppress(OSError):
                    taken += os.lstat(path).st_size
        return max(_LEAST_BYTES, self.max_bytes - taken)

    def set_aside(self, file: SpoolFile) -> str:
        """Renames a damaged file, and removes its side file; the last three are kept. Returns the new name."""
        file.close()
        aside = f"{file.path.removesuffix('.db')}.corrupt-{time.time_ns()}"
        for suffix in ("", "-wal"):
            with contextlib.suppress(OSError):
                os.rename(file.path + suffix, aside + suffix)
        file.remove()
        corrupt = [path for path in self._paths() if ".corrupt-" in path and not path.endswith("-wal")]
        for path in sorted(corrupt, key=lambda path: path.rpartition("-")[2])[:-_CORRUPT_KEPT]:
            for suffix in ("", "-wal"):
                with contextlib.suppress(OSError):
                    os.unlink(path + suffix)
        return aside

    def _paths(self) -> list[str]:
        try:
            with os.scandir(self.path) as files:
                return sorted(file.path for file in files)
        except OSError:  # nobody has left anything, or it can't be read
            return []
