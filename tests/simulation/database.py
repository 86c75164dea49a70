"""Stands where a spool's file has its connection to SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from opentelemetry.exporter.versori_flow.stores.connection import told

from .machine import Inode, Violation, alive, here, new_file, rows_in

_T = TypeVar("_T")


class _Damaged:
    """A database of which rows can't be read; who comes to one of them hears of it."""

    def __init__(self, database: sqlite3.Connection, unreadable: set[int]) -> None:
        self._database = database
        self._unreadable = unreadable

    def execute(self, statement: str, values: Sequence[Any] = ()) -> Any:
        cursor = self._database.execute(statement, values)
        return _Cursor(cursor, self._unreadable) if statement.startswith("SELECT * FROM span") else cursor

    def executescript(self, statements: str) -> None:
        self._database.executescript(statements)


class _Cursor:
    def __init__(self, cursor: sqlite3.Cursor, unreadable: set[int]) -> None:
        self._cursor = cursor
        self._unreadable = unreadable

    def __iter__(self) -> Iterator[Any]:
        for row in self._cursor:
            if row[0] in self._unreadable:
                raise sqlite3.DatabaseError("database disk image is malformed")
            yield row

    def fetchall(self) -> list[Any]:
        return list(self)

    def close(self) -> None:
        self._cursor.close()


class Connection:
    """Stands where a spool's file has its connection to SQLite: a database in memory, for each file one."""

    def __init__(self, path: str, limits: Any, is_ours: Any) -> None:
        self.path = path
        self._inode: Inode | None = None

    @property
    def is_open(self) -> bool:
        return self._inode is not None

    def use(self, use: Callable[[sqlite3.Connection], _T]) -> _T:
        with told(self.path):
            database: Any = self._open()
            unreadable = self._inode.unreadable if self._inode is not None else ()
            return use(_Damaged(database, unreadable) if unreadable else database)

    def change(self, change: Callable[[sqlite3.Connection], None]) -> None:
        with told(self.path):
            database = self._open()
            inode: Any = self._inode
            if inode.unreadable:
                raise sqlite3.DatabaseError("database disk image is malformed")
            before = rows_in(inode)
            database.execute("BEGIN")
            try:
                change(database)
                if alive().full and (rows_in(inode) > before or not before):
                    raise sqlite3.OperationalError("database or disk is full")
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")
            alive()

    def limit(self, max_bytes: int) -> None: ...

    def close(self) -> None:
        inode, self._inode = self._inode, None
        if inode is not None and inode.user is here.process:
            inode.user = None

    def _open(self) -> sqlite3.Connection:
        host = alive()
        inode = self._inode
        if inode is None:
            inode = self._inode = host.files.get(self.path) or host.files.setdefault(
                self.path, new_file(host)
            )
        if inode.user not in (None, here.process):
            raise Violation(f"two processes have {self.path} open")
        inode.user = here.process
        if inode.database is None:
            inode.database = sqlite3.connect(":memory:", isolation_level=None)
        if inode.garbage:
            raise sqlite3.DatabaseError("file is not a database")
        return inode.database
