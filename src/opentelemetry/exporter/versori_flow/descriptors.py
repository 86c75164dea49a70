"""Whether a descriptor is still what it was: a program that becomes a daemon closes all that are open, ours too.

Their numbers are then those of its own files and sockets, which are neither to be written to nor to be closed here.
"""

from __future__ import annotations

import contextlib
import os

Identity = tuple[int, int]


def of_status(status: os.stat_result) -> Identity:
    """What tells one open file or socket from another."""
    return status.st_dev, status.st_ino


def identity(descriptor: int) -> Identity | None:
    """Likewise; None where it is not open."""
    try:
        return of_status(os.fstat(descriptor))
    except OSError:
        return None


def close(descriptor: int, known: Identity | None) -> None:
    """Closes a descriptor, if it is still what it was."""
    if known is not None and identity(descriptor) == known:
        with contextlib.suppress(OSError):
            os.close(descriptor)
