"""At the end of a world: does each span stand where it belongs, or is it counted?"""

from __future__ import annotations

from typing import Any

from .machine import Violation
from .platform import Key
from .process import Process


class Given:
    """A span that was handed over, and the flows that it has belonged to, the last one last."""

    __slots__ = ("flows", "process", "refused", "safe")

    def __init__(self, flow: str, process: Process, refused: bool) -> None:
        self.flows = [flow]
        self.process = process
        self.refused = refused
        self.safe = True


class Verdict:
    """What must hold once all have ended."""

    def __init__(self, world: Any) -> None:
        self._world = world

    def look_at_everything(self) -> None:
        self._look_at_counts()
        if not self._world.plan.roomy:
            return
        dropped = set().union(*(process.dropped for process in self._world.processes.values()))
        for process in self._world.processes.values():
            totals = process.flows.memory.totals().dropped
            counted = sum(totals.values()) - totals.get("unreadable", 0)
            # A fleet's process gets a span anew, and drops it anew, that another one has put anew.
            again = counted - len(process.dropped) if self._world.redis else 0
            if counted != len(process.dropped) + max(0, again):
                raise Violation(
                    f"{process} counts {counted} as dropped, and has dropped {len(process.dropped)}"
                )
        for key, given in self._world.given.items():
            self._look_at(key, given, key in dropped)
        for key, name in self._world.platform.foreign.items():
            if key not in self._world.platform.excused and key not in self._world.platform.flows[name].spans:
                raise Violation(f"{key} of others in {name!r} is lost")

    def _look_at_counts(self) -> None:
        """Each span that never stood in a flow is counted by somebody; of what a damaged file held, as unreadable."""
        world = self._world
        seen = set().union(*world.platform.seen.values())
        if world.cut_short:
            seen |= world.damaged  # in the middle of a write less is noted than there is, and never more
        never = [key for key, given in world.given.items() if given.safe and key not in seen]
        if world.redis:  # what Redis pushes out of whoever is gone, nobody knows of
            never = [
                key for key in never if not (world.given[key].process.dead or world.given[key].process.over)
            ]
        counts = [process.flows.memory.totals().dropped for process in world.processes.values()]
        counted = sum(sum(count.values()) for count in counts)
        if len(never) > counted:
            raise Violation(f"{len(never)} spans were never seen, and {counted} are counted: {never[0]}")

    def _look_at(self, key: Key, given: Given, dropped: bool) -> None:
        places = [name for name, document in self._world.platform.flows.items() if key in document.spans]
        if given.refused:
            if places or (given.safe and not dropped and key not in self._world.damaged):
                raise Violation(f"{key} is refused, and not dropped")
            return
        if not set(places) <= set(given.flows):
            raise Violation(f"{key} stands in {places}, and belongs to {given.flows}")
        if dropped or key in self._world.platform.excused or not given.safe:
            return
        if not places and key in self._world.damaged:
            return  # it is counted
        redis = self._world.redis
        if not places:
            raced = next(
                (how for flow in given.flows if (how := self._world.platform.raced.get((flow, key)))), ""
            )
            if raced and (
                redis.may_lose(given.flows) if redis else self._world.plan.hosts > 1 or given.process.dead
            ):
                self._world.platform.count["lost in a race"] += 1
                return
            raise Violation(f"{key} of {given.process} is lost; it belongs to {given.flows[-1]!r}. {raced}")
        process = given.process
        if self._world.plan.max_flows < 10 or (
            redis.may_lose(given.flows) if redis else self._world.plan.hosts > 1
        ):
            # Another host's writer may bring back what has moved, and what has left memory can't move any more.
            return
        if process.over and not process.troubled_end and places != given.flows[-1:]:
            if redis and redis.wire.was_late and given.flows[-1] in places:
                self._world.platform.count["twice after a late word to Redis"] += 1
                return
            elsewhere = [name for name in places if name != given.flows[-1]]
            if given.flows[-1] in places and all(
                self._returned_unseen(name, key, process) for name in elsewhere
            ):
                self._world.platform.count["twice after a race"] += 1
                return
            raise Violation(f"{key} of {process} stands in {places}, and belongs to {given.flows[-1]!r}")

    def _returned_unseen(self, name: str, key: Key, process: Process) -> bool:
        """Whether a race brought it back to its old flow after its process had looked there for the last time."""
        returned = self._world.platform.returned.get((name, key))
        return returned is not None and returned > self._world.platform.read_by.get(
            (process.number, name), 0.0
        )
