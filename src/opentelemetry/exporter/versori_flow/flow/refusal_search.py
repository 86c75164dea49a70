"""The search for what the platform refuses, where its answer does not name it. Pure.

The refused spans are halved: one half is tried, the other waits. What is accepted is delivered; a span that
is refused alone is the offender. The search lasts over as many PUTs as it takes, and over outages.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto

from .window import Entry

SINGLES_IN_A_ROW = 8
"""After so many single refusals without one success the rest of the batch leaves with them: they have the
same fault, and a thousand requests would only show it a thousand times."""


class Verdict(Enum):
    """What a refusal means."""

    GO_ON = auto()
    """Not known yet: try `Search.testing`."""
    DROP = auto()
    """`Search.guilty` are refused for what they are."""
    GIVE_UP = auto()
    """The body is refused without any suspect too: nothing here is to blame."""


class Search:
    """A search among spans that were refused together.

    Args:
        suspects: The pending spans of the refused body.

    Attributes:
        testing: The suspects that the next body carries; none: it is the proof that the rest of the body is
            accepted, without which no last suspect is dropped.
        guilty: After `Verdict.DROP`: the spans to drop.
    """

    def __init__(self, suspects: Sequence[Entry]) -> None:
        self.testing: list[Entry] = list(suspects)
        self.guilty: list[Entry] = []
        self._waiting: list[list[Entry]] = []
        self._rest_is_fine = False
        self._on_trial: Entry | None = None
        self._singles = 0

    @property
    def done(self) -> bool:
        """True when no suspect is left."""
        return not (self.testing or self._waiting or self._on_trial)

    def keep(self, here: Sequence[Entry]) -> None:
        """Forgets suspects that have left the window since."""
        present = set(map(id, here))
        groups = ([e for e in group if id(e) in present] for group in self._waiting)
        self._waiting = [group for group in groups if group]
        self.testing = [e for e in self.testing if id(e) in present]
        if self._on_trial is not None and id(self._on_trial) not in present:
            self._on_trial = None
        if not self.testing and self._on_trial is None:
            self._next_group()

    def accepted(self) -> Verdict:
        """The body with `testing` was accepted."""
        self._rest_is_fine = True
        if self._on_trial is not None:
            return self._convict(self._on_trial)
        self._singles = 0
        self._next_group()
        return Verdict.GO_ON

    def refused(self) -> Verdict:
        """The body with `testing` was refused."""
        if self._on_trial is not None or not self.testing:
            return Verdict.GIVE_UP
        if len(self.testing) > 1:
            half = len(self.testing) // 2
            self._waiting.append(self.testing[half:])
            self.testing = self.testing[:half]
            return Verdict.GO_ON
        (suspect,) = self.testing
        if self._rest_is_fine:
            return self._convict(suspect)
        self._on_trial, self.testing = suspect, []
        return Verdict.GO_ON

    def _convict(self, suspect: Entry) -> Verdict:
        self._on_trial = None
        self._singles += 1
        self.guilty = [suspect]
        if self._singles >= SINGLES_IN_A_ROW:
            self.guilty += [entry for group in self._waiting for entry in group]
            self._waiting = []
        self._next_group()
        return Verdict.DROP

    def _next_group(self) -> None:
        self.testing = self._waiting.pop() if self._waiting else []
