"""One file of spans that wait for their delivery: an SQLite database that one process has for itself.

Its process holds a lock on a file beside it (`owned`) for as long as it lives.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
import zlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

from ..flow.journal import Kept
from . import owned
from .connection import PAGE, Connection, DamagedError, Limits, NewerError, StoreError, log_size, told
from .rows import Place, Row, as_bytes, as_text, ranges, row, values

VERSION = 1
_IDLE_BYTES, _IDLE_BYTES_AT_REST = 1 << 20, 256 << 10
"""From so many bytes of free pages and of the log on they are given back; and where nothing is pending."""

_MOST_FREED = 16 << 20
"""Bytes that are given back at once: more would hold up the deliveries."""

_TABLES = """
CREATE TABLE target(base_url TEXT, organisation TEXT, project TEXT, pid INTEGER, began REAL);
CREATE TABLE span(
    id INTEGER PRIMARY KEY, flow BLOB, trace_id TEXT, span_id TEXT, start INTEGER, end INTEGER,
    is_root INTEGER, checksum INTEGER, body BLOB
);
"""
_SELECT = "SELECT * FROM span WHERE id > ? AND ifnull(flow = ?, 1) ORDER BY id"
_INSERT = "INSERT INTO span VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_DELETE = "DELETE FROM span WHERE id BETWEEN ? AND ?"
_IDS_TRIED_ONE_BY_ONE = 512


class Target(NamedTuple):
    """What a spool's spans are for: flows of one name in two projects are two flows."""

    base_url: str
    organisation: str
    project: str

    @property
    def tag(self) -> str:
        """What the names of its files begin with."""
        return f"{zlib.crc32(chr(0).join(self).encode('utf-8', 'replace')):08x}"


class Page(NamedTuple):
    """What was read at once.

    Attributes:
        rows: Spans that are whole.
        cursor: The number from which to read on; -1 at the end.
        broken: Rows that are not whole.
    """

    rows: list[Row]
    cursor: int
    broken: int


class SpoolFile:
    """A spool's file, whose side file this process has locked. Not made, or opened, before it is used.

    Args:
        stem: The path without `.db` and `.lock`.
        limits: What holds for it.

    Attributes:
        path: The database.
        side: The file beside it.
        count: Spans in it, at least.
        untended: Whether it was written since `tend`, or has more to give back.
    """

    def __init__(self, stem: str, limits: Limits) -> None:
        self.path = stem + ".db"
        self.side = stem + ".lock"
        self.count = 0
        self.untended = False
        self._connection = Connection(self.path, limits, partial(owned.is_ours, self.side))

    # -- used by whoever owns it ---------------------------------------------------------------------------

    def create(self, target: Target) -> bool:
        """Makes both files; False where somebody took the side file away.

        Raises:
            StoreError: They can't be made.
        """
        with told(self.path):
            if not owned.create(self.side):
                return False
            descriptor = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                os.fchmod(descriptor, 0o600)
            finally:
                os.close(descriptor)
        row = (*map(as_bytes, target), os.getpid(), time.time())

        def make(connection: sqlite3.Connection) -> None:
            for statement in filter(str.strip, _TABLES.split(";")):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")
            connection.execute("INSERT INTO target VALUES (?, ?, ?, ?, ?)", row)

        self._connection.change(make)
        return True

    @property
    def held(self) -> bool:
        """Whether it is this process's."""
        return owned.held(self.side)

    def write(self, number: int, added: Mapping[Place, Kept], removed: Sequence[int]) -> None:
        """Adds and removes spans, all or nothing.

        Args:
            number: The first new row's; those of the others follow.
            added: New spans.
            removed: Numbers of rows.

        Raises:
            StoreError: It can't be done; nothing of it was.
        """
        rows, runs = list(values(number, added)), list(ranges(removed))

        def change(connection: sqlite3.Connection) -> None:
            connection.executemany(_DELETE, runs)
            connection.executemany(_INSERT, rows)

        # Never more than there are: what is noted and not found counts as lost.
        owned.note(self.side, self.count - len(removed))
        try:
            self._connection.change(change)
            self.count += len(added) - len(removed)
        finally:
            owned.note(self.side, self.count)
        self.untended = True

    def page(self, after: int, spans: int, size: int, flow: str | None = None) -> Page:
        """Reads on.

        Args:
            after: The number of the last row that was read.
            spans: Rows to read at most.
            size: Bytes after which to stop.
            flow: Whose rows to read; None: of all flows.

        Raises:
            DamagedError: The row after `after` can't be read.
        """

        wanted = None if flow is None else as_bytes(flow)

        def read(connection: sqlite3.Connection) -> Page:
            rows: list[Row] = []
            last, bytes_read, broken = after, 0, 0
            with contextlib.closing(connection.execute(_SELECT, (after, wanted))) as cursor:
                try:
                    for columns in cursor:
                        if columns[0] <= last:
                            broken += 1  # a page of the tree that stands in another's place
                            continue
                        last = columns[0]
                        span = row(columns)
                        if span is None:
                            broken += 1
                            continue
                        rows.append(span)
                        bytes_read += len(span.kept.body)
                        if len(rows) >= spans or bytes_read >= size:
                            return Page(rows, last, broken)
                except sqlite3.DatabaseError:
                    if last == after:
                        raise
                    return Page(rows, last, broken)
            return Page(rows, -1, broken)

        return self._connection.use(read)

    def readable_after(self, after: int) -> int:
        """Where to read on behind a row that can't be read; -1: nowhere."""
        low, step = after, 1
        while not self._reads(low + step):
            low += step
            if low - after > _IDS_TRIED_ONE_BY_ONE:
                step *= 2
            if step > 1 << 48:
                return -1
        high = low + step
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._reads(middle) else (middle, high)
        return high

    def open(self) -> Target | None:
        """Opens a file that another process has left; returns what its spans are for, None if it is empty.

        Raises:
            DamagedError: It can't be read as a spool.
            NewerError: It is left alone.
            StoreError: It can't be opened now.
        """
        self.count = owned.noted(self.side)  # there may be more, and counting them would read the whole file

        def look(connection: sqlite3.Connection) -> Target | None:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > VERSION:
                raise NewerError(f"{self.path} was written by a newer version")
            if not version and not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
                return None  # its owner was killed while it made it
            found = connection.execute("SELECT base_url, organisation, project FROM target").fetchone()
            if version != VERSION or found is None or not all(isinstance(text, bytes) for text in found):
                raise DamagedError(f"{self.path} is no spool")
            return Target(*map(as_text, found))

        return self._connection.use(look)

    def retake(self) -> bool:
        """Takes it back after `release`; False where another process has it, or has had it to its end."""
        try:
            if not owned.take(self.side):
                return False
            self.open()  # another one may have removed something meanwhile
        except (StoreError, OSError):
            self.release()
            return False
        return True

    def tend(self) -> None:
        """Gives free pages back, and sees to it that what was written is on the disk; raises like `write`."""

        def free(connection: sqlite3.Connection) -> int:
            (pages,) = connection.execute("PRAGMA freelist_count").fetchone()
            if pages * PAGE + log_size(self.path) > (_IDLE_BYTES if self.count else _IDLE_BYTES_AT_REST):
                # Not by `execute`, which goes one step: that frees one page.
                connection.executescript(f"PRAGMA incremental_vacuum({_MOST_FREED // PAGE})")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            return int(pages) * PAGE

        if not (self.untended and self._connection.is_open):
            self.untended = False  # closing it has brought all to the disk
            return
        self.untended = self._connection.use(free) > _MOST_FREED
        # By a descriptor of our own: the connection's locks are on the other file.
        with contextlib.suppress(OSError):
            descriptor = os.open(self.path + "-wal", os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def limit(self, max_bytes: int) -> None:
        """Sets what the file may grow to; raises like `write`."""
        self._connection.limit(max_bytes)

    def is_there(self) -> bool:
        """Whether others find it, should this process end now."""
        return owned.is_there(self.side) and os.path.exists(self.path)

    def close(self) -> None:
        """Closes the connection, if it is open; the next use opens it again."""
        self._connection.close()

    def release(self) -> None:
        """Closes it, and lets another process have it."""
        self.close()
        owned.let_go(self.side)

    def abandon(self) -> None:
        """Closes it, which others can't find, or have: what nobody would find, or only half of it, is removed."""
        self.close()
        if not os.path.lexists(self.side) or owned.is_there(self.side):
            self.remove()
        owned.let_go(self.side)

    def remove(self) -> None:
        """Removes the file, its log and its side file."""
        self.close()
        owned.note(self.side, 0)  # who finds only half of it has lost nothing
        for path in (self.path, self.path + "-wal", self.path + "-journal"):
            with contextlib.suppress(OSError):
                os.unlink(path)
        with contextlib.suppress(OSError):
            owned.remove(self.side)

    def _reads(self, after: int) -> bool:
        try:
            self._connection.use(lambda it: it.execute(_SELECT + " LIMIT 1", (after, None)).fetchall())
        except DamagedError:
            return False
        return True
