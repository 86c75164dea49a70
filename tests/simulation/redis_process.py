"""A process of a fleet: the real fleet keeper, fleet window and client over a modelled Redis.

Whoever has its desk may wait there for Redis: what else happens to the process waits until the desk is free.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

from opentelemetry.exporter.versori_flow import wiring
from opentelemetry.exporter.versori_flow.delivery.fleet_keeper import FleetKeeper
from opentelemetry.exporter.versori_flow.delivery.host_lock import HostLock
from opentelemetry.exporter.versori_flow.delivery.keeper import Keeper
from opentelemetry.exporter.versori_flow.flow.flows import FlowStep
from opentelemetry.exporter.versori_flow.settings import redis_url

from .attempts import Making
from .machine import Violation
from .platform import Key
from .process import Process
from .redis_wire import Strand

_URL = redis_url.parse("redis://redis:6379/0")


class RedisProcess(Process):
    """A program with an exporter whose store is `redis://`.

    Attributes:
        waiting: Its threads that wait, for Redis or for a time.
        heard_at: When what has answered it last was told by a script.
    """

    late = 3.0  # Redis may not answer; whoever asks waits as long as he said himself

    def __init__(self, *given: Any, **more: Any) -> None:
        self.waiting: dict[Strand, None] = {}
        self.heard_at = float("-inf")
        self._queue: deque[Callable[[], None]] = deque()
        self._desk_taken = False
        self._woken: list[Strand] = []
        super().__init__(*given, **more)

    def __str__(self) -> str:
        return f"process {self.number} (redis, host {self.host.number})"

    def make_keeper(self, settings: Any) -> Keeper:
        plan = self.world.plan
        bounds = {"max_spans": plan.max_spans, "max_bytes": 4 << 20, "timeout": plan.timeout}
        settings = SimpleNamespace(**{**vars(settings), **bounds})

        def open_fleet() -> Any:
            store = wiring._open_fleet(settings, _URL)
            self.world.redis.prefix = store._fleet._prefix
            return store

        host_lock = HostLock("u", "o", "p")
        return FleetKeeper(self.flows, host_lock, open_fleet, str(_URL), plan.timeout, plan.min_interval)

    # -- being run -----------------------------------------------------------------------------------------

    def run_now(self, what: Callable[[], None]) -> None:
        self._queue.append(what)
        if not self._desk_taken:
            self._desk_taken = True
            self.resume(Strand(self, self._work))

    def _work(self) -> None:
        while self._queue:
            self._queue.popleft()()
            self._look()
        if self.over and self.heard_at < self.world.redis.lost_at:
            self.world.redis.is_left_by(self)
        self._desk_taken = False

    def resume(self, strand: Strand) -> None:
        """Lets a thread go on."""
        if self.dead:
            return
        if self.stopped:
            self._woken.append(strand)
        else:
            self._do(strand.switch)

    def start_thread(self, run: Callable[[], None]) -> None:
        """Begins a thread that never comes to the desk."""
        self.world.after(0.0, partial(self.resume, Strand(self, run)))

    def go_on(self) -> None:
        super().go_on()
        woken, self._woken = self._woken, []
        for strand in woken:
            self.world.after(0.0, partial(self.resume, strand))

    def hear(self, making: Making, job: FlowStep, answer: Any) -> None:
        """Its thread has an answer, or has waited long enough, whoever has the desk."""
        if self.dead or self.stopped:
            super().hear(making, job, answer)
        elif making.job is job and making.waits:
            making.waits = False
            self.run(partial(self.hands.feed, making, job, answer))

    def die(self, how: str) -> None:
        self.world.redis.wire.cut(self)
        super().die(how)
        for strand in list(self.waiting):
            strand.kill()

    # -- what must hold ------------------------------------------------------------------------------------

    @property
    def is_quiet(self) -> bool:
        return (self.over or self.dead or not self._desk_taken) and super().is_quiet

    def look_at_what_is_kept(self) -> None:
        if self._desk_taken or self.world.redis.troubled or not self.world.plan.roomy:
            return  # what Redis can't take is in memory only, and that is said; what it has pushed out is lost
        dropped = set().union(*(process.dropped for process in self.world.processes.values()))
        for flow in self.flows:
            for entry in flow.window:
                if not entry.pending or entry.key not in self.own or entry.key in dropped:
                    continue  # delivered, or another process's, who may have moved it meanwhile; or lost there
                if not self.world.redis.has(flow.name, entry.key):
                    raise Violation(f"{self} is killed, and Redis lacks {entry.key} of {flow.name!r}")

    def holds_safely(self, key: Key, flow: str) -> bool:
        held = self.flows.memory.flows.get(flow)
        entry = None if held is None else held.window.get(key)
        return bool(self.world.redis.has(flow, key) or (entry is not None and not entry.pending))

    def puts_right(self, making: Making, other: Making) -> bool:
        # A lease has run out. That is known, and looked for, unless the PUT came long after it was given up.
        known = all(one.attempt.in_turn and not one.late for one in (making, other))
        return known and not self.world.redis.may_lose([making.flow])

    def shares_turns(self, other: Process) -> bool:
        return True

    def lands(self, making: Making) -> None:
        making.in_turn = making.attempt.in_turn and self.world.redis.holds(making)

    def has_landed(self, making: Making, answer: Any) -> None:
        self.world.redis.look_at_pace(making, answer)
