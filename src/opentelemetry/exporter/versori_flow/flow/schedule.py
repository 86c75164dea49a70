"""When one flow is due: pacing, back-off, a flush's haste, the last attempts, and when to look again. Pure.

Times are seconds of a monotonic clock.
"""

from __future__ import annotations

from .policy import FlowPolicy

MAX_CHECKS = 4
"""Most times that one burst of PUTs is read back, and put right, before the other writer is left to win."""

LONGEST_WAIT_IN_HASTE = 1.0
"""Seconds between two attempts while somebody waits for them: in a flush, and in shutdown."""

BELIEVED_AT_THE_END = 3
"""Answers in a row that no repetition can help, after which the exporter's end does not wait for another one: a
rollout gives one or two, and a wrong key must not keep a program for all of its `timeout`."""

_FOREVER = float("inf")


class _Haste:
    """Somebody waits: until when, for which mark, how often it was tried, when next, and how vain that is."""

    __slots__ = ("at", "mark", "tries", "until", "vain")

    def __init__(self, now: float, until: float, mark: int) -> None:
        self.until = until
        self.mark = mark
        self.tries = 0
        self.at = now
        self.vain = 0.0


class Schedule:
    """When the next attempt may be.

    Attributes:
        failures: Attempts in a row that failed.
        paced_until: When the pacing interval of the last PUT is over.
        last_success: When the platform last answered as it should.
        last_delivery: When a PUT last succeeded.
        check_at: When to look whether what was written is still there; None: not planned.
        checks: How often that was planned since spans came.
        reads_back: Whether it was planned by a PUT, and not by the exporter's end.
    """

    def __init__(self, policy: FlowPolicy, paced_until: float) -> None:
        self.failures = 0
        self.paced_until = paced_until
        self.last_success = -_FOREVER
        self.last_delivery = -_FOREVER
        self.check_at: float | None = None
        self.checks = 0
        self.reads_back = False
        self._policy = policy
        self._retry_at = -_FOREVER
        self._not_before = -_FOREVER
        self._haste: _Haste | None = None
        # None until the exporter ends.
        self._tries_left: float | None = None

    def due(self, now: float, waiting: bool, at_once: bool) -> float | None:
        """When the next attempt is due; `at_once`: what waits does not care for pacing."""
        haste = self._haste
        if self.exhausted:
            return None
        if haste is not None and now < haste.until and (haste.at < haste.until or not self.failures):
            at = haste.at
        elif self.failures:
            at = self._retry_at
        else:
            at = now if at_once else self.paced_until if waiting else -_FOREVER
        if not waiting and self.check_at is not None:
            at = max(at, self.check_at)
        return max(at, self._not_before)

    @property
    def closing(self) -> bool:
        """True when the exporter ends."""
        return self._tries_left is not None

    @property
    def exhausted(self) -> bool:
        """True when the exporter ends, and no attempt is left to this flow."""
        return self._tries_left is not None and self._tries_left <= 0

    @property
    def hopeless(self) -> bool:
        """True when somebody waits, and no repetition can help."""
        return self.exhausted or (self._haste is not None and self._haste.vain >= 1)

    def begun_write(self, now: float) -> None:
        """A PUT begins: the next waits its interval."""
        self.paced_until = now + self._policy.min_interval

    def failed(self, now: float, retry_after: float | None, vain: float) -> float:
        """The attempt failed; returns the seconds to wait.

        `vain` is how sure it is that no repetition helps; 1 is.
        """
        self.failures += 1
        if self._tries_left is not None and now - self.last_success > self._policy.timeout:
            self._tries_left -= 1
        wait = max(self._policy.backoff(self.failures), retry_after or 0.0)
        self._retry_at = now + wait
        haste = self._haste
        if haste is not None and now < haste.until:
            haste.tries += 1
            haste.vain = haste.vain + vain if vain else 0.0
            if self.closing and haste.vain >= BELIEVED_AT_THE_END:
                self.give_up()
            wait = min(self._policy.backoff(haste.tries), LONGEST_WAIT_IN_HASTE)
            haste.at = now + wait
        return wait

    def try_again(self, now: float) -> None:
        """The attempt was no success, but taught something: the next is due at once."""
        self.paced_until = self._retry_at = now
        if self._haste is not None:
            self._haste.at = now

    def wait_until(self, at: float) -> None:
        """Nothing is due before that, whoever waits."""
        self._not_before = at

    def hurry(self, now: float, until: float, mark: int) -> None:
        """Ignores pacing, back-off and `Retry-After` until then, or until that mark is settled."""
        if self._haste is not None:
            until = max(until, self._haste.until)
        self._haste = _Haste(now, until, mark)

    def awaited_until(self, now: float) -> float:
        """Until when somebody waits; infinity where nobody does, or not any more."""
        haste = self._haste
        return _FOREVER if haste is None or now >= haste.until else haste.until

    def settled(self, mark: int) -> None:
        """All up to that mark is settled: who waited for it waits no more."""
        if self._haste is not None and self._haste.mark <= mark and not self.closing:
            self._haste = None

    def close(self, now: float, until: float, mark: int, tries: float) -> None:
        """The exporter ends, with so many failed attempts left; those soon after a success don't count."""
        self._tries_left = tries
        self.reads_back &= self.check_at is not None
        if self.check_at is not None:
            self.check_at = now
        self.hurry(now, until, mark)

    def give_up(self) -> None:
        """At the end: no further attempt has a chance."""
        self._tries_left = 0

    def plan_check(self, now: float, took: float, alone: bool) -> None:
        """Looks again a moment later whether what was written is there, so often and no more.

        Two writers that read and write at the same time erase each other. Whoever looks again sees it; a
        random moment later, or both would look, and erase, at the same time again.
        """
        self.reads_back = self.checks < MAX_CHECKS
        if not self.reads_back:
            return
        self.checks += 1
        wait = self._policy.uniform(1, 3) * took
        if not self.closing:
            wait = max(self._policy.min_interval, wait)
        elif self._haste is not None:
            wait = min(wait, (self._haste.until - now) / 2)  # later would be never
        self.check_at = now if alone else now + wait
