"""The platform, modelled: what it stores, how it fails, and what people and other writers do to it.

Each PUT replaces the whole flow. Here is looked, PUT by PUT, whether it leaves out what its writer had read.
"""

from __future__ import annotations

import json
from collections import Counter
from hashlib import blake2b
from typing import Any

from opentelemetry.exporter.versori_flow.http.answers import (
    Absent,
    Conflict,
    Denied,
    Found,
    Rejected,
    Stored,
    TooLarge,
    Unavailable,
)

from .machine import Violation
from .writes import FEW_FLOWS, Document, Key, Writes

KINDS = (
    *("503", "429", "401", "409", "unreached", "lost request", "lost answer", "slow"),
    *("stray page", "stray 404", "foreign 404", "stray 400", "stray 413", "late"),
)
"""What may go wrong with a request, each by chance."""

REFUSED = "refuse me"
"""Who has this in the text of a span is refused."""

_MOST_TOO_LARGE = 60
"""Answers of 413 in a row, for a flow that stays in memory: each halves what is sent, or takes one span out of it."""

_PAGE = b"<html>Welcome</html>"


class Platform:
    """Flows by name, and what became of each span in them.

    Attributes:
        since: When each span came to stand in its flow.
        excused: Spans that a person took away, or that a race between two that could not know took.
        seen: Every span that ever stood in a flow.
        raced: Spans that were erased by a PUT whose writer had read before they came, and how that was.
        returned: Spans that stand again in the flow that they had moved away from, since when: by a race.
        read_by: When each process has read each flow last.
    """

    def __init__(self, world: Any) -> None:
        self.world = world
        self.flows: dict[str, Document] = {}
        self.since: dict[str, dict[Key, tuple[float, Any]]] = {}
        self.seen: dict[str, set[Key]] = {}
        self.excused: set[Key] = set()
        self.raced: dict[tuple[str, Key], str] = {}
        self.returned: dict[tuple[str, Key], float] = {}
        self.read_by: dict[tuple[int, str], float] = {}
        self.writes = Writes(world, self)
        self.foreign: dict[Key, str] = {}
        self.count: Counter[str] = Counter()
        self._strayed: set[tuple[int, str, str]] = set()
        self._too_large_in_a_row: Counter[tuple[int, str]] = Counter()

    # -- requests ------------------------------------------------------------------------------------------

    def fault(self, making: Any, method: str) -> str:
        """What goes wrong with a request; nothing, mostly."""
        world, process = self.world, making.process
        if world.outage:
            return str(world.outage)
        plan = world.plan
        if world.resting or not plan.faults or process.random.random() >= plan.fault_rate:
            return ""
        kind = process.random.choice(plan.faults)
        if kind.startswith(("stray", "foreign")):
            if (kind in ("stray 400", "stray 413")) != (method == "PUT") and kind != "stray page":
                return ""
            if kind == "stray 413" and plan.limit:
                return ""  # beside others that mean it
            # Who is refused alone, and again after the rest was taken, is rightly dropped.
            if kind == "stray 400" and making.job.flow._exchange._search:
                return ""
            # Several in a row are believed, and rightly so: they are what a platform says that means it.
            # And who has never seen the flow believes the first one: it would cost each new flow a second read.
            if kind == "stray 404" and not making.job.flow._exchange.known.exists:
                return ""
            place = (process.number, making.flow, kind if kind in ("stray page", "stray 413") else "any")
            if place in self._strayed:
                return ""
            self._strayed.add(place)
        return str(kind) if kind not in ("409", "late") or method == "PUT" else ""

    def get(self, making: Any, fault: str) -> Any:
        """Answers a read."""
        self.count["GET"] += 1
        refusal = _refusal(fault, making.process)
        if refusal is not None:
            return refusal
        if fault == "stray page":
            return Found(_PAGE, blake2b(_PAGE, digest_size=16).digest(), 200)
        if fault == "stray 404":
            return Absent(True, "no such flow")
        if fault == "foreign 404":
            return Absent(False, "page not found")
        document = self.flows.get(making.flow)
        making.read_at = self.world.now
        making.shown = None if document is None else document
        self.read_by[making.process.number, making.flow] = self.world.now
        if document is None:
            # A stray one after this would be the second in a row, and rightly believed.
            self._strayed.add((making.process.number, making.flow, "any"))
            return Absent(True, "no such flow")
        return Found(document.body, document.digest, 200)

    def put(self, making: Any, body: bytes, fault: str) -> Any:
        """Answers a PUT, and takes it unless something goes wrong."""
        self.count["PUT"] += 1
        refusal = _refusal(fault, making.process)
        if refusal is not None:
            return refusal
        if fault == "409":
            return Conflict("changed meanwhile")
        if fault == "stray 400":
            return Rejected(400, "bad", "a stray answer", ())
        if fault == "stray 413":
            return TooLarge("a stray answer")
        if self.world.plan.limit and len(body) > self.world.plan.limit:
            return self._too_large(making)
        if fault == "stray page" and making.process.random.random() < 0.5:
            return Stored(200, None, believed=False)
        document = Document(body)
        wrong = [n for n, span in enumerate(document.spans.values()) if REFUSED in span["name"]]
        if wrong:
            named = tuple(wrong) if self.world.plan.names_fields else ()
            return Rejected(422, "invalid", "a span is wrong", named)
        self.writes.replace(making, document)
        if fault == "stray page":
            return Stored(200, None, believed=False)
        return Stored(200, document.digest)

    def _too_large(self, making: Any) -> Any:
        place = making.process.number, making.flow
        self._too_large_in_a_row[place] += 1
        if self._too_large_in_a_row[place] > _MOST_TOO_LARGE and self.world.plan.max_flows > FEW_FLOWS:
            raise Violation(f"{making.process} does not learn how large {making.flow!r} may be")
        return TooLarge("too large")

    def is_heard(self, making: Any, answer: Any) -> None:
        """An answer has come to who asked: what goes astray from now on is the first in a row."""
        place = making.process.number, making.flow
        if isinstance(answer, Found) and answer.body != _PAGE:
            self._strayed.discard((*place, "any"))
        elif isinstance(answer, Stored) and answer.believed:
            self._strayed = {strayed for strayed in self._strayed if strayed[:2] != place}
            self._too_large_in_a_row.pop(place, None)

    # -- people, and other writers -------------------------------------------------------------------------

    def delete(self, name: str) -> None:
        """A person deletes a flow; whoever has its spans still may write them again."""
        if self.flows.pop(name, None) is not None:
            self.excused |= self.seen.get(name, set())
            self.since.pop(name, None)

    def take_away(self, name: str, number: int) -> None:
        """A person takes a span of somebody else's away."""
        document = self.flows.get(name)
        others = [key for key in document.spans if key in self.foreign] if document else []
        if document is not None and others:
            key = others[number % len(others)]
            self.excused.add(key)
            self.writes.taken_away[name, key] = self.world.now
            self.since[name].pop(key)
            self._edit(name, document.description, [s for k, s in document.spans.items() if k != key])

    def describe(self, name: str, text: str) -> None:
        """A person writes a description."""
        document = self.flows.get(name)
        if document is not None:
            self._edit(name, text, list(document.spans.values()))

    def add(self, name: str, span: Any) -> None:
        """Another writer, who is no exporter, adds a span, in one step."""
        document = self.flows.get(name)
        spans = [] if document is None else list(document.spans.values())
        if self.world.plan.limit and len(json.dumps([*spans, span])) + 100 > self.world.plan.limit:
            return
        self._edit(name, "" if document is None else document.description, [*spans, span])
        key = span["spanContext"]["traceId"], span["spanContext"]["spanId"]
        self.foreign[key] = name
        self.since.setdefault(name, {})[key] = self.world.now, None
        self.seen.setdefault(name, set()).add(key)

    def spoil(self, name: str, span: Any) -> None:
        """A span that is refused from now on has come into the flow."""
        if name in self.flows:
            self.add(name, span)

    def repair(self, name: str) -> None:
        """A person removes what is refused."""
        document = self.flows.get(name)
        wrong = [] if document is None else [k for k, s in document.spans.items() if REFUSED in s["name"]]
        if document is not None and wrong:
            self.excused.update(wrong)
            for key in wrong:
                self.since[name].pop(key)
            self._edit(name, document.description, [s for k, s in document.spans.items() if k not in wrong])

    def _edit(self, name: str, description: str, spans: list[Any]) -> None:
        document = {"description": description, "name": name, "spans": spans, "more": {"by": "hand"}}
        self.flows[name] = Document(json.dumps(document).encode())


def _refusal(fault: str, process: Any) -> Any:
    if fault == "503":
        return Unavailable("503", "503 Service Unavailable", None, True)
    if fault == "429":
        return Unavailable("429", "429 Too Many Requests", process.random.choice((0.0, 1.0, 7.0)), True)
    if fault == "401":
        return Denied(401, "no", None)
    if fault == "unreached":
        return Unavailable("connect", "connection refused", None, False)
    return None
