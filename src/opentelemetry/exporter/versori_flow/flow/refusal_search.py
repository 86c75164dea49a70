"""The search for what the platform refuses. Pure.

The refused spans are halved: one half is tried, the other waits. What is accepted is delivered. Who is
refused alone, or by name, stands on trial: the body without it must be accepted, and the body with it alone
be refused again, before it is dropped. The search lasts over as many PUTs as it takes, and over outages.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum, auto

from .window import Entry

SINGLES_IN_A_ROW = 8
"""After so many single refusals without one success the rest of the batch leaves with them: they have the
same fault, and a thousand requests would only show it a thousand times."""


class Verdict(Enum):
    """What an answer means."""

    GO_ON = auto()
    """Not known yet: try `Search.testing`."""
    DROP = auto()
    """`Search.guilty` are refused for what they are."""
    GIVE_UP = auto()
    """The body is refused without any suspect too: nothing here is to blame."""


class Search:
    """A search among spans that were refused together, the pending ones of a body.

    Attributes:
        testing: The suspects that the next body carries; none: it is the proof that the rest of the body is
            accepted, without which nobody is dropped.
        on_trial: Suspects that were refused alone, or by name.
        guilty: After `Verdict.DROP`: the spans to drop.
        mark: Of the hand-over that brought the last suspect.
    """

    def __init__(self, suspects: Sequence[Entry], mark: int = 0, changes: int = 0) -> None:
        self.testing: list[Entry] = list(suspects)
        self.on_trial: list[Entry] = []
        self.guilty: list[Entry] = []
        self.mark = mark
        # Which of them it was not known of that the platform takes them; another process may find out.
        self._open = {id(entry) for entry in suspects if entry.pending}
        # Evidence holds for one state of the stored flow.
        self._changes = changes
        self._waiting: list[list[Entry]] = []
        self._rest_is_fine = False
        self._singles = 0

    @property
    def done(self) -> bool:
        """True when no suspect is left."""
        return not (self.testing or self._waiting or self.on_trial)

    def keep(self, here: Iterable[Entry], changes: int = 0) -> None:
        """Forgets suspects that have left the window, or were delivered elsewhere; and what was found with another
        stored flow.
        """
        if changes != self._changes:
            self._changes = changes
            self._begin_anew()
        present = {id(e) for e in here if e.pending or id(e) not in self._open}
        groups = ([e for e in group if id(e) in present] for group in self._waiting)
        self._waiting = [group for group in groups if group]
        self.on_trial = [e for e in self.on_trial if id(e) in present]
        self.testing = [e for e in self.testing if id(e) in present]
        if not self.testing and not self.on_trial:
            self._next_group()

    def body(self, entries: Iterable[Entry]) -> list[Entry]:
        """What the next body carries of all these: other suspects, and those on trial, stay out."""
        tested, held_back = set(map(id, self.testing)), set(map(id, self.held_back))
        return [e for e in entries if id(e) in tested or not (e.pending or id(e) in held_back)]

    @property
    def held_back(self) -> list[Entry]:
        """Suspects that the next body does not carry, unless they are tried once more."""
        return [*self.on_trial, *(entry for group in self._waiting for entry in group)]

    def accepted(self) -> None:
        """The body with `testing` was accepted."""
        if self.testing:
            self._singles = 0
        if self.on_trial and not self._rest_is_fine:
            self._rest_is_fine, self.testing = True, list(self.on_trial)
        else:
            self._next_group()

    def refused(self, named: Sequence[Entry] = ()) -> Verdict:
        """The body with `testing` was refused; the platform may have named some of its spans."""
        if self._rest_is_fine:
            return self._refused_again(named)
        if named:
            # All of them together: each is named, so that none is dropped for another.
            blamed = set(map(id, named))
            self.on_trial += named
            self.testing = [entry for entry in self.testing if id(entry) not in blamed]
        elif not self.testing:
            return Verdict.GIVE_UP
        else:
            if self.on_trial:
                self._waiting.insert(0, self.on_trial)
            self.on_trial = []
            self._halve()
        return Verdict.GO_ON

    def _refused_again(self, named: Sequence[Entry]) -> Verdict:
        tried, blamed = self.on_trial, set(map(id, named))
        self.on_trial, self._rest_is_fine = [], False
        self.guilty = [entry for entry in tried if id(entry) in blamed]
        others = [entry for entry in tried if id(entry) not in blamed]
        if len(tried) == 1:
            self.guilty, others = tried, []
            self._singles += 1
        if not self.guilty:
            self.testing = tried
            self._halve()
            return Verdict.GO_ON
        if others:
            self._waiting.append(others)
        if self._singles >= SINGLES_IN_A_ROW:
            self.guilty = self.guilty + [entry for group in self._waiting for entry in group]
            self._waiting = []
        self._next_group()
        return Verdict.DROP

    def _halve(self) -> None:
        if len(self.testing) == 1:
            self.on_trial, self.testing = self.testing, []
            return
        half = len(self.testing) // 2
        self._waiting.append(self.testing[half:])
        self.testing = self.testing[:half]

    def _begin_anew(self) -> None:
        self._singles = 0
        if self.on_trial:
            # The others first: they may be fine, and the flow may go on changing.
            tested = [] if self._rest_is_fine else [self.testing]
            self._waiting = [self.on_trial, *self._waiting, *tested]
            self._next_group()

    def _next_group(self) -> None:
        self.on_trial, self._rest_is_fine = [], False
        self.testing = self._waiting.pop() if self._waiting else []
