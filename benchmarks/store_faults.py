"""The rows of `benchmarks.faults` that are about processes and what they leave in their stores."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.fault_rows import DURABLE, OURS, Row, StoreFault, order, stays
from benchmarks.faulty_server import FaultyServer

_LOG_HEADER, _FRAME_HEADER, _PAGE = 32, 24, 8192
"""Bytes, of SQLite's write-ahead log (https://sqlite.org/fileformat.html#the_write_ahead_log) and of our pages."""

_HEAVY = ("--heavy", "6000")
"""600 KB/s: a MiB is full after two seconds."""

_NOT_KEPT = "spans can't be kept in"


@contextlib.contextmanager
def mounted(path: Path, options: str) -> Iterator[str]:
    """Makes a folder a file system of its own while it is needed; yields why it can't be.

    Whom permissions bind has a folder that can only be read without one.
    """
    if not options:
        yield ""
        return
    path.mkdir()
    if options == "ro" and os.geteuid():
        path.chmod(0o500)
        yield ""
        return
    command = ["mount", "-t", "tmpfs", "-o", f"{options},mode=700", "none", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        yield f"nothing can be mounted here ({error.strerror})"
        return
    if done.returncode:
        yield f"nothing can be mounted here ({done.stderr.strip()[-60:]})"
        return
    try:
        yield ""
    finally:
        subprocess.run(["umount", "-l", str(path)], check=False)


def flip_a_byte(folder: Path) -> None:
    """A byte in the middle of the spans that an orphan's file holds."""
    path = _largest(folder, "*.db")
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # or the log may have the page anew
    connection.close()
    content = bytearray(path.read_bytes())
    at = content.find(b'"spanContext"', len(content) // 2)
    content[at + 3] ^= 0xA5
    path.write_bytes(content)


def tear_the_log(folder: Path) -> None:
    """The last frame that an orphan's log holds ends in the middle."""
    path = _largest(folder, "*.db-wal")
    content = path.read_bytes()
    frames = 0
    # Behind the last frame there may be older ones, of other salts.
    while content[_frame(frames) + 8 : _frame(frames) + 16] == content[16:24]:
        frames += 1
    os.truncate(path, _frame(frames) - _PAGE // 2)


def _frame(number: int) -> int:
    return _LOG_HEADER + number * (_FRAME_HEADER + _PAGE)


def _largest(folder: Path, pattern: str) -> Path:
    return max(folder.glob(pattern), key=lambda path: path.stat().st_size)


def store_rows(short: bool) -> list[Row]:
    """All faults of stores."""
    return [*kills(short), *disks(short), *ends(short)]


def kills(short: bool) -> list[Row]:
    """Applications that are killed, and what the next one finds."""
    down, up = FaultyServer.stop, FaultyServer.start
    promise = "memory: pending at a kill is lost; others: all arrive, once"
    seconds, times = (3, 2) if short else (12, 4)
    return [
        Row(
            "kill -9, twice, in an outage, and restart",
            seconds,
            down,
            up,
            promise=promise,
            may_be_lost=lambda outcome: outcome.pending,
            by=OURS,
            store=StoreFault(kept=True, kills=2, bites=True),
        ),
        Row(
            f"kill -9, {times} times, amid slow answers, and restart",
            4 if short else 12,
            order("slow", seconds=0.3),
            stays,
            promise=promise,
            may_be_lost=lambda outcome: outcome.pending,
            by=OURS,
            store=StoreFault(kept=True, kills=times),
        ),
        Row(
            "a byte flipped in a file that a kill left",
            seconds,
            down,
            up,
            promise="what is whole arrives, the rest is counted and said",
            may_be_lost=lambda outcome: min(outcome.said_lost, 1),
            by=DURABLE,
            store=StoreFault(kills=1, bites=True, once="is damaged", damage=flip_a_byte),
        ),
        Row(
            "the log torn that a kill left",
            seconds,
            down,
            up,
            promise="what is whole arrives, the rest is counted and said",
            may_be_lost=lambda outcome: min(outcome.said_lost, 200),  # those of one transaction
            by=DURABLE,
            store=StoreFault(kills=1, once="is damaged", damage=tear_the_log),
        ),
    ]


def disks(short: bool) -> list[Row]:
    """Folders that take no more, or nothing at all."""
    down, up = FaultyServer.stop, FaultyServer.start
    seconds = 4 if short else 15
    few = {"VERSORI_FLOW_MAX_STORE_BYTES": str(1 << 20)}

    def row(name: str, work: tuple[str, ...], **store: Any) -> Row:
        fault = StoreFault(kept=True, once=_NOT_KEPT, **store)
        return Row(name, seconds, down, up, work, "all arrive, once; one warning", by=DURABLE, store=fault)

    return [
        row("max_store_bytes, 1 MiB, used up in an outage", _HEAVY, variables=few),
        row("disk of 1 MiB full in an outage", _HEAVY, mount="size=1m"),
        row("read-only disk, in an outage too", (), mount="ro"),
    ]


def ends(short: bool) -> list[Row]:
    """Processes that end at the same moment."""
    others = 9 if short else 39
    return [
        Row(
            f"{others + 1} that end together, 200 ms each way",
            0.5,
            order("slow", seconds=0.4),
            stays,
            ("--end-with", str(others)),
            "all arrive, once, in ten PUTs at most",
            by=OURS,
            in_turn=True,
            store=StoreFault(most_puts=10),
        ),
    ]
