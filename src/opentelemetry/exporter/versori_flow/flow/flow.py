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

from collections.abc import Callable, Iterable, Sequence

from ..encoded_span import EncodedSpan
from .exchange import Exchange
from .holdings import Holdings
from .journal import Change, Journal, Kept, News
from .ledger import DropReason, FlowStatus, Totals
from .policy import FlowPolicy
from .schedule import Schedule
from .steps import Read, Reading, Step, Write
from .stored import StoredFlow
from .window import Entry, Key

_FOREVER = float("inf")


class Flow:
    """The window of one flow, and the state of its delivery."""

    def __init__(
        self,
        name: str,
        policy: FlowPolicy,
        former: FlowStatus | None = None,
        paced_until: float = -_FOREVER,
        was_there: bool = False,
    ) -> None:
        self.name = name
        self._policy = policy
        self._spans = Holdings(name, policy, former)
        self._schedule = Schedule(policy, paced_until)
        self._exchange = Exchange(name, policy, self._spans, self._schedule, was_there)
        self.window = self._spans.window
        self.report = self._spans.report
        self._mark = 0  # how many hand-overs there were
        self._left = False
        self._doubted = False  # somebody may have left something since the attempt under way began

    def hand_over(self, spans: Iterable[EncodedSpan], now_ns: int) -> int:
        """Takes spans of the application; returns a mark for `settled`."""
        self._spans.hand_over(spans, now_ns)
        return self._news()

    def inherit(self, spans: Sequence[Kept], now_ns: int) -> int:
        """Takes spans that another process has left, and that a store goes on keeping; returns a mark."""
        for span in spans:
            self._exchange.known.pardon(span.key)
        self._spans.inherit(spans, now_ns)
        return self._news()

    def changes(self) -> Change | None:
        """What happened to its spans since the last call; None: nothing, or nobody is to be told."""
        return self._spans.changes(self.name)

    def waiting(self) -> Change:
        """All its pending spans, as if they had just come."""
        return Change(self.name, self._spans.waiting(), (), ())

    def take(self, key: Key) -> tuple[Entry, int] | None:
        """Gives up a span that belongs to another flow, with its trace's latest end; what is delivered stays so."""
        given_up = self._spans.give_up(key)
        if given_up is not None and self._exchange.moved_away(key):
            self._mark += 1
        return given_up

    def give(self, entry: Entry, latest_end: int) -> int:
        """Takes a span that another flow gave up; returns a mark for `settled`."""
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

    @property
    def busy(self) -> bool:
        """True while an attempt is under way."""
        return self._exchange.attempt is not None

    @property
    def in_trouble(self) -> bool:
        """True when the last attempt failed, or what the platform refused is still searched for."""
        return self._schedule.failures > 0 or self._exchange.searching

    def goes_on_at_once(self, now: float) -> bool:
        """Whether the next attempt waits for nothing, as the one that is over now has taught something."""
        taught = self._exchange.searching or self._schedule.paced_until == now
        return taught and not self._schedule.failures

    @property
    def idle(self) -> bool:
        """True when there is nothing to do, and nothing being done."""
        return not self.busy and not self._has_work

    @property
    def can_be_left(self) -> bool:
        """Whether somebody else who gets its pending spans can do all that is left to do."""
        attempt = self._exchange.attempt
        return not (self._exchange.rewrite or (attempt is not None and attempt.checking))

    @property
    def lost(self) -> int:
        """How many spans were dropped."""
        return self._spans.ledger.lost

    @property
    def totals(self) -> Totals:
        """Its counts."""
        ledger = self._spans.ledger
        return Totals(ledger.handed_over, ledger.delivered, self._spans.pending, dict(ledger.dropped))

    @property
    def last_delivery(self) -> float:
        """When a PUT last succeeded."""
        return self._schedule.last_delivery

    @property
    def paced_until(self) -> float:
        """When the pacing interval of its last PUT is over."""
        return self._schedule.paced_until

    @property
    def is_there(self) -> bool:
        """Whether the platform has it, as far as is known."""
        return self._exchange.known.exists

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

        False where spans were lost (more than `lost`), or the flow is in trouble; None while that is open.
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
        if self.busy or self._left or not self._has_work:
            return None
        return self._schedule.due(
            now, self._exchange.waiting, self._exchange.searching or self.window.half_full
        )

    def hurry(self, now: float, until: float = _FOREVER) -> int:
        """Somebody waits until then: due at once, whatever pacing, back-off and `Retry-After` say; returns a mark."""
        if self.busy or self._has_work:
            self._schedule.hurry(now, until, self._mark)
        return self._mark

    def awaited_until(self, now: float) -> float:
        """Until when somebody waits for its delivery, in a flush or in shutdown; infinity where nobody does."""
        return self._schedule.awaited_until(now)

    def close(self, now: float, until: float = _FOREVER) -> None:
        """The exporter ends: deliver at once, read back, and try again where that has a chance until then."""
        # The attempt under way, which may fail any moment, is not the one that is still to come. What a store
        # keeps is no reason to try for long.
        tries = 1 + self.busy if self.in_trouble or self._policy.durable else _FOREVER
        self._schedule.close(now, until, self._mark, tries)
        if self._exchange.has_written:
            self._schedule.checks = 0 if self._exchange.waiting else 1
            self._schedule.check_at = now

    def leave(self) -> None:
        """Nothing more is done for it here: an attempt under way is not made."""
        self._exchange.attempt = None
        self._left = True

    def take_back(self) -> None:
        """It is done here after all; where its spans were left is to hear what becomes of them."""
        self._left = False
        self._spans.journal = self._spans.journal or Journal()

    def learn(self, news: News, now: float, now_ns: int) -> None:
        """Takes in what became of its spans elsewhere; what may be missing is read, and put right."""
        for span in news.delivered:
            self._exchange.known.pardon(span.key)
        self._spans.learn(news, now_ns)
        for key in news.moved:
            if key not in self.window and self._exchange.moved_away(key):
                self._mark += 1
        if news.doubted:
            self._doubt(now)

    def goes_on(self, now: float) -> None:
        """The PUT of the attempt under way begins only now: whoever is asked whether it may has taken his time."""
        self._schedule.begun_write(now)

    def put_off(self, until: float) -> None:
        """The attempt under way is not made, or not gone on with: somebody else has its turn until then."""
        exchange = self._exchange
        exchange.rewrite |= exchange.attempt is not None and exchange.attempt.rewriting
        exchange.attempt, self._doubted = None, False
        self._spans.back()
        if exchange.waiting:
            self._schedule.wait_until(until)
            return
        exchange.over()
        exchange.alarmed, self._schedule.check_at = False, None
        exchange.settled_mark = self._mark
        self._schedule.settled(self._mark)

    def is_all_in(self, stored: StoredFlow) -> bool:
        """After a read: whether every span stands in the stored flow."""
        return not (self._exchange.waiting or self._exchange.known.is_wrong(stored))

    def abandon(self, keeps: Callable[[Key], bool] = lambda key: False) -> int:
        """The exporter has ended: what is pending is lost, but for what a store keeps; returns how much that is."""
        self._left = True
        return self._spans.abandon(keeps)

    def status(self, now: float) -> FlowStatus:
        """How the flow does."""
        due = self.due(now)
        if self.busy and not self._left:  # at the end an attempt is cut
            state = "busy"
        elif self._exchange.searching:
            state = "searching"
        elif not self._has_work:
            state = "clean"
        else:
            state = "backing off" if self._schedule.failures else "dirty"
        next_attempt = None if due is None else max(0.0, due - now)
        error = self._spans.ledger.last_error
        return FlowStatus(self.name, state, *self.totals, error, next_attempt, self._policy.store)

    def begin(self, now: float) -> Step | None:
        """Begins an attempt; returns its first step, or None where it turns out that there is nothing to do."""
        return self._exchange.begin(now, self._mark)

    def feed(
        self, step: Read | Write, answer: Reading, now: float, now_ns: int, in_turn: bool = True
    ) -> Step | None:
        """Takes the answer to a step; returns the next one, or None when the attempt is over.

        `in_turn`: no other writer of this host could write meanwhile.
        """
        following = self._exchange.feed(step, answer, now, now_ns, in_turn)
        if following is None:
            self._schedule.settled(self._mark if self.settled(self._mark) else self._exchange.settled_mark)
            if self._doubted:
                self._doubt(now)
        return following

    def _doubt(self, now: float) -> None:
        self._doubted = self.busy
        if not (self.busy or self._exchange.waiting):
            self._exchange.alarmed, self._schedule.check_at = True, now

    def _news(self) -> int:
        self._mark += 1
        self._schedule.checks = 0
        return self._mark

    @property
    def _has_work(self) -> bool:
        return self._exchange.waiting or self._schedule.check_at is not None
