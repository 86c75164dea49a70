"""A stray answer of each kind, at each step of an attempt: one table, over real sockets.

Each kind has a flow of its own beside the others, and each step is one test: what a gateway answers in the
platform's place costs neither what is stored nor what was handed over.
"""

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

STEPS = (
    "read",
    "PUT",
    "PUT that is carried out",
    "read-back",
    "second read of a deletion",
    "first trial of a refusal",
    "second trial of a refusal",
    "third trial of a refusal",
)


class Flow:
    """A stored flow, and the one stray answer that its next attempt meets."""

    def __init__(self, name: str) -> None:
        self.stored: dict[str, Any] = {
            "name": name,
            "description": "by hand",
            "spans": FOREIGN,
            "labels": {"team": "ours"},
        }
        self.step = ""
        self.gets = self.puts = self.refused = 0
        self.struck = False

    def arm(self, step: str) -> None:
        self.gets = self.puts = self.refused = 0
        self.step = step

    def strikes(self, method: str) -> bool:
        """Whether this request is the one."""
        if not self.step or self.struck:
            return False
        if method == "GET":
            self.gets += 1
            wanted = {
                "read": self.gets == 1,
                "read-back": self.puts > 0,
                "second read of a deletion": self.gets == 2,
            }
            self.struck = wanted.get(self.step, False)
        else:
            self.puts += 1
            trial = ("first", "second", "third").index(self.step.split()[0]) if "trial" in self.step else -1
            self.struck = (self.step.startswith("PUT") and self.puts == 1) or (
                trial >= 0 and self.puts == trial + 2
            )
        return self.struck


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
        strikes = flow.strikes(method)
        if method == "PUT":
            if strikes and flow.step != "PUT that is carried out":
                return stray
            if b"refuse me" in body:
                return answer(422, b'{"code": "invalid", "message": "a span is wrong"}')
            flow.stored = json.loads(body)
            return stray if strikes else answer(200, body)
        if strikes and (flow.step, stray) != (STEPS[4], STRAY["404"]):  # two that agree are believed
            return stray
        if flow.step == "second read of a deletion" and flow.gets == 1:
            return answer(404, ERROR)
        return answer(200, json.dumps(flow.stored).encode())


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


@pytest.mark.parametrize("step", STEPS)
def test_a_stray_answer_costs_nothing(make_exporter, make_provider, step):
    """Whatever one answer says, and wherever it comes: nothing stored is lost, nothing handed over is dropped."""
    gateway = Gateway()
    tracer = make_provider().get_tracer("test")
    wrong = ("refuse me",) if "trial" in step else ()
    with RawServer(gateway) as server:
        exporter = make_exporter(base_url=server.url, min_interval=0, export_wait=0)
        exporter.export(spans_of(tracer, "first", "second"))
        wait_until_settled(exporter)
        for flow in gateway.flows.values():
            flow.arm(step)
        exporter.export(spans_of(tracer, "third", *wrong, "fourth", "fifth"))
        if step != "read-back":
            wait_until_settled(exporter)
        exporter.shutdown()
        status = exporter.status()
    ours = ["first", "second", "third", "fourth", "fifth"]
    harmed = {}
    for name, flow in gateway.flows.items():
        stored = flow.stored
        kept = stored["description"], stored.get("labels"), sorted(span["name"] for span in stored["spans"])
        expected = "by hand", {"team": "ours"}, sorted([*ours, *(span["name"] for span in FOREIGN)])
        dropped = sum(status[name].dropped.values())
        if kept != expected or dropped != len(wrong) or not flow.struck:
            harmed[name] = kept, status[name].dropped, f"struck: {flow.struck}"
    assert not harmed
