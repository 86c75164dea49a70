"""What a seed stands for where the processes share a Redis: more hosts, and what befalls Redis and the way to it."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

from .redis_wire import KINDS

_SAYS = (
    "LOADING Redis is loading the dataset in memory",
    "NOAUTH Authentication required.",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
)


class RedisPlan(NamedTuple):
    """A Redis.

    Attributes:
        latency: Seconds of each way.
        faults: What may go wrong with a command, each by chance.
        fault_rate: How often.
    """

    latency: float
    faults: tuple[str, ...]
    fault_rate: float


def with_redis(plan: Any) -> Any:
    """The same world, but that its processes share a Redis."""
    chance = random.Random(f"redis of {plan.seed}")
    hosts = chance.choice((1, 1, 2, 2, 3, 5))
    actions = [
        _moved(action, chance.randrange(hosts), hosts)
        for action in plan.actions
        if action.what not in ("disk full", "disk has room", "damage")
    ]
    at = type(plan.actions[0])
    until = max(action.at for action in actions)
    for _ in range(chance.choice((0, 0, 0, 1, 1, 2, 3))):
        begin = chance.uniform(0, until)
        end = begin + chance.choice((0.1, 1.0, 4.0, 12.0, 40.0)) * chance.uniform(0.5, 1.0)
        host = chance.randrange(hosts)
        for when, what, *details in _trouble(chance, begin, end):
            actions.append(at(when, what, host, tuple(details)))
    faulty = chance.random() < 0.5
    return plan._replace(
        hosts=hosts,
        write_mode="merge",
        actions=tuple(sorted(actions, key=lambda action: action.at)),
        redis=RedisPlan(
            latency=chance.choice((0.0001, 0.002, 0.05)),
            faults=tuple(sorted(chance.sample(KINDS, chance.randint(1, len(KINDS))))) if faulty else (),
            fault_rate=chance.choice((0.01, 0.05, 0.2)),
        ),
    )


def _moved(action: Any, host: int, hosts: int) -> Any:
    """An action of a world with fewer hosts."""
    if action.what == "spawn":
        return action._replace(details=(host, True, *action.details[2:]))
    return action._replace(who=action.who % hosts) if action.what == "clock step" else action


def _trouble(chance: random.Random, begin: float, end: float) -> tuple[tuple[Any, ...], ...]:
    what = chance.choice(
        ("restart", "restart", "stop", "stop", "full", "full", "emptied", "failover", "says", "cut off")
    )
    if what == "restart":
        how = chance.choice(("and comes back with it", "with all it had"))
        return (begin, "redis goes", how), (end, "redis is back")
    if what == "stop":
        return (begin, "redis stops"), (end, "redis goes on")
    if what == "full":
        return (begin, "redis is full"), (end, "redis has room")
    if what == "emptied":
        return ((begin, "redis is emptied"),)
    if what == "failover":
        behind = begin - chance.choice((0.0, 0.05, 0.5, 2.0))
        ahead = random.Random(begin).choice((0.0, 0.0, -3600.0, 20.0))
        return (max(0.0, behind), "replica falls behind"), (begin, "redis fails over", ahead)
    if what == "says":
        return (begin, "redis says", chance.choice(_SAYS)), (end, "redis is well")
    return (begin, "host is cut off"), (end, "host is connected")
