"""A process with an exporter's desk: the real flows, turns and store, without its threads, and with no platform."""

from __future__ import annotations

import itertools
import random
import resource
import signal
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

from opentelemetry.exporter.versori_flow import native, wiring
from opentelemetry.exporter.versori_flow.delivery import host_lock
from opentelemetry.exporter.versori_flow.delivery.attempt import Attempt, perform
from opentelemetry.exporter.versori_flow.delivery.dispatcher import Dispatcher
from opentelemetry.exporter.versori_flow.delivery.host_lock import HostLock
from opentelemetry.exporter.versori_flow.delivery.log import Faults
from opentelemetry.exporter.versori_flow.delivery.question import Kind, Question
from opentelemetry.exporter.versori_flow.encoded_span import EncodedSpan
from opentelemetry.exporter.versori_flow.flow.flows import Flows
from opentelemetry.exporter.versori_flow.flow.ledger import Totals
from opentelemetry.exporter.versori_flow.flow.policy import FlowPolicy
from opentelemetry.exporter.versori_flow.flow.steps import Read, Write
from opentelemetry.exporter.versori_flow.flow.window import Key
from opentelemetry.exporter.versori_flow.intake import NOTHING, Intake
from opentelemetry.exporter.versori_flow.routing.router import Router
from opentelemetry.exporter.versori_flow.settings.load import load_settings
from opentelemetry.exporter.versori_flow.settings.table import Settings
from opentelemetry.exporter.versori_flow.stores import fleet, fleet_store, spool  # noqa: F401 - once, before forks

_FOREVER = float("inf")
_TARGET = {"base_url": "https://platform", "organisation_id": "0" * 26, "project_id": "1" * 26}


def settings_of(store: str) -> Settings:
    """What all processes with that store have in common."""
    return load_settings(**_TARGET, api_key="k", store=store)


class Request(NamedTuple):
    """One that is under way; a read has no body."""

    number: int
    flow: str
    body: bytes | None


class State(NamedTuple):
    """How a process does after something has happened to it."""

    requests: list[Request]
    totals: Totals
    over: bool


class _Crew:
    """Stands where the dispatcher has its threads: an attempt waits for its answers."""

    api = SimpleNamespace(take_problem=lambda: None)
    metrics = None
    nobody = False
    wanted = True
    patience = _FOREVER

    def __init__(self) -> None:
        self.attempts: dict[int, Attempt] = {}
        self._numbers = itertools.count()

    def ready(self, now: float) -> bool:
        return True

    def give(self, attempt: Attempt, work: object, now: float) -> None:
        self.attempts[next(self._numbers)] = attempt

    def count(self, more: int, now: float) -> None: ...

    def rest(self) -> None: ...

    def end(self) -> None:
        for number in list(self.attempts):
            self.over(number)

    def over(self, number: int) -> None:
        attempt = self.attempts.pop(number)
        if attempt.turn is not None:
            attempt.turn.release()


class _Encoder:
    """The spans are encoded already."""

    def encode(self, spans: Sequence[EncodedSpan]) -> list[EncodedSpan]:
        return list(spans)


class _Default:
    def of(self, spans: Sequence[EncodedSpan]) -> list[str]:
        return ["default"] * len(spans)

    def remarks(self) -> list[str]:
        return []


class Desk:
    """What one process is told and does. Its time goes on by itself, and by leaps.

    Args:
        settings: See `settings_of`.
        folder: Where the turns of this host are.
    """

    def __init__(self, settings: Settings, folder: str) -> None:
        host_lock._FOLDER = folder
        random.seed(1)
        self._ahead = 0.0
        native._clock = (lambda: time.monotonic() + self._ahead,)
        policy = FlowPolicy(
            max_spans=settings.max_spans,
            max_bytes=settings.max_bytes,
            min_interval=settings.min_interval,
            timeout=settings.timeout,
            merge=True,
            description=None,
            backoff=lambda failures: min(0.25 * 2 ** (failures - 1), 48.0),
            uniform=lambda low, high: (low + high) / 2,
            durable=settings.store.durable,
        )
        self.flows = Flows(policy, settings.max_flows)
        self._lost: set[Key] = set()
        abandon = self.flows.abandon

        def note(keeps: Any = lambda flow, key: False) -> dict[str, int]:
            self._lost = self.unkept()
            return abandon(keeps)

        self.flows.abandon = note  # type: ignore[method-assign]
        self._crew = _Crew()
        self._intake = Intake(_Encoder(), _Default(), Router(10_000))  # type: ignore[arg-type]
        self.keeper = wiring.keeper_of(settings, self.flows, HostLock(*_TARGET.values()))
        self._dispatcher = Dispatcher(self._intake, self.flows, self._crew, self.keeper, Faults())  # type: ignore[arg-type]

    def look(self) -> State:
        """Does what there is to do."""
        self._dispatcher._visit(_FOREVER)
        while (message := self._intake.next_message(0)) is not NOTHING:
            self._dispatcher._visit(_FOREVER, message)
        requests = []
        for number, attempt in self._crew.attempts.items():
            assert attempt.job is not None
            step = attempt.job.step
            requests.append(Request(number, step.flow, step.body.join() if isinstance(step, Write) else None))
        return State(requests, self.flows.memory.totals(), self._dispatcher.over)

    def hand_over(self, spans: Sequence[EncodedSpan]) -> State:
        """An `export`."""
        self._intake.messages.put(Question(Kind.ACCEPT, native.monotonic() + 1, spans))  # type: ignore[arg-type]
        return self.look()

    def answer(self, number: int, answer: Any) -> State:
        """The platform has answered, or not."""
        attempt = self._crew.attempts[number]
        assert attempt.job is not None
        if isinstance(attempt.job.step, Read):
            api: Any = SimpleNamespace(get=lambda *_, **__: answer)
            answer = perform(attempt.job.step, api, 0.0)
        self._dispatcher._feed(attempt, answer)
        if attempt.job is None:
            self._crew.over(number)
        return self.look()

    def shutdown(self, seconds: float) -> State:
        """The program ends."""
        self._intake.messages.put(Question(Kind.SHUTDOWN, native.monotonic() + seconds))
        return self.look()

    def leap(self, seconds: float) -> State:
        """So much time has passed."""
        self._ahead += seconds
        return self.look()

    def unkept(self) -> set[Key]:
        """What would be lost if it were killed now."""
        store = self.keeper._store
        return {
            entry.key
            for flow in self.flows
            for entry in [*flow.window, *flow._spans._pushed_out.values()]
            if entry.pending and not (store is not None and store.keeps(flow.name, entry.key))
        }

    def lost(self) -> set[Key]:
        """What was lost at its end."""
        return self._lost

    def let_no_file_grow(self, never: bool) -> None:
        """Its disk is full, or no longer so."""
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0 if never else hard, hard))
