"""What a server was given by three protocols, and what of others' stands in its flow. No sockets here.

    GET, PUT /…/workflows/{flow}    Versori's flows: a PUT replaces the flow and is answered with it
    POST /v1/traces                 OTLP/HTTP, protobuf
    POST /api/v2/spans              Zipkin, JSON

Before the application begins, its flow has what others wrote: spans, a description, labels. Each of them is kept
as bytes, and must stand in the flow as these bytes until somebody takes it away.
"""

from __future__ import annotations

import json
import threading
from collections import Counter

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

ULID = "01J9ZQ3V5T7XKM2C8WBYH4RDNE"
FLOW = f"/o/{ULID}/projects/{ULID}/workflows/shop"
DESCRIPTION = b'"Written by a person, \\u00e0 la main"'
LABELS = b'"labels": {"team": "shop", "since": 2.50}'

_NO_SUCH_FLOW = b'{"code":"not_found","message":"flow not found"}'
_FOREIGN = "f0e1f0e1f0e1"
"""How the ids of all spans begin that others wrote."""

_SPANS_BEFORE = 20


class Taken:
    """Flows as they stand, and what was received.

    Args:
        remember: Keep the ids of all spans that were ever taken, and not only of those that stand in a flow.

    Attributes:
        shown: Ids of spans that were shown once.
        puts: PUTs that were carried out.
    """

    def __init__(self, remember: bool = False) -> None:
        self.shown: set[str] = set()
        self.puts = 0
        self._remember = remember
        self._received: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._foreign = [_foreign_span(number) for number in range(_SPANS_BEFORE)]
        self._members = [DESCRIPTION, LABELS]
        self._removed: list[bytes] = []
        self._made = _SPANS_BEFORE
        head = b'{"name": "shop", "description": ' + DESCRIPTION + b", " + LABELS + b', "spans": ['
        self._flows = {FLOW: head + b", ".join(self._foreign) + b"]}"}

    def take(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Carries out a request; returns status and answer."""
        with self._lock:
            if method == "GET":
                return (200, self._flows[path]) if path in self._flows else (404, _NO_SUCH_FLOW)
            if method == "PUT":
                ids = _ids_of_flow(body)
                self._flows[path] = body
                self.puts += 1
                if self._remember:
                    self.shown.update(ids)
                return 200, body
            ids = _ids_of_zipkin(body) if path.endswith("spans") else _ids_of_otlp(body)
            self._received.update(ids)
            return (202 if path.endswith("spans") else 200), b""

    def counts(self) -> Counter[str]:
        """How often each span of the application stands in the flows, or was received."""
        with self._lock:
            return self._stored() + self._received

    # -- what others do ------------------------------------------------------------------------------------

    def forget(self) -> None:
        """The platform loses all that is stored."""
        with self._lock:
            self.shown |= set(self._stored())
            self._flows = {}
            self._removed += self._foreign
            self._foreign, self._members = [], []

    def write(self, count: int, text: str = "") -> None:
        """Another writer reads the flow and writes it, with so many spans more."""
        with self._lock:
            for _ in range(count):
                self._foreign.append(_foreign_span(self._made, text))
                self._made += 1
                self._flows[FLOW] = self._flows[FLOW].removesuffix(b"]}") + b", " + self._foreign[-1] + b"]}"

    def remove(self, text: str) -> None:
        """A person takes away the spans of others that have this text."""
        with self._lock:
            for span in [span for span in self._foreign if text.encode() in span]:
                self._foreign.remove(span)
                self._removed.append(span)
                for piece in (b", " + span, b"," + span, span + b","):
                    self._flows[FLOW] = self._flows[FLOW].replace(piece, b"")

    def erased(self, may_age: bool = False) -> int:
        """What others wrote and nobody took away, and is not in the flow; spans that age out may be left out."""
        return self._standing(self._members if may_age else [*self._members, *self._foreign], False)

    def came_back(self) -> int:
        """What somebody took away, and is in the flow again."""
        return self._standing(self._removed, True)

    def _standing(self, pieces: list[bytes], there: bool) -> int:
        body = self._flows.get(FLOW, b"")
        return sum((piece in body) is there for piece in pieces)

    def _stored(self) -> Counter[str]:
        counts: Counter[str] = Counter()
        for body in self._flows.values():
            counts.update(_ids_of_flow(body))
        return counts


def _foreign_span(number: int, text: str = "") -> bytes:
    context = f'{{"traceId": "{number + 1:032x}", "spanId": "{_FOREIGN}{number:04x}"}}'
    times = '"startTime": "2026-11-24T10:00:00.5Z", "endTime": "2026-11-24T10:00:01Z", "duration": 5e2'
    return (
        f'{{"name": "by hand", "spanContext": {context}, {times}, "ended": true, "status": {{"code": 0}}, '
        f'"attributes": {{"text": "{text}"}}, "seen by": 12345678901234567890}}'
    ).encode()


def _ids_of_flow(body: bytes) -> list[str]:
    ids: list[str] = [span["spanContext"]["spanId"] for span in json.loads(body)["spans"]]
    return [span_id for span_id in ids if not span_id.startswith(_FOREIGN)]


def _ids_of_zipkin(body: bytes) -> list[str]:
    return [span["id"] for span in json.loads(body)]


def _ids_of_otlp(body: bytes) -> list[str]:
    request = ExportTraceServiceRequest.FromString(body)
    return [
        span.span_id.hex()
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
