"""From the intake into the flows: a look for all that was left meanwhile, as one for each span costs more than it."""

from __future__ import annotations

import time

from ..flow.flows import Flows, Receipt
from ..intake import Batch, Intake
from ..native import monotonic

_GATHERED = 0.03
"""Seconds between two looks into the intake while nobody asks."""

_LOOKS_FOR = 0.05
"""Seconds of one look: where spans come faster than they are taken, what was taken is delivered all the same."""

_FOREVER = float("inf")


class Gathering:
    """Takes what was left, and hands it over. Whoever calls this is at the dispatcher's desk.

    Args:
        intake: Where application threads leave things.
        flows: What takes them.

    Attributes:
        look_at: When to take the next time, in seconds of the monotonic clock.
    """

    def __init__(self, intake: Intake, flows: Flows) -> None:
        self.look_at = _FOREVER
        self._intake = intake
        self._flows = flows
        self._looked_at = -_FOREVER
        self._batch: Batch | None = None  # what was taken, and could not be handed over

    @property
    def size(self) -> int:
        """How many spans wait to be handed over."""
        return len(self._intake) + (self._batch.size if self._batch else 0)

    def told(self) -> None:
        """Something was left."""
        self.look_at = min(self.look_at, self._looked_at + _GATHERED)

    def take(self, until: float | None = None) -> None:
        """Takes what has been left by now, and hands it over. Where there was something, it looks again unasked."""
        until = monotonic() + _LOOKS_FOR if until is None else until
        self.look_at, found, left = _FOREVER, False, self.size
        while left > 0 or not found:
            batch = self._batch = self._batch or self._intake.take()
            if batch is None:
                break
            self.hand_over(batch)
            found, left = True, left - batch.size
            if monotonic() >= until:
                break
        self._looked_at = monotonic()
        self.look_at = self._looked_at + _GATHERED if found else _FOREVER

    def hand_over(self, batch: Batch) -> list[Receipt]:
        """Hands spans over. What fails in the middle is done again, and nothing counts twice."""
        self._batch = batch
        receipts = self._flows.hand_over(*batch, monotonic(), time.time_ns())
        self._batch = None
        return receipts

    def give_up(self) -> int:
        """Gives up all that waits; returns how many spans that are."""
        batch, self._batch = self._batch, None
        return self._intake.give_up() + (batch.size if batch else 0)
