"""A world: hosts, processes and the platform, in virtual time; and what must hold in it."""

from __future__ import annotations

import heapq
import json
import logging
import random
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

from opentelemetry.exporter.versori_flow.delivery.attempt import perform
from opentelemetry.exporter.versori_flow.encoded_span import EncodedSpan
from opentelemetry.exporter.versori_flow.flow.flows import FlowStep
from opentelemetry.exporter.versori_flow.flow.steps import Write
from opentelemetry.exporter.versori_flow.http.answers import Unavailable

from .machine import BOOTED, Host, Violation, here
from .plan import Action, Plan, make_span
from .platform import REFUSED, Key, Platform
from .process import Making, Process

_MOST_EVENTS = 300_000
_QUIET_WITHIN = 400.0
"""Seconds in which everything is delivered once nothing goes wrong any more: the longest waits are a minute."""

_LAST_TRACE = 1_000_000
_TIMED_OUT = Unavailable("timeout", "no answer in time", None, answered=False)

logger = logging.getLogger("opentelemetry.exporter.versori_flow")


class Given:
    """A span that was handed over, and the flows that it has belonged to, the last one last."""

    __slots__ = ("flows", "process", "refused", "safe")

    def __init__(self, flow: str, process: Process, refused: bool) -> None:
        self.flows = [flow]
        self.process = process
        self.refused = refused
        self.safe = True


class Answered:
    """Stands where an attempt has the platform: its answer is known."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def get(self, flow: str, deadline: float, own_connection: bool = False) -> Any:
        return self._answer


class Network:
    """Between the processes and the platform."""

    def __init__(self, world: World) -> None:
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
        process.after(left, partial(process.take_answer, making, job, _TIMED_OUT))
        if fault == "lost request":
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
            answer = world.platform.put(making, body, fault) if write else world.platform.get(making, fault)
            world.tell(f"{process}: {'PUT' if write else 'GET'} {job.name!r}: {type(answer).__name__}")
            if fault != "lost answer":
                process.after(back, partial(self._hear, making, job, answer))

        entry = making, job, arrive
        self._under_way.append(entry)
        world.after(way, arrive)

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
        making.process.take_answer(making, job, answer)


class World:
    """Runs a plan, and looks whether every promise was kept.

    Raises:
        Violation: One was not.
    """

    def __init__(self, plan: Plan, aloud: bool = False) -> None:
        self.plan = plan
        self.now = 0.0
        self.resting = False
        self.outage = ""
        self.story: list[str] = []
        self.processes: dict[int, Process] = {}
        self.given: dict[Key, Given] = {}
        self.hosts = [Host(self, number) for number in range(plan.hosts)]
        self.platform = Platform(self)
        self.network = Network(self)
        self.aloud = aloud
        self._heap: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = count()
        self.events = 0

    # -- time ----------------------------------------------------------------------------------------------

    def after(self, seconds: float, what: Callable[[], object]) -> None:
        """Lets something happen later."""
        heapq.heappush(self._heap, (self.now + max(0.0, seconds), next(self._numbers), what))

    def tell(self, text: str) -> None:
        """A line of the story."""
        if self.aloud:
            self.story.append(f"{self.now:10.4f}  {text}")

    def run(self) -> None:
        """From the begin to the rest."""
        random.seed(self.plan.seed)
        handler = _Teller(self)
        logger.propagate = False
        logger.handlers = [handler]
        logger.setLevel(logging.DEBUG if self.aloud else logging.CRITICAL + 1)
        for action in self.plan.actions:
            self.after(action.at, partial(self._act, action))
        self._run_until(max((action.at for action in self.plan.actions), default=0.0))
        self._rest()
        self._end()
        self._look_at_everything()

    def _run_until(self, until: float) -> None:
        heap = self._heap
        while heap and heap[0][0] <= until:
            self.now, _, what = heapq.heappop(heap)
            self.events += 1
            if self.events > _MOST_EVENTS:
                raise Violation("it never comes to rest")
            what()
        self.now = until

    # -- what happens --------------------------------------------------------------------------------------

    def _act(self, action: Action) -> None:
        _, what, who, details = action
        self.tell(f"** {str(action)[10:]}")
        if what == "spawn":
            self.spawn(who, self.hosts[details[0]], details[1])
        elif what in ("disk full", "disk has room"):
            self.hosts[who].full = what == "disk full"
            self.hosts[who].was_full |= self.hosts[who].full
        elif what == "clock step":
            self.hosts[who].clock_step += details[0]
        elif what in ("outage", "outage is over"):
            self.outage = details[0] if details else ""
        elif what == "add":
            self.platform.add(
                details[0], json.loads(make_span(who, 0, self.now, True, None, " of others").body)
            )
        elif what == "delete":
            self.platform.delete(details[0])
        elif what == "take away":
            self.platform.take_away(details[0], who)
        elif what == "describe":
            self.platform.describe(details[0], f"by hand {who}")
        elif who in self.processes and not self.processes[who].dead:
            _BEFALLS[what](self.processes[who], *details)

    def spawn(self, number: int, host: Host, durable: bool) -> Process:
        """Starts a process."""
        process = self.processes[number] = Process(self, number, host, durable)
        return process

    def pauses(self, process: Process) -> bool:
        """Whether it is stopped just now, between an answer and the next request."""
        if self.resting or process.random.random() >= self.plan.pause_rate:
            return False
        seconds = process.random.choice((0.3, 0.9, 1.1, 3.0, 12.0))
        self.tell(f"{process} is stopped for {seconds} s between two requests")
        process.stop()
        self.after(seconds, process.go_on)
        return True

    def has_given(self, process: Process, span: EncodedSpan) -> None:
        """A span was handed over."""
        name = span.flow_name or "default"
        family = [g for key in process.own if key[0] == span.trace_id and (g := self.given.get(key))]
        if span.flow_name is None and family:
            name = family[-1].flows[-1]
        self.given[span.trace_id, span.span_id] = Given(name, process, REFUSED.encode() in span.body)
        if span.flow_name is not None:
            for given in family:
                if given.flows[-1] != name:
                    given.flows.append(name)

    def is_killed(self, process: Process) -> None:
        """What is not safe by then nobody has to deliver."""
        self.network.cut(process)
        for key in process.own:
            given = self.given[key]
            given.safe = any(process.holds_safely(key, flow) for flow in given.flows)

    # -- the end -------------------------------------------------------------------------------------------

    def _rest(self) -> None:
        self.tell("** nothing goes wrong any more")
        self.resting, self.outage = True, ""
        for host in self.hosts:
            host.full = False
        for process in self.processes.values():
            process.kill_in = None
            process.go_on()
        if not self.plan.together:
            self._wait_for(lambda: all(process.is_quiet for process in self.living), "not all is delivered")

    @property
    def living(self) -> list[Process]:
        """Processes that have not ended."""
        return [process for process in self.processes.values() if not process.dead and not process.over]

    def _wait_for(self, done: Callable[[], bool], trouble: str) -> None:
        until = self.now + _QUIET_WITHIN
        while not done():
            if self.now > until:
                raise Violation(
                    f"{trouble} after {_QUIET_WITHIN} quiet seconds: " + "; ".join(self._states())
                )
            self._run_until(self.now + 1.0)

    def _states(self) -> list[str]:
        states = [f"{process}: {process.flows.status(BOOTED + self.now)}" for process in self.living]
        return [*states, *(f"host {host.number}: {host.rows()}" for host in self.hosts)]

    def _end(self) -> None:
        for process in self.living:
            process.shut_down(self.plan.timeout)
        self._wait_for(lambda: not self.living, "not all have ended")
        numbers = count(1000)
        for host in self.hosts:
            for durable in sorted({p.durable for p in self.processes.values() if p.host is host}):
                heir = self.spawn(next(numbers), host, durable)
                flows = sorted({flow for given in self.given.values() for flow in given.flows})
                for flow in flows:
                    trace = _LAST_TRACE + next(self._numbers)
                    heir.give([make_span(trace, 0, self.now, True, flow)], "leave", 0.0)
                self._wait_for(lambda heir=heir: heir.is_quiet and not self._left(heir), "something is left")  # type: ignore[misc]
                heir.shut_down(self.plan.timeout)
                self._wait_for(lambda: not self.living, "not all have ended")

    def _left(self, heir: Process) -> int:
        folder = "/spool/" if heir.durable else "/tmp"
        return sum(rows for path, rows in heir.host.rows().items() if path.startswith(folder))

    def _look_at_everything(self) -> None:
        if not self.plan.roomy:
            return
        dropped = set().union(*(process.dropped for process in self.processes.values()))
        for process in self.processes.values():
            counted = sum(process.flows.totals().dropped.values())
            if counted != len(process.dropped):
                raise Violation(
                    f"{process} counts {counted} as dropped, and has dropped {len(process.dropped)}"
                )
        for key, given in self.given.items():
            self._look_at(key, given, key in dropped)
        for key, name in self.platform.foreign.items():
            if key not in self.platform.excused and key not in self.platform.flows[name].spans:
                raise Violation(f"{key} of others in {name!r} is lost")

    def _look_at(self, key: Key, given: Given, dropped: bool) -> None:
        places = [name for name, document in self.platform.flows.items() if key in document.spans]
        if given.refused:
            if places or (given.safe and not dropped):
                raise Violation(f"{key} is refused, and not dropped")
            return
        if not set(places) <= set(given.flows):
            raise Violation(f"{key} stands in {places}, and belongs to {given.flows}")
        if dropped or key in self.platform.excused or not given.safe:
            return
        if not places:
            raced = next((how for flow in given.flows if (how := self.platform.raced.get((flow, key)))), "")
            if raced and (self.plan.hosts > 1 or given.process.dead):
                self.platform.count["lost in a race"] += 1
                return
            raise Violation(f"{key} of {given.process} is lost; it belongs to {given.flows[-1]!r}. {raced}")
        process = given.process
        if self.plan.max_flows < 10 or self.plan.hosts > 1:
            # Another host's writer may bring back what has moved, and what has left memory can't move any more.
            return
        if process.over and not process.troubled_end and places != given.flows[-1:]:
            elsewhere = [name for name in places if name != given.flows[-1]]
            if given.flows[-1] in places and all(
                self._returned_unseen(name, key, process) for name in elsewhere
            ):
                self.platform.count["twice after a race"] += 1
                return
            raise Violation(f"{key} of {process} stands in {places}, and belongs to {given.flows[-1]!r}")

    def _returned_unseen(self, name: str, key: Key, process: Process) -> bool:
        """Whether a race brought it back to its old flow after its process had looked there for the last time."""
        returned = self.platform.returned.get((name, key))
        return returned is not None and returned > self.platform.read_by.get((process.number, name), 0.0)


class _Teller(logging.Handler):
    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        self._world.tell(f"    {here.process} says: {record.getMessage()}")


_BEFALLS: dict[str, Callable[..., None]] = {
    "give": Process.give,
    "flush": Process.flush,
    "shut down": Process.shut_down,
    "let go": Process.let_go,
    "stop": Process.stop,
    "go on": Process.go_on,
    "kill": lambda process: process.die("by a signal"),
    "kill in": lambda process, calls: setattr(process, "kill_in", calls),
}
