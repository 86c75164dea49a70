"""A world: hosts, processes and the platform, in virtual time; and what must hold in it."""

from __future__ import annotations

import heapq
import json
import logging
import random
from collections.abc import Callable
from functools import partial
from itertools import count

from opentelemetry.exporter.versori_flow.encoded_span import EncodedSpan

from .machine import BOOTED, Host, Violation, here, rows_in
from .network import Network
from .plan import Action, Plan, make_span
from .platform import REFUSED, Key, Platform
from .process import Process
from .redis_fleet import BEFALLS_REDIS, RedisFleet
from .redis_process import RedisProcess
from .verdict import Given, Verdict

_QUIET_WITHIN = 400.0
"""Seconds in which everything is delivered once nothing goes wrong any more: the longest waits are a minute."""

_LAST_TRACE = 1_000_000

logger = logging.getLogger("opentelemetry.exporter.versori_flow")


class World:
    """Runs a plan, and looks whether every promise was kept.

    Raises:
        Violation: One was not.
    """

    most_events: float = 300_000

    def __init__(self, plan: Plan, aloud: bool = False) -> None:
        self.plan = plan
        self.now = 0.0
        self.resting = False
        self.outage = ""
        self.story: list[str] = []
        self.processes: dict[int, Process] = {}
        self.given: dict[Key, Given] = {}
        self.damaged: set[Key] = set()
        self.cut_short = False
        self.unsaid_at = float("-inf")  # when somebody last went who may not have said goodbye
        self.hosts = [Host(self, number) for number in range(plan.hosts)]
        self.platform = Platform(self)
        self.network = Network(self)
        self.redis = RedisFleet(self) if plan.redis else None
        self._kind = RedisProcess if plan.redis else Process
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
        Verdict(self).look_at_everything()

    def _run_until(self, until: float) -> None:
        heap = self._heap
        while heap and heap[0][0] <= until:
            self.now, _, what = heapq.heappop(heap)
            self.events += 1
            if self.events > self.most_events:
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
            self.hosts[who].was_faulty |= self.hosts[who].full
        elif what == "clock step":
            self.hosts[who].clock_step += details[0]
        elif what in ("outage", "outage is over"):
            self.outage = details[0] if details else ""
        elif what == "add":
            self.platform.add(
                details[0], json.loads(make_span(who, 0, self.now, True, None, " of others").body)
            )
        elif what == "spoil":
            made = make_span(who, 0, self.now, True, None, f" {REFUSED}, of others")
            self.platform.spoil(details[0], json.loads(made.body))
        elif what == "repair":
            self.platform.repair(details[0])
        elif what == "damage":
            self.hosts[who].damage(*details)
        elif what == "delete":
            self.platform.delete(details[0])
        elif what == "take away":
            self.platform.take_away(details[0], who)
        elif what == "describe":
            self.platform.describe(details[0], f"by hand {who}")
        elif what in BEFALLS_REDIS and self.redis:
            self.redis.befall(what, who, details)
        elif who in self.processes and not self.processes[who].dead:
            _BEFALLS[what](self.processes[who], *details)

    def spawn(self, number: int, host: Host, durable: bool) -> Process:
        """Starts a process."""
        process = self.processes[number] = self._kind(self, number, host, durable)
        return process

    def fork(self, parent: Process, number: int, told: bool) -> None:
        """A process forks, unless it is stopped, or ends."""
        if not (parent.stopped or parent.closing):
            self.processes[number] = self._kind(self, number, parent.host, parent.durable, parent, told)

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

    def is_killed(self, process: Process, in_its_work: bool) -> None:
        """What is not safe by then nobody has to deliver; who is killed as he sets a damaged file aside has none."""
        self.network.cut(process)
        self.unsaid_at = self.now
        for key in process.own:
            given = self.given[key]
            given.safe = not in_its_work and any(process.holds_safely(key, flow) for flow in given.flows)

    # -- the end -------------------------------------------------------------------------------------------

    def _rest(self) -> None:
        self.tell("** nothing goes wrong any more")
        self.resting, self.outage = True, ""
        for host in self.hosts:
            host.full = False
        for name in list(self.platform.flows):
            self.platform.repair(name)
        if self.redis:
            self.redis.rest()
        for process in self.processes.values():
            process.kill_in = None
            process.go_on()
        if not self.plan.together:
            self._wait_for(self._is_quiet, "not all is delivered")
            self._wait_for(lambda: not any(map(self._orphans, self.hosts)), "an orphan is not found")

    def _is_quiet(self) -> bool:
        living = self.living
        if not all(process.is_quiet for process in living):
            return False
        return not (self.redis and living and self.redis.left())

    def _orphans(self, host: Host) -> int:
        """Spans in files that nobody has, while a process lives that should look for them."""
        if not any(process.durable and process.host is host for process in self.living):
            return 0
        return sum(rows_in(inode) for path, inode in host.files.items() if host.is_orphan(path))

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
        states = [f"{process}: {process.flows.memory.status(BOOTED + self.now)}" for process in self.living]
        if self.redis:
            states.append(f"redis: {self.redis.left()} left")
        return [*states, *(f"host {host.number}: {host.rows()}" for host in self.hosts)]

    def _end(self) -> None:
        living, begun = self.living, self.now
        for process in living:
            process.shut_down(self.plan.timeout)
        self._wait_for(lambda: not self.living, "not all have ended")
        if self.redis and living and not any(process.troubled_end for process in living):
            self.redis.look_at_what_waits(begun)
        numbers = count(1000)
        for host, durable in self._heirs():
            heir = self.spawn(next(numbers), host, durable)
            flows = sorted({flow for given in self.given.values() for flow in given.flows})
            for flow in flows:
                trace = _LAST_TRACE + next(self._numbers)
                heir.give([make_span(trace, 0, self.now, True, flow)], "leave", 0.0)
            self._wait_for(lambda heir=heir: heir.is_quiet and not self._left(heir), "something is left")  # type: ignore[misc]
            heir.shut_down(self.plan.timeout)
            self._wait_for(lambda: not self.living, "not all have ended")

    def _heirs(self) -> list[tuple[Host, bool]]:
        """Where processes are to begin that deliver what others have left, and with which store."""
        if self.redis:
            return [(self.hosts[0], True)]
        return [
            (host, durable)
            for host in self.hosts
            for durable in sorted({p.durable for p in self.processes.values() if p.host is host})
        ]

    def _left(self, heir: Process) -> int:
        if self.redis:
            return self.redis.left()
        folder = "/spool/" if heir.durable else "/tmp"
        return sum(rows for path, rows in heir.host.rows().items() if path.startswith(folder))


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
    "go on": lambda process: process.go_on(),
    "fork": lambda process, number, told: process.world.fork(process, number, told),
    "kill": lambda process: process.die("by a signal"),
    "kill in": lambda process, calls: setattr(process, "kill_in", calls),
}
