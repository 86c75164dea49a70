"""Stands where a module of the product has `os` and `fcntl`: files, and locks that end with the process."""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from types import SimpleNamespace
from typing import Any

from .machine import Inode, alive, here, new_file, rows_in


class Files:
    """Stands where a module of the product has `os`; each call is a moment at which the process may be killed."""

    def __init__(self) -> None:
        self.path = SimpleNamespace(
            **{name: getattr(posixpath, name) for name in ("abspath", "basename", "dirname", "join")},
            exists=self._exists,
            lexists=self._exists,
        )
        self._numbers = count(100)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("O_"):
            return getattr(os, name)
        raise AttributeError(f"the modelled machine has no os.{name}")

    def open(self, path: str, flags: int, mode: int = 0o777) -> int:
        host = alive()
        inode = host.files.get(path)
        if inode is None and not flags & os.O_CREAT:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        if inode is not None and flags & os.O_EXCL:
            raise FileExistsError(errno.EEXIST, "File exists")
        if inode is None:
            inode = host.files[path] = new_file(host)
        descriptor = next(self._numbers)
        here.process.descriptors[descriptor] = inode
        return descriptor

    def close(self, descriptor: int) -> None:
        alive()
        inode = here.process.descriptors.pop(descriptor)
        if inode.locked_by is here.process:  # whichever descriptor it was locked by: POSIX
            inode.locked_by = None

    def unlink(self, path: str) -> None:
        if alive().files.pop(path, None) is None:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    def rename(self, path: str, other: str) -> None:
        files = alive().files
        if path not in files:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        files[other] = files.pop(path)

    def pread(self, descriptor: int, size: int, offset: int) -> bytes:
        alive()
        data: bytes = here.process.descriptors[descriptor].data
        return data[offset : offset + size]

    def pwrite(self, descriptor: int, data: bytes, offset: int) -> int:
        alive()
        assert not offset
        here.process.descriptors[descriptor].data = data
        return len(data)

    def fstat(self, descriptor: int) -> Any:
        return _stat(here.process.descriptors[descriptor])

    def stat(self, path: str) -> Any:
        host = alive()
        if path in host.folders:
            return SimpleNamespace(st_mode=stat.S_IFDIR, st_uid=0)
        inode = host.files.get(path)
        if inode is None:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        return _stat(inode)

    def lstat(self, path: str) -> Any:
        return self.stat(path)

    @contextmanager
    def scandir(self, path: str) -> Iterator[Iterator[Any]]:
        host = alive()
        if path not in host.folders:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        paths = [file for file in host.files if posixpath.dirname(file) == path]
        yield iter([SimpleNamespace(path=file, name=posixpath.basename(file)) for file in paths])

    def lockf(self, descriptor: int, how: int) -> None:
        """Stands where a module of the product has `fcntl.lockf`."""
        alive()
        inode = here.process.descriptors[descriptor]
        if inode.locked_by not in (None, here.process):
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        inode.locked_by = here.process

    def getpid(self) -> int:
        # The simulator forks too, when nobody of the world runs.
        return 1000 + int(here.process.number) if here.process is not None else os.getpid()

    def getuid(self) -> int:
        return 0

    def mkdir(self, path: str, mode: int = 0) -> None:
        if self._exists(path):
            raise FileExistsError(errno.EEXIST, "File exists")
        alive().folders.add(path)

    def utime(self, path: str) -> None:
        host = alive()
        host.files[path].changed = int(host.world.now * 1e9)

    def chmod(self, path: str, mode: int) -> None: ...
    def fchmod(self, descriptor: int, mode: int) -> None: ...
    def fsync(self, descriptor: int) -> None: ...

    def _exists(self, path: str) -> bool:
        host = alive()
        return path in host.files or path in host.folders


def _stat(inode: Inode) -> Any:
    size = len(inode.data) if inode.database is None else 8192 * (1 + rows_in(inode))
    return SimpleNamespace(
        st_dev=1,
        st_ino=inode.number,
        st_mode=stat.S_IFREG,
        st_uid=0,
        st_ctime_ns=inode.changed,
        st_size=size,
    )
