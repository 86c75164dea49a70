"""What each process promises while it lives: its counts, its pace, its turns, and whom it drops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from opentelemetry.exporter.versori_flow.flow.ledger import DropReason
from opentelemetry.exporter.versori_flow.flow.refusal_search import SINGLES_IN_A_ROW

from .machine import BOOTED, Violation, clock
from .platform import REFUSED

_REFUSED = REFUSED.encode()
_FOREVER = float("inf")

_MOST_ROUNDS = 2000
"""Rounds of the courier in a second that nobody asks for: more is a loop that burns a core."""

_MOST_REQUESTS = 200
"""Requests for a flow in a second: a search for who is refused makes many, a loop makes more."""

_OLDEST_BASE = 1.0
"""Seconds between a read and the write that rests on it, unless the platform itself is slow."""

_LOOKS_FOR_A_TURN = 0.1
"""Seconds in which who waits for a turn sees that it is free."""


class Promises:
    """Looks whether a process keeps them."""

    def __init__(self, process: Any) -> None:
        self._process = process
        self._refused: Counter[int] = Counter()
        self._last_put: dict[str, float] = {}
        self._requests: dict[str, tuple[int, int]] = {}
        self._rounds = (0, 0)

    def look_at_counts(self, of_all: bool) -> None:
        """Is each span accounted for, in each flow, and in what is said of all flows, those that have left too?"""
        process = self._process
        for flow in process.flows:
            spans = flow._spans
            ledger = spans.ledger
            if ledger.handed_over != ledger.delivered + spans.pending + ledger.lost:
                raise Violation(f"{process}: not each span of {flow.name!r} is accounted for: {flow.totals}")
        if not of_all:
            return
        totals, world = process.flows.memory.totals(), process.world
        settled = totals.delivered + totals.pending + sum(totals.dropped.values())
        if totals.handed_over != settled:
            raise Violation(f"{process}: handed over {totals.handed_over}, accounted for {settled}: {totals}")
        if totals.dropped.get("unreadable", 0) > len(world.damaged):
            raise Violation(f"{process}: counts {totals.dropped['unreadable']} spans as unreadable")
        if world.plan.roomy and totals.dropped.get("window_full"):
            raise Violation(f"{process}: drops {totals.dropped['window_full']} of a window with room")

    def look_at_rounds(self) -> None:
        """The courier has gone round, and nobody had asked for it."""
        process = self._process
        second, rounds = self._rounds
        now = int(process.world.now)
        self._rounds = (second, rounds + 1) if now == second else (now, 1)
        if rounds > _MOST_ROUNDS:
            raise Violation(
                f"{process}: the courier goes round {rounds} times in a second, for nothing: {self._why()}"
            )

    def _why(self) -> str:
        process, now = self._process, clock.monotonic()
        keeper, questions = process.keeper, process.dispatcher._questions
        looks = {
            "due": process.flows.next_due(),
            "turns": keeper.turns.next_look,
            "take": process.dispatcher._gathering.look_at,
            "keeper": keeper.next_look(),
            "store": None if keeper._store is None else keeper._store.next_look(),
            "questions": questions.next_end,
            "last call": questions.last_call,
        }
        looks = {name: at - now for name, at in looks.items() if at is not None}
        return f"{looks}, left at {keeper._left_at}, busy {process.flows.busy}"

    def has_dropped(self, spans: Any, dropped: Sequence[Any], reason: DropReason) -> None:
        """Spans were dropped that the platform refuses, or that are too large for it: were they?"""
        limit = self._process.world.plan.limit
        for entry in dropped:
            if reason is DropReason.REFUSED:
                self._refused[id(spans)] += _REFUSED in entry.body
                innocent = _REFUSED not in entry.body and self._refused[id(spans)] < SINGLES_IN_A_ROW
            else:
                innocent = not limit or spans.window.overhead + 2 * len(entry.body) <= limit
            if innocent:
                raise Violation(
                    f"{self._process} drops {entry.key} as {reason.value}, which nothing is wrong with"
                )

    def look_at_turn(self, attempt: Any) -> None:
        """Who goes without a turn has waited for somebody who had it."""
        process, flow = self._process, attempt.job.name
        used = process.host.turns.get(flow, -_FOREVER)
        if process.world.redis is not None:
            return  # where Redis is away each host goes on by itself
        if attempt.in_turn or attempt.deadline <= clock.monotonic():
            return
        others = [other for other in process.world.processes.values() if other.host is process.host]
        if any(other.has_turn(flow) for other in others if not other.dead):
            return
        if process.world.now - used > _LOOKS_FOR_A_TURN:
            raise Violation(f"{process} goes without the turn at {flow!r}, which nobody has")

    def look_at_request(self, making: Any) -> None:
        """Between two attempts that fail lies a wait."""
        second = int(self._process.world.now)
        before, count = self._requests.get(making.flow, (second, 0))
        count = count + 1 if before == second else 1
        self._requests[making.flow] = second, count
        if count > _MOST_REQUESTS:
            raise Violation(f"{self._process} makes {count} requests for {making.flow!r} in a second")

    def look_at_put(self, making: Any) -> None:
        """Between two PUTs of a flow lies its interval, unless somebody waits or who is refused is searched."""
        process, flow = self._process, making.job.flow
        now, plan = process.world.now, process.world.plan
        since = now - self._last_put.get(making.flow, -_FOREVER)
        if not plan.roomy:
            return  # a window that is half full does not wait
        if process.world.redis and making.flow in process.world.redis.alone:
            return  # what was written without Redis it knows nothing of when it is back
        hurried = making.attempt.begun - BOOTED <= process.hurried_until + plan.timeout
        if process.closing or hurried or flow.in_trouble or flow.window.half_full or making.searches:
            return
        if since < plan.min_interval - 1e-6:
            raise Violation(f"{process}: writes {making.flow!r} {since:.3f} s after the last time")

    def look_at_base(self, making: Any) -> None:
        """What a PUT rests on was read a moment ago."""
        if (
            making.read_at >= 0
            and not making.stale
            and clock.monotonic() - making.asked > _OLDEST_BASE + 1e-6
        ):
            raise Violation(f"{self._process} writes {making.flow!r} on what it read too long ago")

    def has_put(self, making: Any, taken: bool) -> None:
        """A PUT was taken; or it was refused, and what that teaches is tried at once."""
        if taken:
            self._last_put[making.flow] = making.written_at
        else:
            self._last_put.pop(making.flow, None)
