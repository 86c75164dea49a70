"""A connection to an SQLite file that no other connection is ever made to.

Versions of SQLite before 3.51.3 can corrupt a write-ahead log that two connections write at the same instant
(https://sqlite.org/wal.html#walresetbug). And a forked child that ends would close the connection that it has
inherited, and with it remove the parent's log: so it is closed before a fork, and leaked in a child of a fork
that nobody has told of (uWSGI).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import weakref
from collections.abc import Callable, Iterator
from typing import TypeVar

from ..native import allocate_lock

_T = TypeVar("_T")

PAGE = 8192
_LOG_BYTES = 4 << 20
_LONGEST_STATEMENT = 5.0
"""Seconds that a fork waits for the disk."""


class StoreError(Exception):
    """A store can't do what it should; the message says why, for people."""


class DamagedError(StoreError):
    """A file is no spool, or is damaged."""


class NewerError(StoreError):
    """A file was written by a newer version of this package."""


class Connection:
    """Opened when it is used first.

    Args:
        path: The file; it is there.
        full_sync: Whether each write waits for the disk; otherwise a power cut may take the last second.
        max_bytes: What the file may grow to.

    Attributes:
        path: The file.
    """

    def __init__(self, path: str, full_sync: bool, max_bytes: int) -> None:
        self.path = path
        self._full_sync = full_sync
        self._max_bytes = max_bytes
        self._connection: sqlite3.Connection | None = None
        self._pid = 0
        self._lock = allocate_lock()

    @property
    def is_open(self) -> bool:
        """Whether it was used since it was closed."""
        return self._connection is not None

    def use(self, use: Callable[[sqlite3.Connection], _T]) -> _T:
        """Does something with it.

        Raises:
            DamagedError: The file is no database, or is damaged.
            StoreError: It can't be done.
        """
        with self._lock, told(self.path):
            if self._pid != os.getpid():
                self.close()
            if self._connection is None:
                self._connection = self._connect()
                self._pid = os.getpid()
                _open.add(self)
            return use(self._connection)

    def change(self, change: Callable[[sqlite3.Connection], None]) -> None:
        """Does something in one transaction; raises like `use`."""

        def transaction(connection: sqlite3.Connection) -> None:
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
        self._max_bytes = max_bytes
        if self.is_open:
            self.use(self._set_limit)

    def close(self) -> None:
        """Closes it; the next use opens it again."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._pid != os.getpid():
            _leak(connection)
            return
        with contextlib.suppress(sqlite3.Error):
            connection.close()

    def _set_limit(self, connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA max_page_count = {max(8, self._max_bytes // PAGE)}").fetchall()

    def _connect(self) -> sqlite3.Connection:
        # No cache of statements: since Python 3.12 it can keep one alive beyond its connection.
        connection = sqlite3.connect(
            self.path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=0
        )
        try:
            for setting in (
                f"page_size = {PAGE}",
                "auto_vacuum = INCREMENTAL",
                "locking_mode = EXCLUSIVE",  # no shared memory: nobody else ever opens it
                "journal_mode = WAL",
                f"journal_size_limit = {_LOG_BYTES}",
                f"wal_autocheckpoint = {_LOG_BYTES // PAGE}",
                f"synchronous = {'FULL' if self._full_sync else 'NORMAL'}",
                "cache_size = -1024",
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
    except sqlite3.OperationalError as error:
        raise StoreError(str(error)) from error
    except sqlite3.DatabaseError as error:
        raise DamagedError(f"{path}: {error}") from error
    except OSError as error:
        raise StoreError(error.strerror or str(error)) from error


def _leak(connection: sqlite3.Connection) -> None:
    """Keeps a connection that is the parent's from ever being closed here."""
    import ctypes  # only where a fork has told nobody

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


_open: weakref.WeakSet[Connection] = weakref.WeakSet()
_waited: list[Connection] = []


def _before_fork() -> None:
    _waited.clear()
    for connection in list(_open):
        if connection._lock.acquire(True, _LONGEST_STATEMENT):
            _waited.append(connection)
            connection.close()


def _after_fork_in_parent() -> None:
    for connection in _waited:
        connection._lock.release()
    _waited.clear()


def start_anew() -> None:
    """In a forked child: every file stays with the parent."""
    for connection in list(_open):
        connection.close()
        connection._lock = allocate_lock()
    _open.clear()
    _waited.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=start_anew)
