"""Between the flows and a store: what is kept, what is inherited, and what is left to somebody else at the end.

A process that ends does not wait for its turn at a flow that another process of this host is writing: it leaves
what it has in the store, where that one looks after each turn, and goes once it was taken. Forty processes that
end together become a few PUTs, and none erases another's.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..flow.flows import Flows, FlowStep
from ..flow.ledger import DropReason
from ..flow.notice import Notice
from ..flow.report import named, spans
from ..flow.steps import Reading
from ..flow.window import Key
from ..native import monotonic
from .attempt import Attempt
from .host_lock import anything_left
from .turn_queue import TurnQueue
from .turns import Turn

if TYPE_CHECKING:
    from ..stores.seam import Store

_BETWEEN_LOOKS = 0.02
"""Seconds between two looks whether what was left is taken."""

_BETWEEN_TURNS = 1.0
"""Seconds between two looks for what others have left, while this process goes on."""

_FOREVER = float("inf")


class Keeper:
    """Tells a store what happens to the flows, and the flows what others have left.

    Args:
        flows: The flows.
        turns: Where attempts wait for their turn.
        open_store: Opens the store, when it is needed first; None: there is none, and a process that ends
            waits for its turns.
        durable: Whether spans are kept from their hand-over on: it is needed from the start.
        name: What the store is called in a log line.
    """

    def __init__(
        self,
        flows: Flows,
        turns: TurnQueue,
        open_store: Callable[[], Store | None],
        durable: bool,
        name: str,
    ) -> None:
        self._flows = flows
        self.turns = turns
        self._opens: Callable[[], Store | None] | None = open_store  # until it is open
        self._looked_at = -_FOREVER
        self._durable = durable
        self._name = name
        self._store: Store | None = None
        self._troubles: list[Notice] = []
        self._left: set[str] = set()
        self._left_at: float | None = None
        # Who had the turns when they changed hands last, and when that was.
        self._holders: tuple[list[object], float] = ([], 0.0)
        self._look_at = _FOREVER

    @property
    def can_leave(self) -> bool:
        """Whether what waits for a turn may be left to whoever has it."""
        return self._look_at == _FOREVER and self._opened() is not None

    def next_look(self) -> float:
        """When `inherit` or `gone` may have something to do, in seconds of the monotonic clock."""
        if self._durable and self._opens is not None:
            return -_FOREVER
        if self._store is None:
            return _FOREVER
        return self._look_at if self._left_at is not None else self._store.next_look()

    def keep(self, now: float, anew: bool) -> list[Notice]:
        """Tells the store what has changed, or `anew` all that is pending; returns what there is to say."""
        changes = self._flows.changes()
        self._flows.parted.clear()  # only a fleet takes note of them, and names may never repeat
        if self._store is None:
            troubles, self._troubles = self._troubles, []
            return troubles
        if anew or self._store.wants_all(now):
            changes = [*changes, *self._flows.waiting()]
        self._store.apply(changes)
        # Its file was damaged, if so: until a new one has all, a crash would lose it.
        if self._store.wants_all(monotonic()):
            self._store.apply(self._flows.waiting())
        return self._store.remarks()

    def is_safe(self, flow: str, key: Key) -> bool:
        """Whether a span that was taken outlives this process, as far as the setting `store` says that it should."""
        if not (self._durable and self._flows.memory.is_pending(flow, key)):
            return True
        return self._store is not None and self._store.keeps(flow, key)

    def inherit(self, now: float, until: float) -> None:
        """Takes what others have left; `until`: when this exporter ends."""
        if self._durable:
            self._opened()
        if self._store is not None and until != _FOREVER:
            self._store.look_no_more()
        if self._store is None or self._left_at is not None or now < self._store.next_look():
            return
        for left in self._store.inherit(now):
            self._flows.inherit(left.flow, left.spans, now, time.time_ns())
            if until != _FOREVER:
                self._flows.take_back(left.flow, now, until)
            self._left.discard(left.flow)
        self._flows.memory.lose(self._store.take_unreadable(), DropReason.UNREADABLE)

    def begin_turn(self, attempt: Attempt, now: float, until: float) -> None:
        """An attempt begins."""

    def may_go_on(self, attempt: Attempt, step: FlowStep, now: float) -> bool:
        """Whether an attempt may take its next step."""
        return True

    def end_turn(self, job: FlowStep, answer: Reading, turn: Turn | None, now: float, until: float) -> None:
        """Ends a turn at a flow, unless processes that end have left something for it meanwhile."""
        name = job.name
        if turn is None:
            return
        if until != _FOREVER:
            self._look_soon(now, until)
            self.inherit(now, until)
            if self._flows.pending(name):
                self.turns.keep(name, turn)
                return
        turn.release()
        self._look_soon(now, until)  # who has looked for the turn a moment ago, and gone

    def leave(self, job: FlowStep, now: float, until: float) -> None:
        """Another process has the turn at the flow: its spans are left to it, once nothing else is to be done."""
        self._flows.leave(job)
        self._left.add(job.name)

    def gone(self, now: float, until: float) -> bool:
        """Whether somebody else has all that was left; called once nothing else is to be done.

        Args:
            now: Seconds.
            until: When the exporter ends.
        """
        if not self._left or self._store is None:
            return True
        if not any(map(self._flows.pending, self._left)):
            return True
        if self._left_at is None:
            self._store.apply(self._flows.changes())
            waiting = self._flows.waiting()
            if not self._store.leave([each for each in waiting if each.flow in self._left and each.added]):
                self._look_at = now
                self._take_back(now, until)
                return False
            self._left_at = now
        elif now < self._look_at:
            return False
        self._look_at = now + _BETWEEN_LOOKS
        free = [name for name in self._left if self.turns.reserve(name)]
        holders = [self.turns.holder(name) for name in sorted(self._left)]
        if holders != self._holders[0]:
            self._holders = (holders, now)
        if not free and now < self._patience(until):
            # Whoever has the turn looks for what was left once it has let it go.
            if not self._store.take_back():
                return True
            self._store.leave(())
            return False
        if not free and self._durable:
            self._left_at = None  # it is safe, though nobody has taken it
            return True
        if not free and now >= _last_moment(self._left_at, until):
            return True  # those who have the turns are alive, and look for it
        if not self._store.take_back():
            return True
        self._left_at = None
        if free:
            self._look_at = _FOREVER
        self._take_back(now, until)
        return False

    def end(self, in_order: bool) -> list[Notice]:
        """The exporter has ended: what the store does not have is lost; returns what there is to say.

        Where faults keep that from being done `in_order`, the store is told nothing more.
        """
        store = self._store
        if store is None:
            self._flows.abandon()
            return []
        if in_order and self._left_at is None:
            store.apply(self._flows.changes())
            store.leave(self._flows.waiting() if self._durable else ())
        waiting = self._flows.abandon(store.keeps)
        notices = store.remarks() if in_order else []
        count = sum(waiting.values())
        if not count:
            return notices
        flows = f"flow {named(next(iter(waiting)))}" if len(waiting) == 1 else f"{len(waiting)} flows"
        if self._left_at is not None:
            text = f"{flows}: {spans(count)} left to the process of this host that writes there"
            return [*notices, Notice(logging.DEBUG, text)]
        text = (
            f"{flows}: {spans(count)} not delivered: kept for the next process of this host that writes there"
        )
        if self._durable:
            text = (
                f"{flows}: {spans(count)} not delivered: kept in {self._name} for the next process that uses it; "
                "`versori-flow store drain` delivers now"
            )
        return [*notices, Notice(logging.WARNING, text)]

    def _patience(self, until: float) -> float:
        """Until when nobody is stuck who has a turn: half of the time that is left, since it last changed hands."""
        begun = self._left_at or 0.0
        return min(self._holders[1] + (until - begun) / 2, _last_moment(begun, until))

    def _look_soon(self, now: float, until: float) -> None:
        """Whoever ends looks at once; others once a second, however many turns they have."""
        if until == _FOREVER and now < self._looked_at + _BETWEEN_TURNS:
            if self._store is not None:
                self._store.look_soon(self._looked_at + _BETWEEN_TURNS)
            return
        self._looked_at = now
        if self._opens is None or anything_left():
            store = self._opened()
            if store is not None:
                store.look_soon(now)

    def _opened(self) -> Store | None:
        opens, self._opens = self._opens, None
        if opens is not None:
            try:
                self._store = opens()
            except ImportError as error:  # a Python without SQLite
                text = f"{self._name} can't be opened ({error}): spans wait in memory only"
                self._troubles.append(Notice(logging.ERROR if self._durable else logging.DEBUG, text))
        return self._store

    def _take_back(self, now: float, until: float) -> None:
        for name in self._left:
            self._flows.take_back(name, now, until)
        self._left.clear()


def _last_moment(begun: float, until: float) -> float:
    return until - (until - begun) / 10
