"""Ways to break what a fleet shares, each of them a promise: see `broken.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opentelemetry.exporter.versori_flow.delivery import fleet_keeper
from opentelemetry.exporter.versori_flow.stores import fleet, fleet_store


def _put(place: Any, **parts: Any) -> Callable[[], None]:
    def apply() -> None:
        for name, part in parts.items():
            setattr(place, name, part)

    return apply


def _at_once(settle: Any) -> Any:
    return lambda self, claim, carried, wait, verified: settle(self, claim, carried, 0.0, verified)


def _nothing(settle: Any) -> Any:
    return lambda self, claim, carried, wait, verified: settle(self, claim, (), wait, verified)


def _for_anybody(script: Any) -> Any:
    """Who has the lease is not asked."""
    return fleet.Script(
        script.text.replace("local holder, wait = holder_of(f), 0", "local holder, wait = false, 0")
    )


def _by_the_servers_clock() -> None:
    """Whatever that is."""
    for name, script in list(vars(fleet).items()):
        if isinstance(script, fleet.Script):
            setattr(fleet, name, fleet.Script(script.text.replace("if NOW < latest then", "if false then")))


REDIS_BROKEN: dict[str, tuple[int, Callable[[], None]]] = {
    "Redis is told nothing": (0, _put(fleet.Fleet, _put=lambda self, batch, is_full=False: [])),
    "Redis is not told anew": (695, _put(fleet_store.FleetStore, wants_all=lambda self, now: False)),
    "Redis is not told what was carried": (0, _put(fleet.Fleet, settle=_nothing(fleet.Fleet.settle))),
    "a lease is everybody's": (9, _put(fleet, CLAIM=_for_anybody(fleet.CLAIM))),
    "a fleet has no pace": (6, _put(fleet.Fleet, settle=_at_once(fleet.Fleet.settle))),
    "nobody delivers for others": (3, _put(fleet_store.FleetStore, take_on=lambda self, flow: None)),
    "a clock may go back": (84, _by_the_servers_clock),
    "without Redis nobody goes on": (22, _put(fleet_keeper, _AGAIN=3600.0)),
}
