"""A Redis that can't be used: since when, until when it is left alone, and who looks whether it is back.

What gives no answer is asked again by a thread of its own, so that no other work waits for it.
"""

from __future__ import annotations

from collections.abc import Callable

from ..native import monotonic, sleep, start_thread
from .connection import StoreError
from .redis_errors import AwayError, FullError

_SHORTEST_REST, _LONGEST_REST = 0.25, 5.0
"""Seconds without a word to a Redis that could not be used, growing."""

_BETWEEN_LOOKS = 0.1
_NEVER, _FOREVER = float("-inf"), float("inf")


class Probe:
    """Asks a Redis again and again until it answers.

    Args:
        ask: Raises StoreError where it does not.

    Attributes:
        answered: Whether it has.
        text: Why it has not.
        over: To be set where nobody wants to know any more.
    """

    __slots__ = ("_ask", "answered", "over", "text")

    def __init__(self, ask: Callable[[], None]) -> None:
        self.answered = self.over = False
        self.text = ""
        self._ask = ask

    def run(self) -> None:
        """Asks; to be called on a thread of its own."""
        rest = _SHORTEST_REST
        while not self.over:
            try:
                self._ask()
            except StoreError as error:
                self.text = str(error)
                sleep(rest)
                rest = min(2 * rest, _LONGEST_REST)
            else:
                self.answered = True
                return


class Trouble:
    """What is known of it.

    Args:
        ask: Asks Redis for a word; called on another thread.

    Attributes:
        owes: Whether Redis lacks spans.
        since: Since when it can't be used, in seconds of the monotonic clock; infinite: it can.
    """

    def __init__(self, ask: Callable[[], None]) -> None:
        self.owes = False
        self.since = _FOREVER
        self._ask = ask
        self._probe: Probe | None = None
        self._rest = _SHORTEST_REST
        self._rests_until = _NEVER
        self._text = ""
        self._full = self._ends = False

    def rests(self, now: float) -> bool:
        """Whether it is left alone."""
        if self._probe is not None:
            if not self._probe.answered:
                return True
            self._probe, self._rests_until = None, _NEVER
        return now < self._rests_until

    def next_trial(self) -> float:
        """When to ask `rests` again, in seconds of the monotonic clock."""
        now = monotonic()
        return now + _BETWEEN_LOOKS if self.rests(now) and self._probe is not None else self._rests_until

    def met(self, error: StoreError, now: float) -> None:
        """It could not be used."""
        self.since = min(self.since, now)
        self._rests_until = monotonic() + self._rest
        self._rest = min(2 * self._rest, _LONGEST_REST)
        self._text = str(error)
        self._full = isinstance(error, FullError)
        if isinstance(error, AwayError) and self._probe is None and not self._ends:
            probe = Probe(self._ask)
            self._probe = probe if start_thread(probe.run) else None

    def take_text(self) -> str:
        """What is to be said; nothing while it may be a hiccup that nobody else would notice."""
        text = self._text
        if text and self._probe is not None:
            text = self._probe.text
        if text:
            self._text = ""
        return text

    def over(self, added: bool) -> bool:
        """It was used; True where it could not be before. A full one is so until something was `added`."""
        if self._full and not added:
            return False
        self._full = False
        was = self.since != _FOREVER
        self.since, self._rests_until, self._rest, self._text = _FOREVER, _NEVER, _SHORTEST_REST, ""
        return was

    def end(self) -> None:
        """Nobody asks any more, but for the last time, now."""
        self._rests_until, self._ends = _NEVER, True
        if self._probe is not None:
            self._probe.over = True
