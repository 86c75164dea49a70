"""What a process sees of its machine: a clock, and files that belong to a host. All of it modelled.

The real `host_lock`, `owned`, `Folder`, `SpoolFile`, `Heritage` and `Spool` run on it: `install` puts these stand-ins
where the product asks for `os`, `fcntl`, the clock and a connection to SQLite. Whoever runs at the moment is `here`.
"""

from __future__ import annotations

import sqlite3
import time
from itertools import count
from typing import Any

EPOCH = 1_800_000_000
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

    __slots__ = ("changed", "data", "database", "garbage", "locked_by", "number", "unreadable", "user")

    def __init__(self, number: int, changed: int) -> None:
        self.number = number
        self.changed = changed
        self.data = b""
        self.database: sqlite3.Connection | None = None
        self.locked_by: Any = None
        self.user: Any = None
        # What befell it: rows that can't be read, or all of it.
        self.unreadable: set[int] = set()
        self.garbage = False


class Host:
    """One machine: its files, its wall clock, and whether its disk is full."""

    def __init__(self, world: Any, number: int) -> None:
        self.world = world
        self.number = number
        self.files: dict[str, Inode] = {}
        self.folders = {"/", "/tmp"}
        self.clock_step = 0.0
        self.full = self.was_faulty = False
        self.inodes = count(1)
        # When the turn at each flow was let go last.
        self.turns: dict[str, float] = {}

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
        databases = [inode.database for path, inode in self.files.items() if path.endswith(".db")]
        return any(database.execute(select, ids).fetchone() for database in databases if database is not None)

    def is_orphan(self, path: str) -> bool:
        """Whether it is a spool's file whose owner is gone."""
        side = self.files.get(path.removesuffix(".db") + ".lock")
        return (
            path.endswith(".db")
            and path.startswith("/spool/")
            and side is not None
            and side.locked_by is None
        )

    def damage(self, kind: str, which: float, row: float) -> None:
        """Something befalls a file, and a row in it, or all of them."""
        files = [
            inode for path, inode in sorted(self.files.items()) if path.endswith(".db") and rows_in(inode)
        ]
        if not files:
            return
        self.was_faulty = True
        inode = files[int(which * len(files))]
        database: Any = inode.database
        rows = database.execute("SELECT id, trace_id, span_id FROM span ORDER BY id").fetchall()
        number = len(rows) - 1 if kind == "torn" else int(row * len(rows))
        hit = rows if kind == "garbage" else rows[number : number + 1]
        self.world.damaged.update((trace.decode(), span.decode()) for _, trace, span in hit)
        ids = [id for id, _, _ in hit]
        if kind == "garbage":
            inode.garbage = True
        elif kind == "page":
            inode.unreadable.update(ids)
        elif kind == "torn" and inode.user is None:  # else its owner has its end in memory
            database.execute("DELETE FROM span WHERE id = ?", ids)
        else:
            database.execute("UPDATE span SET body = CAST(body || 'x' AS BLOB) WHERE id = ?", ids)

    def rows(self) -> dict[str, int]:
        """The spool's files, and how many spans each has."""
        return {path: rows_in(inode) for path, inode in self.files.items() if path.endswith(".db")}


def rows_in(inode: Inode) -> int:
    """Spans in a file, whole or not."""
    database = inode.database
    try:
        return int(database.execute("SELECT count(*) FROM span").fetchone()[0]) if database else 0
    except sqlite3.Error:
        return 0


class Clock:
    """Stands where a module of the product has `time`, and where all of them ask for the monotonic clock."""

    def monotonic(self) -> float:
        if here.process is None:  # the real interpreter is about to end
            return time.monotonic()
        return BOOTED + float(here.process.world.now)

    def time_ns(self) -> int:
        return int((EPOCH + here.process.world.now + here.process.host.clock_step) * 1e9)

    def time(self) -> float:
        return self.time_ns() / 1e9


clock = Clock()


def alive() -> Host:
    """The host of whoever runs, which may be killed here and now."""
    process = here.process
    if process.kill_in is not None:
        process.kill_in -= 1
        process.dead |= process.kill_in < 0
    if process.dead:
        raise Killed
    host: Host = process.host
    return host


def new_file(host: Host) -> Inode:
    return Inode(next(host.inodes), int(host.world.now * 1e9))
