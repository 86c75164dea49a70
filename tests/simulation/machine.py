"""What a process sees of its machine: a clock, files, and locks that end with the process. All of it modelled.

The real `host_lock`, `owned`, `Folder`, `SpoolFile`, `Heritage` and `Spool` run on it: `install` puts these stand-ins
where the product asks for `os`, `fcntl`, `time` and a connection to SQLite. Whoever runs at the moment is `here`.
"""

from __future__ import annotations

import errno
import os
import posixpath
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import count
from types import SimpleNamespace
from typing import Any, TypeVar

from opentelemetry.exporter.versori_flow.delivery import attempt, dispatcher, host_lock, keeper
from opentelemetry.exporter.versori_flow.flow import flows, holdings, stored
from opentelemetry.exporter.versori_flow.stores import folder, heritage, owned, spool, spool_file
from opentelemetry.exporter.versori_flow.stores.connection import told

_T = TypeVar("_T")
_EPOCH = 1_800_000_000
BOOTED = 1000.0
"""Seconds of the monotonic clock when the world begins."""


class Killed(BaseException):
    """The process is gone, in the middle of what it did; nothing that it still tries has an effect."""


class Violation(Exception):
    """A promise was broken."""


class Here:
    """Who runs at the moment."""

    process: Any = None


here = Here()


class Inode:
    """A file: its bytes, or a database; who has it locked, and who has it open as one."""

    __slots__ = ("changed", "data", "database", "locked_by", "number", "user")

    def __init__(self, number: int, changed: int) -> None:
        self.number = number
        self.changed = changed
        self.data = b""
        self.database: sqlite3.Connection | None = None
        self.locked_by: Any = None
        self.user: Any = None


class Host:
    """One machine: its files, its wall clock, and whether its disk is full."""

    def __init__(self, world: Any, number: int) -> None:
        self.world = world
        self.number = number
        self.files: dict[str, Inode] = {}
        self.folders = {"/", "/tmp"}
        self.clock_step = 0.0
        self.full = self.was_full = False
        self.inodes = count(1)

    def release(self, process: Any) -> None:
        """A process has ended, however."""
        for inode in (*self.files.values(), *process.descriptors.values()):
            if inode.locked_by is process:
                inode.locked_by = None
            if inode.user is process:
                inode.user = None
        process.descriptors.clear()

    def keeps(self, key: tuple[str, str]) -> bool:
        """Whether a span stands in a file, whoever says so."""
        ids = tuple(map(str.encode, key))
        select = "SELECT 1 FROM span WHERE trace_id = ? AND span_id = ?"
        databases = [inode.database for inode in self.files.values() if inode.database is not None]
        return any(database.execute(select, ids).fetchone() for database in databases)

    def rows(self) -> dict[str, int]:
        """The spool's files, and how many spans each has."""
        return {path: _rows(inode.database) for path, inode in self.files.items() if path.endswith(".db")}


def _rows(database: sqlite3.Connection | None) -> int:
    try:
        return int(database.execute("SELECT count(*) FROM span").fetchone()[0]) if database else 0
    except sqlite3.Error:
        return 0


class Clock:
    """Stands where a module of the product has `time`."""

    def monotonic(self) -> float:
        return BOOTED + float(here.process.world.now)

    def time_ns(self) -> int:
        return int((_EPOCH + here.process.world.now + here.process.host.clock_step) * 1e9)

    def time(self) -> float:
        return self.time_ns() / 1e9


clock = Clock()


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
        host = _alive()
        inode = host.files.get(path)
        if inode is None and not flags & os.O_CREAT:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        if inode is not None and flags & os.O_EXCL:
            raise FileExistsError(errno.EEXIST, "File exists")
        if inode is None:
            inode = host.files[path] = _new(host)
        descriptor = next(self._numbers)
        here.process.descriptors[descriptor] = inode
        return descriptor

    def close(self, descriptor: int) -> None:
        _alive()
        inode = here.process.descriptors.pop(descriptor)
        if inode.locked_by is here.process:  # whichever descriptor it was locked by: POSIX
            inode.locked_by = None

    def unlink(self, path: str) -> None:
        if _alive().files.pop(path, None) is None:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    def rename(self, path: str, other: str) -> None:
        files = _alive().files
        if path not in files:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        files[other] = files.pop(path)

    def pread(self, descriptor: int, size: int, offset: int) -> bytes:
        _alive()
        data: bytes = here.process.descriptors[descriptor].data
        return data[offset : offset + size]

    def pwrite(self, descriptor: int, data: bytes, offset: int) -> int:
        _alive()
        assert not offset
        here.process.descriptors[descriptor].data = data
        return len(data)

    def fstat(self, descriptor: int) -> Any:
        return _stat(here.process.descriptors[descriptor])

    def stat(self, path: str) -> Any:
        host = _alive()
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
        host = _alive()
        if path not in host.folders:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        paths = [file for file in host.files if posixpath.dirname(file) == path]
        yield iter([SimpleNamespace(path=file, name=posixpath.basename(file)) for file in paths])

    def lockf(self, descriptor: int, how: int) -> None:
        """Stands where a module of the product has `fcntl.lockf`."""
        _alive()
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
        _alive().folders.add(path)

    def utime(self, path: str) -> None:
        host = _alive()
        host.files[path].changed = int(host.world.now * 1e9)

    def chmod(self, path: str, mode: int) -> None: ...
    def fchmod(self, descriptor: int, mode: int) -> None: ...
    def fsync(self, descriptor: int) -> None: ...

    def _exists(self, path: str) -> bool:
        host = _alive()
        return path in host.files or path in host.folders


def _alive() -> Host:
    """The host of whoever runs, which may be killed here and now."""
    process = here.process
    if process.kill_in is not None:
        process.kill_in -= 1
        process.dead |= process.kill_in < 0
    if process.dead:
        raise Killed
    host: Host = process.host
    return host


def _new(host: Host) -> Inode:
    return Inode(next(host.inodes), int(host.world.now * 1e9))


def _stat(inode: Inode) -> Any:
    size = len(inode.data) if inode.database is None else 8192 * (1 + _rows(inode.database))
    return SimpleNamespace(
        st_dev=1,
        st_ino=inode.number,
        st_mode=stat.S_IFREG,
        st_uid=0,
        st_ctime_ns=inode.changed,
        st_size=size,
    )


class Connection:
    """Stands where a spool's file has its connection to SQLite: a database in memory, for each file one."""

    def __init__(self, path: str, limits: Any) -> None:
        self.path = path
        self._inode: Inode | None = None

    @property
    def is_open(self) -> bool:
        return self._inode is not None

    def use(self, use: Callable[[sqlite3.Connection], _T]) -> _T:
        with told(self.path):
            return use(self._open())

    def change(self, change: Callable[[sqlite3.Connection], None]) -> None:
        with told(self.path):
            database = self._open()
            before = _rows(database)
            database.execute("BEGIN")
            try:
                change(database)
                if _alive().full and (_rows(database) > before or not before):
                    raise sqlite3.OperationalError("database or disk is full")
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")
            _alive()

    def limit(self, max_bytes: int) -> None: ...

    def close(self) -> None:
        inode, self._inode = self._inode, None
        if inode is not None and inode.user is here.process:
            inode.user = None

    def _open(self) -> sqlite3.Connection:
        host = _alive()
        inode = self._inode
        if inode is None:
            inode = self._inode = host.files.get(self.path) or host.files.setdefault(self.path, _new(host))
        if inode.user not in (None, here.process):
            raise Violation(f"two processes have {self.path} open")
        inode.user = here.process
        if inode.database is None:
            inode.database = sqlite3.connect(":memory:", isolation_level=None)
        return inode.database


class _Chance:
    """Stands where a module of the product has `random`, or `secrets`."""

    def uniform(self, low: float, high: float) -> float:
        return float(here.process.random.uniform(low, high))

    def token_hex(self, size: int) -> str:
        return f"{here.process.random.getrandbits(8 * size):0{2 * size}x}"


def _raise(error: BaseException) -> Any:
    """A fault of ours is not to be hidden as an attempt that failed."""
    raise Violation(f"{type(error).__name__} within the flows") from error


def install() -> None:
    """Puts the modelled machine under the product, for the rest of this interpreter."""
    files, chance = Files(), _Chance()
    locks = SimpleNamespace(lockf=files.lockf, LOCK_EX=2, LOCK_NB=4)
    # What one process has read another one need not parse again.
    _put(attempt, read=lru_cache(256)(stored.read))
    _put(dispatcher, time=clock, failed_by=_raise)
    _put(keeper, time=clock)
    _put(flows, failed_by=_raise)
    _put(host_lock, os=files, fcntl=locks, random=chance)
    _put(owned, os=files, fcntl=locks)
    _put(folder, os=files, time=clock, secrets=chance)
    _put(spool_file, os=files, time=clock, Connection=Connection)
    _put(heritage, os=files)
    _put(spool, os=files, time=clock)
    drop: Any = holdings.Holdings.drop

    def note(self: Any, *arguments: Any) -> Any:
        dropped = drop(self, *arguments)
        here.process.dropped.update(entry.key for entry in dropped)
        return dropped

    _put(holdings.Holdings, drop=note)


def _put(place: Any, **parts: Any) -> None:
    for name, part in parts.items():
        setattr(place, name, part)
