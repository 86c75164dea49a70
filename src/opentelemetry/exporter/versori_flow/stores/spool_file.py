"""One file of spans that wait for their delivery: an SQLite database that one process has for itself.

Its process holds a lock on a file beside it (`owned`) for as long as it lives.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
import zlib
from collections.abc import Sequence
from typing import NamedTuple

from ..flow.journal import Kept
from . import owned
from .connection import PAGE, Connection, DamagedError, NewerError, StoreError, told

VERSION = 1
_FREE_BYTES = 1 << 20
"""From so many bytes of free pages on they are given back."""

_TABLES = """
CREATE TABLE target(base_url TEXT, organisation TEXT, project TEXT, pid INTEGER, began REAL);
CREATE TABLE span(
    id INTEGER PRIMARY KEY, flow TEXT, trace_id TEXT, span_id TEXT, start INTEGER, end INTEGER,
    is_root INTEGER, checksum INTEGER, body BLOB
);
"""
_SELECT = "SELECT * FROM span WHERE id > ? ORDER BY id"
_INSERT = "INSERT INTO span VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"


class Target(NamedTuple):
    """What a spool's spans are for: flows of one name in two projects are two flows."""

    base_url: str
    organisation: str
    project: str

    @property
    def tag(self) -> str:
        """What the names of its files begin with."""
        return f"{zlib.crc32(chr(0).join(self).encode('utf-8', 'replace')):08x}"


class Row(NamedTuple):
    """A span in a file, by its number there."""

    id: int
    flow: str
    kept: Kept


class SpoolFile:
    """A spool's file, whose side file this process has locked. Not made, or opened, before it is used.

    Args:
        stem: The path without `.db` and `.lock`.
        full_sync: Whether each write waits for the disk; otherwise a power cut may take the last second.
        max_bytes: What the file may grow to.
    """

    def __init__(self, stem: str, full_sync: bool, max_bytes: int) -> None:
        self.path = stem + ".db"
        self.side = stem + ".lock"
        self.unsynced = False
        self.count = 0
        self._connection = Connection(self.path, full_sync, max_bytes)

    # -- used by whoever owns it ---------------------------------------------------------------------------

    def create(self, target: Target) -> None:
        """Makes both files.

        Raises:
            StoreError: They can't be made.
        """
        with told(self.path):
            if not owned.create(self.side):
                raise StoreError(f"{self.side} was taken away")
            descriptor = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            os.fchmod(descriptor, 0o600)
            os.close(descriptor)
        row = (*target, os.getpid(), time.time())

        def make(connection: sqlite3.Connection) -> None:
            for statement in filter(str.strip, _TABLES.split(";")):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")
            connection.execute("INSERT INTO target VALUES (?, ?, ?, ?, ?)", row)

        self._connection.change(make)

    def write(self, added: Sequence[Row], removed: Sequence[int]) -> None:
        """Adds and removes spans, all or nothing.

        Raises:
            StoreError: It can't be done; nothing of it was.
        """
        rows = [
            (
                *(number, flow, *kept.key, kept.start, kept.end, int(kept.is_root)),
                *(_checksum(flow, kept), kept.body),
            )
            for number, flow, kept in added
        ]

        def change(connection: sqlite3.Connection) -> None:
            if removed:
                connection.executemany("DELETE FROM span WHERE id = ?", [(number,) for number in removed])
            if rows:
                connection.executemany(_INSERT, rows)

        # Never more than there are: what is noted and not found counts as lost.
        owned.note(self.side, self.count - len(removed))
        self._connection.change(change)
        self.count += len(added) - len(removed)
        owned.note(self.side, self.count)
        self.unsynced = True

    def page(self, after: int, spans: int, size: int) -> tuple[list[Row], int]:
        """Reads on.

        Args:
            after: The number of the last row that was read.
            spans: Rows to read at most.
            size: Bytes after which to stop.

        Returns:
            The rows that are whole; and the number from which to read on, -1 at the end.

        Raises:
            DamagedError: Beyond `after` there are pages that can't be read.
        """

        def read(connection: sqlite3.Connection) -> tuple[list[Row], int]:
            rows: list[Row] = []
            last, left = after, spans
            with contextlib.closing(connection.execute(_SELECT, (after,))) as cursor:
                bytes_read = 0
                try:
                    for number, flow, trace_id, span_id, start, end, is_root, checksum, body in cursor:
                        last, left = number, left - 1
                        kept = Kept((trace_id, span_id), start, end, bool(is_root), body)
                        if isinstance(body, bytes) and _checksum(flow, kept) == checksum:
                            rows.append(Row(number, flow, kept))
                            bytes_read += len(body)
                        if not left or bytes_read >= size:
                            return rows, last
                except sqlite3.DatabaseError:
                    if not rows:
                        raise
                    return rows, last
            return rows, -1

        return self._connection.use(read)

    def readable_after(self, after: int, until: int = 1 << 48) -> int:
        """Where to read on behind a damaged page; -1: nowhere."""
        low, step = after, 1
        while not self._reads(after + step):
            low, step = after + step, 2 * step
            if step > until:
                return -1
        high = after + step
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._reads(middle) else (middle, high)
        return high

    def open(self) -> Target:
        """Opens a file that another process has left; returns what its spans are for.

        Raises:
            DamagedError: It can't be read as a spool.
            NewerError: It is left alone.
            StoreError: It can't be opened now.
        """

        def look(connection: sqlite3.Connection) -> tuple[int, Target | None, int]:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version != VERSION:
                return version, None, 0
            row = connection.execute("SELECT base_url, organisation, project FROM target").fetchone()
            (count,) = connection.execute("SELECT count(*) FROM span").fetchone()
            return version, Target(*row) if row else None, count

        version, target, self.count = self._connection.use(look)
        if version > VERSION:
            raise NewerError(f"{self.path} was written by a newer version")
        if target is None:
            raise DamagedError(f"{self.path} is no spool")
        return target

    def tend(self) -> None:
        """Gives free pages back, and sees to it that what was written is on the disk."""

        def free(connection: sqlite3.Connection) -> None:
            (pages,) = connection.execute("PRAGMA freelist_count").fetchone()
            if pages * PAGE > _FREE_BYTES:
                connection.execute(f"PRAGMA incremental_vacuum({2 * _FREE_BYTES // PAGE})").fetchall()
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

        if not self._connection.is_open:
            return
        self.unsynced = False
        self._connection.use(free)
        # By a descriptor of our own: the connection's locks are on the other file.
        with contextlib.suppress(OSError):
            descriptor = os.open(self.path + "-wal", os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def limit(self, max_bytes: int) -> None:
        """Sets what the file may grow to."""
        self._connection.limit(max_bytes)

    def close(self) -> None:
        """Closes the connection, if it is open; the next use opens it again."""
        self._connection.close()

    def release(self) -> None:
        """Closes it, and lets another process have it."""
        self.close()
        owned.let_go(self.side)

    def remove(self) -> None:
        """Removes the file, its log and its side file."""
        self.close()
        for path in (self.path, self.path + "-wal", self.path + "-journal"):
            with contextlib.suppress(OSError):
                os.unlink(path)
        with contextlib.suppress(OSError):
            owned.remove(self.side)

    # -- small things --------------------------------------------------------------------------------------

    def _reads(self, after: int) -> bool:
        try:
            self._connection.use(
                lambda connection: connection.execute(
                    "SELECT length(body) FROM span WHERE id > ? ORDER BY id LIMIT 1", (after,)
                ).fetchall()
            )
        except DamagedError:
            return False
        return True


def _checksum(flow: str, kept: Kept) -> int:
    members = f"{flow}\0{kept.key}\0{kept.start}\0{kept.end}\0{kept.is_root}"
    return zlib.crc32(kept.body, zlib.crc32(members.encode("utf-8", "replace")))
