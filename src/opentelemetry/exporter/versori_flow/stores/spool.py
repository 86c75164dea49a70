"""The stores `memory:` and `sqlite:///folder`: a file for each process, and an heir for what a process has left.

`memory:` has a file only at its end, and only where the turn at a flow is another process's: who ends does not
wait for its turn, but leaves what it has to whoever has it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence

from ..flow.journal import Change, Kept
from ..flow.notice import Notice
from ..flow.window import Key
from ..native import monotonic
from .connection import ClosedError, DamagedError, StoreError
from .folder import Folder
from .heritage import Heritage
from .own import Own
from .remarks import Remarks
from .rows import Place
from .seam import Left
from .spool_file import Target

_BETWEEN_TRIALS = 60.0
_BETWEEN_SYNCS = 1.0


class Spool:
    """Keeps pending spans in a file of this process, and delivers what other processes have left.

    Args:
        folder: Where the files are.
        target: What the spans are for.
        durable: Whether spans are kept from their hand-over on; otherwise only what is told at the end.
        max_spans: Inherited spans that are in memory at once.
    """

    def __init__(self, folder: Folder, target: Target, durable: bool, max_spans: int) -> None:
        self._durable = durable
        self._folder = folder
        self._target = target
        self._max_spans = max_spans
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._remarks = Remarks()
        self._own = Own(self._folder, self._target)
        self._heritage = Heritage(
            self._folder, self._target, self._max_spans, self._remarks, at_once=self._durable
        )
        self._trouble = Trouble()
        self._tended_at = float("-inf")
        # What has an older text here than it should have.
        self._outdated: set[Place] = set()

    def _begin_in_a_child(self) -> None:
        """A forked child has files of its own, whether or not the fork has told anybody."""
        if self._pid != os.getpid():
            self._begin()

    def apply(self, changes: Sequence[Change]) -> None:
        """Keeps what was added, and forgets what was settled or is gone."""
        self._begin_in_a_child()
        now = monotonic()
        told: dict[Place, Kept] = {}
        for change in changes:
            flow = change.flow
            for key in (*change.settled, *change.gone):
                place = (flow, key)
                told.pop(place, None)
                self._own.forget(place)
                self._heritage.forget(place)
                self._outdated.discard(place)
            for kept in change.added:
                told[flow, kept.key] = kept
        may_add = self._trouble.may_add() and self._durable
        is_done = self._keep(told if may_add else {}, now)
        self._look_for_older(told, written=may_add and is_done)
        self._heritage.remove()
        self._tend(now)

    def _look_for_older(self, told: Mapping[Place, Kept], *, written: bool) -> None:
        if written:
            self._outdated.difference_update(told)
            return
        for place, kept in told.items():
            if self._text_of(place) in (None, hash(kept.body)):
                self._outdated.discard(place)
            else:
                self._outdated.add(place)

    def _text_of(self, place: Place) -> int | None:
        own = self._own.text_of(place)
        return self._heritage.text_of(place) if own is None else own

    def wants_all(self, now: float) -> bool:
        """Whether the next `apply` must be told anew all that is pending: it could not be kept, and is tried again."""
        self._begin_in_a_child()
        return self._trouble.asks(now)

    def _keep(self, added: Mapping[Place, Kept], now: float) -> bool:
        try:
            self._own.write(added)
        except DamagedError as error:
            aside = self._own.set_aside()
            self._remarks.say(
                logging.ERROR,
                f"the store is damaged ({error}): it is kept as {aside}, and a new one is begun",
            )
            self._trouble.damaged(now)
            return False
        except ClosedError as error:
            self._begin_anew(f"{error} in {self._folder.path}", now)
            return False
        except StoreError as error:
            self._fail(error, bool(added), now)
            return False
        if added:
            # Only now: an orphan's row is removed once the own file has the span.
            for place in added:
                self._heritage.forget(place)
            self._trouble.over()
            self._own.has_all()
            self._remarks.over("write", f"spans are kept in {self._folder.path} again")
        return True

    def _fail(self, error: StoreError, adding: bool, now: float) -> None:
        path = self._folder.path
        if not adding:
            if self._own.remove_if_delivered():
                return
            self._remarks.trouble(
                "remove",
                f"what was delivered can't be removed from {path} ({error}): after a crash it is delivered once more",
            )
            return
        self._remarks.trouble(
            "write",
            f"spans can't be kept in {path} ({error}): they wait in memory only, and a crash would lose them; "
            "free space there or raise VERSORI_FLOW_MAX_STORE_BYTES; tried again each minute",
        )
        self._trouble.met(now)
        self._keep({}, now)  # removing makes room, also where nothing can be added

    def _tend(self, now: float) -> None:
        if now - self._tended_at < _BETWEEN_SYNCS:
            return
        self._tended_at = now
        try:
            there = self._own.tend()
        except StoreError:
            return  # the next write says it
        if not there:
            self._begin_anew(f"somebody has taken away this process's file in {self._folder.path}", now)

    def _begin_anew(self, why: str, now: float) -> None:
        self._own.abandon()
        self._trouble.gone(now)
        self._remarks.say(logging.WARNING, f"{why}: a new one is begun")

    # -- what others left ----------------------------------------------------------------------------------

    def look_no_more(self) -> None:
        """This process ends: it takes in what others leave only where it has had a turn."""
        self._heritage.look_no_more()

    def look_soon(self, now: float) -> None:
        """A turn was let go: who ended meanwhile has left what it had."""
        self._heritage.look_at(now)

    def next_look(self) -> float:
        """When to call `inherit` again, in seconds of the monotonic clock."""
        look_at = self._heritage.next_look()
        return min(look_at, self._tended_at + _BETWEEN_SYNCS) if self._own.untended else look_at

    def inherit(self, now: float) -> Sequence[Left]:
        """What processes that are gone have left, as much of it as may be in memory at once."""
        self._begin_in_a_child()
        self._tend(now)
        return self._heritage.read(now)

    def take_unreadable(self) -> int:
        """How many spans could not be read back since the last call."""
        count, self._heritage.unreadable = self._heritage.unreadable, 0
        return count

    # -- the end -------------------------------------------------------------------------------------------

    def keeps(self, flow: str, key: Key) -> bool:
        """Whether a span is safe here as it was told last, should the process end now."""
        self._begin_in_a_child()
        place = (flow, key)
        return place not in self._outdated and self._text_of(place) is not None

    def leave(self, pending: Sequence[Change]) -> bool:
        """Leaves all that is pending to whoever comes next; False where not all of it can be kept, or nothing is."""
        self._begin_in_a_child()
        now = monotonic()
        for _ in range(2):  # a damaged file takes what it held with it
            unkept = {
                (change.flow, span.key): span
                for change in pending
                for span in change.added
                if not self.keeps(change.flow, span.key)
            }
            kept = self._keep(unkept, now)
            self._look_for_older(unkept, written=kept)
            if kept:
                break
        else:
            return False
        self._heritage.remove()
        inherited = self._heritage.let_go()
        return self._own.let_go() or inherited

    def take_back(self) -> bool:
        """Takes back what was left; False where another process has some of it already: then it gets all."""
        self._begin_in_a_child()
        if self._own.take_back() and self._heritage.take_back():
            return True
        self._own.let_go()
        return False

    def remarks(self) -> list[Notice]:
        """Lines to log, each of them once."""
        return self._remarks.take()


class Trouble:
    """Spans that could not be kept wait in memory: when they are to be told anew."""

    __slots__ = ("_again_at", "_asked", "_damaged_at")

    def __init__(self) -> None:
        self._again_at: float | None = None
        self._asked = False
        self._damaged_at = float("-inf")

    def may_add(self) -> bool:
        """Whether the next spans are all that wait in memory only."""
        asked, self._asked = self._asked, False
        return asked or self._again_at is None

    def asks(self, now: float) -> bool:
        """Whether it is time; the next spans are then all."""
        self._asked = self._again_at is not None and now >= self._again_at
        return self._asked

    def met(self, now: float) -> None:
        """Nothing can be added for a minute."""
        self._again_at = now + _BETWEEN_TRIALS

    def gone(self, now: float) -> None:
        """The file was taken away: all is to be told anew at once."""
        self._again_at = now

    def damaged(self, now: float) -> None:
        """The file is lost: all is to be told anew at once; a disk that damages each is tried once a minute."""
        self._again_at = max(now, self._damaged_at + _BETWEEN_TRIALS)
        self._damaged_at = now

    def over(self) -> None:
        """All that is pending is kept."""
        self._again_at = None
