"""PUTs that were taken: each replaces a whole flow, and may leave out what its writer had read, or could not know."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any

from .machine import Violation

Key = tuple[str, str]

_NEVER = float("inf")

FEW_FLOWS = 10
"""With a bound below, flows leave memory, and what they knew with them."""


class Document:
    """A stored flow."""

    __slots__ = ("body", "description", "digest", "spans")

    def __init__(self, body: bytes) -> None:
        document = json.loads(body)
        self.body = body
        self.digest = blake2b(body, digest_size=16).digest()
        self.description: str = document["description"]
        self.spans: dict[Key, Any] = {}
        for span in document["spans"]:
            key = span["spanContext"]["traceId"], span["spanContext"]["spanId"]
            if key in self.spans:
                raise Violation(f"{key} stands twice in one body")
            self.spans[key] = span


class Writes:
    """Looks at each PUT."""

    def __init__(self, world: Any, platform: Any) -> None:
        self._world = world
        self._platform = platform
        self._moved_at: dict[tuple[str, Key], tuple[float, Any]] = {}
        self.taken_away: dict[tuple[str, Key], float] = {}
        # Whose spans were erased where, and not restored yet.
        self._erased: set[tuple[int, str]] = set()

    def replace(self, making: Any, document: Document) -> None:
        """Takes it, and looks what it leaves out."""
        name, world = making.flow, self._world
        before = self._platform.flows.get(name)
        since = self._platform.since.setdefault(name, {})
        if making.shown is not None and making.shown.description != document.description:
            raise Violation(f"a PUT by {making.process} does not keep the description that it had read")
        for key in () if before is None else before.spans.keys() - document.spans.keys():
            came_at, writer = since.pop(key)
            given = world.given.get(key)
            if world.plan.write_mode == "replace":
                self._is_left_out(making, key, writer)
            if given is not None and given.flows[-1] != name:
                self._moved_at[name, key] = world.now, making
                self._platform.returned.pop((name, key), None)
                # Before its process could move it, maybe.
                if making.late:
                    self._platform.excused.add(key)
                elif came_at >= making.read_at:
                    self._platform.raced[name, key] = (
                        f"{making} had read {name!r} before {key} came by {writer}"
                    )
                continue
            if came_at < making.read_at:
                entry = making.job.flow.window.get(key)
                if entry is not None and (entry.pending or self._is_suspected(making, key)):
                    continue  # carried before, by a PUT whose answer was lost; its turn comes in a search
                if making.late:  # it was pending then, and may have been given up since
                    self._platform.excused.add(key)
                elif world.plan.roomy and key not in self._platform.excused:
                    raise Violation(f"a PUT by {making.process} leaves out {key}, which it had read")
                continue
            if world.plan.write_mode == "replace":
                continue
            self._platform.count["raced"] += 1
            what = f"{making.process} had read {name!r} before {key} came by {writer}"
            self._platform.raced[name, key] = what
            alone = making.had_its_turn and (writer is None or writer.had_its_turn)
            if writer is not None and not alone:
                self._erased.add((writer.process.number, name))
            # Who has waited for a turn in vain may look too early: that is documented.
            put_right = writer is not None and making.process.puts_right(making, writer)
            if key in self._platform.foreign or not (alone or put_right):
                self._platform.excused.add(key)
            elif alone and writer is not None and writer.process.shares_turns(making.process):
                raise Violation(f"two had their turn at once: {what}")
        for key in document.spans if before is None else document.spans.keys() - before.spans.keys():
            self._look_at_return(making, key)
            if making.late and key in world.given and world.given[key].flows[-1] != name:
                self._platform.returned[name, key] = world.now
            # Who had read before that brings it back, and others may see it then.
            if making.read_at > self.taken_away.pop((name, key), _NEVER) and not making.restores:
                raise Violation(f"a PUT by {making.process} brings back {key}, which a person took away")
        self._erased.discard((making.process.number, name))
        for key in document.spans:
            since.setdefault(key, (world.now, making))
            self._platform.raced.pop((name, key), None)
        self._platform.flows[name] = document
        self._platform.seen.setdefault(name, set()).update(document.spans)

    def _is_suspected(self, making: Any, key: Key) -> bool:
        """Whether a search holds it back, of which is learnt only now that another process has delivered it."""
        search = making.job.flow._exchange._search
        return bool(self._world.redis and search and any(entry.key == key for entry in search.held_back))

    def _look_at_return(self, making: Any, key: Key) -> None:
        """What had moved away from a flow is written there again by whoever could not know: that is documented.

        He had read before it moved, and one of both wrote without its turn; or he restores all that he wrote,
        since somebody has erased it who had read before, without a turn.
        """
        name, world = making.flow, self._world
        if (name, key) not in self._moved_at:
            return
        moved_at, mover = self._moved_at[name, key]
        if making.read_at >= moved_at:
            if (making.process.number, name) in self._erased:
                self._platform.returned[name, key] = self._world.now
            return
        both_had_it = making.had_its_turn and mover.had_its_turn
        share = mover.process.shares_turns(making.process)
        if share and both_had_it and world.plan.write_mode == "merge":
            raise Violation(
                f"two had their turn at once: {making.process} had read {name!r} before {key} left it"
            )
        self._platform.returned[name, key] = self._world.now

    def _is_left_out(self, making: Any, key: Key, writer: Any) -> None:
        """Without reading, who writes erases what others wrote: that is documented. What he wrote himself stays."""
        plan, entry = self._world.plan, making.job.flow.window.get(key)
        is_own = writer is not None and writer.process is making.process and not making.late
        is_held = plan.roomy and plan.max_flows > FEW_FLOWS and key not in self._platform.excused
        moved = key in self._world.given and self._world.given[key].flows[-1] != making.flow
        if is_own and is_held and not moved and (entry is None or not entry.pending):
            raise Violation(f"a PUT by {making.process} leaves out {key}, which it had written")
        if not (is_own and moved and plan.max_flows > FEW_FLOWS):
            self._platform.excused.add(key)
