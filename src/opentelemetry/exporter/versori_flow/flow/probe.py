"""One attempt for all flows, now and then, while nothing can reach the platform. Pure.

A connection that is refused says nothing about a flow: a thousand flows that each try again would cost a core
while nothing happens. An answer of any kind, a silent platform included, may be about the one flow, and holds
up no other.
"""

from __future__ import annotations

from collections.abc import Callable

from ..http.answers import Unavailable
from .steps import Reading

_HURRIED_WAIT = 1.0
_FOREVER = float("inf")


class Probe:
    """Says when the next attempt may begin, whichever flow's it is.

    Attributes:
        failures: Attempts in a row that did not reach the platform; 0: every flow goes its own way.
    """

    def __init__(self, backoff: Callable[[int], float]) -> None:
        self.failures = 0
        self._backoff = backoff
        self._flow: str | None = None
        self._held_until = -_FOREVER
        self._hurried_until = -_FOREVER
        self._off = False

    @property
    def free_at(self) -> float:
        """When an attempt may begin, in seconds of the same clock as `now`; infinity while one probes."""
        if self._off or not self.failures:
            return -_FOREVER
        return self._held_until if self._flow is None else _FOREVER

    def begun(self, flow: str) -> None:
        """An attempt begins."""
        if self.failures:
            self._flow = flow

    def over(self, flow: str, answer: Reading, now: float) -> None:
        """An attempt is over."""
        if self._flow == flow:
            self._flow = None
        if not isinstance(answer, Unavailable) or answer.reached:
            self.failures = 0
            return
        self.failures += 1
        wait = self._backoff(self.failures)
        self._held_until = now + (min(wait, _HURRIED_WAIT) if now < self._hurried_until else wait)

    def not_begun(self, flow: str) -> None:
        """An attempt is not made after all."""
        if self._flow == flow:
            self._flow = None

    def hurry(self, now: float, until: float) -> None:
        """Somebody waits, until then: the next attempt may begin at once, and the waits are short."""
        self._held_until, self._hurried_until = now, until
        self.failures = min(self.failures, 1)

    def end(self) -> None:
        """Every flow gets its last attempt."""
        self._off = True
