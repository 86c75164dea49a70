"""`./scripts/simulate --scale`: a fleet that no machine of ours could hold, with nothing going wrong.

The real rooms of every process, in virtual time; the platform only counts, and what one process has read no other
one parses again. Nothing is looked at as in the other worlds, but the bound of PUTs over Redis.
"""

from __future__ import annotations

import argparse
import logging
import resource
import time
from collections import Counter
from functools import partial
from typing import Any, NamedTuple

from opentelemetry.exporter.versori_flow.delivery import attempt
from opentelemetry.exporter.versori_flow.flow import window
from opentelemetry.exporter.versori_flow.settings.load import load_settings
from opentelemetry.exporter.versori_flow.stores.redis_client import RedisClient

from .install import install
from .machine import BOOTED
from .plan import Plan, make_span
from .process import Process
from .redis_plan import RedisPlan
from .redis_process import RedisProcess
from .scale_model import CountingPlatform, CountingServer, Unwatched, run_script
from .world import World

_TEXT = "x" * 400
_WAITS_FOR = 60.0
"""Seconds after the last span in which all should be visible."""

_SETTINGS = load_settings(
    api_key="k", organisation_id="0" * 26, project_id="1" * 26, base_url="https://platform"
)


class Scale(NamedTuple):
    """What is asked for.

    Attributes:
        seconds: So long everything is counted.
        warm: Seconds before that.
        every: Seconds between two traces of a process; when it has its first is chance.
        spans: Of each trace.
    """

    store: str
    hosts: int
    processes: int
    flows: int
    seconds: float
    warm: float
    every: float
    spans: int
    latency: float
    redis_latency: float


class HostProcess(Process):
    """With files, or nothing."""

    def _look(self) -> None:
        _look(self)


class FleetProcess(RedisProcess):
    """With a Redis."""

    def _look(self) -> None:
        _look(self)


def _look(process: Any) -> None:
    if process.intake.messages.qsize():
        process._wake_at(BOOTED + process.world.now + 0.001)


class ScaleWorld(World):
    """All processes begin within the first second."""

    most_events = float("inf")

    def __init__(self, scale: Scale) -> None:
        super().__init__(_plan(scale))
        self.counts = False
        self.given: dict[Any, float] = {}
        self.platform: Any = CountingPlatform(self)
        self.server: CountingServer | None = None
        if self.redis:
            self.server = self.redis.server = self.redis.wire._server = CountingServer(self)
        self._scale = scale
        self._kind = FleetProcess if scale.store == "redis" else HostProcess
        self._traces = 0

    def run(self) -> None:
        """Runs it: some time to get going, then what is counted."""
        scale = self._scale
        logger = logging.getLogger("opentelemetry.exporter.versori_flow")
        logger.setLevel(logging.CRITICAL + 1)
        count = scale.hosts * scale.processes
        for number in range(count):
            self.after(number / count, partial(self._begin, number))
        self._run_until(scale.warm)
        self.counts = True
        self._run_until(self._end_of_giving)
        self.counts = False
        last = self.now
        while len(self.platform.seen) < len(self.given) and self.now < last + _WAITS_FOR:
            self._run_until(self.now + 1.0)

    def _begin(self, number: int) -> None:
        process = self.spawn(number, self.hosts[number % self._scale.hosts], self._scale.store != "memory")
        process.promises = Unwatched()  # type: ignore[assignment]
        self.after(process.random.uniform(0, self._scale.every), partial(self._give, process))

    @property
    def _end_of_giving(self) -> float:
        return self._scale.warm + self._scale.seconds

    def _give(self, process: Process) -> None:
        if self.now > self._end_of_giving:
            return
        trace, self._traces = self._traces, self._traces + 1
        flow = f"flow {trace * 7919 % self._scale.flows}"
        made = [make_span(trace, span, self.now, span == 0, flow, _TEXT) for span in range(self._scale.spans)]
        for span in made:
            self.given[span.trace_id, span.span_id] = self.now
        process.run(partial(process._leave, made))
        self.after(self._scale.every, partial(self._give, process))


def _plan(scale: Scale) -> Plan:
    settings = _SETTINGS
    return Plan(
        seed=1,
        hosts=scale.hosts,
        latency=scale.latency,
        min_interval=settings.min_interval,
        timeout=settings.timeout,
        max_spans=settings.max_spans,
        max_flows=settings.max_flows,
        roomy=True,
        page=settings.max_spans,
        crew=32,
        faults=(),
        fault_rate=0.0,
        pause_rate=0.0,
        names_fields=True,
        together=False,
        write_mode="merge",
        limit=0,
        actions=(),
        redis=RedisPlan(scale.redis_latency, (), 0.0) if scale.store == "redis" else None,
    )


def measure(scale: Scale) -> tuple[dict[str, float], ScaleWorld]:
    """Runs it; returns what was measured, by name."""
    trim = window.Window.trim
    install()
    window.Window.trim = trim  # type: ignore[method-assign]
    world = ScaleWorld(scale)
    attempt.read = world.platform.read
    RedisClient._run = run_script  # type: ignore[method-assign]
    begun = time.monotonic()
    world.run()
    platform, seconds = world.platform, scale.seconds
    waits = sorted(at - world.given[key] for key, at in platform.seen.items())
    counted, commands = platform.requests, world.server.commands if world.server else Counter[str]()
    figures = {
        "spans given a second": sum(at > scale.warm for at in world.given.values()) / seconds,
        "PUTs a second": counted["PUT"] / seconds,
        "reads a second": counted["GET"] / seconds,
        "MB a second to the platform": platform.size["PUT"] / seconds / 1e6,
        "MB a second from the platform": platform.size["GET"] / seconds / 1e6,
        "most PUTs of a flow": max(platform.puts.values()),
        "store commands a second": commands.total() / seconds,
        "MB a second at the store": (world.server.size if world.server else 0) / seconds / 1e6,
        "visible after, median s": waits[len(waits) // 2],
        "visible after, p99 s": waits[len(waits) * 99 // 100],
        "visible after, most s": waits[-1],
        "never visible": len(world.given) - len(waits),
        "not in its flow at the end": _missing(world),
        "took s": time.monotonic() - begun,
        "memory MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    return figures, world


def _missing(world: ScaleWorld) -> int:
    """Of the newest spans, half a window of them: how many do not stand in their flows?"""
    there = {span.key for document in world.platform._documents.values() for span in document.spans}
    newest = list(world.given)[-world.plan.max_spans // 2 :]
    return sum(key not in there for key in newest)


def add_options(group: argparse._ArgumentGroup) -> None:
    """What may be said of a fleet."""
    group.add_argument("--scale", action="store_true", help="measure it")
    group.add_argument("--store", choices=("memory", "sqlite", "redis"), default="redis")
    group.add_argument("--hosts", type=int, default=1000)
    group.add_argument("--processes", type=int, default=8, help="of each host (8)")
    group.add_argument("--flows", type=int, default=1)
    group.add_argument("--seconds", type=float, default=20.0, help="that are counted (20)")
    group.add_argument("--warm", type=float, default=5.0, help="seconds before that (5)")
    group.add_argument(
        "--every", type=float, default=40.0, help="seconds between two traces of a process (40)"
    )
    group.add_argument("--spans", type=int, default=4, help="of a trace (4)")
    group.add_argument(
        "--latency", type=float, default=0.02, help="seconds of each way to the platform (0.02)"
    )
    group.add_argument("--redis-latency", type=float, default=0.0005, help="likewise, to Redis (0.0005)")


def main(given: argparse.Namespace) -> int:
    """Prints what was measured."""
    scale = Scale(**{name: getattr(given, name) for name in Scale._fields})
    figures, world = measure(scale)
    print(", ".join(f"{name} {value}" for name, value in scale._asdict().items()))
    for name, value in figures.items():
        print(f"{name:32} {value:12.2f}")
    for name, count in sorted(world.server.commands.items() if world.server else ()):
        print(f"    {name:28} {count / scale.seconds:12.1f} a second")
    return 0
