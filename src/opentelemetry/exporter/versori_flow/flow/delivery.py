"""One flow's delivery as a state machine: clean, dirty, busy, backing off, searching. Pure.

    clean --a span--> dirty --begin--> busy --Stored--> clean
                        ^                |
                        |                +--400, 422--> searching --begin--> busy
                        +--wait is over--+--any other--> backing off

The courier asks when the flow is `due`, calls `begin`, carries out the step that it is given (a `Read` or a
`Write`), hands the answer to `feed`, and goes on with the next step until there is none. Time is an argument:
`now` in seconds of a monotonic clock, `now_ns` in nanoseconds since the Unix epoch.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..encoded_span import EncodedSpan
from .entry import Entry, Key
from .exchange import Exchange
from .holdings import Holdings
from .ledger import DropReason, FlowStatus, Totals
from .policy import FlowPolicy
from .schedule import Schedule
from .steps import Read, Reading, Step, Write

_FOREVER = float("inf")


class Flow:
    """The window of one flow, and the state of its delivery.

    Args:
        name: The flow's name.
        policy: What holds for every flow.
        former: The counts of this flow before its window left memory.
    """

    def __init__(self, name: str, policy: FlowPolicy, former: FlowStatus | None = None) -> None:
        self.name = name
        self._spans = Holdings(name, policy, former)
        self._schedule = Schedule(policy)
        self._exchange = Exchange(name, policy, self._spans, self._schedule)
        self.window = self._spans.window
        self.report = self._spans.report
        # How many hand-overs there were.
        self._mark = 0

    # -- spans come in -------------------------------------------------------------------------------------

    def hand_over(self, spans: Iterable[EncodedSpan], now_ns: int) -> int:
        """Takes spans of the application.

        Returns:
            A mark for `settled`.
        """
        self._spans.hand_over(spans, now_ns)
        return self._news()

    def take(self, keys: Iterable[Key]) -> list[tuple[Entry, int]]:
        """Gives up spans that turn out to belong to another flow, each with its trace's latest end.

        One that was delivered stays so in the counts here, and is handed over anew there.
        """
        taken = []
        for key in keys:
            given_up = self._spans.give_up(key)
            if given_up is None:
                continue
            taken.append(given_up)
            if self._exchange.moved_away(key):
                self._mark += 1
        return taken

    def give(self, entries: Iterable[tuple[Entry, int]]) -> int:
        """Takes spans that another flow gave up; returns a mark for `settled`."""
        for entry, latest_end in entries:
            self._exchange.known.pardon(entry.key)
            self._spans.take_in(entry, latest_end)
        self._spans.trim()
        return self._news()

    def lose_unencodable(self, detail: str) -> int:
        """Counts a span that could not be encoded; returns a mark for `settled`."""
        self._spans.ledger.handed_over += 1
        self._spans.lose(1, DropReason.UNENCODABLE, detail)
        return self._mark

    def squeeze(self, max_bytes: int) -> None:
        """Makes the window smaller this once: all windows together hold too much."""
        self._spans.squeeze(max_bytes)

    # -- what the courier asks -----------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """True while an attempt is under way."""
        return self._exchange.attempt is not None

    @property
    def in_trouble(self) -> bool:
        """True when the last attempt failed, or what the platform refused is still searched for."""
        return self._schedule.failures > 0 or self._exchange.searching

    @property
    def lost(self) -> int:
        """How many spans were dropped."""
        return self._spans.ledger.lost

    @property
    def totals(self) -> Totals:
        """Its counts."""
        return self._spans.ledger.totals(self._spans.pending)

    @property
    def last_error(self) -> str | None:
        """What went wrong last."""
        return self._spans.ledger.last_error

    @property
    def last_delivery(self) -> float:
        """When a PUT last succeeded."""
        return self._schedule.last_delivery

    @property
    def idle(self) -> bool:
        """True when there is nothing to do, and nothing being done."""
        return not self.busy and not self._has_work()

    def settled(self, mark: int) -> bool:
        """True when everything up to that mark is delivered or dropped."""
        return self._exchange.settled_mark >= mark or not (self._exchange.waiting or self.busy)

    def flushed(self, mark: int) -> bool | None:
        """Whether a flush is done: True; False where no repetition can help; None while that is open."""
        if self.settled(mark):
            return True
        return False if self._schedule.hopeless and not self.busy else None

    def verdict(self, mark: int, lost: int, now: float) -> bool | None:
        """Whether what was handed over at `mark` is delivered, or only waits for its pacing interval.

        Args:
            mark: From `hand_over`.
            lost: How many spans were lost before that.
            now: Seconds.

        Returns:
            True; False: some are lost, or the flow is in trouble; None while that is open.
        """
        if self.lost > lost:
            return False
        if self.settled(mark):
            return True
        attempt = self._exchange.attempt
        if self.in_trouble or (attempt is not None and attempt.in_vain):
            return False
        due = self.due(now)
        return True if due is not None and due > now else None

    def waited_in_vain(self) -> None:
        """Somebody has waited for the attempt under way as long as he does: nobody else waits for it."""
        if self._exchange.attempt is not None:
            self._exchange.attempt.in_vain = True

    def due(self, now: float) -> float | None:
        """When the next attempt is due, in seconds of the same clock as `now`; None: nothing to do."""
        if self.busy or not self._has_work():
            return None
        return self._schedule.due(
            now, self._exchange.waiting, self._exchange.searching or self.window.half_full
        )

    def hurry(self, now: float, until: float = _FOREVER) -> int:
        """Makes the flow due at once, whatever pacing, back-off and `Retry-After` say.

        Args:
            now: Seconds.
            until: For how long somebody waits, in seconds of the same clock: waits start anew, and stay short.

        Returns:
            A mark for `settled` and `flushed`.
        """
        if self.busy or self._has_work():
            self._schedule.hurry(now, until, self._mark)
        return self._mark

    def close(self, now: float, until: float = _FOREVER) -> None:
        """The exporter ends: deliver at once, read back, and try again where that has a chance.

        Args:
            now: Seconds.
            until: When it has ended, in seconds of the same clock.
        """
        # The attempt under way, which may fail any moment, is not the one that is still to come.
        self._schedule.close(now, until, self._mark, 1 + self.busy if self.in_trouble else _FOREVER)
        if self._exchange.has_written:
            self._schedule.checks = 0 if self._exchange.waiting else 1
            self._schedule.check_at = now

    def abandon(self) -> int:
        """The exporter has ended: what is pending is lost. Returns how many that are."""
        return self._spans.abandon()

    def status(self, now: float) -> FlowStatus:
        """How the flow does."""
        due = self.due(now)
        if self.busy:
            state = "busy"
        elif self._exchange.searching:
            state = "searching"
        elif self._schedule.failures and self._has_work():
            state = "backing off"
        else:
            state = "dirty" if self._has_work() else "clean"
        ledger = self._spans.ledger
        return FlowStatus(
            self.name,
            state,
            ledger.handed_over,
            ledger.delivered,
            self._spans.pending,
            dict(ledger.dropped),
            ledger.last_error,
            None if due is None else max(0.0, due - now),
        )

    # -- an attempt ----------------------------------------------------------------------------------------

    def begin(self, now: float) -> Step | None:
        """Begins an attempt; returns its first step, or None where it turns out that there is nothing to do."""
        return self._exchange.begin(now, self._mark)

    def feed(
        self, step: Read | Write, answer: Reading, now: float, now_ns: int, in_turn: bool = True
    ) -> Step | None:
        """Takes the answer to a step.

        Args:
            step: The step.
            answer: What came of it.
            now: Seconds.
            now_ns: Nanoseconds since the Unix epoch.
            in_turn: Whether no other writer of this host could write meanwhile.

        Returns:
            The next step, or None when the attempt is over.
        """
        following = self._exchange.feed(step, answer, now, now_ns, in_turn)
        if following is None and self.settled(self._mark):
            self._schedule.settled(self._mark)
        elif following is None:
            self._schedule.settled(self._exchange.settled_mark)
        return following

    # -- small things --------------------------------------------------------------------------------------

    def _news(self) -> int:
        self._mark += 1
        self._schedule.checks = 0
        return self._mark

    def _has_work(self) -> bool:
        return self._exchange.waiting or self._schedule.check_at is not None
