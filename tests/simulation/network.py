"""Between the processes and the platform."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from opentelemetry.exporter.versori_flow.delivery.attempt import perform
from opentelemetry.exporter.versori_flow.flow.flows import FlowStep
from opentelemetry.exporter.versori_flow.flow.steps import Write
from opentelemetry.exporter.versori_flow.http.answers import Unavailable

from .attempts import Making
from .machine import BOOTED
from .process import Process

_TIMED_OUT = Unavailable("timeout", "no answer in time", None, answered=False)


class Answered:
    """Stands where an attempt has the platform: its answer is known."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def get(self, flow: str, deadline: float, own_connection: bool = False) -> Any:
        return self._answer


class Network:
    """Between the processes and the platform."""

    def __init__(self, world: Any) -> None:
        self._world = world
        self._under_way: list[tuple[Making, FlowStep, Callable[[], None]]] = []

    def send(self, making: Making, job: FlowStep) -> None:
        """Carries a request; what is cut off on the way does not arrive."""
        world, process = self._world, making.process
        write = isinstance(job.step, Write)
        body = job.step.body.join() if isinstance(job.step, Write) else b""
        fault = world.platform.fault(making, "PUT" if write else "GET")
        if fault:
            world.tell(f"{process}: {fault} for a {'PUT' if write else 'GET'} of {job.name!r}")
        left = making.attempt.deadline - BOOTED - world.now
        world.after(left, partial(process.hear, making, job, _TIMED_OUT))
        if fault == "lost request":
            return
        if fault == "late":
            world.after(left + process.random.uniform(0.0, 3.0), partial(self._arrive_late, making, body))
            return
        way = world.plan.latency * process.random.uniform(0.3, 1.5)
        if fault == "slow":
            way += process.random.uniform(0, 1.2 * world.plan.timeout)
        back = world.plan.latency * process.random.uniform(0.3, 1.5)

        def arrive() -> None:
            if entry not in self._under_way:
                return  # its process was killed, and it was decided then
            self._under_way.remove(entry)
            if not making.waits or making.job is not job:
                return  # cut off
            if write:
                process.lands(making)
            answer = world.platform.put(making, body, fault) if write else world.platform.get(making, fault)
            if write:
                process.has_landed(making, answer)
            world.tell(f"{process}: {'PUT' if write else 'GET'} {job.name!r}: {type(answer).__name__}")
            if fault != "lost answer":
                world.after(back, partial(self._hear, making, job, answer))

        entry = making, job, arrive
        self._under_way.append(entry)
        world.after(way, arrive)

    def _arrive_late(self, making: Making, body: bytes) -> None:
        """Something on the way has kept a PUT that was given up long ago."""
        making.late = True
        answer = self._world.platform.put(making, body, "")
        self._world.tell(
            f"{making.process}: the PUT of {making.flow!r} arrives late: {type(answer).__name__}"
        )

    def cut(self, process: Process) -> None:
        """A process is killed: what it has sent arrives now, or never."""
        for entry in [entry for entry in self._under_way if entry[0].process is process]:
            if process.random.random() < 0.5:
                entry[2]()
            else:
                self._under_way.remove(entry)

    def _hear(self, making: Making, job: FlowStep, answer: Any) -> None:
        if making.waits and making.job is job:
            self._world.platform.is_heard(making, answer)
        if not isinstance(job.step, Write):
            answer = perform(job.step, Answered(answer), 0.0)  # type: ignore[arg-type]
        making.process.hear(making, job, answer)
