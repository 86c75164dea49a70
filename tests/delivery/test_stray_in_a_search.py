"""A stray answer in the middle of the search for a span that the platform refuses indeed, over real sockets."""

from __future__ import annotations

import json
import socket
import threading
import time
from typing import Any
from urllib.parse import unquote

import pytest

from tests.http.raw_server import RawServer, answer, cut, reset

FOREIGN = [
    {
        "name": f"theirs-{number}",
        "startTime": "2026-01-01T00:00:00Z",
        "endTime": "2026-01-01T00:00:01Z",
        "duration": 1000.0,
        "attributes": {},
        "status": {"code": 0},
        "ended": True,
        "events": [],
        "spanContext": {"traceId": "a" * 32, "spanId": f"{number + 1:016x}", "traceFlags": 1},
    }
    for number in range(3)
]
ERROR = b'{"code": "gone_wrong", "message": "not from here"}'
PAGE = b"<html><body>Welcome</body></html>"

STRAY: dict[str, Any] = {
    "200 page": answer(200, PAGE),
    "200 error": answer(200, ERROR),
    "200 object": answer(200, b"{}"),
    "200 list": answer(200, b'{"flows": []}'),
    "200 other flow": answer(200, b'{"name": "another", "description": "", "spans": []}'),
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "302": answer(302, b"", location="http://127.0.0.1:1/"),
    "400": answer(400, ERROR),
    "401": answer(401, ERROR),
    "403 page": answer(403, PAGE),
    "404": answer(404, ERROR),
    "404 page": answer(404, PAGE),
    "409": answer(409, ERROR),
    "413 page": answer(413, PAGE),
    "422": answer(422, ERROR),
    "429": answer(429, ERROR),
    "500 page": answer(500, PAGE),
    "503": answer(503, ERROR),
    "cut": cut(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"),
    "reset": reset(b""),
}

TRIALS = ("first", "second", "third")
"""Which PUT is struck after the one that was refused first."""


class Flow:
    """A stored flow, and the one stray answer that the search in it meets."""

    def __init__(self, name: str) -> None:
        self.stored: dict[str, Any] = {
            "name": name,
            "description": "by hand",
            "spans": FOREIGN,
            "labels": {"team": "ours"},
        }
        self.refused_before = -1
        self.refused = self.struck = False

    def strikes(self) -> bool:
        """Whether this PUT is the one."""
        self.refused_before -= self.refused
        return self.refused and self.refused_before == -1


class Gateway:
    """The platform behind a gateway that answers in its place now and then."""

    def __init__(self) -> None:
        self.flows = {name: Flow(name) for name in STRAY}
        self._lock = threading.Lock()

    def __call__(self, server: RawServer, sock: socket.socket) -> None:
        while (request := server.read(sock)) is not None:
            name = unquote(request.target.rpartition("/")[2])
            with self._lock:
                reply = self._reply(self.flows[name], request.method, request.body, STRAY[name])
            if callable(reply):
                reply(server, sock)
                return
            sock.sendall(reply)

    def _reply(self, flow: Flow, method: str, body: bytes, stray: Any) -> Any:
        if method == "GET":
            return answer(200, json.dumps(flow.stored).encode())
        if flow.strikes():
            flow.struck = True
            return stray
        if b"refuse me" in body:
            flow.refused = True
            return answer(422, b'{"code": "invalid", "message": "a span is wrong"}')
        flow.stored = json.loads(body)
        return answer(200, body)


def spans_of(tracer: Any, *names: str) -> list[Any]:
    made = []
    for flow in STRAY:
        for name in names:
            span = tracer.start_span(name, attributes={"versori.flow.name": flow})
            span.end()
            made.append(span._readable_span())
    return made


def wait_until_settled(exporter: Any) -> None:
    ends = time.monotonic() + 15
    while waiting := [name for name, flow in exporter.status().items() if flow.pending]:
        assert time.monotonic() < ends, {name: exporter.status()[name] for name in waiting}
        exporter.force_flush(500)
        time.sleep(0.01)  # a flush that can't help returns at once


@pytest.mark.parametrize("trial", TRIALS)
def test_a_stray_answer_costs_a_search_nothing(make_exporter, make_provider, trial):
    """Whatever one answer is, the span that is refused leaves, alone, and its flow is not stuck."""
    gateway = Gateway()
    tracer = make_provider().get_tracer("test")
    for flow in gateway.flows.values():
        flow.refused_before = TRIALS.index(trial)
    with RawServer(gateway) as server:
        exporter = make_exporter(base_url=server.url, min_interval=0, export_wait=0)
        exporter.export(spans_of(tracer, "first", "refuse me", "second", "third"))
        wait_until_settled(exporter)
        exporter.shutdown()
        status = exporter.status()
    expected = "by hand", {"team": "ours"}, ["first", "second", *(s["name"] for s in FOREIGN), "third"]
    found = {}
    for name, flow in gateway.flows.items():
        stored = flow.stored
        spans = sorted(span["name"] for span in stored["spans"])
        found[name] = (stored["description"], stored["labels"], spans), status[name].dropped, flow.struck
    assert found == dict.fromkeys(STRAY, (expected, {"refused": 1}, True))
