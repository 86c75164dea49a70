"""One process: the real courier's desk, flows, turns and store, driven by events instead of threads."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from opentelemetry.exporter.versori_flow.delivery import host_lock
from opentelemetry.exporter.versori_flow.delivery.question import Kind, Question
from opentelemetry.exporter.versori_flow.encoded_span import EncodedSpan
from opentelemetry.exporter.versori_flow.flow.flows import FlowStep
from opentelemetry.exporter.versori_flow.intake import NOTHING
from opentelemetry.exporter.versori_flow.stores import owned

from .attempts import Hands, Making
from .machine import BOOTED, Host, Killed, Violation, clock, here
from .promises import Promises
from .wired import keeper_of_files, wire

_FOREVER = float("inf")
_EVENTS_PER_SUM = 16


class Process:
    """A program with an exporter.

    Attributes:
        dropped: Spans that it counted as dropped, for other reasons than a full window.
        own: Spans that were handed over to it.
    """

    def __init__(
        self,
        world: Any,
        number: int,
        host: Host,
        durable: bool,
        parent: Process | None = None,
        told: bool = True,
    ) -> None:
        self.world, self.number, self.host, self.durable = world, number, host, durable
        self.random = random.Random(f"{world.plan.seed}/{number}")
        self.descriptors: dict[int, Any] = {}
        self.dead = self.over = self.closing = False
        self.kill_in: int | None = None
        self.stopped = False
        self.was_stopped = -_FOREVER
        self.ample = self.troubled_end = False
        self.ends_by = _FOREVER
        self.hurried_until = -_FOREVER
        self.dropped: set[tuple[str, str]] = set()
        self.own: dict[tuple[str, str], None] = {}
        self.hands = Hands(self)
        self.asked: list[tuple[Question, float]] = []
        self._deferred: list[Callable[[], None]] = []
        self._turns: dict[str, list[int]] = {}
        self._plan = (_FOREVER, 0)
        self._owned: Any = None
        self._events = 0
        self.promises = Promises(self)
        if parent is not None:
            self._inherit(parent)
        self._do(partial(self._begin, told))

    make_keeper = keeper_of_files
    late = 1.0
    """Seconds beyond its time after which a question must be answered."""

    def __str__(self) -> str:
        kind = "sqlite" if self.durable else "memory"
        return f"process {self.number} ({kind}, host {self.host.number})"

    def _inherit(self, parent: Process) -> None:
        """A forked child has what its parent has open, and what it believes to have locked."""
        self.descriptors = dict(parent.descriptors)
        self._turns = {path: list(descriptors) for path, descriptors in parent._turns.items()}
        self._owned = owned._Table()
        self._owned.sides, self._owned.pid = dict(parent._owned.sides), parent._owned.pid

    def _begin(self, told: bool) -> None:
        if told:  # as the hooks of a fork do; uWSGI runs none
            owned._table.start_anew()
        host_lock.start_anew()  # the exporter does in any case
        wire(self)
        self._wait()

    # -- being run -----------------------------------------------------------------------------------------

    def _do(self, what: Callable[[], None]) -> None:
        """Does something as the one that runs; what it has locked is known to itself only."""
        before = here.process
        here.process, host_lock._held = self, self._turns
        self._owned = owned._table = self._owned or owned._Table()
        try:
            what()
        except Killed:
            self.die("within a call")
        finally:
            here.process = before

    def run(self, what: Callable[[], None]) -> None:
        """Runs something in this process: at once, or once it goes on."""
        if self.dead:
            return
        if self.stopped:
            self._deferred.append(what)
        else:
            self.run_now(what)

    def run_now(self, what: Callable[[], None]) -> None:
        """Runs something in this process, which lives and is not stopped."""

        def and_look() -> None:
            what()
            self._look()

        self._do(and_look)

    def after(self, seconds: float, what: Callable[[], None]) -> None:
        """Runs something in this process later."""
        self.world.after(seconds, lambda: self.run(what))

    def _look(self) -> None:
        """After every event: is each span accounted for, and has the courier a message?"""
        self._events += 1
        self.promises.look_at_counts(of_all=not self._events % _EVENTS_PER_SUM or self.dispatcher.over)
        if self.asked:
            self.asked = [item for item in self.asked if not self._answered(*item)]
        if self.dispatcher.over:
            if not self.over:
                self.over = True
                in_trouble = any(flow.in_trouble for flow in self.flows)
                self.troubled_end = not self.ample or in_trouble or self.world.now >= self.ends_by - 0.01
                if self.troubled_end:
                    self.world.unsaid_at = self.world.now
                self.world.tell(f"{self} has ended: {self.flows.memory.totals()}")
                self.after(self.random.choice((0.0, 0.0, 1.0, 30.0)), self._exit)
        elif self.intake.messages.qsize():
            self._wake_at(clock.monotonic() + self.random.uniform(0, 0.002))

    def _answered(self, question: Question, until: float) -> bool:
        now = clock.monotonic()
        if not question.waiter.answered and now > until + self.late and self.was_stopped < until - self.late:
            raise Violation(f"{self}: {question.kind} is not answered {now - until:.1f} s after its time")
        return question.waiter.answered

    # -- the courier's thread ------------------------------------------------------------------------------

    def _wake_at(self, at: float) -> None:
        if at < self._plan[0]:
            self._plan = at, self._plan[1] + 1
            self.world.after(at - clock.monotonic(), partial(self.run, partial(self._round, self._plan[1])))

    def _round(self, number: int) -> None:
        if number != self._plan[1] or self.dispatcher.over:
            return
        self._plan = _FOREVER, number + 1
        if (message := self.intake.next_message(0)) is NOTHING:
            self.promises.look_at_rounds()
        self.dispatcher._visit(_FOREVER, message)
        self._wait()

    def _wait(self) -> None:
        now = clock.monotonic()
        wake = self.dispatcher._wakes_at = self.dispatcher._next_wake(now)
        if not self.dispatcher.over and wake != _FOREVER:
            self._wake_at(max(wake, now + 0.0002))

    # -- its requests --------------------------------------------------------------------------------------

    def hear(self, making: Making, job: FlowStep, answer: Any) -> None:
        """What a request was answered with, or that it has taken too long."""
        self.run(partial(self.hands.take_answer, making, job, answer))

    def lands(self, making: Making) -> None:
        """A PUT of its is with the platform."""

    def has_landed(self, making: Making, answer: Any) -> None:
        """What the platform says to it."""

    def puts_right(self, making: Making, other: Making) -> bool:
        """Whether what it erases without its turn is written again in the end, whoever has written it."""
        return False

    def shares_turns(self, other: Process) -> bool:
        """Whether they take turns at a flow."""
        return self.host is other.host

    # -- what befalls it -----------------------------------------------------------------------------------

    def give(self, spans: Sequence[EncodedSpan], way: str, seconds: float) -> None:
        """The application ends spans."""
        if self.dead or self.closing:
            return
        for span in spans:
            self.own[span.trace_id, span.span_id] = None
            self.world.has_given(self, span)
        if way == "leave":
            self.run(partial(self._leave, spans))
        else:
            self._ask(Kind.EXPORT if way == "export" else Kind.ACCEPT, seconds, spans)

    def _leave(self, spans: Sequence[EncodedSpan]) -> None:
        intake: Any = self.intake
        for span in spans:
            intake.leave(span)

    def flush(self, seconds: float) -> None:
        self._ask(Kind.FLUSH, seconds)

    def shut_down(self, seconds: float) -> None:
        if not self.closing:
            self.closing = True
            self.ample = self.world.resting
            seconds = min(seconds, self.world.plan.timeout)
            self.ends_by = self.world.now + seconds
            self._ask(Kind.SHUTDOWN, seconds)

    def let_go(self) -> None:
        if not self.closing:
            self.closing = True
            self._ask(Kind.LET_GO, _FOREVER)

    def _ask(self, kind: Kind, seconds: float, spans: Sequence[EncodedSpan] = ()) -> None:
        def ask() -> None:
            until = clock.monotonic() + seconds
            if kind is Kind.FLUSH:
                self.hurried_until = self.world.now + seconds
            question = Question(kind, until, spans)  # type: ignore[arg-type]
            self.intake.messages.put(question)
            if seconds != _FOREVER:
                self.asked.append((question, until))
                self.after(seconds + self.late + 0.1, lambda: None)

        self.run(ask)

    def stop(self) -> None:
        if not self.dead:
            self.stopped = True

    def go_on(self) -> None:
        if self.stopped:
            self.stopped = False
            self.was_stopped = BOOTED + self.world.now
            deferred, self._deferred = self._deferred, []
            for what in deferred:
                self.world.after(0.0, partial(self.run, what))

    def _exit(self) -> None:
        self.dead = True
        self.host.release(self)

    def die(self, how: str) -> None:
        """Killed: of its own spans those are safe that it has delivered, or that its store keeps."""
        self.world.tell(f"{self} is killed {how}")
        if how == "by a signal":
            self.look_at_what_is_kept()
        cut_short = how == "within a call"
        self.world.cut_short |= cut_short
        self.world.is_killed(self, in_its_work=cut_short and self.host.was_faulty)
        self.dead = True
        self.host.release(self)

    def has_turn(self, flow: str) -> bool:
        """Whether it has the turn at a flow, for an attempt under way or the next one."""
        made = any(making.flow == flow and making.attempt.turn is not None for making in self.hands.makings)
        turns = self.keeper.turns
        waits = any(job.name == flow and wait and wait.turn for _, _, job, _, wait in turns._waiting)
        return made or waits or flow in turns._reserved

    def look_at_what_is_kept(self) -> None:
        """Whether its store has all that is pending."""
        if not self.durable or self.host.was_faulty:
            return
        unkept = [entry.key for flow in self.flows for entry in flow.window if entry.pending]
        unkept = [key for key in unkept if not self.host.keeps(key)]
        if unkept:
            raise Violation(f"{self} is killed, and has kept {len(unkept)} spans in memory only: {unkept[0]}")

    @property
    def is_quiet(self) -> bool:
        """Whether there is nothing for it to do."""
        flows = self.flows
        idle = flows.next_due() is None and not flows.busy and not len(self.intake)
        return self.over or self.dead or (idle and not flows.memory.totals().pending)

    def holds_safely(self, key: tuple[str, str], flow: str) -> bool:
        """Whether a span that was handed over to it outlives it."""
        store: Any = self.keeper._store
        # Not by `keeps`, which asks who runs.
        if store is not None and store._text_of((flow, key)) is not None:
            return True
        held = self.flows.memory.flows.get(flow)
        entry = None if held is None else held.window.get(key)
        return entry is not None and not entry.pending
