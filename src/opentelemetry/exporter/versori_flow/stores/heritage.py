"""What processes that are gone have left, and how it is delivered here, a page at a time.

Who gets the lock of an orphan's side file is its heir. It removes what a PUT has carried, and the file once it is
empty; if it dies before that, there are two orphans. So nothing is lost; and what is delivered twice is one
span in its flow, by its ids. A damaged file is read only, and set aside once all that was whole is delivered.
"""

from __future__ import annotations

import logging
import os
import stat

from ..flow.journal import Kept
from . import owned
from .connection import DamagedError, NewerError, StoreError
from .folder import Folder
from .heirloom import Heirloom, Room
from .remarks import Remarks
from .rows import Place
from .seam import Left
from .spool_file import Page, Target

_BETWEEN_LOOKS = 60.0
_MOST, _MOST_OPEN = 256, 64
"""Orphans that one process has at once; and with open databases, which take two descriptors beside that of the lock."""

_PAGE_BYTES = 1 << 20


class Heritage:
    """The orphans that this process has found.

    Args:
        folder: Where they are.
        target: What their spans are for.
        max_spans: Their spans that are in memory at once, of each flow.
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
        self._room = Room(max_spans)
        self._remarks = remarks
        self._heirlooms: list[Heirloom] = []
        self._left: list[Heirloom] = []
        self._places: dict[Place, tuple[Heirloom, int, int]] = {}
        self._every = _BETWEEN_LOOKS if at_once else float("inf")
        self._look_at = float("-inf") if at_once else float("inf")
        self._more = False

    def text_of(self, place: Place) -> int | None:
        """A hash of the text that a span has here; None where it is not here."""
        return self._places[place][2] if place in self._places else None

    def look_no_more(self) -> None:
        """Nobody's orphans are taken in any more, but after `look_at`."""
        if self._every != float("inf"):
            self._every = self._look_at = float("inf")

    def look_at(self, now: float) -> None:
        """Somebody may just have left something."""
        self._look_at = now

    def next_look(self) -> float:
        """When to call `read` again."""
        if self._room.is_full:
            return float("inf")
        is_readable = any(heirloom.readable(self._room) for heirloom in self._heirlooms)
        return float("-inf") if is_readable else self._look_at

    def read(self, now: float) -> list[Left]:
        """Looks for orphans from time to time; returns as much of them as may be in memory at once."""
        if now >= self._look_at:
            self._look_at = now + self._every
            self._more = False
            for side in self._folder.sides(self._target):
                if len(self._heirlooms) < _MOST:
                    self._adopt(side)
                else:
                    self._more = True
        left: list[Left] = []
        for heirloom in list(self._heirlooms):
            for flow in heirloom.readable(self._room):
                if heirloom in self._heirlooms:
                    left += self._read(heirloom, flow)
            self._close(heirloom)
        return left

    def forget(self, place: Place) -> None:
        """A span is pending no longer."""
        if place in self._places:
            heirloom, number, _ = self._places.pop(place)
            self._room.take(place[0], -heirloom.in_memory.pop(number), -1)
            heirloom.removed.append(number)

    def remove(self) -> None:
        """Removes from the files what is pending no longer, and files that are empty."""
        for heirloom in [heirloom for heirloom in self._heirlooms if heirloom.removed]:
            self._remove_from(heirloom)
            self._close(heirloom)

    def let_go(self) -> bool:
        """Leaves all of it to whoever comes next; False where there is nothing."""
        for heirloom in self._heirlooms:
            heirloom.file.release()
        self._left += self._heirlooms
        self._heirlooms = []
        return bool(self._left)

    def take_back(self) -> bool:
        """Takes back what was left; False where another process has some of it: then it gets all."""
        left, self._left = self._left, []
        taken = [heirloom for heirloom in left if heirloom.file.retake()]
        if len(taken) == len(left):
            for heirloom in taken:  # another process may have delivered some of it meanwhile
                unread = heirloom.file.count - len(heirloom.in_memory) - len(heirloom.removed)
                heirloom.expected = min(heirloom.expected, heirloom.found + max(0, unread))
            self._heirlooms += taken
            return True
        for heirloom in taken:
            heirloom.file.release()
        return False

    def _adopt(self, side: str) -> None:
        try:
            if not owned.take(side):
                return
        except OSError as error:
            self._remarks.trouble(side, f"{side} can't be locked ({error.strerror})")
            return
        heirloom = Heirloom(self._folder.file(side), owned.noted(side))
        file = heirloom.file
        try:
            if self._is_empty(heirloom):
                self._heirlooms.append(heirloom)
                self._is_read(heirloom)
                return
            target = file.open()
            if target is None and not heirloom.expected:
                file.remove()  # its owner was killed before it wrote anything
                return
            if target is not None and target != self._target:
                file.release()
                return
            heirloom.damaged = target is None
        except DamagedError:
            heirloom.damaged = True
        except NewerError as error:
            self._remarks.trouble(side, f"{error}: it is left alone")
            file.release()
            return
        except (StoreError, OSError) as error:
            self._remarks.trouble(
                side, f"{file.path} can't be opened ({error}); it is tried again each minute"
            )
            file.release()
            return
        self._heirlooms.append(heirloom)
        self._close(heirloom)

    def _is_empty(self, heirloom: Heirloom) -> bool:
        """Whether there is nothing to read; what was there once is lost."""
        try:
            status = os.lstat(heirloom.file.path)
        except FileNotFoundError:
            size = 0
        else:
            if not stat.S_ISREG(status.st_mode):
                raise StoreError("it is no file")
            size = status.st_size
        if size:
            return False
        heirloom.cursors[None] = -1
        heirloom.damaged = bool(heirloom.expected)
        return True

    def _read(self, heirloom: Heirloom, flow: str | None) -> list[Left]:
        file = heirloom.file
        try:
            page = self._page(heirloom, flow)
        except StoreError as error:
            self._remarks.trouble(
                file.side, f"{file.path} can't be read ({error}); the next process tries again"
            )
            self._drop(heirloom)
            return []
        heirloom.cursors[flow] = page.cursor
        if flow is None:  # else it was met before
            heirloom.broken += page.broken
        heirloom.damaged = heirloom.damaged or bool(page.broken)
        by_flow: dict[str, list[Kept]] = {}
        for row in page.rows:
            if flow is None and row.flow in heirloom.cursors:
                continue
            place, size = (row.flow, row.kept.key), len(row.kept.body)
            if not self._room.has(row.flow):
                heirloom.cursors[row.flow] = row.id - 1
                if flow is None:
                    continue
                break
            self.forget(place)  # two orphans may have it, where an heir died
            self._places[place] = (heirloom, row.id, hash(row.kept.body))
            heirloom.in_memory[row.id] = size
            heirloom.found += 1
            self._room.take(row.flow, size)
            by_flow.setdefault(row.flow, []).append(row.kept)
        if heirloom.is_read:
            self._is_read(heirloom)
        return [Left(flow, spans) for flow, spans in by_flow.items()]

    def _page(self, heirloom: Heirloom, flow: str | None) -> Page:
        cursor = heirloom.cursors[flow]
        try:
            return heirloom.file.page(cursor, self._room.max_spans, _PAGE_BYTES, flow)
        except DamagedError:
            heirloom.damaged = True
            return Page([], heirloom.file.readable_after(cursor), 0)

    def _is_read(self, heirloom: Heirloom) -> None:
        lost = heirloom.lost
        self.unreadable += lost
        if lost:
            heirloom.damaged = True
            owned.note(heirloom.file.side, len(heirloom.in_memory))  # counted once, whoever reads it next
        if heirloom.damaged:
            self._remarks.say(
                logging.ERROR,
                f"{heirloom.file.path} is damaged: {heirloom.found} spans of it were read, {lost} are lost; once "
                "they are delivered it is set aside",
            )
        if not heirloom.in_memory:
            self._remove_from(heirloom)

    def _remove_from(self, heirloom: Heirloom) -> None:
        file = heirloom.file
        if heirloom.is_read and not heirloom.in_memory:
            self._heirlooms.remove(heirloom)
            if heirloom.damaged:
                self._folder.set_aside(file)
            else:
                file.remove()
            if self._more:
                self._look_at = float("-inf")
            return
        if not heirloom.damaged:
            try:
                file.write(0, {}, heirloom.removed)
                file.tend()
            except StoreError as error:
                # They stay in the file, and are delivered once more by the next heir: twice rather than never.
                heirloom.damaged = isinstance(error, DamagedError)
                self._remarks.trouble(file.side, f"{file.path} can't be written ({error})")
        heirloom.removed = []

    def _drop(self, heirloom: Heirloom) -> None:
        self._heirlooms.remove(heirloom)
        for place in [place for place, where in self._places.items() if where[0] is heirloom]:
            self.forget(place)
        heirloom.file.release()

    def _close(self, heirloom: Heirloom) -> None:
        """Until it is used again, where many are here."""
        if len(self._heirlooms) > _MOST_OPEN:
            heirloom.file.close()
