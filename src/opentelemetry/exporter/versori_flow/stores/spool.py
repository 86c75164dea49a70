"""The stores `memory:` and `sqlite:///folder`: a file for each process, and an heir for what a process has left.

`memory:` has a file only at its end, and only where the turn at a flow is another process's: who ends does not
wait for its turn, but leaves what it has to whoever has it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from ..flow.journal import Change, Kept
from ..flow.report import Notice
from ..flow.window import Key
from . import owned
from .connection import DamagedError, StoreError
from .folder import Folder
from .heritage import Heritage
from .remarks import Remarks
from .seam import Left
from .spool_file import Row, SpoolFile, Target

_BETWEEN_TRIALS = 60.0
_BETWEEN_SYNCS = 1.0


class Spool:
    """Keeps pending spans in a file of this process, and delivers what other processes have left.

    Args:
        folder: Where the files are.
        target: What the spans are for.
        durable: Whether spans are kept from their hand-over on; otherwise only what is told at the end.
        max_spans: Inherited spans that are in memory at once.

    Attributes:
        durable: As given.
    """

    def __init__(self, folder: Folder, target: Target, durable: bool, max_spans: int) -> None:
        self.durable = durable
        self._folder = folder
        self._target = target
        self._remarks = Remarks()
        self._heritage = Heritage(folder, target, max_spans, self._remarks, at_once=durable)
        self._own: SpoolFile | None = None
        self._number = 0
        self._places: dict[tuple[str, Key], int] = {}
        self._removed: list[int] = []
        self._again_at: float | None = None
        self._synced_at = 0.0

    def apply(self, changes: Sequence[Change]) -> None:
        """Keeps what was added, and forgets what was settled or is gone."""
        added: list[tuple[str, Kept]] = []
        for change in changes:
            for key in (*change.settled, *change.gone):
                self._forget((change.flow, key))
            for kept in change.added if self.durable else ():
                self._forget((change.flow, kept.key))
                added.append((change.flow, kept))
        self._heritage.remove()
        now = time.monotonic()
        if self._again_at is None or now >= self._again_at:
            self._write(added, now)
        elif self._removed and self._own is not None:
            self._write((), now)
        if self._own is not None and self._own.unsynced and now - self._synced_at >= _BETWEEN_SYNCS:
            self._synced_at = now
            self._tend(self._own)

    def wants_all(self, now: float) -> bool:
        """Whether it must be told anew all that is pending: it could not keep it, and it is time to try again."""
        return self._again_at is not None and now >= self._again_at

    def _write(self, added: Sequence[tuple[str, Kept]], now: float) -> None:
        if not (added or self._removed):
            return
        first, rows = self._number + 1, []
        for flow, kept in added:
            self._number += 1
            rows.append(Row(self._number, flow, kept))
        try:
            if self._own is None:
                self._own = self._folder.new(self._target)
            self._own.write(rows, self._removed)
        except DamagedError as error:
            self._is_damaged(error, now)
            return
        except (StoreError, OSError) as error:
            self._fail(error, bool(added), now)
            return
        self._removed = []
        for number, (flow, kept) in enumerate(added, first):
            self._places[flow, kept.key] = number
        if added and self._again_at is not None:
            self._again_at = None
            self._remarks.over("write", f"spans are kept in {self._folder.path} again")

    def _fail(self, error: Exception, adding: bool, now: float) -> None:
        reason = getattr(error, "strerror", None) or str(error)
        self._remarks.trouble(
            "write",
            f"spans can't be kept in {self._folder.path} ({reason}): they wait in memory only, and a crash would lose "
            "them; free space there or raise VERSORI_FLOW_MAX_STORE_BYTES; tried again each minute",
        )
        if not adding:
            return  # what is to be removed is tried with the next change
        self._again_at = now + _BETWEEN_TRIALS
        # Removing makes room, also where nothing can be added.
        if self._own is not None and self._removed:
            try:
                self._own.write((), self._removed)
            except StoreError:
                return
            self._removed = []

    def _is_damaged(self, error: DamagedError, now: float) -> None:
        aside = None if self._own is None else self._folder.set_aside(self._own)
        self._remarks.trouble(
            "write", f"the store is damaged ({error}): it is kept as {aside}, and a new file is begun"
        )
        self._own, self._removed = None, []
        self._places.clear()
        self._again_at = now  # all that is pending is still in memory

    def _tend(self, own: SpoolFile) -> None:
        try:
            own.tend()
            own.limit(self._folder.room(own))
        except StoreError:
            return  # the next write says it

    def _forget(self, place: tuple[str, Key]) -> None:
        self._heritage.forget(place)
        number = self._places.pop(place, None)
        if number is not None:
            self._removed.append(number)

    # -- what others left ----------------------------------------------------------------------------------

    def look_soon(self, now: float) -> None:
        """A turn was let go: who ended meanwhile has left what it had."""
        self._heritage.look_at(now)

    def next_look(self) -> float:
        """When to call `inherit` again, in seconds of the monotonic clock."""
        look = self._heritage.next_look()
        unsynced = self._own is not None and self._own.unsynced
        return min(look, self._synced_at + _BETWEEN_SYNCS) if unsynced else look

    def inherit(self, now: float) -> Sequence[Left]:
        """What processes that are gone have left, as much of it as may be in memory at once."""
        return self._heritage.read(now)

    def take_unreadable(self) -> int:
        """How many spans could not be read back since the last call."""
        count, self._heritage.unreadable = self._heritage.unreadable, 0
        return count

    # -- the end -------------------------------------------------------------------------------------------

    def keeps(self, flow: str, key: Key) -> bool:
        """Whether a span is safe here, should the process end now."""
        place = (flow, key)
        return place in self._places or place in self._heritage

    def leave(self, pending: Sequence[Change]) -> bool:
        """Leaves all that is pending to whoever comes next; False where nothing is kept."""
        unkept = [
            (change.flow, kept)
            for change in pending
            for kept in change.added
            if not self.keeps(change.flow, kept.key)
        ]
        self._write(unkept, time.monotonic())
        inherited = self._heritage.leave()
        if self._own is None:
            return inherited
        if not self._places:
            self._own.remove()
            self._own = None
            return inherited
        self._own.release()
        return True

    def take_back(self) -> bool:
        """Takes back what was left and no other process has by now; False where that is nothing."""
        inherited = self._heritage.take_back()
        if self._own is not None and owned.take(self._own.side):
            return True
        self._own = None  # the places stay: what was there is safe
        return inherited

    def remarks(self) -> list[Notice]:
        """Lines to log, each of them once."""
        return self._remarks.take()
