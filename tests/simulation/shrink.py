"""Makes the plan of a world that fails smaller, for as long as it still fails in the same way."""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Iterator
from typing import NamedTuple

from .machine import Violation
from .plan import Plan
from .world import World

_WITHIN = 60.0
"""Seconds that a search for a smaller plan takes at most."""


class Outcome(NamedTuple):
    """What became of a world that fails.

    Attributes:
        trouble: What was wrong.
        story: What happened, line by line; empty unless it was told.
    """

    trouble: str
    story: list[str]

    @property
    def kind(self) -> str:
        """What was wrong, without whom it befell."""
        text = re.sub(r"\(.*?\)|'.*?'|[\d.]+|[{\[].*", "", self.trouble)
        return " ".join(text.split()[:12])


def run(plan: Plan, aloud: bool = False) -> Outcome | None:
    """Runs a world; None: every promise was kept."""
    world = World(plan, aloud)
    try:
        world.run()
    except Violation as error:
        return Outcome(str(error), world.story)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return Outcome(f"{type(error).__name__} {error} at {where.filename}:{where.lineno}", world.story)
    return None


def shrink(plan: Plan) -> Plan:
    """A smaller plan that fails in the same way."""
    first, until = run(plan), time.monotonic() + _WITHIN
    if first is None:
        return plan
    smaller = True
    while smaller:
        smaller = False
        for candidate in _smaller(plan):
            if time.monotonic() > until:
                return plan
            outcome = run(candidate)
            if outcome is not None and outcome.kind == first.kind:
                plan, smaller = candidate, True
                break
    return plan


def _smaller(plan: Plan) -> Iterator[Plan]:
    """Plans with less in them, the smallest first."""
    if plan.faults:
        yield plan._replace(faults=())
    if plan.pause_rate:
        yield plan._replace(pause_rate=0.0)
    size = len(plan.actions)
    step = max(1, size // 2)
    while step:
        for begin in range(0, size, step):
            yield plan._replace(actions=plan.actions[:begin] + plan.actions[begin + step :])
        step //= 2
    for fault in plan.faults:
        yield plan._replace(faults=tuple(other for other in plan.faults if other != fault))
    for place, action in enumerate(plan.actions):
        if action.what == "give" and len(action.details[0]) > 1:
            for number in range(len(action.details[0])):
                spans = action.details[0][:number] + action.details[0][number + 1 :]
                fewer = action._replace(details=(spans, *action.details[1:]))
                yield plan._replace(actions=(*plan.actions[:place], fewer, *plan.actions[place + 1 :]))
