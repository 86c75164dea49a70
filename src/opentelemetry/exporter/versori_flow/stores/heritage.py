"""What processes that are gone have left, and how it is delivered here, a page at a time.

Who gets the lock of an orphan's side file is its heir. It removes what a PUT has carried, and the file once it is
empty; if it dies before that, there are two orphans. So nothing is lost; and what is delivered twice is one
span in its flow, by its ids.
"""

from __future__ import annotations

import logging
import os

from ..flow.journal import Kept
from ..flow.window import Key
from . import owned
from .connection import DamagedError, NewerError, StoreError
from .folder import Folder
from .remarks import Remarks
from .seam import Left
from .spool_file import SpoolFile, Target

_BETWEEN_LOOKS = 60.0
_MOST_OPEN = 64
"""Orphans that one process has open at once: each takes three descriptors."""

_PAGE_BYTES = 1 << 20
_MOST_BYTES = 4 << 20
"""Bytes of inherited spans that are in memory at once."""


class Heirloom:
    """An orphan's file that is ours to deliver.

    Attributes:
        file: The file.
        expected: Spans that its owner has noted.
        found: Spans that were read.
        cursor: The number of the last row that was read; -1 once all are.
        in_memory: Rows that were read and are not delivered yet, each with its bytes.
        removed: Rows that are delivered, and still in the file.
        damaged: Whether it can only be read.
    """

    __slots__ = ("cursor", "damaged", "expected", "file", "found", "in_memory", "removed")

    def __init__(self, file: SpoolFile, expected: int) -> None:
        self.file = file
        self.expected = expected
        self.found = 0
        self.cursor = 0
        self.in_memory: dict[int, int] = {}
        self.removed: list[int] = []
        self.damaged = False


class Heritage:
    """The orphans that this process has found.

    Args:
        folder: Where they are.
        target: What their spans are for.
        max_spans: Their spans that are in memory at once.
        remarks: What there is to say.
        at_once: Whether to look from the start, and each minute; otherwise only after `look_at`.

    Attributes:
        unreadable: Spans that could not be read back, and are not counted yet.
    """

    def __init__(
        self, folder: Folder, target: Target, max_spans: int, remarks: Remarks, at_once: bool
    ) -> None:
        self.unreadable = 0
        self._folder = folder
        self._target = target
        self._max_spans = max_spans
        self._remarks = remarks
        self._heirlooms: list[Heirloom] = []
        self._left: list[Heirloom] = []
        self._places: dict[tuple[str, Key], tuple[Heirloom, int]] = {}
        self._every = _BETWEEN_LOOKS if at_once else float("inf")
        self._look_at = float("-inf") if at_once else float("inf")

    def __contains__(self, place: tuple[str, Key]) -> bool:
        return place in self._places

    def look_at(self, now: float) -> None:
        """Somebody may just have left something."""
        self._look_at = now

    def next_look(self) -> float:
        """When to call `read` again."""
        if not self._room():
            return float("inf")
        return float("-inf") if any(heirloom.cursor >= 0 for heirloom in self._heirlooms) else self._look_at

    def read(self, now: float) -> list[Left]:
        """Looks for orphans from time to time; returns as much of them as may be in memory at once."""
        if now >= self._look_at:
            self._look_at = now + self._every
            for side in self._folder.sides(self._target):
                if len(self._heirlooms) < _MOST_OPEN:
                    self._adopt(side)
        left: list[Left] = []
        for heirloom in [heirloom for heirloom in self._heirlooms if heirloom.cursor >= 0]:
            if self._room():
                left += self._read(heirloom)
        return left

    def forget(self, place: tuple[str, Key]) -> None:
        """A span is pending no longer."""
        where = self._places.pop(place, None)
        if where is not None:
            heirloom, number = where
            del heirloom.in_memory[number]
            heirloom.removed.append(number)

    def remove(self) -> None:
        """Removes from the files what is pending no longer, and files that are empty."""
        for heirloom in [heirloom for heirloom in self._heirlooms if heirloom.removed]:
            self._remove_from(heirloom)

    def leave(self) -> bool:
        """Leaves all of it to whoever comes next; False where there is nothing."""
        # The places stay: they say what is safe.
        self._left, self._heirlooms = self._heirlooms, []
        for heirloom in self._left:
            heirloom.file.release()
        return bool(self._left)

    def take_back(self) -> bool:
        """Takes back what was left and nobody else has by now; False where that is nothing."""
        self._heirlooms = [heirloom for heirloom in self._left if owned.take(heirloom.file.side)]
        self._left = []
        return bool(self._heirlooms)

    def _room(self) -> int:
        spans, size = 0, 0
        for heirloom in self._heirlooms:
            spans += len(heirloom.in_memory)
            size += sum(heirloom.in_memory.values())
        return max(0, self._max_spans - spans) if size < _MOST_BYTES else 0

    def _adopt(self, side: str) -> None:
        try:
            if not owned.take(side):
                return
        except OSError as error:
            self._remarks.trouble(side, f"{side} can't be locked ({error.strerror})")
            return
        file = self._folder.file(side)
        heirloom = Heirloom(file, owned.noted(side))
        try:
            if not os.path.exists(file.path) or not os.path.getsize(file.path):
                file.remove()  # its owner was killed before it wrote anything
                return
            if file.open() != self._target:
                file.release()
                return
        except DamagedError:
            heirloom.damaged = True
        except NewerError as error:
            self._remarks.trouble(side, f"{error}: it is left alone")
            file.release()
            return
        except StoreError as error:
            self._remarks.trouble(
                side, f"{file.path} can't be opened ({error}); it is tried again each minute"
            )
            file.release()
            return
        self._heirlooms.append(heirloom)

    def _read(self, heirloom: Heirloom) -> list[Left]:
        file = heirloom.file
        try:
            rows, heirloom.cursor = file.page(heirloom.cursor, self._room(), _PAGE_BYTES)
        except DamagedError:
            rows, heirloom.damaged = [], True
            heirloom.cursor = file.readable_after(heirloom.cursor)
        except StoreError as error:
            self._remarks.trouble(
                file.side, f"{file.path} can't be read ({error}); the next process tries again"
            )
            self._drop(heirloom)
            file.release()
            return []
        heirloom.found += len(rows)
        by_flow: dict[str, list[Kept]] = {}
        for row in rows:
            by_flow.setdefault(row.flow, []).append(row.kept)
            if not heirloom.damaged:
                place = (row.flow, row.kept.key)
                self.forget(place)  # two orphans may have it, where an heir died
                self._places[place] = (heirloom, row.id)
                heirloom.in_memory[row.id] = len(row.kept.body)
        if heirloom.cursor < 0:
            self._is_read(heirloom)
        return [Left(flow, spans, not heirloom.damaged) for flow, spans in by_flow.items()]

    def _is_read(self, heirloom: Heirloom) -> None:
        path, lost = heirloom.file.path, max(0, heirloom.expected - heirloom.found)
        self.unreadable += lost
        if heirloom.damaged:
            self._drop(heirloom)
            aside = self._folder.set_aside(heirloom.file)
            self._remarks.say(
                logging.ERROR,
                f"{path} is damaged: {heirloom.found} spans of it were read, {lost} are lost; it is kept as {aside}",
            )
            return
        if lost:
            self._remarks.say(
                logging.ERROR, f"{path} was torn: {heirloom.found} spans of it were read, {lost} are lost"
            )
        if not heirloom.in_memory:
            self._remove_from(heirloom)

    def _remove_from(self, heirloom: Heirloom) -> None:
        if heirloom.cursor < 0 and not heirloom.in_memory:
            self._heirlooms.remove(heirloom)
            heirloom.file.remove()
            return
        try:
            heirloom.file.write((), heirloom.removed)
        except StoreError as error:
            # They stay in the file, and are delivered once more by the next heir: twice rather than never.
            self._remarks.trouble(heirloom.file.side, f"{heirloom.file.path} can't be written ({error})")
        heirloom.removed = []

    def _drop(self, heirloom: Heirloom) -> None:
        self._heirlooms.remove(heirloom)
        for place in [place for place, where in self._places.items() if where[0] is heirloom]:
            del self._places[place]
