"""A connection to an SQLite file that no other connection is ever made to.

Versions of SQLite before 3.51.3 can corrupt a write-ahead log that two connections write at the same instant
(https://sqlite.org/wal.html#walresetbug). And a forked child that ends would close the connection that it has
inherited, and with it remove the parent's log: so it is closed before a fork; and for a fork that tells nobody
(uWSGI) it has a reference too many for as long as it is open, so that no child's end ever closes it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

from ..native import allocate_lock, get_ident

_T = TypeVar("_T")

PAGE = 8192
_OF_A_NEW_FILE = (f"page_size = {PAGE}", "auto_vacuum = INCREMENTAL")
_LONGEST_STATEMENT = 5.0
"""Seconds that a fork waits for the disk."""

_OF_THE_FILE = ("no such ", "unsupported file format", "malformed", "table span has", "Could not decode")
"""How what an SQLite calls an operational error begins where the file is at fault, now and for ever."""


class StoreError(Exception):
    """A store can't do what it should; the message says why, for people."""


_LONG_LOG = 256 << 10


class DamagedError(StoreError):
    """A file is no spool, or is damaged."""


class NewerError(StoreError):
    """A file was written by a newer version of this package."""


class ClosedError(StoreError):
    """The program has closed what was open here: a file of its own may have that number by now."""


class Limits(NamedTuple):
    """What holds for a file.

    Attributes:
        full_sync: Whether each write waits for the disk; otherwise a power cut may take the last second.
        max_bytes: What the file may grow to.
        log_bytes: What its log may, about.
    """

    full_sync: bool
    max_bytes: int
    log_bytes: int


class Connection:
    """Opened when it is used first.

    Args:
        path: The file; it is there.
        limits: What holds for it.
        is_ours: Whether its descriptors are still its own.

    Attributes:
        path: The file.
    """

    def __init__(self, path: str, limits: Limits, is_ours: Callable[[], bool]) -> None:
        self.path = path
        self._limits = limits
        self._is_ours = is_ours
        self._connection: sqlite3.Connection | None = None
        self._pid = 0

    def __del__(self) -> None:
        if not sys.is_finalizing():
            self._close()

    @property
    def is_open(self) -> bool:
        """Whether it was used since it was closed."""
        return self._connection is not None

    def use(self, use: Callable[[sqlite3.Connection], _T]) -> _T:
        """Does something with it.

        Raises:
            DamagedError: The file is no database, or is damaged.
            ClosedError: The program has closed it.
            StoreError: It can't be done.
        """
        with _forks.waiting(), told(self.path):
            if self._pid != os.getpid():
                self._close()
            elif self._lost():
                raise ClosedError("the program has closed this process's file")
            if self._connection is None:
                self._connection = self._connect()
                self._pid = os.getpid()
                _refer(self._connection, True)
                _forks.open.add(self)
            return use(self._connection)

    def change(self, change: Callable[[sqlite3.Connection], None]) -> None:
        """Does something in one transaction; raises like `use`."""

        def transaction(connection: sqlite3.Connection) -> None:
            if connection.in_transaction:  # a signal handler has raised in the middle of one
                connection.execute("ROLLBACK")
            connection.execute("BEGIN IMMEDIATE")
            try:
                change(connection)
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise

        self.use(transaction)

    def limit(self, max_bytes: int) -> None:
        """Sets what the file may grow to."""
        self._limits = self._limits._replace(max_bytes=max_bytes)
        if self.is_open:
            self.use(self._set_limit)

    def close(self) -> None:
        """Closes it; the next use opens it again."""
        with _forks.waiting():
            self._close()

    def _lost(self) -> bool:
        """Gives it up where the descriptors are not ours any more: to close it would write to another's files."""
        if self._connection is None or self._is_ours():
            return False
        _forks.lost.append(self._connection)
        self._connection = None
        return True

    def _close(self) -> None:
        if self._pid == os.getpid() and self._lost():
            return
        connection, self._connection = self._connection, None
        if connection is not None and self._pid == os.getpid():
            with contextlib.suppress(sqlite3.Error):
                connection.close()
            _refer(connection, False)

    def _set_limit(self, connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA max_page_count = {max(1, self._limits.max_bytes // PAGE)}").fetchall()

    def _connect(self) -> sqlite3.Connection:
        # No cache of statements: since Python 3.12 it can keep one alive beyond its connection.
        connection = sqlite3.connect(
            self.path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=0
        )
        try:
            connection.text_factory = bytes  # what is damaged may be no text
            for setting in (
                *(_OF_A_NEW_FILE if not os.path.getsize(self.path) else ()),
                "locking_mode = EXCLUSIVE",  # no shared memory: nobody else ever opens it
                "journal_mode = WAL",
                f"journal_size_limit = {self._limits.log_bytes}",
                f"wal_autocheckpoint = {max(1, self._limits.log_bytes // PAGE)}",
                f"synchronous = {'FULL' if self._limits.full_sync else 'NORMAL'}",
                "cache_size = -256",
                "trusted_schema = OFF",
            ):
                connection.execute(f"PRAGMA {setting}").fetchall()
            self._set_limit(connection)
        except BaseException:
            connection.close()
            raise
        return connection


@contextlib.contextmanager
def told(path: str) -> Iterator[None]:
    """Turns what goes wrong with a file into what the reader of a log line understands."""
    try:
        yield
    except (sqlite3.OperationalError, sqlite3.DataError, sqlite3.ProgrammingError) as error:
        if str(error).startswith(_OF_THE_FILE):
            raise DamagedError(f"{path}: {error}") from error
        raise StoreError(str(error)) from error
    except sqlite3.Error as error:
        raise DamagedError(f"{path}: {error}") from error
    except UnicodeError as error:
        raise DamagedError(f"{path}: {error}") from error
    except OSError as error:
        raise StoreError(error.strerror or str(error)) from error


def log_size(path: str) -> int:
    """Bytes that a file's log takes."""
    try:
        return os.stat(path + "-wal").st_size
    except OSError:
        return 0


def _refer(connection: sqlite3.Connection, more: bool) -> None:
    try:
        import ctypes  # not before there is a file
    except ImportError:
        return
    change = ctypes.pythonapi.Py_IncRef if more else ctypes.pythonapi.Py_DecRef
    change(ctypes.py_object(connection))


class _Forks:
    """One lock for all connections of the process: whoever forks waits until none is in use, and closes them."""

    __slots__ = ("forking", "lock", "lost", "open", "pid")

    def __init__(self) -> None:
        self.open: weakref.WeakSet[Connection] = weakref.WeakSet()
        # For ever: each has a reference too many, as while it was open.
        self.lost: list[sqlite3.Connection] = []
        self.start_anew()

    def start_anew(self) -> None:
        """In a forked child: every file stays with the parent."""
        for connection in list(self.open):
            connection._close()
        self.open.clear()
        self.lock = allocate_lock()
        self.forking: int | None = None
        self.pid = os.getpid()

    def waiting(self) -> Any:
        """The lock, to be held by whoever uses a connection."""
        if self.pid != os.getpid():
            self.start_anew()  # a fork that has told nobody
        return self.lock

    def before(self) -> None:
        """Before a fork."""
        if self.waiting().acquire(True, _LONGEST_STATEMENT):
            self.forking = get_ident()
            for connection in list(self.open):
                connection._close()

    def after_in_parent(self) -> None:
        """After a fork."""
        if self.forking == get_ident():
            self.forking = None
            self.lock.release()


_forks = _Forks()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_forks.before, after_in_parent=_forks.after_in_parent, after_in_child=_forks.start_anew
    )
