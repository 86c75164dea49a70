"""Attempts under way: what the threads of the crew do, driven by events."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

from opentelemetry.exporter.versori_flow.delivery import attempt as attempts
from opentelemetry.exporter.versori_flow.delivery import crew
from opentelemetry.exporter.versori_flow.delivery.attempt import Attempt
from opentelemetry.exporter.versori_flow.flow.flows import FlowStep
from opentelemetry.exporter.versori_flow.flow.steps import Read, Write
from opentelemetry.exporter.versori_flow.http.answers import Rejected, Stale, Stored, Unavailable

from .machine import clock

_FOREVER = float("inf")


class Making:
    """An attempt under way.

    Attributes:
        job: The step that is being done.
        in_turn: Whether nobody else who takes turns writes the flow.
        asked: When its last read began.
        patience: How long after that a write may begin.
        read_at: When the platform answered its last read with what it has.
        shown: What that was.
        waits: Whether a request is under way.
        written_at: When its PUT began.
        stale: Whether it had to read again, since the platform or the process was too slow.
        late: Whether its PUT has arrived long after it was given up.
        searches: Whether it began as one of a search for what is refused.
    """

    def __init__(self, process: Any, attempt: Attempt) -> None:
        assert attempt.job is not None
        self.process = process
        self.attempt = attempt
        self.in_turn = attempt.in_turn
        self.job: FlowStep = attempt.job
        self.asked = clock.monotonic()
        self.patience = attempts._STALE
        self.read_at = -1.0
        self.shown: Any = None
        self.waits = self.late = self.stale = False
        self.written_at = -1.0
        # Who finds his own spans gone right after he wrote them restores all that he had written.
        self.restores = self.job.flow._exchange.attempt.checking
        self.searches = self.job.flow._exchange._search is not None

    @property
    def flow(self) -> str:
        return self.job.name

    @property
    def had_its_turn(self) -> bool:
        """Whether nobody else of its host could write when its PUT arrived."""
        return self.in_turn and not self.late

    def __str__(self) -> str:
        return str(self.process)


class Crew:
    """Stands where the dispatcher has its threads."""

    api = SimpleNamespace(take_problem=lambda: None)
    metrics = None
    nobody = False

    def __init__(self, process: Any, size: int) -> None:
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
        self._process.hands.begin(attempt)

    def count(self, more: int, now: float) -> None:
        self._busy += more
        self._changed = now

    def end(self) -> None:
        self._process.hands.cut_off()


class Hands:
    """The crew's threads."""

    def __init__(self, process: Any) -> None:
        self.makings: list[Making] = []
        self._process = process

    def begin(self, attempt: Attempt) -> None:
        """A thread begins an attempt."""
        self._process.promises.look_at_turn(attempt)
        making = Making(self._process, attempt)
        self.makings.append(making)
        self._process.after(0.0, partial(self._step, making))

    def _step(self, making: Making) -> None:
        """Carries out one step; the thread may be stopped before its first byte."""
        process, job, now = self._process, making.job, clock.monotonic()
        if isinstance(job.step, Read):
            making.asked = now
        if isinstance(job.step, Write) and now - making.asked > making.patience:
            process.world.tell(f"{process}: the PUT of {job.name!r} is stale")
            making.stale = True
            making.patience = 2 * (now - making.asked)
            self.feed(making, job, Stale())
        elif now >= making.attempt.deadline:
            self.feed(making, job, Unavailable("timeout", "no time left", None, answered=False))
        else:
            if isinstance(job.step, Write):
                process.promises.look_at_base(making)
            process.promises.look_at_request(making)
            making.waits = True
            process.world.network.send(making, job)

    def take_answer(self, making: Making, job: FlowStep, answer: Any) -> None:
        """What a request was answered with, and how long ago it was cut off does not count."""
        if making.job is job and making.waits:
            making.waits = False
            self.feed(making, job, answer)

    def feed(self, making: Making, job: FlowStep, answer: Any) -> None:
        process = self._process
        process.dispatcher._feed(making.attempt, answer)
        following = making.attempt.job
        if following is not None:
            making.job = following
            if isinstance(following.step, Write):
                making.written_at = process.world.now
                process.promises.look_at_put(making)
            if process.world.pauses(process):
                process.after(0.0, partial(self._step, making))
            else:
                self._step(making)
            return
        if isinstance(answer, Rejected) or (isinstance(answer, Stored) and answer.believed):
            process.promises.has_put(making, isinstance(answer, Stored))
        self.makings.remove(making)
        if making.attempt.turn is not None:
            process.host.turns[making.flow] = process.world.now
        if making.attempt.turn is not None:
            making.attempt.turn.release()
        process.after(process.random.choice((0.0, 0.0, 0.003)), self._come_to_the_desk)

    def _come_to_the_desk(self) -> None:
        attempt = self._process.dispatcher._visit(_FOREVER, hand=True)
        if attempt is not None:
            self.begin(attempt)

    def cut_off(self) -> None:
        """The requests in flight are cut."""
        for making in self.makings:
            if making.waits:
                making.waits = False
                answer = Unavailable("closed", "cut off", None, answered=False)
                self._process.after(0.0, partial(self.feed, making, making.job, answer))
