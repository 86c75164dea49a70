"""What this process keeps in the file that is its own, and where each span stands there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from ..flow.journal import Kept
from . import owned
from .folder import Folder
from .rows import Place
from .spool_file import SpoolFile, Target

_ELSEWHERE = 0
"""The number of a row that another process has by now."""


class Own:
    """The file of this process, made when it is needed first.

    Args:
        folder: Where it is.
        target: What its spans are for.
    """

    def __init__(self, folder: Folder, target: Target) -> None:
        self._folder = folder
        self._target = target
        self._file: SpoolFile | None = None
        self._number = 0
        # The number of each span's row, and a hash of its text.
        self._places: dict[Place, tuple[int, int]] = {}
        self._removed: list[int] = []
        self._former: SpoolFile | None = None

    def text_of(self, place: Place) -> int | None:
        """A hash of the text that a span has here; None where it is not here."""
        return self._places[place][1] if place in self._places else None

    def forget(self, place: Place) -> None:
        """A span is pending no longer; it is removed with the next write."""
        number, _ = self._places.pop(place, (_ELSEWHERE, 0))
        if number != _ELSEWHERE:
            self._removed.append(number)

    def write(self, added: Mapping[Place, Kept]) -> None:
        """Removes what is pending no longer, and adds spans, some at a time; a newer text takes an older one's place.

        Raises:
            StoreError: It can't be done; what is not in here afterwards is not kept.
        """
        if (added or self._removed) and self._file is not None and not self._file.held:
            self.take_back()  # it was left, and the process goes on
        for some in self._in_parts(added):
            removed = [*self._removed, *(self._places[place][0] for place in some if place in self._places)]
            removed = [number for number in removed if number != _ELSEWHERE]
            if not (some or removed):
                return
            if self._file is None:
                self._file = self._folder.new(self._target)
            self._file.write(self._number + 1, some, removed)
            self._removed = []
            for place, kept in some.items():
                self._number += 1
                self._places[place] = self._number, hash(kept.body)

    @property
    def untended(self) -> bool:
        """Whether there is something to do for `tend`."""
        return self._file is not None and self._file.untended

    def tend(self) -> bool:
        """Gives room back, and sees to it that the disk has what was written; False where the file has gone.

        Raises:
            StoreError: It can't be done.
        """
        file = self._file
        if file is None or not file.held:
            return True
        if not file.is_there():
            return False
        file.tend()
        file.limit(self._folder.room(file))
        return True

    def abandon(self) -> None:
        """Begins anew, the file having gone; what nobody else has of it stays until the new one has all."""
        if self._file is not None:
            self._file.abandon()
            self._former = self._file
        self._has_none()

    def has_all(self) -> None:
        """All that is pending is in the file."""
        former, self._former = self._former, None
        with contextlib.suppress(OSError):
            if former is not None and owned.take(former.side):
                former.remove()

    def remove(self) -> None:
        """Begins anew, without the file."""
        if self._file is not None:
            self._file.remove()
        self._has_none()

    def remove_if_delivered(self) -> bool:
        """Begins anew where nothing is pending: that takes no room on the disk."""
        if self._places:
            return False
        self.remove()
        return True

    def set_aside(self) -> str:
        """Begins anew, a person may look at the file; returns its name."""
        aside = "" if self._file is None else self._folder.set_aside(self._file)
        self._has_none()
        return aside

    def let_go(self) -> bool:
        """Leaves all of it to whoever comes next; False where there is nothing."""
        if self._file is None:
            return False
        if not self._places:
            self.remove()
            return False
        self._file.release()
        return True

    def take_back(self) -> bool:
        """Takes back what was left; False where another process has it."""
        if self._file is None or self._file.held or self._file.retake():
            return True
        self._file = None
        self._removed = []
        self._places = {place: (_ELSEWHERE, text) for place, (_, text) in self._places.items()}
        return False

    def _has_none(self) -> None:
        self._file = None
        self._removed = []
        self._places.clear()

    def _in_parts(self, added: Mapping[Place, Kept]) -> Iterator[Mapping[Place, Kept]]:
        """Parts that a log has room for; one at least."""
        most = self._folder.log_bytes // 2
        if sum(len(kept.body) for kept in added.values()) <= most:
            yield added
            return
        size, part = 0, dict[Place, Kept]()
        for place, kept in added.items():
            if part and size + len(kept.body) > most:
                yield part
                size, part = 0, {}
            part[place] = kept
            size += len(kept.body)
        yield part
