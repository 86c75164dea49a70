"""Traces to look at: orders of a shop, whose card is declined now and then, and an import that goes deep."""

from __future__ import annotations

import json
import random
import time
from datetime import datetime, timezone
from typing import Any

MS = 1_000_000


def iso(nanoseconds: int) -> str:
    """A time as a span has it."""
    seconds, rest = divmod(nanoseconds, 1000 * MS)
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


class TraceWriter:
    """Writes the spans of one trace.

    Args:
        trace_id: Its number.
        start: When it begins, in nanoseconds since the epoch.
    """

    def __init__(self, trace_id: int, start: int) -> None:
        self.trace_id = trace_id
        self.start = start
        self.spans: list[dict[str, Any]] = []

    def add(
        self, parent: int | None, name: str, after: float, took: float, service: str, **members: Any
    ) -> int:
        """Adds a span; times in milliseconds from the trace's start. Returns its number."""
        number = len(self.spans) + 1
        error, attributes = members.pop("error", ""), members.pop("attributes", {})
        span = {
            "name": name,
            "startTime": iso(self.start + round(after * MS)),
            "endTime": iso(self.start + round((after + took) * MS)),
            "duration": took,
            "attributes": {"service.name": service, **attributes},
            "status": {"code": 1 if error else 0},
            "ended": True,
            "events": [
                {"name": event, "timestamp": iso(self.start + round(at * MS)), "attributes": held}
                for event, at, held in members.pop("events", ())
            ],
            "spanContext": self._context(number),
        }
        if error:
            span["attributes"]["otel.status_description"] = error
        if parent is not None:
            span["parentSpanContext"] = self._context(parent)
        self.spans.append(span)
        return number

    def _context(self, number: int) -> dict[str, Any]:
        span_id = (self.trace_id * 0x9E3779B97F4A7C15 + number) % 2**64
        return {"traceId": f"{self.trace_id:032x}", "spanId": f"{span_id:016x}", "traceFlags": 1}


def order(
    trace_id: int, start: int, choice: random.Random, *, declined: bool = False
) -> list[dict[str, Any]]:
    """The trace of one order over four services."""
    trace = TraceWriter(trace_id, start)
    whole = choice.uniform(110, 240)
    why = "PaymentDeclined: the bank said no" if declined else ""
    status = 402 if declined else 201
    request = {"http.request.method": "POST", "http.route": "/orders", "http.response.status_code": status}
    root = trace.add(None, "POST /orders", 0, whole, "shop", error=why, attributes=request)
    trace.add(root, "validate order", 1, 4, "shop", events=[("order accepted", 3, {"articles": 2})])
    at = 6.0
    for article in choice.sample(["apple", "pear", "plum"], 2):
        took = choice.uniform(14, 28)
        reserve = trace.add(root, "reserve stock", at, took, "shop", attributes={"article": article})
        get = trace.add(reserve, "GET", at + 1, took - 2, "shop")
        route = trace.add(get, "GET /stock/<article>", at + 3, took - 6, "warehouse")
        query = {"db.system": "postgresql", "db.statement": "SELECT count FROM stock WHERE article = $1"}
        trace.add(route, "SELECT stock", at + 4, took - 9, "warehouse", attributes=query)
        at += choice.uniform(4, 9)
    at += 22
    raised = {"exception.type": "PaymentDeclined", "exception.message": "the bank said no"}
    happened = ("exception", whole - 16, raised) if declined else ("retry", at + 20, {"attempt": 2})
    charge = trace.add(root, "charge card", at, whole - at - 14, "shop", error=why, events=[happened])
    trace.add(charge, "POST /charges", at + 3, whole - at - 20, "payments")
    if not declined:
        first = trace.spans[0]["spanContext"]
        link = {"trace_id": first["traceId"], "span_id": first["spanId"], "attributes": {}}
        trace.add(root, "send receipt", whole - 12, 10, "mail", attributes={"otel.links": json.dumps([link])})
    return trace.spans


def orders(count: int, *, apart: float = 7.0, seed: int = 3) -> dict[str, Any]:
    """A flow of orders, the newest of them now; some are declined."""
    choice, now = random.Random(seed), time.time_ns()
    spans: list[dict[str, Any]] = []
    for number in range(count):
        start = now - round((count - number) * apart * 1000 * MS)
        spans += order(0x4BF92F3577B34DA6A3CE929D0E0E4700 + number, start, choice, declined=number % 5 == 2)
    return {"name": "shop", "description": "Orders, from the shop to the warehouse.", "spans": spans}


def deep(count: int = 1000, depth: int = 30) -> dict[str, Any]:
    """A flow of one trace of many spans, that many levels deep."""
    choice, trace = random.Random(1), TraceWriter(7, time.time_ns())
    places: dict[int, tuple[float, float, int]] = {1: (0, 2000, 1)}
    trace.add(None, "import a catalogue", 0, 2000, "loader")
    while len(places) < count:
        number = len(places) + 1
        parent = number - 1 if number <= depth else choice.randint(max(1, number - 40), number - 1)
        while places[parent][2] == depth:
            parent = choice.randint(1, number - 1)
        start, took, level = places[parent]
        if number <= depth:
            start, took = start + took * 0.06, took * 0.9
        else:
            start, took = start + took * choice.uniform(0, 0.3), took * choice.uniform(0.2, 0.6)
        places[number] = (start, took, level + 1)
        error = f"ValueError: line {number} is no article" if number % 97 == 0 else ""
        service = ("loader", "parser", "database")[number % 3]
        trace.add(parent, f"import article {number} of the catalogue", start, took, service, error=error)
    return {"name": "import", "description": "", "spans": trace.spans}
