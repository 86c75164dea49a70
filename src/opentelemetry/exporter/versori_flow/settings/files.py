"""Files that settings name: read when they are checked, so that a wrong path is told at construction."""

from __future__ import annotations

import os
import stat

from .readers import BadValueError, text


def pem_file(value: object) -> str:
    """The path of a readable file that holds something in PEM form."""
    path = path_text(value)
    if b"-----BEGIN " not in read_file(path)[0]:
        raise BadValueError("names a file without a PEM block: write the path of one with a -----BEGIN line")
    return path


def path_text(value: object) -> str:
    """A path, from text or an `os.PathLike`; not looked at further, as it need not be UTF-8."""
    path = os.fspath(value) if isinstance(value, os.PathLike) else value
    return path.strip() if isinstance(path, str) else text(path)


def read_file(path: str, limit: int = -1) -> tuple[bytes, os.stat_result]:
    """Read up to `limit` bytes of a regular file (-1: all of it), and its status from just before."""
    try:
        # A pipe would make the open wait for its writer.
        if stat.S_ISREG(os.stat(path).st_mode):
            with open(path, "rb") as file:
                # The status first: a write in between then shows as a change later, never as none.
                status = os.fstat(file.fileno())
                return file.read(limit), status
    except OSError as error:
        raise BadValueError(
            f"names a file that can't be read ({error.strerror}): write the path of a readable one"
        ) from None
    except ValueError:
        raise BadValueError("is no path: write the path of a file") from None
    raise BadValueError("names something that is not a file: write the path of a regular file")
