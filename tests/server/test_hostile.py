"""Whatever is sent to it, the local platform answers the others, stays small, and writes no traceback."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import threading
import zlib
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opentelemetry.exporter.versori_flow.server import LocalPlatform, http_server, request_body, responses
from opentelemetry.exporter.versori_flow.server.request_log import RequestLog
from tests.server.platform_client import Project, make_flow, make_span, read_all
from tests.server.serving import FLOWS, Serving, serving, until

MIB = 1024 * 1024
UNLIKELY = 300.0  # seconds, for what takes some, on a machine that others keep busy
MOST = request_body.MOST_BODY


def bomb(start: bytes, repeated: bytes, size: int = MOST - 1024) -> bytes:
    """A gzip body of a few kilobytes that unpacks to many."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = repeated * (MIB // len(repeated))
    parts = [packer.compress(start), *(packer.compress(block) for _ in range(size // len(block)))]
    return b"".join([*parts, packer.flush()])


HEAD = b'{"name":"","description":"","spans":['
BOMBS = {
    "lists": bomb(HEAD, b"[],"),
    "objects": bomb(HEAD, b"{},"),
    "numbers": bomb(HEAD, b"1,"),
    "members": bomb(HEAD + b"{", b'"a":{},'),
    "deep": bomb(HEAD, b"["),
    "characters": bomb(HEAD + b'"', "\U0001f4a3".encode()),
    "too large": bomb(b"", b" ", 2 * MOST),
}


def test_a_bomb_costs_little_and_holds_up_nobody() -> None:
    """A few kilobytes that unpack to 64 MiB, eight at once and of each kind, are refused; who asks meanwhile is
    answered, and the process stays below 1 GB."""
    with serving() as running:
        answers: list[httpx.Response] = []
        flow = f"{FLOWS}/bomb"

        def put(body: bytes) -> None:
            headers = {"content-encoding": "gzip"}
            answers.append(running.http.put(flow, content=body, headers=headers, timeout=UNLIKELY))

        for kind in BOMBS.values():
            assert len(kind) < 400_000
        threads = [threading.Thread(target=put, args=(body,)) for body in [*BOMBS.values(), BOMBS["lists"]]]
        for thread in threads:
            thread.start()
        others = 0
        with httpx.Client(base_url=running.url, trust_env=False, timeout=UNLIKELY) as other:
            while any(thread.is_alive() for thread in threads):
                assert other.get(FLOWS).json() == {"flows": []}
                others += 1
        assert others > 2 * len(threads), "they waited until bombs were done with"
        assert {answer.status_code for answer in answers} <= {400, 413}
        assert len(answers) == len(threads)
        assert running.memory() < 1024 * MIB
        assert running.errors == ""


LARGE = make_flow(*(make_span(f"span {n}", attributes={f"a{m}": m for m in range(20)}) for n in range(2500)))


def test_others_are_answered_while_a_body_is_read() -> None:
    """While a large flow is checked, which takes seconds, requests for others are answered; then it is stored."""
    with serving() as running:
        done = threading.Event()

        def put() -> None:
            assert running.http.put(f"{FLOWS}/large", json=LARGE).status_code == 200
            done.set()

        sender = threading.Thread(target=put)
        sender.start()
        answered = 0
        with httpx.Client(base_url=running.url, trust_env=False, timeout=10) as other:
            while sender.is_alive():
                assert other.put(f"{FLOWS}/small", json=make_flow(make_span(str(answered)))).is_success
                answered += not done.is_set()
        assert done.is_set()
        assert answered > 5


def test_the_end_does_not_wait_for_a_body(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Stopped while a large flow is checked, the platform ends without a word, and starts again."""
    monkeypatch.setattr(http_server, "_LAST_WORDS", 0.1)
    with LocalPlatform() as platform, Project(platform) as project:
        refused: list[Exception] = []

        def put() -> None:
            try:
                project.put("large", LARGE)
            except httpx.RemoteProtocolError as error:
                refused.append(error)

        sender = threading.Thread(target=put)
        sender.start()
        platform.wait_for(lambda platform: platform.requests and platform.requests[0].size)
        platform.stop()
        sender.join()
        platform.start()
        assert project.list().status_code == 200
        assert len(refused) == 1
    assert caplog.messages == []


def test_a_body_has_a_bound_in_values_too(project: Project) -> None:
    """A body of no more values than there may be is taken, also where it is compressed; one of more is 413."""
    least = b'{"name":"","description":"","spans":[],"more":[' + b"0," * (request_body.MOST_VALUES - 10)
    for body, status in ((least + b"0]}", 200), (least + b"0," * 20 + b"0]}", 413)):
        assert project.put("plain", body).status_code == status
        packed = project.put("packed", gzip.compress(body, 1), headers={"content-encoding": "gzip"})
        assert packed.status_code == status
    again = gzip.compress(json.dumps(make_flow()).encode()) + b"more"
    assert project.put("packed", again, headers={"content-encoding": "gzip"}).status_code == 400


def test_not_every_fault_of_a_body_is_looked_for(project: Project) -> None:
    """A span with a hundred thousand wrong attributes is refused in time for the client, by the first 20."""
    span = make_span(attributes={str(number): [] for number in range(100_000)})
    answer = project.put("wrong", make_flow(span))
    assert (answer.status_code, len(answer.json()["fields"])) == (422, 20)


def test_faults_that_look_into_bodies_hold_up_nobody() -> None:
    """A fault that looks for a span in a large body of another kind answers, and the platform stays small."""
    body = b'{"spans":[' + b"[]," * 600_000 + b"0]}"
    with serving("--fault", "poison=x") as running:
        assert running.http.put(f"{FLOWS}/large", content=body).status_code == 422
        assert running.http.put(f"{FLOWS}/larger", content=body[:-2] * 3).status_code == 413
        assert running.memory() < 512 * MIB


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET", b"GET / HTTP/1.1\r\nHost: localhost\r\n", f"PUT {FLOWS}/a HTTP/1.1\r\n".encode()],
)
def test_a_slow_head_ends(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    """A connection on which nothing comes, or a head that never ends, is closed, be it new or used before."""
    monkeypatch.setitem(responses._PATIENCE, responses.h11.IDLE, 0.3)
    with LocalPlatform() as platform, Project(platform) as project:
        used = project.connect(f"GET {project.path}")
        assert used.recv(65536).startswith(b"HTTP/1.1 200")
        for connection in (socket.create_connection(project.address, timeout=10), used):
            with connection, contextlib.suppress(ConnectionError):
                connection.sendall(sent)
                while sent and not _ended(connection):
                    connection.sendall(b"X")
                # Not given up by the time that recv would be.
                while not sent and connection.recv(65536):
                    pass


def _ended(connection: socket.socket) -> bool:
    connection.settimeout(0.02)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False


def test_a_slow_body_ends_but_not_a_slow_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that does not come is given up, with the connection; who waits for a late answer may wait longer."""
    monkeypatch.setitem(responses._PATIENCE, responses.h11.SEND_BODY, 0.3)
    with LocalPlatform(faults=["slow,delay=1"]) as platform, Project(platform) as project:
        with project.connect(f"PUT {project.at('a')}\x20HTTP/1.1\r\nContent-Length: 5\r\nX:") as connection:
            assert read_all(connection) == b""
        assert project.list().status_code == 200


def test_descriptors_that_run_out_cost_a_line() -> None:
    """More connections than it has descriptors for cost a line and no processor; it answers once some are gone."""
    with serving(descriptors=64) as running:
        with contextlib.ExitStack() as held:
            for _ in range(100):
                held.enter_context(socket.create_connection(("127.0.0.1", running.port), timeout=10))
            until(lambda: running.errors, "a line")
            before = running.processor_time()
        assert running.http.get(FLOWS).json() == {"flows": []}
        assert running.processor_time() - before < 0.5
        assert running.errors.count("\n") == 1
        assert running.errors.startswith("versori-flow: ")
        assert "ulimit -n" in running.errors


def test_the_record_of_requests_has_a_bound_in_bytes() -> None:
    """Requests with long heads push older ones out of the record; what is counted stays counted."""
    log = RequestLog()
    for number in range(2000):
        log.end(log.begin("GET", f"/{number}", None, {"x": "x" * 50_000}), 200)
    assert 100 < len(log.requests()) < 400
    assert log.requests()[-1].path == "/1999"
    assert log.counts() == {("GET", 200): 2000}
    for _ in range(20_000):
        log.begin("GET", "/", None, {})
    assert len(log.requests()) == 10_000
    log.clear()
    log.begin("GET", "/", None, {"x": "x" * 8 * MIB})
    assert len(log.requests()) == 1


def test_orders_for_faults_are_bounded(project: Project) -> None:
    """An order of more than 64 KiB is 413, a number that is none 400, and the thousand-and-first order 409."""

    def order(text: str) -> int:
        return project.http.post("/_faults", json={"fault": text}).status_code

    assert order("status=503,message=" + "x" * 65 * 1024) == 413
    assert order("status=" + "9" * 5000) == 422
    for number in ("9" * 5000, "x", "-1", "%C2%B2"):
        assert project.http.delete(f"/_faults/{number}").status_code == 400
    assert {order("status=503,method=PATCH") for _ in range(1000)} == {201}
    assert order("reset") == 409
    assert project.http.get("/_faults").json()["faults"][-1]["id"]


REQUESTS = [
    *(b"GET " + path + b" HTTP/1.1" for path in (b"/", b"/?token=\xff", b"/flow?name=%ff", b"//a", b"*")),
    *(b"PUT " + FLOWS.encode() + name + b" HTTP/1.1" for name in (b"/a", b"/%ff", b"")),
    b"DELETE /_faults/" + b"9" * 5000 + b" HTTP/1.1",
    b"POST /_faults HTTP/1.1",
    b"GET / HTTP/9.9",
    b"\x16\x03\x01\x00\xa5",
]
HOSTS = [b"Host: " + host for host in (b"localhost", b"[", b"\xff", b"localhost:" + b"9" * 5000)]
LINES = [
    *(b"Content-Length: " + length for length in (b"5", b"-1", b"0x5", b"9" * 5000)),
    *(b"Transfer-Encoding: " + way for way in (b"chunked", b"gzip")),
    *(b"Content-Encoding: " + encoding for encoding in (b"gzip", b"\xff")),
    *(b"Authorization: " + given for given in (b"Bearer", b"Bearer \xff", b"Bearer k")),
    *(b"Cookie: " + cookie for cookie in (b"=;=", b'a="\\xff', b"versori-flow-80=\xff")),
    b"Content-Type: application/json",
    b"Connection: Upgrade\r\nUpgrade: websocket",
    b"Expect: 100-continue",
    b"Origin: http://\xff",
    b"X: " + b"x" * 70_000,
    b"\r\n5\r\nhello\r\nzz\r\n",
    b"\r\n" + b"9" * 5000 + b"\r\n",
    b"\0",
    b"",
]


@pytest.fixture(scope="module", params=[(), ("--key", "k")])
def served(request: pytest.FixtureRequest) -> Any:
    with serving(*request.param) as made:
        yield made


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(REQUESTS),
    st.sampled_from([HOSTS[0], *HOSTS]),
    st.lists(st.sampled_from(LINES) | st.binary(max_size=20), max_size=7),
)
def test_nothing_sent_leaves_a_word(
    served: Serving, request_: bytes, host: bytes, lines: list[bytes]
) -> None:
    """Requests and what is none are answered with 2xx, 4xx or the end, without a word on standard error."""
    connection = socket.create_connection(("127.0.0.1", served.port), timeout=10)
    with connection, contextlib.suppress(OSError):
        connection.sendall(b"\r\n".join([request_, host, b"Connection: close", *lines, b"", b""]))
        assert served.http.get(FLOWS, headers={"authorization": "Bearer k"}).status_code == 200
        connection.shutdown(socket.SHUT_WR)
        answer = read_all(connection)
        assert answer == b"" or answer.startswith(
            (b"HTTP/1.1 2", b"HTTP/1.1 3", b"HTTP/1.1 4", b"HTTP/1.1 100")
        )
        assert b"HTTP/1.1 5" not in answer
    assert served.errors == ""
