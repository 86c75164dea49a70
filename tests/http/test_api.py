"""The endpoints against raw sockets: whatever is answered, one typed answer comes of it, and in time."""

import contextlib
import gc
import gzip
import json
import re
import socket
import sys
import threading
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from email.utils import formatdate
from types import SimpleNamespace

import pytest

from opentelemetry.exporter.versori_flow.http.answers import (
    Absent,
    Conflict,
    Denied,
    Found,
    Misconfigured,
    Rejected,
    Stored,
    TooLarge,
    Unavailable,
    Unreadable,
)
from opentelemetry.exporter.versori_flow.http.api import FlowsApi
from opentelemetry.exporter.versori_flow.http.error_document import shown
from opentelemetry.exporter.versori_flow.settings.readers import Secret
from tests.http.raw_server import RawServer, Step, answer, cut, drip, hold, play, pour, reset

KEY = "key-4f9a8c7e1b"
ORGANISATION, PROJECT = "01ARZ3NDEKTSV4RRFFQ69G5FAV", "01BX5ZZKBKACTAV9WEVGEMMVRZ"
SHORT = 0.4  # a deadline that is meant to pass
LONG = 20.0  # a deadline that is not
LATE = 3.0  # how late the answer to a passed deadline may be on a busy machine
NO_DOCUMENTS = [
    b"",
    b"\xff\xfe\x00",
    b"<html>Bad Gateway</html>",
    b"[" * 60000,
    b'{"message": ' + b"9" * 5000 + b"}",
    b'{"message": 7, "code": [], "fields": 3}',
    b'"text"',
    b"null",
    b'{"message": "' + b"a" * 70000 + b'"}',
]


class Key:
    """Credentials without a file: a list of keys, the next one at each `reread`."""

    def __init__(self, *keys: str) -> None:
        self.keys = list(keys)

    def authorization(self) -> Secret:
        return Secret(f"Bearer {self.keys[0]}")

    def reread(self, refused: Secret | None = None) -> bool:
        if len(self.keys) > 1:
            self.keys.pop(0)
            return True
        return False

    def redact(self, text: str) -> str:
        for key in self.keys:
            text = text.replace(key, "***")
        return text


def client(server: RawServer | str, *keys: str, **settings: object) -> FlowsApi:
    values = {
        "base_url": f"{server if isinstance(server, str) else server.url}/api/v2",
        "organisation_id": ORGANISATION,
        "project_id": PROJECT,
        "headers": {},
        "compression": "none",
        "certificate": None,
        "client_certificate": None,
        "client_key": None,
        "max_bytes": 65536,
        "write_mode": "merge",
    }
    return FlowsApi(SimpleNamespace(**values | settings), Key(*keys or (KEY,)))


def soon(seconds: float = LONG) -> float:
    return time.monotonic() + seconds


@pytest.fixture
def black_hole() -> Iterator[tuple[str, int]]:
    """An address that answers no attempt to connect: that of a listener whose queue is full."""
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        yield full.getsockname()


def ask(step: Step, method: str = "get", seconds: float = LONG, **settings: object) -> object:
    """The answer to one request, to which the server plays `step`."""
    with RawServer(play(step)) as server:
        api = client(server, **settings)
        try:
            return api.get("f", soon(seconds)) if method == "get" else api.put("f", b"{}", soon(seconds))
        finally:
            api.close()


@contextlib.contextmanager
def ends_at_the_deadline(seconds: float = SHORT) -> Iterator[None]:
    """What is in it takes `seconds`, and no more than a busy machine adds."""
    begun = time.monotonic()
    yield
    assert seconds <= time.monotonic() - begun < seconds + LATE


# What goes over the wire


@pytest.mark.parametrize(
    ("name", "segment"),
    [
        ("orders", "orders"),
        (".", "%2E"),
        ("..", "%2E%2E"),
        ("...", "..."),
        ("../x", "..%2Fx"),
        ("a b/c?d#e%41", "a%20b%2Fc%3Fd%23e%2541"),
        ("Größe;=&+:@~*'()", "Gr%C3%B6%C3%9Fe%3B%3D%26%2B%3A%40~%2A%27%28%29"),
        ("\u6d41\U0001f600", "%E6%B5%81%F0%9F%98%80"),
        ("lone\ud800!", "lone%EF%BF%BD%21"),
        ("\r\nHost: evil", "%0D%0AHost%3A%20evil"),
    ],
)
def test_flow_name_is_one_segment(name: str, segment: str) -> None:
    """Any name is one percent-encoded segment of the path, which nothing on the way here normalises."""
    with RawServer(play(answer())) as server:
        assert isinstance(client(server).get(name, soon()), Found)
        target = server.requests[0].target
    assert target == f"/api/v2/o/{ORGANISATION}/projects/{PROJECT}/workflows/{segment}"


def test_request_carries_what_it_needs_and_no_more() -> None:
    """A PUT carries the parts as one body, the key, the user's headers, and says what it is."""
    with RawServer(play(answer())) as server:
        api = client(server, headers={"X-Team": "a=b", "user-agent": "mine"})
        assert isinstance(api.put("f", b"".join([b'{"spans":[', b"]}"]), soon()), Stored)
        request = server.requests[0]
    assert (request.method, request.body) == ("PUT", b'{"spans":[]}')
    assert request.headers == {
        "host": f"127.0.0.1:{server.port}",
        "authorization": f"Bearer {KEY}",
        "x-team": "a=b",
        "user-agent": "mine",
        "accept": "application/json",
        "accept-encoding": "identity",
        "content-type": "application/json",
        "content-length": "12",
    }


def test_a_host_of_the_user_s_takes_the_place_of_the_platform_s() -> None:
    """Behind a gateway that goes by the Host header, a setting names it; a request has one."""
    with RawServer(play(answer())) as server:
        client(server, headers={"host": "versori.internal"}).get("f", soon())
        request = server.requests[0]
    assert request.headers["host"] == "versori.internal"


def test_compression_is_of_puts_alone() -> None:
    """With gzip a PUT is compressed and says so, and the next GET neither."""
    with RawServer(play(answer(), answer())) as server:
        api = client(server, compression="gzip")
        api.put("f", b"".join([b"x" * 10000, b"y"]), soon())
        api.get("f", soon())
        put, get = server.requests
    assert put.headers["content-encoding"] == "gzip"
    assert gzip.decompress(put.body) == b"x" * 10000 + b"y"
    assert len(put.body) < 200
    assert "content-encoding" not in get.headers
    assert "content-type" not in get.headers
    assert get.body == b""


# Success


def test_get_gives_the_bytes_and_put_the_digest_of_the_same() -> None:
    """What a PUT is answered with and what a GET reads have equal digests where their bytes are equal."""
    flow = b'{"name": "f", "spans": [1e400]}' + b" " * 100_000
    with RawServer(play(answer(201, flow), answer(200, flow), answer(200, flow + b" "))) as server:
        api = client(server)
        stored, found, other = api.put("f", b"{}", soon()), api.get("f", soon()), api.get("f", soon())
    assert isinstance(stored, Stored)
    assert isinstance(found, Found)
    assert (stored.status, found.status, found.body) == (201, 200, flow)
    assert stored.digest == found.digest != other.digest
    assert server.connections == 1


def test_nothing_is_digested_that_nobody_reads_back() -> None:
    """In `replace` mode no read follows a write: the answer is drained, and believed where it is a flow."""
    with RawServer(play(answer(200, b'{"name": "f", "spans": []}'), answer(200, b"maintenance"))) as server:
        api = client(server, write_mode="replace")
        assert api.put("f", b"{}", soon()) == Stored(200, None)
        assert api.put("f", b"{}", soon()) == Stored(200, None, believed=False)
    assert server.connections == 1


# Bounds


def test_body_up_to_the_bound_is_read() -> None:
    """Four times the size of a flow, and a little, is read; one byte more is not."""
    bound = 4 * 65536 + 65536
    assert len(ask(answer(200, b"x" * bound)).body) == bound
    assert isinstance(ask(answer(200, b"x" * (bound + 1))), Unreadable)


ENDLESS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"


def _gzip_without_end(piece: bytes, strategy: int) -> tuple[bytes, bytes]:
    deflater = zlib.compressobj(9, wbits=31)
    start = deflater.compress(b"{") + deflater.flush(zlib.Z_SYNC_FLUSH)
    more = deflater.compress(piece) + deflater.flush(strategy)
    return b"%x\r\n%s\r\n" % (len(start), start), b"%x\r\n%s\r\n" % (len(more), more)


PLAIN = ENDLESS + b"\r\n", b"10000\r\n" + b"x" * 65536 + b"\r\n"
ZIPPED = ENDLESS + b"Content-Encoding: gzip\r\n\r\n"
ZEROS = _gzip_without_end(bytes(5_000_000), zlib.Z_FULL_FLUSH)
NOTHING = b"\x00\x00\x00\xff\xff" * 10_000  # empty blocks
BOMB = answer(200, gzip.compress(bytes(64_000_000), 9), content_encoding="gzip")


@pytest.mark.parametrize("status", [b"200 OK", b"503 No"])
@pytest.mark.parametrize("method", ["get", "put"])
@pytest.mark.parametrize(
    ("start", "more"),
    [
        PLAIN,
        (PLAIN[0], b"40\r\n" + b"x" * 64 + b"\r\n"),
        (ZIPPED + ZEROS[0], ZEROS[1]),
        (ZIPPED + _gzip_without_end(b"", zlib.Z_FULL_FLUSH)[0], b"%x\r\n%s\r\n" % (len(NOTHING), NOTHING)),
        (BOMB, b""),
        (answer(200, b"x" * 50_000_000), b""),
    ],
    ids=["plain", "small chunks", "gzip", "gzip of nothing", "bomb", "large"],
)
def test_an_answer_costs_no_more_than_the_bound(
    start: bytes, more: bytes, method: str, status: bytes
) -> None:
    """An answer without end, or that unpacks to more, is left at the bound in memory and bytes; its status stands."""
    with RawServer(play(pour(start.replace(b"200 OK", status).replace(b"200 Some", status), more))) as server:
        api = client(server, max_bytes=1024)
        api.open()
        tracemalloc.start()
        try:
            result = api.get("f", soon()) if method == "get" else api.put("f", b"{}", soon())
            assert tracemalloc.get_traced_memory()[1] < 8_000_000
        finally:
            tracemalloc.stop()
    if status == b"503 No":
        assert result == Unavailable("503", "503 Service Unavailable", None, True)
    else:
        assert isinstance(result, Unreadable if method == "get" else Stored)


def test_bodies_are_not_kept() -> None:
    """After the answer nothing here refers to the body that was sent, or to the one that was received."""
    sent, flow = b"x" * 200_000, b"y" * 200_000
    cuts = cut(answer(400)), reset(b"HTTP/1.1 2"), cut(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
    gc.disable()
    try:
        with RawServer(play(answer(200, flow), answer(200, flow), *cuts, hold, hold)) as server:
            api = client(server)
            before = sys.getrefcount(sent)
            assert isinstance(api.put("f", sent, soon()), Stored)
            found = api.get("f", soon())
            received = sys.getrefcount(found.body)
            for expected in (Rejected, Unavailable, Unavailable):
                assert isinstance(api.put("f", sent, soon()), expected)
            assert api.put("f", sent, soon(SHORT)).kind == "timeout"
        assert api.put("f", sent, soon()).kind == "connect"
        assert (sys.getrefcount(sent), received) == (before, 2)
    finally:
        gc.enable()


# One deadline


@pytest.mark.slow
@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"", b""),
        (b"", b"HTTP/1.1 200 " + b"O" * 1000),
        (b"HTTP/1.1 200 OK\r\n", b"X-Header: drip\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
        (b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 9999\r\n\r\n", b"x"),
    ],
    ids=["nothing", "status line", "headers", "interim", "body", "chunks", "body until the end", "error"],
)
@pytest.mark.parametrize("method", ["get", "put"])
def test_dripping_answer_ends_at_the_deadline(start: bytes, more: bytes, method: str) -> None:
    """No answer, or one that never stops arriving byte by byte, is given up at the deadline, not a byte later."""
    with ends_at_the_deadline():
        result = ask(drip(start, more) if more else hold, method, SHORT)
    if b"429" in start:  # its status is here, and only its text is late
        assert result == Unavailable("429", "429 Too Many Requests", 7.0, True)
    else:
        assert result == Unavailable("timeout", "no answer in time", None, b"\r\n\r\n" in start)


def test_request_that_is_taken_slowly_ends_at_the_deadline() -> None:
    """A server that takes a byte now and then of a large body is given up at the deadline."""

    def sip(server: RawServer, sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        while not server.released.wait(0.05):
            sock.recv(1000)

    with RawServer(sip) as server, ends_at_the_deadline():
        assert client(server).put("f", bytes(20_000_000), soon(SHORT)).kind == "timeout"


def test_connecting_ends_at_the_deadline(black_hole: tuple[str, int]) -> None:
    """An address that swallows every attempt to connect is given up at the deadline."""
    api = client("http://{}:{}".format(*black_hole))
    api.open()
    with ends_at_the_deadline():
        assert api.get("f", soon(SHORT)).kind == "timeout"


def test_passed_deadline_sends_nothing() -> None:
    """With no time left there is no request."""
    with RawServer(play(answer())) as server:
        assert client(server).get("f", time.monotonic() - 1).kind == "timeout"
    assert server.connections == 0


def test_next_address_gets_its_turn(monkeypatch: pytest.MonkeyPatch, black_hole: tuple[str, int]) -> None:
    """A name whose first address swallows everything is reached at its second, within one deadline."""
    with RawServer(play(answer())) as server:
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)
            for address in (black_hole, ("127.0.0.1", server.port))
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: found)
        assert isinstance(client("http://platform.test").get("f", soon(2.0)), Found)


# Broken answers


FLOW = b'{"name":"f","spans":[]}'
OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize("method", ["get", "put"])
@pytest.mark.parametrize(
    ("step", "answered"),
    [
        (cut(b""), False),
        (cut(b"HTTP/1.1 20"), False),
        (cut(OK + b"Content-Le"), False),
        (cut(OK + b"Content-Length: 99\r\n\r\n" + FLOW), True),
        (cut(OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"), True),
        (cut(OK + b"Transfer-Encoding: chunked\r\n\r\nff\r\n{}"), True),
        (reset(OK), False),
        (reset(OK + b"Content-Length: 9\r\n\r\n{}"), True),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", False),
        (b"HTTP/1.1 OK\r\n\r\n", False),
        (OK + b"X: y\r\n" * 40000 + b"\r\n", False),
        (OK + b"X: " + b"x" * 500_000, False),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", True),
        (OK + b"Content-Length: -1\r\n\r\n", False),
        (OK + b"Content-Length: many\r\n\r\n{}", False),
        (OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}", False),
    ],
)
def test_broken_answer_is_no_success(step: Step, answered: bool, method: str) -> None:
    """A cut, reset or garbled answer is to be tried again, a 200 with half a body above all."""
    result = ask(step, method)
    assert isinstance(result, Unavailable)
    assert (result.kind in ("read", "protocol"), result.answered) == (True, answered)
    assert result.message


def test_nobody_there() -> None:
    """A refused connection says so; a name that can't be looked up is a connect error too."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    result = client(f"http://127.0.0.1:{port}").get("f", soon())
    assert (result.kind, result.answered) == ("connect", False)
    assert "refused" in result.message
    assert client("http://no-such-host.invalid").get("f", soon()).kind == "connect"


@pytest.mark.parametrize("method", ["get", "put"])
def test_connection_closed_while_idle_costs_nothing(method: str) -> None:
    """A kept-alive connection that turns out dead is replaced at once, within the same call."""

    def first(server: RawServer, sock: socket.socket) -> None:
        sock.sendall(answer())
        server.read(sock)  # the next request does go out, to a connection that dies under it
        reset(b"")(server, sock)

    with RawServer(play(first, answer(200, b"[]"))) as server:
        api = client(server)
        assert isinstance(api.get("f", soon()), Found)
        second = api.get("f", soon()) if method == "get" else api.put("f", b"[1]", soon())
        assert isinstance(second, Found | Stored)
    assert server.connections == 2
    assert server.requests[1] == server.requests[2]


@pytest.mark.parametrize("used_before", [False, True])
def test_a_connection_that_dies_is_replaced_once(used_before: bool) -> None:
    """A server that drops every request is asked once on a new connection: more is the courier's affair."""
    first = [answer()] if used_before else []
    with RawServer(play(*first, *[cut(b"")] * 5)) as server:
        api = client(server)
        for _ in first:
            api.get("f", soon())
        assert api.get("f", soon()).kind == "protocol"
    assert len(server.requests) == (3 if used_before else 1)


def test_own_connection() -> None:
    """A read on a connection of its own makes one, and closes it; the others' is kept."""
    ends: list[bytes] = []

    def handler(server: RawServer, sock: socket.socket) -> None:
        while server.read(sock) is not None:
            sock.sendall(answer())
        ends.append(b"")

    with RawServer(handler) as server:
        api = client(server)
        for own in (False, True, True, False):
            assert isinstance(api.get("f", soon(), own_connection=own), Found)
        assert server.connections == 3
        until = soon()
        while len(ends) < 2:
            assert time.monotonic() < until
            time.sleep(0.01)
        api.close()


def test_refusal_before_the_body_is_taken() -> None:
    """A 413 that comes while the body is still being sent, before the connection is closed, is heard."""

    def refuse(server: RawServer, sock: socket.socket) -> None:
        sock.recv(1000)
        sock.sendall(answer(413, b'{"code": "large", "message": "at most 1 MB"}'))

    with RawServer(refuse) as server:
        assert client(server).put("f", bytes(30_000_000), soon()) == TooLarge("at most 1 MB")


# Refusals


M = b'{"code": "c", "message": "m"}'
JSON = b'{"a": 1}' * 5000
FIELDS = ["spans[3].name", "spans[0]", "spans[3].attributes.x[7]", "spans[12][1]"]
FIELDS += ["spans", "spans[]", "spans[-1]", "spans[x]", "a.spans[4]", "spans[5", "spans[6]x"]
FIELDS += ["spans[\u0663].name", "spans[99999999999999].name", "name", ""]
INVALID = {"code": "invalid", "message": "no", "fields": [{"field": f, "message": "why"} for f in FIELDS]}
WORDS = {402: "Payment Required", 405: "Method Not Allowed", 501: "Not Implemented"}
BAD_REQUEST = Rejected(400, "", "400 Bad Request", ())


def packed(body: bytes, encoding: str, status: int = 200) -> bytes:
    return answer(status, body, content_encoding=encoding)


def no_retry(status: int, value: str, seconds: float | None) -> tuple[bytes, object, object]:
    text = {403: "403 Forbidden", 503: "503 Service Unavailable"}[status]
    said = Denied(403, text, seconds) if status == 403 else Unavailable("503", text, seconds, True)
    return answer(status, b"", retry_after=value), said, said


LONG_REFUSAL = json.dumps(
    {
        "code": "invalid",
        "message": "no",
        "fields": [{"field": f"spans[{n}].name", "message": "x" * 100} for n in range(1000)],
    }
).encode()
LONG_READ = LONG_REFUSAL[:65536].count(b".name")

ANSWERS: list[tuple[Step, object, object]] = [
    # The bytes on the wire, what they say to a GET, and what to a PUT. Bytes are a flow found; a GET has no body
    # that could be to blame.
    (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + answer(),
        b"{}",
        Stored,
    ),
    (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{ \r\n1;x=y\r\n}\r\n0\r\nT: x\r\n\r\n",
        b"{ }",
        Stored,
    ),
    (cut(b"HTTP/1.1 200 OK\r\n\r\n{}"), b"{}", Stored),
    (b"HTTP/1.1 204 No Content\r\n\r\n", Unreadable, Stored(204, None)),
    *[(answer(status, M), Unreadable, Stored) for status in (205, 206)],
    # compressed all the same, by the platform or on the way
    *[(packed(gzip.compress(JSON, mtime=0), encoding), JSON, Stored) for encoding in ("gzip", "X-GZIP")],
    *[(packed(body, "deflate"), JSON, Stored) for body in (zlib.compress(JSON), zlib.compress(JSON)[2:-4])],
    (packed(JSON, "identity"), JSON, Stored),
    # not what the header says: unreadable when read, and no matter when written
    (packed(b"xxx", "br"), Unreadable, Stored(200, None, False)),
    (packed(gzip.compress(b"{}", mtime=0), "gzip, gzip"), Unreadable, Stored(200, None, False)),
    *[(packed(b"{}", encoding), Unreadable, Stored(200, None, False)) for encoding in ("gzip", "deflate")],
    (packed(gzip.compress(b"{}", mtime=0)[:-6], "gzip"), Unreadable, Stored(200, None, False)),
    (packed(gzip.compress(b"{}", mtime=0) + b"more", "gzip"), Unreadable, Stored(200, None, False)),
    (packed(b"", "gzip"), Unreadable, Stored(200, None)),
    # refusals
    (answer(400, M), Misconfigured(400, "400 Bad Request: m", None), Rejected(400, "c", "m", ())),
    (answer(422, M), Misconfigured, Rejected(422, "c", "m", ())),
    (answer(409, M), Misconfigured(409, "409 Conflict: m", None), Conflict("m")),
    (answer(413, M), Misconfigured, TooLarge("m")),
    (answer(413, M, retry_after="7"), Misconfigured, TooLarge("m", 7.0)),
    *[(answer(status, M), *[Denied(status, "m", None)] * 2) for status in (401, 403)],
    *[
        (answer(status, M), *[Unavailable(str(status), "m", None, True)] * 2)
        for status in (408, 425, 429, 500, 502, 503, 504)
    ],
    *[
        (answer(status, M), *[Misconfigured(status, f"{status} {text}: m", None)] * 2)
        for status, text in WORDS.items()
    ],
    (answer(599, M), *[Misconfigured(599, "status 599: m", None)] * 2),
    # a flow that is not there, in the API's own words or in somebody's
    (answer(404, M), Absent(True, "m"), Misconfigured(404, "404 Not Found: m", None)),
    (answer(404, b'{"code": "not_found", "message": ""}'), Absent(True, "not_found"), Misconfigured),
    (answer(404, b'{"code": 404, "message": "backend"}'), Absent(False, "backend"), Misconfigured),
    (answer(404, b'{"message": "no Route matched"}'), Absent(False, "no Route matched"), Misconfigured),
    *[
        (answer(404, body), Absent(False, "404 Not Found"), Misconfigured)
        for body in (b'[{"code": "c", "message": "m"}]', b"default backend - 404", b"")
    ],
    # no redirect, though it says where
    (
        answer(304, b"", location="http://there/"),
        *[Misconfigured(304, "304 Not Modified", None)] * 2,
    ),
    # redirects to nowhere in particular
    *[
        (answer(302, b"", location=location), Misconfigured, Misconfigured)
        for location in ("", "/elsewhere", "http://[", "http://x:99999/", "//h")
    ],
    # errors that are no error documents change nothing: the status is said
    *[(answer(400, body), Misconfigured, BAD_REQUEST) for body in NO_DOCUMENTS],
    (answer(400, json.dumps({"message": "\ud800"}).encode()), Misconfigured, Rejected(400, "", "", ())),
    (packed(gzip.compress(bytes(5_000_000), mtime=0), "gzip", 400), Misconfigured, BAD_REQUEST),
    (packed(gzip.compress(M, mtime=0), "gzip", 400), Misconfigured, Rejected(400, "c", "m", ())),
    (
        answer(400, b'{"message": null, "fields": [3, null, {"field": 4}]}'),
        Misconfigured,
        Rejected(400, "", "400 Bad Request (: )", ()),
    ),
    # the spans that are named, each once; paths of any other form are none
    (
        answer(422, json.dumps(INVALID).encode()),
        Misconfigured,
        Rejected(422, "invalid", "no (spans[3].name: why)", (3, 0, 12)),
    ),
    # what is read of a document that is too long, or cut, is used
    (answer(422, LONG_REFUSAL), Misconfigured, Rejected(422, "invalid", "no", tuple(range(LONG_READ)))),
    (
        packed(gzip.compress(LONG_REFUSAL, mtime=0), "gzip", 422),
        Misconfigured,
        Rejected(422, "invalid", "no", tuple(range(LONG_READ))),
    ),
    (
        answer(404, b'{"code":"c","message":"m",'),
        Absent(False, "m"),
        Misconfigured(404, "404 Not Found: m", None),
    ),
    # Retry-After: seconds or a date, never negative, at most a day, and nothing if it is garbled
    *[
        no_retry(status, value, seconds)
        for status in (403, 503)
        for value, seconds in (
            ("0", 0.0),
            ("120", 120.0),
            (" 5 ", 5.0),
            ("999999999", 86400.0),
            ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
            ("Fri, 31 Dec 9999 23:59:59 GMT", 86400.0),
            *[(garbled, None) for garbled in ("-1", "1.5", "1e3", "9" * 400, "soon", "", "\u00b2")],
            ("Wed, 99 Foo 2015 99:99:99 GMT", None),
        )
    ],
]


@pytest.mark.parametrize(("step", "read", "written"), ANSWERS)
def test_what_an_answer_says(step: Step, read: object, written: object) -> None:
    """Only 2xx is success; any bytes on the wire are one typed answer, to a GET and to a PUT."""
    with RawServer(play(step, step)) as server:
        api = client(server)
        for result, expected in ((api.get("f", soon()), read), (api.put("f", FLOW, soon()), written)):
            if isinstance(expected, type):
                assert isinstance(result, expected)
            elif isinstance(expected, bytes):
                assert result.body == expected
            else:
                assert result == expected


SPANS = b'"spans":[{"code":"c","name":"s","x":{"spans":1}}' + b',{"name":"s"}' * 20_000 + b"]"
BELIEVED = {
    b"": True,
    b" \r\n": True,
    FLOW: True,
    b'{"spans":null,"name":"f"}': True,
    b'{ "description" : "a\\"b" , "labels":{"a":[1]},"name":"f","spans" : [] }': True,
    b'{"name":"f",' + SPANS + b"}": True,
    b"{" + SPANS + b',"name":"f"}': True,
    b"{}": False,
    b"[]": False,
    b"ok": False,
    b'{"flows":[]}': False,
    b'{"name":7,"spans":[]}': False,
    b'{"name":"f","spans":{}}': False,
    b'{"name":"f" "spans":[]}': False,
    b'{"code":"c","message":"no \\"spans\\":[]"}': False,
    b'{"code":"c","message":"m","request":{"name":"f","spans":[]}}': False,
    b'{"code":"c","message":"m","spans":[]}': False,
    b"<html>" + b"x" * 200_000 + FLOW: False,
    b'{"message":"' + b"x" * 200_000 + b'","spans":[]}': False,
    b'{"a":' + b"[" * 60_000: False,
    b"\xff\xfe": False,
}


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_what_answers_a_put_is_believed_if_it_is_a_flow(encoding: str) -> None:
    """A 2xx with the flow, or with nothing, is believed; one with an error document or somebody's page is not."""
    pack = gzip.compress if encoding == "gzip" else bytes
    steps = [answer(200, pack(body), content_encoding=encoding) for body in BELIEVED]
    with RawServer(play(*steps)) as server:
        api = client(server)
        assert {body: api.put("f", FLOW, soon()).believed for body in BELIEVED} == BELIEVED
    assert server.connections == 1


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["get", "put"])
def test_redirect_is_not_followed(status: int, method: str) -> None:
    """A redirect is an error that says which host it points to; nothing goes there, least of all the key."""
    with RawServer(play(answer())) as other:
        location = f"http://user:{KEY}@127.0.0.1:{other.port}/secret?token={KEY}"
        result = ask(answer(status, b"", location=location), method)
        assert isinstance(result, Misconfigured)
        assert result.status == status
        assert f"http://127.0.0.1:{other.port}," in result.message
        assert "secret" not in result.message
    assert other.connections == 0


def test_retry_after_date_is_relative_to_now() -> None:
    """A date half a minute ahead asks for about half a minute."""
    result = ask(answer(429, b"", retry_after=formatdate(time.time() + 30, usegmt=True)))
    assert 10 < result.retry_after <= 30


@pytest.mark.parametrize(
    ("ahead", "date"), [(7200, ""), (-7200, ""), (0, "Someday"), (0, "Fri, 31 Dec 99999 23:59:59 GMT")]
)
def test_a_retry_after_date_is_of_the_clock_of_the_answer(ahead: float, date: str) -> None:
    """The answer's `Date` tells how long that is, whatever time it is here; one that is no date tells nothing."""
    there = time.time() + ahead
    sent = date or formatdate(there, usegmt=True)
    result = ask(answer(429, b"", date=sent, retry_after=formatdate(there + 30, usegmt=True)))
    assert 10 < result.retry_after <= 30


@pytest.mark.parametrize("form", ["%a %b %d %H:%M:%S %Y", "%a, %d %b %Y %H:%M:%S -0000"])
def test_a_retry_after_date_without_a_zone_is_utc(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the program runs (RFC 9110 section 5.6.7)."""
    monkeypatch.setenv("TZ", "XXX5")
    time.tzset()
    try:
        date = time.strftime(form, time.gmtime(time.time() + 30))
        assert 10 < ask(answer(429, b"", retry_after=date)).retry_after <= 30
    finally:
        monkeypatch.undo()
        time.tzset()


# The key


@pytest.mark.parametrize("status", [301, 400, 401, 404, 409, 413, 418, 503])
def test_echoed_key_is_not_shown(status: int) -> None:
    """A platform that puts the key into its error doesn't put it into ours, wherever the text is cut."""
    for padding in (0, 285, 290, 295):
        body = {
            "code": KEY,
            "message": "x" * padding + f" {KEY}\n",
            "fields": [{"field": KEY, "message": KEY}],
        }
        result = ask(answer(status, json.dumps(body).encode()), "put")
        assert "key-" not in repr(result)


@pytest.mark.parametrize(
    ("key", "echo"),
    [("two words", "two\r\nwords"), ("odd\xa0space", "odd\xa0space"), ("x" * 40, "y" * 280 + "x" * 40)],
)
def test_key_is_found_before_and_after_the_text_is_made_printable(key: str, echo: str) -> None:
    """Neither making a message printable nor cutting it lets a part of the key through."""
    message = shown(f"no: {echo}", lambda text: text.replace(key, "***"))
    assert not {"two", "odd", "xx"} & set(re.findall("two|odd|xx", message))


def test_message_is_one_short_line() -> None:
    """A message has no line breaks, escapes or bidirectional controls, and at most 300 characters."""
    text = "a\r\nb\x1b[31m\u2028c\u202ed\x00\x85" + "\U0001f600" * 400
    message = ask(answer(503, json.dumps({"message": text}).encode())).message
    assert message.isprintable()
    assert message.startswith("a b [31m c d")
    assert len(message) == 300


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("refusals", [1, 2])
def test_refused_key_is_read_again(status: int, refusals: int) -> None:
    """Where the key is another one by now, the request is made once more with it, and no third time."""
    with RawServer(play(*[answer(status)] * refusals, answer(200, b"[]"))) as server:
        result = client(server, "a-key", "b-key", "c-key").get("f", soon())
    assert isinstance(result, Found if refusals == 1 else Denied)
    assert [r.headers["authorization"] for r in server.requests] == ["Bearer a-key", "Bearer b-key"]


def test_unsendable_header_is_said_and_not_quoted() -> None:
    """A key or header that HTTP can't carry is a wrong setting, whose value stays out of the message."""
    with RawServer(play(answer())) as server:
        result = client(server, "line\r\nbreak").get("f", soon())
        assert isinstance(result, Misconfigured)
        assert "break" not in result.message


def test_nothing_is_raised() -> None:
    """A surprise of any kind is an answer that names it."""

    class Surprise(Key):
        def authorization(self) -> str:
            raise LookupError(KEY)

    with RawServer(play(answer())) as server:
        api = client(server)
        api._credentials = Surprise(KEY)
        assert api.get("f", soon()) == Unavailable("error", "LookupError", None, False)
        assert isinstance(client(server).put("f", 7, soon()), Unavailable)


# Many at once, and the end


def test_many_flows_at_once() -> None:
    """Sixty-four requests that are held back hold up no other."""
    with RawServer(
        lambda server, sock: (server.read(sock), hold(server, sock), sock.sendall(answer()))
    ) as server:
        api = client(server)
        answers: list[object] = []
        threads = [threading.Thread(target=lambda: answers.append(api.get("f", soon()))) for _ in range(64)]
        for thread in threads:
            thread.start()
        for _ in threads:
            assert server.arrived.acquire(timeout=LONG), f"{len(server.requests)} of 64 arrived"
        server.released.set()
        for thread in threads:
            thread.join(LONG)
        assert [type(a) for a in answers] == [Found] * 64


def test_close() -> None:
    """close() leaves no socket behind; a client that was never used closes too, and stays closed."""
    gone = threading.Event()

    def handler(server: RawServer, sock: socket.socket) -> None:
        server.read(sock)
        sock.sendall(answer())
        if not sock.recv(1):
            gone.set()

    with RawServer(handler) as server:
        unused = client(server)
        unused.close()
        assert unused.get("f", soon()).kind == "closed"
        assert server.connections == 0
        api = client(server)
        api.get("f", soon())
        api.close()
        assert gone.wait(LONG)
