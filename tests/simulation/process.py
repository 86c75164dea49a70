"""One process: the real courier's desk, flows, turns and store, driven by events instead of threads."""

from __future__ import annotations

import random
from _queue import Empty
from collections.abc import Callable, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

from opentelemetry.exporter.versori_flow import wiring
from opentelemetry.exporter.versori_flow.delivery import attempt as attempts
from opentelemetry.exporter.versori_flow.delivery import crew, dispatcher, host_lock
from opentelemetry.exporter.versori_flow.delivery.attempt import Attempt
from opentelemetry.exporter.versori_flow.delivery.dispatcher import Dispatcher
from opentelemetry.exporter.versori_flow.delivery.host_lock import HostLock
from opentelemetry.exporter.versori_flow.delivery.keeper import Keeper
from opentelemetry.exporter.versori_flow.delivery.question import Kind, Question
from opentelemetry.exporter.versori_flow.delivery.turn_queue import TurnQueue
from opentelemetry.exporter.versori_flow.encoded_span import EncodedSpan
from opentelemetry.exporter.versori_flow.flow.flows import Flows, FlowStep
from opentelemetry.exporter.versori_flow.flow.policy import FlowPolicy
from opentelemetry.exporter.versori_flow.flow.steps import Read, Stale, Write
from opentelemetry.exporter.versori_flow.http.answers import Rejected, Stored, Unavailable
from opentelemetry.exporter.versori_flow.intake import Intake
from opentelemetry.exporter.versori_flow.routing.router import Router
from opentelemetry.exporter.versori_flow.stores import owned

from .machine import BOOTED, Host, Killed, Violation, clock, here

_FOREVER = float("inf")
_LATE = 1.0
"""Seconds beyond its time after which a question must be answered."""

_MOST_ROUNDS = 2000
"""Rounds of the courier in a second that nobody asks for: more is a loop that burns a core."""


_EVENTS_PER_SUM = 16


class Default:
    """Names the flow of a span that has no name of its own."""

    def __call__(self, span: EncodedSpan) -> str:
        return "default"

    def remarks(self) -> list[str]:
        return []


class Encoder:
    """The spans of this world are encoded when they are made."""

    def encode(self, spans: Sequence[EncodedSpan]) -> list[EncodedSpan]:
        return list(spans)


class Making:
    """An attempt under way.

    Attributes:
        job: The step that is being done.
        asked: When its last read began.
        patience: How long after that a write may begin.
        read_at: When the platform answered its last read with what it has.
        shown: What that was.
        waits: Whether a request is under way.
        written_at: When its PUT began.
        searches: Whether it began as one of a search for what is refused.
    """

    def __init__(self, process: Process, attempt: Attempt) -> None:
        assert attempt.job is not None
        self.process = process
        self.attempt = attempt
        self.job: FlowStep = attempt.job
        self.asked = clock.monotonic()
        self.patience = attempts._STALE
        self.read_at = -1.0
        self.shown: Any = None
        self.waits = False
        self.written_at = -1.0
        self.searches = self.job.flow._exchange.searching

    @property
    def flow(self) -> str:
        return self.job.name

    def __str__(self) -> str:
        return str(self.process)


class Crew:
    """Stands where the dispatcher has its threads."""

    api = SimpleNamespace(take_problem=lambda: None)
    metrics = None
    nobody = False

    def __init__(self, process: Process, size: int) -> None:
        self._process = process
        self._size = size
        self._busy = 0
        self._changed = -_FOREVER

    @property
    def wanted(self) -> bool:
        return not self._busy or self._process.random.random() < 0.7

    @property
    def patience(self) -> float:
        if self._busy >= self._size:
            return _FOREVER
        return crew.PATIENCE if self.wanted else crew._PATIENCE_WITH_BUSY

    def ready(self, now: float) -> bool:
        return not (self._busy and now - self._changed < self.patience) and self._busy < self._size

    def rest(self) -> None: ...

    def give(self, attempt: Attempt, work: object, now: float) -> None:
        self.count(1, now)
        self._process.begin(attempt)

    def count(self, more: int, now: float) -> None:
        self._busy += more
        self._changed = now

    def end(self) -> None:
        self._process.cut_off()


class Process:
    """A program with an exporter.

    Attributes:
        dropped: Spans that it counted as dropped, for other reasons than a full window.
        own: Spans that were handed over to it.
    """

    def __init__(self, world: Any, number: int, host: Host, durable: bool) -> None:
        self.world, self.number, self.host, self.durable = world, number, host, durable
        self.random = random.Random(f"{world.plan.seed}/{number}")
        self.descriptors: dict[int, Any] = {}
        self.dead = self.over = self.closing = False
        self.kill_in: int | None = None
        self.stopped = False
        self.was_stopped = -_FOREVER
        self.ample = self.troubled_end = False
        self.hurried_until = -_FOREVER
        self.dropped: set[tuple[str, str]] = set()
        self.own: dict[tuple[str, str], None] = {}
        self.makings: list[Making] = []
        self.asked: list[tuple[Question, float]] = []
        self.last_put: dict[str, float] = {}
        self._deferred: list[Callable[[], None]] = []
        self._turns: dict[str, list[int]] = {}
        self._plan = (_FOREVER, 0)
        self._rounds = (0.0, 0)
        self._owned: Any = None
        self._events = 0
        self._do(self._begin)

    def __str__(self) -> str:
        kind = "sqlite" if self.durable else "memory"
        return f"process {self.number} ({kind}, host {self.host.number})"

    def _begin(self) -> None:
        self._wire(self.world.plan)
        self._wait()

    def _wire(self, plan: Any) -> None:
        """As the exporter does, with the crew and what is random in its place."""
        uniform = self.random.uniform
        store = SimpleNamespace(folder="/spool" if self.durable else None, full_sync=False)
        settings: Any = SimpleNamespace(
            store=store,
            write_mode="merge",
            base_url="u",
            organisation_id="o",
            project_id="p",
            max_store_bytes=1 << 28,
            max_spans=plan.page,
        )
        policy = FlowPolicy(
            max_spans=plan.max_spans,
            max_bytes=4 << 20,
            min_interval=plan.min_interval,
            timeout=plan.timeout,
            merge=True,
            description=None,
            backoff=lambda failures: min(0.25 * 2 ** (failures - 1), 48.0) * uniform(1.0, 1.25),
            uniform=uniform,
            durable=self.durable,
        )
        self.flows = Flows(policy, plan.max_flows)
        self.crew = Crew(self, plan.crew)
        self.intake = Intake(Encoder(), Default(), Router(8 * plan.max_spans))  # type: ignore[arg-type]
        turns = TurnQueue(HostLock("u", "o", "p"), plan.timeout)
        open_store = partial(wiring._open_store, settings)
        self.keeper = Keeper(self.flows, turns, open_store, self.durable, "the store")
        self.dispatcher = Dispatcher(self.intake, self.flows, self.crew, self.keeper)  # type: ignore[arg-type]
        abandon = self.flows.abandon

        def note(keeps: Any = lambda flow, key: False) -> dict[str, int]:
            for flow in self.flows:
                self.dropped.update(
                    entry.key
                    for entry in [*flow.window, *flow._spans._pushed_out]
                    if (entry.pending or entry in flow._spans._pushed_out) and not keeps(flow.name, entry.key)
                )
            left: Any = self.intake._left
            self.dropped.update((span.trace_id, span.span_id) for span in left)
            return abandon(keeps)

        self.flows.abandon = note  # type: ignore[method-assign]

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
            return

        def and_look() -> None:
            what()
            self._look()

        self._do(and_look)

    def after(self, seconds: float, what: Callable[[], None]) -> None:
        """Runs something in this process later."""
        self.world.after(seconds, lambda: self.run(what))

    def _look(self) -> None:
        """After every event: is each span accounted for, and has the courier a message?"""
        for flow in self.flows:
            spans = flow._spans
            ledger = spans.ledger
            if ledger.handed_over != ledger.delivered + spans.pending + ledger.lost:
                raise Violation(f"{self}: not each span of {flow.name!r} is accounted for: {flow.totals}")
        self._events += 1
        if not self._events % _EVENTS_PER_SUM or self.dispatcher.over:
            self._add_up()
        if self.asked:
            self.asked = [item for item in self.asked if not self._answered(*item)]
        if self.dispatcher.over:
            if not self.over:
                self.over = True
                self.troubled_end = not self.ample or any(flow.in_trouble for flow in self.flows)
                self.world.tell(f"{self} has ended: {self.flows.totals()}")
                self.after(self.random.choice((0.0, 0.0, 1.0, 30.0)), self._exit)
        elif self.intake.messages.qsize():
            self._wake_at(clock.monotonic() + self.random.uniform(0, 0.002))

    def _add_up(self) -> None:
        """What it says of all its flows, those that have left memory too."""
        totals = self.flows.totals()
        settled = totals.delivered + totals.pending + sum(totals.dropped.values())
        if totals.handed_over != settled:
            raise Violation(f"{self}: handed over {totals.handed_over}, accounted for {settled}: {totals}")
        if totals.dropped.get("unreadable"):
            raise Violation(f"{self}: counts {totals.dropped['unreadable']} spans as unreadable")
        if self.world.plan.roomy and totals.dropped.get("window_full"):
            raise Violation(f"{self}: drops {totals.dropped['window_full']} of a window with room")

    def _answered(self, question: Question, until: float) -> bool:
        now = clock.monotonic()
        if not question.waiter.answered and now > until + _LATE and self.was_stopped < until - _LATE:
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
        try:
            message: object = self.intake.messages.get_nowait()
        except Empty:
            message = dispatcher._NOTHING
            self._count_round()
        self.dispatcher._visit(_FOREVER, message)
        self._wait()

    def _wait(self) -> None:
        now = clock.monotonic()
        wake = self.dispatcher._wakes_at = self.dispatcher._next_wake(now)
        if not self.dispatcher.over and wake != _FOREVER:
            self._wake_at(max(wake, now + 0.0002))

    def _count_round(self) -> None:
        second, rounds = self._rounds
        now = int(self.world.now)
        self._rounds = (second, rounds + 1) if now == second else (now, 1)
        if rounds > _MOST_ROUNDS:
            raise Violation(
                f"{self}: the courier goes round {rounds} times in a second, for nothing: {self._why()}"
            )

    def _why(self) -> str:
        keeper, now = self.keeper, clock.monotonic()
        looks = {
            "due": self.flows.next_due(),
            "turns": keeper.turns.next_look,
            "take": self.dispatcher._take_at,
            "keeper": keeper.next_look(),
            "store": None if keeper._store is None else keeper._store.next_look(),
            "questions": self.dispatcher._questions.next_end,
            "last call": self.dispatcher._questions.last_call,
        }
        looks = {name: at - now for name, at in looks.items() if at is not None}
        return f"{looks}, left at {keeper._left_at}, busy {self.flows.busy}"

    # -- the crew's threads --------------------------------------------------------------------------------

    def begin(self, attempt: Attempt) -> None:
        making = Making(self, attempt)
        self.makings.append(making)
        self.after(0.0, partial(self._step, making))  # on a thread of its own

    def _step(self, making: Making) -> None:
        """A thread carries out one step; it may be stopped before its first byte."""
        job, now = making.job, clock.monotonic()
        if isinstance(job.step, Read):
            making.asked = now
        if isinstance(job.step, Write) and now - making.asked > making.patience:
            self.world.tell(f"{self}: the PUT of {job.name!r} is stale")
            making.patience = 2 * (now - making.asked)
            self._feed(making, job, Stale())
        elif now >= making.attempt.deadline:
            self._feed(making, job, Unavailable("timeout", "no time left", None, answered=False))
        else:
            making.waits = True
            self.world.network.send(making, job)

    def take_answer(self, making: Making, job: FlowStep, answer: Any) -> None:
        """What a request was answered with, and how long ago it was cut off does not count."""
        if making.job is job and making.waits:
            making.waits = False
            self._feed(making, job, answer)

    def _feed(self, making: Making, job: FlowStep, answer: Any) -> None:
        self.dispatcher._feed(making.attempt, answer)
        following = making.attempt.job
        if following is not None:
            making.job = following
            if isinstance(following.step, Write):
                self._look_at_pace(making)
            if self.world.pauses(self):
                self.after(0.0, partial(self._step, making))
            else:
                self._step(making)
            return
        if isinstance(answer, Stored) and answer.believed:
            self.last_put[job.name] = making.written_at
        elif isinstance(answer, Rejected):
            self.last_put.pop(job.name, None)  # what it teaches is tried at once
        self.makings.remove(making)
        if making.attempt.turn is not None:
            making.attempt.turn.release()
        self.after(self.random.choice((0.0, 0.0, 0.003)), self._come_to_the_desk)

    def _look_at_pace(self, making: Making) -> None:
        """Between two PUTs of a flow lies its interval, unless somebody waits or who is refused is searched."""
        now, flow = self.world.now, making.job.flow
        making.written_at = now
        since = now - self.last_put.get(making.flow, -_FOREVER)
        if not self.world.plan.roomy:
            return  # a window that is half full does not wait
        hurried = making.attempt.begun - BOOTED <= self.hurried_until + self.world.plan.timeout
        if self.closing or hurried or flow.in_trouble or flow.window.half_full or making.searches:
            return
        if since < self.world.plan.min_interval - 1e-6:
            raise Violation(f"{self}: writes {making.flow!r} {since:.3f} s after the last time")

    def _come_to_the_desk(self) -> None:
        attempt = self.dispatcher._visit(_FOREVER, hand=True)
        if attempt is not None:
            self.begin(attempt)

    def cut_off(self) -> None:
        """The requests in flight are cut."""
        for making in self.makings:
            if making.waits:
                making.waits = False
                answer = Unavailable("closed", "cut off", None, answered=False)
                self.after(0.0, partial(self._feed, making, making.job, answer))

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
            self._ask(Kind.SHUTDOWN, min(seconds, self.world.plan.timeout))

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
                self.after(seconds + _LATE + 0.1, lambda: None)

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
        if self.durable and how == "by a signal" and not self.host.was_full:
            unkept = [entry.key for flow in self.flows for entry in flow.window if entry.pending]
            unkept = [key for key in unkept if not self.host.keeps(key)]
            if unkept:
                raise Violation(
                    f"{self} is killed, and has kept {len(unkept)} spans in memory only: {unkept[0]}"
                )
        self.world.is_killed(self)
        self.dead = True
        self.host.release(self)

    @property
    def is_quiet(self) -> bool:
        """Whether there is nothing for it to do."""
        flows = self.flows
        idle = flows.next_due() is None and not flows.busy and not len(self.intake)
        return self.over or self.dead or (idle and not flows.totals().pending)

    def holds_safely(self, key: tuple[str, str], flow: str) -> bool:
        """Whether a span that was handed over to it outlives it."""
        store: Any = self.keeper._store
        # Not by `keeps`, which asks who runs.
        if store is not None and store._text_of((flow, key)) is not None:
            return True
        held = self.flows.memory.flows.get(flow)
        entry = None if held is None else held.window.get(key)
        return entry is not None and not entry.pending
