"""What happens in a world, from its seed: who lives when, what befalls whom, and what goes wrong by chance."""

from __future__ import annotations

import json
import random
from typing import Any, NamedTuple

from opentelemetry.exporter.versori_flow.encoded_span import EncodedSpan

from .platform import KINDS, REFUSED
from .redis_plan import RedisPlan, with_redis

_SECOND = 1_000_000_000
_START = 1_800_000_000
_CHILDREN = 100
"""What the numbers of forked children begin with; their parents' come after that."""


class Action(NamedTuple):
    """Something that happens.

    Attributes:
        at: When, in seconds.
        what: What.
        who: The number of the process, or of the host, that it happens to.
        details: What more there is to say.
    """

    at: float
    what: str
    who: int
    details: tuple[Any, ...] = ()

    def __str__(self) -> str:
        details = ", ".join(_shown(detail) for detail in self.details)
        return f"{self.at:8.3f}  {self.what} {self.who}{': ' if details else ''}{details}"


class Plan(NamedTuple):
    """All that a seed stands for.

    Attributes:
        roomy: Whether no window is ever full: then every span is looked for, else only the counts.
        page: Of what orphans left so many spans, halved, are in memory at once.
        redis: What there is to know of the Redis that all processes share; None: each has files, or nothing.
        together: Whether all that lives at the end ends at once, in the midst of its work.
        write_mode: The setting, for all processes.
        limit: Bytes of a body that the platform takes; 0: any.
    """

    seed: int
    hosts: int
    latency: float
    min_interval: float
    timeout: float
    max_spans: int
    max_flows: int
    roomy: bool
    page: int
    crew: int
    faults: tuple[str, ...]
    fault_rate: float
    pause_rate: float
    names_fields: bool
    together: bool
    write_mode: str
    limit: int
    actions: tuple[Action, ...]
    redis: RedisPlan | None = None

    @property
    def head(self) -> str:
        """Everything but the actions."""
        return ", ".join(f"{name}={value!r}" for name, value in self._asdict().items() if name != "actions")


def _shown(detail: Any) -> str:
    if isinstance(detail, tuple):
        return f"{len(detail)} spans of " + ", ".join(
            sorted({f"{span.trace_id[-4:]} ({span.flow_name or '-'})" for span in detail})
        )
    return f"{detail:.3f}" if isinstance(detail, float) else str(detail)


def make_span(trace: int, span: int, at: float, root: bool, name: str | None, text: str = "") -> EncodedSpan:
    """A span; span 0 is the root of its trace."""
    trace_id, span_id = f"{trace + 1:032x}", f"{(trace << 8) + span + 1:016x}"
    parent = None if root else f"{(trace << 8) + 1:016x}"
    start = int((_START + at) * _SECOND)
    document: dict[str, Any] = {
        "name": f"{trace}.{span}{text}",
        "startTime": f"2027-01-15T08:{int(at) // 60 % 60:02}:{int(at) % 60:02}.000000000Z",
        "endTime": f"2027-01-15T08:{int(at) // 60 % 60:02}:{int(at) % 60:02}.000000000Z",
        "spanContext": {"traceId": trace_id, "spanId": span_id, "traceFlags": 1},
    }
    if parent is not None:
        document["parentSpanContext"] = {"traceId": trace_id, "spanId": parent}
    body = json.dumps(document, separators=(",", ":")).encode()
    return EncodedSpan(trace_id, span_id, parent, root, start, start, body, name)


class _Story:
    """Makes a plan's actions."""

    def __init__(
        self, chance: random.Random, hosts: int, duration: float, flows: int, most_text: int
    ) -> None:
        self.actions: list[Action] = []
        self.traces = 0
        self._chance = chance
        self._hosts = hosts
        self._duration = duration
        self._flows = flows
        self._most_text = most_text
        self._poison = 0.03 if chance.random() < 0.2 else 0.0

    def at(self, when: float, what: str, who: int, *details: Any) -> None:
        self.actions.append(Action(when, what, who, details))

    def live(self, number: int, durable: bool) -> None:
        """One process: its begin, its spans, its end."""
        chance = self._chance
        begin = chance.choice((0.0, chance.uniform(0, self._duration / 2)))
        self.at(begin, "spawn", number, chance.randrange(self._hosts), durable)
        self._live_on(number, begin)

    def _live_on(self, number: int, begin: float) -> None:
        chance = self._chance
        end = begin + chance.uniform(0.1, self._duration)
        if number < _CHILDREN and chance.random() < 0.12:
            child, when = number + _CHILDREN, chance.uniform(begin, end)
            self.at(when, "fork", number, child, chance.random() < 0.7)
            self._live_on(child, when)
        for _ in range(chance.randint(1, 5)):
            self.batch(number, begin + chance.random() ** 2 * (end - begin))
        for _ in range(chance.choice((0, 0, 0, 1, 2))):
            self.at(chance.uniform(begin, end), "flush", number, chance.choice((0.1, 1.0, 5.0)))
        for _ in range(chance.choice((0, 0, 0, 1, 2))):
            when = chance.uniform(begin, end)
            self.at(when, "stop", number)
            self.at(when + chance.choice((0.05, 0.6, 1.5, 4.0, 15.0)), "go on", number)
        match chance.choice(("shut down", "shut down", "shut down", "kill", "kill in", "let go", "live on")):
            case "shut down":
                self.at(end, "shut down", number, chance.choice((0.0, 0.05, 0.5, 2.0, 10.0)))
            case "kill":
                self.at(end, "kill", number)
            case "kill in":
                self.at(end, "kill in", number, chance.choice((chance.randint(0, 12), chance.randint(0, 60))))
                self.batch(number, end)
                self.at(end + 0.1, "shut down", number, 10.0)
            case "let go":
                self.at(end, "let go", number)

    def batch(self, number: int, when: float) -> None:
        """A process ends some spans; children before their root, which may come later, and may name the flow."""
        chance = self._chance
        spans: list[EncodedSpan] = []
        for _ in range(chance.randint(1, 3)):
            trace, size = self.traces, chance.choice((1, 1, 2, 3, 5))
            self.traces += 1
            flow = chance.choice((None, *(f"flow {n}" for n in range(self._flows))))
            text = f" {REFUSED}" if chance.random() < self._poison else ""
            text += "x" * int(self._most_text * chance.random() ** 2)
            made = [make_span(trace, n, when, n == 0, flow if n == 0 else None, text) for n in range(size)]
            later = size > 1 and chance.random() < 0.4
            spans += reversed(made[1:] if later else made)
            if later:
                self._give(number, when + chance.choice((0.05, 0.5, 3.0)), made[:1])
        self._give(number, when, spans)

    def _give(self, number: int, when: float, spans: list[EncodedSpan]) -> None:
        way = self._chance.choice(("leave", "leave", "export", "accept"))
        self.at(when, "give", number, tuple(spans), way, self._chance.choice((0.1, 1.0)))

    def others(self) -> None:
        """People, other writers, and the machines."""
        chance, most = self._chance, self._duration
        for _ in range(chance.choice((0, 0, 2, 5))):
            flow = chance.choice(("default", *(f"flow {n}" for n in range(self._flows))))
            when = chance.uniform(0, most)
            what = chance.choice(("add", "add", "add", "delete", "take away", "describe"))
            trace = self.traces
            self.traces += what == "add"
            self.at(when, what, trace, flow)
        if chance.random() < 0.08:
            flow = chance.choice(("default", *(f"flow {n}" for n in range(self._flows))))
            when = chance.uniform(0, most)
            self.at(when, "spoil", self.traces, flow)
            self.traces += 1
            self.at(when + chance.uniform(0.1, 60), "repair", 0, flow)
        for host in range(self._hosts):
            for _ in range(chance.choice((0, 0, 0, 0, 0, 0, 0, 1, 2))):
                kind = chance.choice(("torn", "flip", "flip", "page", "garbage"))
                self.at(chance.uniform(0, most + 5), "damage", host, kind, chance.random(), chance.random())
            if chance.random() < 0.2:
                when = chance.uniform(0, most)
                self.at(when, "disk full", host)
                self.at(when + chance.uniform(0, 90), "disk has room", host)
            if chance.random() < 0.2:
                step = chance.choice((-86400.0, -90.0, -2.0, 3.0, 100.0, 7200.0))
                self.at(chance.uniform(0, most), "clock step", host, step)
        if chance.random() < 0.25:
            when = chance.uniform(0, most)
            self.at(when, "outage", 0, chance.choice(("503", "unreached", "lost request", "401")))
            self.at(when + chance.uniform(0.1, 30), "outage is over", 0)


def plan(seed: int, redis: bool | None = None) -> Plan:
    """What a seed stands for; in a third of the worlds the processes share a Redis, or as is said."""
    planned = _plan(seed)
    if redis is None:
        redis = random.Random(f"whether {seed}").random() < 1 / 3
    return with_redis(planned) if redis else planned


def _plan(seed: int) -> Plan:
    chance = random.Random(seed)
    hosts = 2 if chance.random() < 0.15 else 1
    roomy = chance.random() < 0.85
    limit = chance.choice((700, 1500, 4000)) if chance.random() < 0.1 else 0
    roomy = roomy and not limit
    duration, flows = chance.choice((2.0, 6.0, 20.0)), chance.randint(1, 3)
    story = _Story(chance, hosts, duration, flows, 1000 if limit else 0)
    mostly_durable = chance.choice((0.0, 0.5, 1.0))
    for number in range(chance.choice((1, 2, 2, 3, 3, 4, 4, 6, 6, 15))):
        story.live(number, chance.random() < mostly_durable)
    story.others()
    faulty = chance.random() < 0.75
    return Plan(
        seed=seed,
        hosts=hosts,
        latency=chance.choice((0.001, 0.02, 0.2)),
        min_interval=chance.choice((0.0, 0.3, 1.0)),
        timeout=chance.choice((2.0, 10.0)),
        max_spans=1000 if roomy or limit else chance.randint(4, 12),
        max_flows=chance.choice((100, 100, 2)),
        roomy=roomy,
        page=chance.choice((4, 20, 1000)),
        crew=chance.choice((1, 2, 32)),
        faults=tuple(sorted(chance.sample(KINDS, chance.randint(1, len(KINDS))))) if faulty else (),
        fault_rate=chance.choice((0.05, 0.2, 0.5)),
        pause_rate=chance.choice((0.0, 0.0, 0.02)),
        names_fields=chance.random() < 0.5,
        together=chance.random() < 0.4,
        write_mode="replace" if chance.random() < 0.08 else "merge",
        limit=limit,
        actions=tuple(sorted(story.actions, key=lambda action: action.at)),
    )
