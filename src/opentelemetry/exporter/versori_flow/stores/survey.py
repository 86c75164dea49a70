"""What lies in a spool's folder, for people: what living processes have, and what orphans left."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import NamedTuple

from . import owned
from .connection import DamagedError, StoreError
from .folder import Folder
from .rows import Row
from .spool_file import SpoolFile, Target

_PAGE_SPANS = 256
_PAGE_BYTES = 1 << 20


class Waiting(NamedTuple):
    """Spans of one flow in one file.

    Attributes:
        path: The file.
        target: What they are for; None where a living process has it, or it can't be read.
        flow: The flow's name; None likewise.
        spans: How many.
        size: Their bytes.
        oldest: The earliest start, in nanoseconds since the Unix epoch; 0 where it isn't known.
        trouble: Why it can't be read; empty where it can.
        alive: Whether the process that has it lives: it delivers them.
    """

    path: str
    target: Target | None
    flow: str | None
    spans: int
    size: int
    oldest: int
    trouble: str
    alive: bool


def survey(folder: Folder, target: Target | None = None) -> list[Waiting]:
    """All that waits, of one target or of all. A file is locked while it is read, so that nobody else adopts it."""
    found: list[Waiting] = []
    for side in folder.sides(target):
        file = folder.file(side)
        with _orphan(side, file) as is_ours:
            if not is_ours:
                found.append(Waiting(file.path, None, None, owned.noted(side), 0, 0, "", True))
            elif os.path.exists(file.path):
                found += _read(file)
    return found


class Dropped(NamedTuple):
    """What was removed.

    Attributes:
        spans: How many.
        kept: Files that are kept, since not all in them can be read or removed, and why.
    """

    spans: int
    kept: list[str]


def drop(folder: Folder, target: Target | None, flow: str | None) -> Dropped:
    """Removes what orphans left, of one flow or of all; a file only where all in it was read, and is to go."""
    dropped, kept = 0, list[str]()
    for side in folder.sides(target):
        file = folder.file(side)
        with _orphan(side, file) as is_ours:
            if not is_ours:
                continue
            try:
                numbers, left = _numbers(file, flow)
                if left:
                    file.write(1, {}, numbers)
                else:
                    file.remove()
                dropped += len(numbers)
            except StoreError as error:
                kept.append(f"{file.path}: {str(error).removeprefix(f'{file.path}: ')}")
    return Dropped(dropped, kept)


def _numbers(file: SpoolFile, flow: str | None) -> tuple[list[int], int]:
    numbers: list[int] = []
    left = 0
    if not os.path.exists(file.path) or file.open() is None:
        return numbers, left  # its owner was killed while it made it
    for row in _rows(file):
        if flow is None or row.flow == flow:
            numbers.append(row.id)
        else:
            left += 1
    return numbers, left


def _rows(file: SpoolFile) -> Iterator[Row]:
    cursor = 0
    while cursor >= 0:
        page = file.page(cursor, _PAGE_SPANS, _PAGE_BYTES)
        cursor = page.cursor
        yield from page.rows
        if page.broken:
            raise DamagedError(f"{file.path}: rows that are not whole")


def _read(file: SpoolFile) -> list[Waiting]:
    by_flow: dict[str, Waiting] = {}
    try:
        target = file.open()
        for row in _rows(file):
            none = Waiting(file.path, target, row.flow, 0, 0, row.kept.start, "", False)
            of = by_flow.get(row.flow, none)
            by_flow[row.flow] = of._replace(
                spans=of.spans + 1,
                size=of.size + len(row.kept.body),
                oldest=min(of.oldest, row.kept.start),
            )
    except DamagedError:
        trouble = "damaged: what is whole is delivered by the next process, and the file kept"
        return [*by_flow.values(), Waiting(file.path, None, None, 0, 0, 0, trouble, False)]
    except StoreError as error:
        return [Waiting(file.path, None, None, 0, 0, 0, str(error), False)]
    return list(by_flow.values())


@contextlib.contextmanager
def _orphan(side: str, file: SpoolFile) -> Iterator[bool]:
    if not owned.take(side):
        yield False
        return
    try:
        yield True
    finally:
        if owned.held(side):
            file.release()
