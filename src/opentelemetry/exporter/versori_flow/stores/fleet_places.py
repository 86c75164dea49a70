"""Which of the spans that are pending here Redis has, and whose each of them is. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Container, Iterable, Mapping, Sequence

from ..flow.journal import Change, Journal, Kept, News
from ..flow.ledger import DropReason
from ..flow.window import Key

_MOST_OWED = 65_536
_MOST_CHANGED = 512


class Places:
    """The spans of this side's windows that stand in the fleet's, by flow.

    What this process put it may settle whatever happens. What others put is settled by the claim that brought
    it alone: a newer text may have come meanwhile.

    Attributes:
        unsettled: Flows of which spans were carried without a claim that are others', or that Redis could not be
            told anew: it may have them, and does not know.
    """

    def __init__(self) -> None:
        self.unsettled: set[str] = set()
        # Whether each is this process's own.
        self._there: dict[str, dict[Key, bool]] = {}
        # Since the claim that is held: what was carried, and whether it is own; and what was put.
        self._carried: dict[str, dict[Key, bool]] = {}
        self._late: dict[str, set[Key]] = {}
        # Flows that are looked at for others.
        self._taken_on: set[str] = set()
        # What left here, and Redis does not know it: whether a PUT has carried it, and why it was dropped, if it was.
        self._owed: dict[tuple[str, Key], tuple[bool, DropReason | None]] = {}
        # Own spans that others may have as they are no longer: with an older text, or (None) though they moved away.
        self._changed: dict[tuple[str, Key], Kept | None] = {}
        # Pending here with a text that Redis could not be told, and whether each is own; Redis' may be older.
        self._untold: dict[str, dict[Key, bool]] = {}

    def has(self, flow: str, key: Key) -> bool:
        """Whether Redis has it as pending."""
        return key in self._there.get(flow, ())

    def may_bring(self, flow: str, kept: Kept) -> bool:
        """Whether a claim may bring it: it is not pending here already, nor undoes what became of it."""
        pending = self.has(flow, kept.key) or kept.key in self._untold.get(flow, ())
        return not (pending or self.is_outdated(flow, kept))

    def is_outdated(self, flow: str, kept: Kept) -> bool:
        """Whether it has moved away, or has a newer text."""
        now = self._changed.get((flow, kept.key), kept)
        return now is None or (kept.body != now.body and hash(kept.body) in now.older)

    def _told(self, flow: str, keys: Iterable[Key]) -> None:
        untold = self._untold.get(flow)
        if untold is not None:
            for key in keys:
                untold.pop(key, None)
            if not untold:
                del self._untold[flow]

    def to_tell(self, changes: Iterable[Change]) -> list[Change]:
        """What of that Redis is to be told now."""
        told = []
        for change in changes:
            flow, added, settled, gone = change[:4]
            there = self._there.get(flow, {})
            for kept in added:  # a newer text: what became of the older one is no longer told
                self._owed.pop((flow, kept.key), None)
                self._carried.get(flow, {}).pop(kept.key, None)
            self._note(change)
            own = [key for key in settled if there.get(key)]
            if flow in self._carried:
                self._carried[flow].update((key, there.get(key) is not False) for key in settled)
                own = []
            elif not all(there.get(key) for key in settled):
                self.unsettled.add(flow)
            for key in (*settled, *gone):
                self.discard(flow, key)
            self._told(flow, (*settled, *gone))
            if added or own or gone:
                told.append(change._replace(settled=own))
        return told

    def put(self, changes: Iterable[Change]) -> None:
        """Redis was told."""
        for change in changes:
            if change.added:
                keys = {kept.key: kept.key not in change.theirs for kept in change.added}
                self._there.setdefault(change.flow, {}).update(keys)
                self._told(change.flow, keys)
                if change.flow in self._late:
                    self._late[change.flow].update(keys)

    def failed(self, changes: Iterable[Change], there: Container[tuple[str, Key]] = ()) -> None:
        """Redis could not be told: what was added is not there, but for some, and what left is told later."""
        for change in changes:
            flow = change.flow
            self.put([change._replace(added=[kept for kept in change.added if (flow, kept.key) in there])])
            for kept in change.added:
                if (flow, kept.key) not in there:
                    self.discard(flow, kept.key)
                    self._untold.setdefault(flow, {})[kept.key] = kept.key not in change.theirs
            self._owed.update(((flow, key), (False, change.dropped.get(key))) for key in change.gone)
            self.owe(flow, change.settled)

    def owe(self, flow: str, carried: Iterable[Key]) -> None:
        """These were delivered, and Redis does not know it. Where that is too much, they are delivered twice.

        So are those of which others may have written an older text since.
        """
        if len(self._owed) < _MOST_OWED:
            owed = (key for key in carried if (flow, key) not in self._changed)
            self._owed.update(((flow, key), (True, None)) for key in owed)

    def take_owed(self) -> tuple[list[Change], list[Change]]:
        """What Redis does not know, and then, which it is told each time, what it may have as it is no longer."""
        owed, self._owed = self._owed, {}
        left: defaultdict[str, Journal] = defaultdict(Journal)
        for (flow, key), how in owed.items():
            left[flow].leave(key, *how)
        changed: defaultdict[str, Journal] = defaultdict(Journal)
        for (flow, key), kept in self._changed.items():
            changed[flow].leave(key, settled=False)
            if kept is not None:
                changed[flow].add(kept)
        return _changes(left), _changes(changed)

    def _note(self, change: Change) -> None:
        for key in (*(kept.key for kept in change.added), *change.gone):
            self._changed.pop((change.flow, key), None)
        self._changed.update(((change.flow, kept.key), kept) for kept in change.added if kept.older)
        moved = (key for key in change.gone if key not in change.dropped)
        self._changed.update(((change.flow, key), None) for key in moved)
        while len(self._changed) > _MOST_CHANGED:
            del self._changed[next(iter(self._changed))]

    def forget_all(self, waiting: Sequence[Change]) -> list[Change]:
        """Redis may have lost everything; returns all that is pending, and whose it is."""
        told = []
        for change in waiting:
            known = self._there.get(change.flow, {}) | self._untold.get(change.flow, {})
            told.append(change._replace(theirs={key for key, is_own in known.items() if not is_own}))
        self._there.clear()
        return told

    def discard(self, flow: str, key: Key) -> bool:
        """It is pending no longer, here or there; whether it was."""
        there = self._there.get(flow)
        if there is None or there.pop(key, None) is None:
            return False
        if not there:
            del self._there[flow]
        return True

    def take_on(self, flow: str) -> None:
        """The flow is looked at for others."""
        self._taken_on.add(flow)

    def insists(self, flow: str, pending: int) -> bool:
        """Whether the turn is needed, though Redis may know of nothing to deliver."""
        taken_on = flow in self._taken_on
        self._taken_on.discard(flow)
        if not pending:
            return not taken_on
        return pending > len(self._there.get(flow, ()))

    def claimed(self, flow: str) -> None:
        """The turn is this process's."""
        self._carried[flow], self._late[flow] = {}, set()

    def brought(self, flow: str, spans: Iterable[Kept]) -> None:
        """A claim has brought these of others."""
        there = self._there.setdefault(flow, {})
        for kept in spans:
            there.setdefault(kept.key, False)

    def left(self, flow: str, pending: Collection[Key], left: Mapping[Key, DropReason | None]) -> News:
        """What is pending in Redis no longer, what was delivered of that and what was dropped; and what moved away.

        Args:
            flow: The flow.
            pending: What is pending in Redis.
            left: What has left it, and why; None: it moved away.
        """
        there = self._there.get(flow, {})
        gone = [key for key in there if key not in pending]
        moved = [key for key, reason in left.items() if reason is None or key not in there]
        for key in gone:
            self.discard(flow, key)
        dropped = {key: reason for key in gone if (reason := left.get(key)) is not None}
        return News(settled=[key for key in gone if key not in left], dropped=dropped, moved=moved)

    def doubt(self, flow: str, pending: Collection[Key]) -> None:
        """Redis may be another one, and has only these pending: what else was there may be delivered, or lost."""
        for key, is_own in [item for item in self._there.get(flow, {}).items() if item[0] not in pending]:
            self.discard(flow, key)
            self._untold.setdefault(flow, {})[key] = is_own

    def carried(self, flow: str) -> tuple[list[Key], list[Key], list[Key]]:
        """The turn is over: what it has carried; what of that is own; and what this process put since its begin."""
        carried, late = self._carried.pop(flow, {}), self._late.pop(flow, set())
        own = [key for key, is_own in carried.items() if is_own]
        return list(carried), own, [key for key in own if key in late]


def _changes(journals: Mapping[str, Journal]) -> list[Change]:
    return [change for flow, journal in journals.items() if (change := journal.take(flow)) is not None]
