"""The store `redis://`: what waits here waits in the fleet's window too, and what others delivered is learnt.

Redis may be away: then nothing is asked of it for a while; all that is pending is put once it is back.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from ..flow.journal import Change, Kept, News
from ..flow.ledger import DropReason
from ..flow.notice import Notice
from ..flow.window import Key
from ..native import monotonic
from .connection import StoreError
from .fleet import Fleet
from .fleet_answers import Claim, Seen
from .fleet_places import Places
from .fleet_trouble import Trouble
from .fleet_window import RELIED_ON
from .redis_errors import FullError
from .seam import Left

_BETWEEN_POLLS = 1.0
_LAST_WORD = 1.0
"""Seconds, at most, for which who ends waits for a Redis that is away, to tell those who count on it."""

_TAKEN_ON = 16
"""Flows of others that are taken on with one poll: the fleet shares them."""

_NEVER, _FOREVER = float("-inf"), float("inf")


class FleetStore:
    """Keeps pending spans in the fleet's windows, and says when it is this process's turn at a flow.

    Args:
        fleet: What is said to Redis.
        name: The Redis as it is shown, without a password.
        longest_lease: Seconds; how long a lease may become where attempts outlast it.

    Attributes:
        ends: Whether this process ends: it takes on nothing more of others.
    """

    def __init__(self, fleet: Fleet, name: str, longest_lease: float) -> None:
        self.ends = False
        self._fleet = fleet
        self._name = name
        self._longest_lease = longest_lease
        self._places = Places()
        self._seen: dict[str, Seen] = {}
        self._stayed_for: set[str] = set()
        self._news: list[Left] = []
        self._trouble = Trouble(fleet.ping)
        self._look_at, self._asked_at, self._goodbye_by = _NEVER, _NEVER, _FOREVER

    # -- what happens here ---------------------------------------------------------------------------------

    def apply(self, changes: Sequence[Change]) -> None:
        """Keeps what was added, and forgets what was settled or is gone."""
        told = self._places.to_tell(changes)
        unsettled, self._places.unsettled = self._places.unsettled, set()
        self.forget(unsettled)
        if told:
            self._put(told)

    def wants_all(self, now: float) -> bool:
        """Whether `put_all` is wanted: what is pending may not be in Redis, and it is time to try again."""
        return (self._fleet.wants_all or self._trouble.owes) and not self._trouble.rests(now)

    def put_all(self, waiting: Sequence[Change]) -> None:
        """Tells anew all that is pending; the next claims bring all: Redis may be one that is behind."""
        self._seen.clear()
        self._put(self._places.forget_all(waiting), everything=True, anew=True)

    def forget(self, flows: Iterable[str]) -> None:
        """The windows of these flows have left memory, or differ from Redis': the next claim brings all of them."""
        for flow in flows:
            self._seen.pop(flow, None)

    def _put(self, changes: Sequence[Change], everything: bool = False, anew: bool = False) -> None:
        now = monotonic()
        if self._trouble.rests(now):
            self._places.failed(changes)
            self._trouble.owes = True
            return
        owed, changed = self._places.take_owed() if anew else ([], [])
        try:
            put = self._fleet.put([*owed, *changed, *changes], everything)
        except StoreError as error:
            self._places.failed([*owed, *changes], error.there if isinstance(error, FullError) else ())
            self._trouble.owes = True
            self._trouble.met(error, now)
            return
        self._places.put(changes)
        self._heard(added=any(change.added for change in changes))
        self._trouble.owes &= not everything
        dropped: dict[str, dict[Key, DropReason]] = {}
        for flow, key in put.dropped:
            if self._places.discard(flow, key):
                dropped.setdefault(flow, {})[key] = DropReason.WINDOW_FULL
        self._news += [Left(flow, (), News(dropped=keys)) for flow, keys in dropped.items()]

    # -- whose turn it is ----------------------------------------------------------------------------------

    def claim(self, flow: str, pending: int, now: float) -> Claim | float | None:
        """Asks for the turn at a flow of which so many spans are pending here.

        Returns:
            The turn; seconds where it is not to be had so long, infinite where Redis has nothing to deliver; None
            where Redis can't be used.
        """
        if self._trouble.rests(now):
            return None
        insist = self._places.insists(flow, pending)
        try:
            answer = self._fleet.claim(flow, self._seen.get(flow, Seen()), insist, self.ends)
        except StoreError as error:
            self._trouble.met(error, now)
            return None
        self._heard()
        self._seen[flow] = answer.seen
        news = News()
        if answer.pending is not None and self._fleet.wants_all:
            self._places.doubt(flow, answer.pending)
        elif answer.pending is not None:
            news = self._places.left(flow, answer.pending, answer.left)
        brought: list[Kept] = []
        if isinstance(answer, Claim):
            self._places.claimed(flow)
            spans = [kept for kept in answer.spans if self._places.may_bring(flow, kept)]
            self._trouble.owes |= any(self._places.is_outdated(flow, kept) for kept in answer.spans)
            brought = [kept for kept in spans if kept.key in answer.pending]
            news = news._replace(delivered=[kept for kept in spans if kept.key not in answer.pending])
            self._places.brought(flow, brought)
        if brought or any(news):
            self._news.append(Left(flow, brought, news))
        self._stayed_for.discard(flow)
        if not isinstance(answer, Claim) and answer.others and not (insist or self._fleet.wants_all):
            self._stayed_for.add(flow)
        return answer if isinstance(answer, Claim) else answer.seconds

    def may_leave(self, flow: str) -> bool:
        """Whether another process delivers what is pending in a flow, as the last claim there says."""
        return flow in self._stayed_for

    def down_since(self) -> float:
        """Since when Redis can't be used, in seconds of the monotonic clock; infinite: it can."""
        return self._trouble.since

    def extend(self, claim: Claim) -> float | None:
        """Lengthens the lease; returns its end, or None where another process has taken over."""
        now = monotonic()
        if self._trouble.rests(now):
            return claim.lease_end
        try:
            end = self._fleet.extend(claim)
        except StoreError as error:
            self._trouble.met(error, now)
            return claim.lease_end
        if end is None:
            # An attempt takes longer than a lease here.
            self._fleet.lease = min(2 * self._fleet.lease, max(self._longest_lease, self._fleet.lease))
        return end

    def settle(self, claim: Claim, wait: float, verified: bool) -> None:
        """The attempt has succeeded: what it has carried is settled, and nobody else's turn begins for `wait`."""
        carried, own, late = self._places.carried(claim.flow)
        now, fresh = monotonic(), None
        if not self._trouble.rests(now):
            try:
                fresh = self._fleet.settle(claim, carried, wait, verified)
                if self._fleet.astray and not self._fleet.wants_all:
                    self._news.append(Left(claim.flow, (), News(moved=self._fleet.astray)))
            except StoreError as error:
                self._trouble.met(error, now)
        if not fresh:
            self.forget([claim.flow])  # the next claim brings, and settles, what was carried for others
        if fresh is None:
            self._places.owe(claim.flow, own)
            self._trouble.owes = True
        elif fresh and late:
            self._put([Change(claim.flow, (), late, ())])

    def release(self, claim: Claim, wait: float, unsure: bool) -> None:
        """The attempt has failed; nobody else's turn begins for `wait` seconds. `unsure`: a PUT may be on its way."""
        carried, _, _ = self._places.carried(claim.flow)
        now, told = monotonic(), False
        if not self._trouble.rests(now):  # else its lease ends by itself
            try:
                if carried and not unsure:
                    told = self._fleet.settle(claim, carried, wait, verified=False)
                else:
                    self._fleet.release(claim, wait, unsure)
            except StoreError as error:
                self._trouble.met(error, now)
        if carried and not told:
            self.forget([claim.flow])

    # -- what others left ----------------------------------------------------------------------------------

    def look_no_more(self) -> None:
        """This process ends: it takes on nothing more of others, but for what nobody else would."""
        now = monotonic()
        if not self.ends:
            self.ends, self._goodbye_by = True, min(now + _LAST_WORD, max(now, self._asked_at + RELIED_ON))
        if self._goodbye_by != _NEVER and not self._trouble.rests(now):
            try:
                waiting = self._fleet.goodbye()
            except StoreError as error:
                self._trouble.met(error, now)
            else:
                self._goodbye_by = _NEVER
                self._heard()
                for flow in waiting:
                    self.take_on(flow)
        if monotonic() >= self._goodbye_by:
            self._goodbye_by = _NEVER

    @property
    def is_wanted(self) -> bool:
        """Whether it can't end yet: there is news, or others may leave something to it."""
        return bool(self._news) or self._goodbye_by != _NEVER

    def take_on(self, flow: str) -> None:
        """Looks at a flow for others: its spans come with its turn."""
        self._places.take_on(flow)
        self._news.append(Left(flow, (), News(doubted=True)))

    def look_soon(self, now: float) -> None:
        """There may be something for this process."""
        self._look_at = min(self._look_at, now)

    def next_look(self) -> float:
        """When to call `inherit` again, in seconds of the monotonic clock."""
        if self._news:
            return _NEVER
        if self.ends:
            return min(self._trouble.next_trial(), self._goodbye_by) if self.is_wanted else _FOREVER
        return max(self._look_at, self._trouble.next_trial())

    def inherit(self, now: float) -> Sequence[Left]:
        """What was learnt, and flows that somebody should deliver."""
        if now >= self._look_at and not (self.ends or self._trouble.rests(now)):
            self._look_at = now + _BETWEEN_POLLS * random.uniform(0.75, 1.25)  # noqa: S311 - not in step
            try:
                due = self._fleet.due()
                self._asked_at = now
                self._heard()
            except StoreError as error:
                self._trouble.met(error, now)
                due = []
            if len(due) > _TAKEN_ON:
                due = random.sample(due, _TAKEN_ON)
                self._look_at = now + _BETWEEN_POLLS / 4
            for flow in due:
                self.take_on(flow)
        news, self._news = self._news, []
        return news

    def take_unreadable(self) -> int:
        """None."""
        return 0

    # -- the end -------------------------------------------------------------------------------------------

    def keeps(self, flow: str, key: Key) -> bool:
        """Whether a span is safe here, should the process end now."""
        return not self._fleet.was_emptied and self._places.has(flow, key)

    def leave(self, pending: Sequence[Change]) -> bool:
        """Puts what is not in Redis yet, and lets go of it."""
        self._trouble.end()
        lacked = [[kept for kept in c.added if not self._places.has(c.flow, kept.key)] for c in pending]
        missing = [c._replace(added=added) for c, added in zip(pending, lacked, strict=True) if added]
        if missing or not self._trouble.rests(monotonic()):
            self._put(missing, anew=True)
        if self.wants_all(monotonic()):  # it has turned out to be another one
            self.put_all(pending)
        self._fleet.close()
        return not self._trouble.owes

    def take_back(self) -> bool:
        """False: others have it."""
        return False

    def remarks(self) -> list[Notice]:
        """Lines to log, each of them once."""
        if text := self._trouble.take_text():
            self._fleet.remarks.trouble(
                "redis",
                f"{text}; each process delivers for itself meanwhile, and a crash would lose what waits",
            )
        return self._fleet.remarks.take()

    def _heard(self, added: bool = False) -> None:
        if self._trouble.over(added):
            self._fleet.remarks.over("redis", f"{self._name} can be used again: spans wait there")
