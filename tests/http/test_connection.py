"""The way to the platform: trust, proxies, and silence about the exporter's own requests."""

import base64
import contextlib
import logging
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.utils import is_http_instrumentation_enabled, is_instrumentation_enabled
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from opentelemetry import context
from opentelemetry.exporter.versori_flow.http import line, watchdog
from opentelemetry.exporter.versori_flow.http.answers import (
    Found,
    Misconfigured,
    Stored,
    TooLarge,
    Unavailable,
)
from opentelemetry.exporter.versori_flow.settings.key import pem_file
from tests.authority import Authority
from tests.http.raw_server import RawServer, Step, answer, cut, drip, hold, play
from tests.http.test_api import KEY, LATE, LONG, SHORT, Key, client, ends_at_the_deadline, soon

# Trust


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.mark.parametrize("named_by", ["setting", "environment"])
def test_own_authority(authority: Authority, monkeypatch: pytest.MonkeyPatch, named_by: str) -> None:
    """With its authority given, by SSL_CERT_FILE too, a platform is reached over TLS, twice on one connection."""
    if named_by == "environment":
        monkeypatch.setenv("SSL_CERT_FILE", authority.file)
    with RawServer(play(answer(), answer(201)), authority.server()) as server:
        api = client(server, certificate=authority.file if named_by == "setting" else None)
        assert isinstance(api.get("f", soon()), Found)
        assert isinstance(api.put("f", b"x" * 3_000_000, soon()), Stored)
    assert server.connections == 1
    assert len(server.requests[1].body) == 3_000_000


def test_an_authority_beside_a_program_that_goes_elsewhere(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path is meant from where the program was when it was set up: the file is read at the first request."""
    monkeypatch.chdir(Path(authority.file).parent)
    with RawServer(play(answer()), authority.server()) as server:
        api = client(server, certificate=pem_file(Path(authority.file).name))
        monkeypatch.chdir(tmp_path)
        assert isinstance(api.get("f", soon()), Found)


def test_unknown_authority_is_not_trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it nothing is sent, and the message says why, and which setting would help; for a proxy too."""
    with RawServer(play(answer()), authority.server()) as server:
        result = client(server).get("f", soon())
        assert isinstance(result, Unavailable)
        assert (result.kind, result.answered) == ("tls", False)
        assert "certificate verify failed: 127.0.0.1 is not trusted" in result.message
        assert "VERSORI_FLOW_CERTIFICATE" in result.message
        monkeypatch.setenv("HTTPS_PROXY", server.url)
        result = client("https://127.0.0.1:9", certificate=authority.file).get("f", soon())
    assert "the proxy that HTTPS_PROXY names" in result.message
    assert "SSL_CERT_FILE" in result.message
    assert not server.requests


def test_https_to_an_http_port() -> None:
    """TLS spoken to whom doesn't speak it: the message names the address's variable."""

    def refuse(_server: RawServer, sock: socket.socket) -> None:
        sock.recv(1000)
        sock.sendall(answer(400))

    with RawServer(refuse) as server:
        result = client(f"https://127.0.0.1:{server.port}").get("f", soon())
    assert result.kind == "tls"
    assert "does not speak TLS: check the scheme and port of VERSORI_API_BASE_URL" in result.message


@pytest.mark.parametrize("one_file", [True, False])
def test_client_certificate(authority: Authority, tmp_path: Path, one_file: bool) -> None:
    """The client certificate is shown, with its key in a file of its own or in the same one."""
    certificate, key = authority.issue("client")
    settings = {"client_certificate": certificate, "client_key": key}
    if one_file:
        both = tmp_path / "both.pem"
        both.write_text(Path(key).read_text() + Path(certificate).read_text())
        settings = {"client_certificate": str(both), "client_key": None}
    with RawServer(play(answer()), authority.server(mutual=True)) as server:
        assert isinstance(client(server, certificate=authority.file, **settings).get("f", soon()), Found)
    with RawServer(play(answer()), authority.server(mutual=True)) as server:
        result = client(server, certificate=authority.file).get("f", soon())
        assert "VERSORI_FLOW_CLIENT_CERTIFICATE" in result.message


def test_the_environment_s_authorities_are_named_by_their_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """httpx trusts those of SSL_CERT_FILE; where that can't be used, the setting that is not set is not blamed."""
    path = tmp_path / "file.pem"
    path.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    result = client("https://platform.test").get("f", soon())
    assert isinstance(result, Misconfigured)
    assert result.message.startswith("SSL_CERT_FILE can't be used")


@pytest.mark.parametrize("broken", ["missing", "garbled", "folder", "encrypted"])
def test_unusable_file_is_named_until_it_is_mended(authority: Authority, tmp_path: Path, broken: str) -> None:
    """An unusable PEM file is a wrong setting, named by its variable, and works once it is put right."""
    good, key = authority.issue("client")
    path = tmp_path / "file.pem"
    if broken == "garbled":
        path.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    elif broken == "folder":
        path.mkdir()
    elif broken == "encrypted":
        key = authority.issue("locked", b"password")[1]
        good = authority.issue("locked", b"password")[0]
        path.write_text(Path(good).read_text() + Path(key).read_text())
    with RawServer(play(answer()), authority.server()) as server:
        if broken != "encrypted":
            api = client(server, certificate=str(path))
            api.open()
            result = api.get("f", soon())
            assert isinstance(result, Misconfigured)
            assert result.status == 0
            assert "VERSORI_FLOW_CERTIFICATE" in result.message
        theirs = client(server, certificate=authority.file, client_certificate=str(path))
        result = theirs.get("f", soon())
        assert isinstance(result, Misconfigured)
        assert "VERSORI_FLOW_CLIENT_CERTIFICATE" in result.message
        if broken == "missing":
            path.write_text(Path(good).read_text() + Path(key).read_text())
            assert isinstance(theirs.get("f", soon()), Found)


def test_handshake_ends_at_the_deadline(authority: Authority) -> None:
    """A server that takes the connection and never speaks TLS is given up at the deadline."""
    with RawServer(hold) as server:
        api = client(f"https://127.0.0.1:{server.port}", certificate=authority.file)
        api.open()
        with ends_at_the_deadline():
            assert api.get("f", soon(SHORT)).kind == "timeout"


def test_early_refusal_and_slow_taker_over_tls(authority: Authority) -> None:
    """A body that is not taken holds nothing up over TLS either: its refusal is heard, its time bounded."""

    def refuse(server: RawServer, sock: socket.socket) -> None:
        sock.recv(1000)
        sock.sendall(answer(413, b'{"code": "large", "message": "at most 1 MB"}'))
        while sock.recv(1 << 16):  # as servers do that want their answer read
            pass

    for handler, expected in ((refuse, TooLarge("at most 1 MB")), (hold, None)):
        with RawServer(handler, authority.server()) as server:
            api = client(server, certificate=authority.file)
            api.open()
            result = api.put("f", bytes(20_000_000), soon(LONG if expected else SHORT))
            assert result == expected if expected else result.kind == "timeout"


@pytest.mark.parametrize("tls", [False, True])
def test_close_ends_what_is_under_way(authority: Authority, tls: bool) -> None:
    """close() returns at once, and so do requests that wait for an answer; later ones are refused."""
    with RawServer(play(hold), authority.server() if tls else None) as server:
        api = client(server, certificate=authority.file)
        answers: list[object] = []
        thread = threading.Thread(target=lambda: answers.append(api.get("f", soon(60))))
        thread.start()
        assert server.arrived.acquire(timeout=LONG)
        begun = time.monotonic()
        api.close()
        thread.join(LONG)
        assert time.monotonic() - begun < LATE
        assert answers == [Unavailable("closed", "the client is closed", None, False)]
        assert api.get("f", soon()).kind == "closed"
        api.close()


# Proxies


def tunnel(server: RawServer, sock: socket.socket) -> None:
    """Answers CONNECT, and joins the two sides."""
    request = server.read(sock)
    assert request is not None
    host, _, port = request.target.rpartition(":")
    with socket.create_connection((host, int(port))) as far:
        sock.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")

        def copy(source: socket.socket, sink: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while data := source.recv(65536):
                    sink.sendall(data)
            with contextlib.suppress(OSError):  # the other direction may have ended it before
                far.shutdown(socket.SHUT_RDWR)

        back = threading.Thread(target=copy, args=(far, sock), daemon=True)
        back.start()
        copy(sock, far)
        back.join(LONG)


def test_http_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """An http platform is asked for through HTTP_PROXY, with the proxy's own credentials."""
    with RawServer(play(answer())) as proxy:
        monkeypatch.setenv("http_proxy", f"http://us%40er:p%3Ass@127.0.0.1:{proxy.port}")
        assert isinstance(client("http://platform.test").get("..", soon()), Found)
    request = proxy.requests[0]
    assert request.target.startswith("http://platform.test/api/v2/o/")
    assert request.target.endswith("/workflows/%2E%2E")
    assert request.headers["host"] == "platform.test"
    assert request.headers["proxy-authorization"] == "Basic " + base64.b64encode(b"us@er:p:ss").decode()


@pytest.mark.parametrize("proxy_scheme", ["http", "https"])
def test_https_through_a_proxy(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, proxy_scheme: str
) -> None:
    """An https platform is reached through a tunnel, which sees neither key nor flow, and by the deadline."""
    tls = authority.server("proxy") if proxy_scheme == "https" else None
    step = play(answer(200, b"x" * 100_000), answer(201), hold, hold)
    with RawServer(step, authority.server()) as server, RawServer(tunnel, tls) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("SSL_CERT_FILE", authority.file)  # whom the proxy is trusted by
        api = client(server, certificate=authority.file)
        assert isinstance(api.get("f", soon()), Found)
        assert isinstance(api.put("f", bytes(3_000_000), soon()), Stored)
        # in the tunnel that is there, and in a new one
        for own in (False, True):
            with ends_at_the_deadline(1.0):
                assert api.get("f", soon(1.0), own_connection=own).kind == "timeout"
        api.close()
    assert [len(r.body) for r in server.requests[:2]] == [0, 3_000_000]
    assert {(r.method, r.target) for r in proxy.requests} == {("CONNECT", f"127.0.0.1:{server.port}")}
    assert KEY not in str(proxy.requests)


@pytest.mark.parametrize(
    ("scheme", "variable", "fault", "kind", "words"),
    [
        ("https", "HTTPS_PROXY", answer(407), "proxy", "refuses: 407"),
        ("https", "ALL_PROXY", answer(403), "proxy", "refuses: 403"),
        ("https", "https_proxy", cut(b""), "protocol", "by way of the proxy"),
        ("https", "HTTPS_PROXY", None, "proxy", "refused"),
        ("http", "HTTP_PROXY", None, "proxy", "refused"),
        ("http", "ALL_PROXY", answer(407), None, "asks for credentials"),
        ("http", "HTTP_PROXY", answer(403), None, "403 Forbidden (by way of the proxy"),
        ("http", "HTTP_PROXY", answer(404), None, "404 Not Found (by way of the proxy"),
        ("http", "HTTP_PROXY", answer(502), "502", "502 Bad Gateway (by way of the proxy"),
        ("http", "HTTP_PROXY", hold, "timeout", "no answer in time"),
    ],
)
def test_a_proxy_s_fault_is_the_proxy_s(
    monkeypatch: pytest.MonkeyPatch, scheme: str, variable: str, fault: Step | None, kind: str, words: str
) -> None:
    """A proxy that is dead or refuses is called the proxy, with its address and the variable that named it."""
    with RawServer(play(fault or hold)) as proxy:
        if fault is None:
            proxy.__exit__()
        monkeypatch.setenv(variable, f"http://user:{KEY}@127.0.0.1:{proxy.port}")
        result = client(f"{scheme}://platform.test").get("f", soon(SHORT if fault is hold else LONG))
    assert getattr(result, "kind", None) == kind
    assert words in result.message
    assert KEY not in result.message
    if fault is not hold:
        assert f"the proxy that {variable.upper()} names (127.0.0.1:{proxy.port})" in result.message


@pytest.mark.parametrize("exempt", ["127.0.0.1", "other.test, 127.0.0.1:{port}", "*"])
def test_no_proxy(monkeypatch: pytest.MonkeyPatch, exempt: str) -> None:
    """A host that NO_PROXY names is reached directly, and its faults are its own."""
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    with RawServer(play(answer(), cut(b""))) as server:
        monkeypatch.setenv("NO_PROXY", exempt.format(port=server.port))
        assert isinstance(client(server).get("f", soon()), Found)
        assert "proxy" not in client(server).get("f", soon()).message


@pytest.mark.parametrize(
    ("url", "variables", "proxy"),
    [
        ("https://platform.test", {"HTTP_PROXY": "http://a:1", "ALL_PROXY": "http://b:2"}, "http://b:2"),
        ("https://platform.test", {"https_proxy": "a:1", "ALL_PROXY": "http://b:2"}, "http://a:1"),
        ("https://platform.test", {"HTTP_PROXY": "http://a:1"}, None),
        *(
            ("https://api.platform.test:8443", {"HTTPS_PROXY": "http://a:1", "NO_PROXY": exempt}, proxy)
            for exempt, proxy in (
                ("platform.test", None),
                (".platform.test", None),
                ("x, api.PLATFORM.test", None),
                ("platform.test:8443", None),
                ("platform.test:443", "http://a:1"),
                ("form.test", "http://a:1"),
                ("", "http://a:1"),
            )
        ),
        ("http://[::1]:8080", {"HTTP_PROXY": "http://a:1", "NO_PROXY": "::1"}, None),
    ],
)
def test_the_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, url: str, variables: dict[str, str], proxy: str | None
) -> None:
    """The variable of the scheme comes before ALL_PROXY; NO_PROXY names hosts, domains, and ports of them."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    parts = httpx.URL(url)
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    assert line.Origin(parts.scheme, parts.host, port).proxy_url() == proxy


@pytest.mark.parametrize(
    ("proxy", "words"),
    [
        *((proxy, "HTTP_PROXY") for proxy in ("ftp://proxy:21", "http://proxy:port", "http://[::1")),
        *((f"http://{host}:1", "HTTP_PROXY names") for host in ("a..b", "a" * 64)),
        ("socks5://127.0.0.1:1", "httpx[socks]"),
    ],
)
def test_unusable_proxy(monkeypatch: pytest.MonkeyPatch, proxy: str, words: str) -> None:
    """A proxy that is no URL, or has no host, is a wrong setting; a SOCKS proxy needs a library: which, is said."""
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv("HTTP_PROXY", proxy)
    result = client("http://platform.test").get("f", soon())
    assert isinstance(result, Misconfigured)
    assert words in result.message


# The clock


def test_events_of_httpx(authority: Authority) -> None:
    """The events by which the connection's socket is followed are told, in this order and with these details."""
    seen: list[tuple[str, object]] = []

    def trace(event: str, info: dict[str, object]) -> None:
        name = event.partition(".")[2]
        detail = {key: info[key] for key in ("host", "port", "server_hostname") if info.get(key)}
        result = info.get("return_value")
        if name in ("connect_tcp.complete", "start_tls.complete"):
            detail["socket"] = isinstance(result.get_extra_info("socket"), socket.socket)
        seen.append((name, detail))

    context = ssl.create_default_context(cafile=authority.file)
    with RawServer(play(answer()), authority.server()) as server, httpx.Client(verify=context) as plain:
        plain.get(server.url, extensions={"trace": trace}, timeout=LONG)
    assert seen[:5] == [
        ("connect_tcp.started", {"host": "127.0.0.1", "port": server.port}),
        ("connect_tcp.complete", {"socket": True}),
        ("start_tls.started", {"server_hostname": "127.0.0.1"}),
        ("start_tls.complete", {"socket": True}),
        ("send_request_headers.started", {}),
    ]


@pytest.mark.parametrize("missing", ["events", "thread"])
def test_timeouts_hold_without_the_watchdog(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """Where no event is told, or no thread can be had, each operation still ends, and bodies at the deadline."""
    if missing == "events":
        monkeypatch.setattr(line.Exchange, "_trace", lambda *_: None)
    else:
        monkeypatch.setattr(watchdog, "start_thread", lambda *_: False)
    start = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
    with RawServer(play(answer(), hold, answer(), drip(start, b"x"), cut(b""), cut(b""))) as server:
        api = client(server)
        assert isinstance(api.get("f", soon()), Found)
        begun = time.monotonic()
        assert api.get("f", soon(SHORT)).kind == "timeout"
        assert isinstance(api.put("f", bytes(300_000), soon()), Stored)
        assert api.get("f", soon(SHORT)).kind == "timeout"
        assert api.get("f", soon()).kind == "protocol"
        assert time.monotonic() - begun < 2 * SHORT + LATE


_PROGRAM = """
import os, signal, sys, time
from types import SimpleNamespace
from opentelemetry.exporter.versori_flow.http.api import FlowsApi
from opentelemetry.exporter.versori_flow.settings.readers import Secret
url, certificate, kind = sys.argv[1:]
class Key:
    def authorization(self):
        if kind == "before":
            os.kill(os.getpid(), signal.SIGSTOP)
        return Secret("Bearer k")
    def redact(self, text):
        return text
settings = SimpleNamespace(base_url=url, organisation_id="o", project_id="p", headers={}, compression="none",
    certificate=certificate, client_certificate=None, client_key=None, max_bytes=1024,
    write_mode="merge")
def api():
    return FlowsApi(settings, Key())
"""


def program(url: str, kind: str, body: str, certificate: str = "") -> subprocess.Popen[str]:
    """A process that runs `body` beside a FlowsApi."""
    arguments = [sys.executable, "-c", _PROGRAM + body, url, certificate, kind]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="nobody is stopped there")
@pytest.mark.parametrize("when", ["before", "handshake", "body"])
def test_a_process_that_was_stopped_sends_nothing_late(authority: Authority, when: str) -> None:
    """Whoever was stopped until after the deadline begins no request, and sends no more of a body, when it goes on."""
    pids: list[int] = []
    deadlines: list[float] = []  # the clock is the same for all processes
    got: list[bytes] = []

    def until_late() -> None:
        while not deadlines or time.monotonic() <= deadlines[0]:
            time.sleep(0.02)
        os.kill(pids[0], signal.SIGCONT)

    def handler(server: RawServer, sock: socket.socket) -> None:
        if when == "body":
            got.append(sock.recv(65536))
        os.kill(pids[0], signal.SIGSTOP)
        until_late()
        if when == "handshake":
            sock = authority.server().wrap_socket(sock, server_side=True)
        while data := sock.recv(1 << 20):
            got.append(data)

    with RawServer(handler) as server:
        url = f"{'https' if when == 'handshake' else 'http'}://127.0.0.1:{server.port}"
        put = "a = api(); a.open(); late = time.monotonic() + 1.5; print(late, flush=True)\n"
        put += "print(a.put('f', bytes(40_000_000), late).kind)"
        with program(url, when, put, authority.file) as child:
            pids.append(child.pid)
            deadlines.append(float(child.stdout.readline()))
            if when == "before":
                os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
                until_late()
            assert child.stdout.read() == "timeout\n"
        size = len(b"".join(got))
    assert server.connections == (0 if when == "before" else 1)
    assert 0 < size < 20_000_000 if when == "body" else size == 0


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="threads are Linux's to count")
def test_a_client_that_was_dropped_leaves_no_thread() -> None:
    """A hundred clients that were used and never closed leave neither threads nor descriptors."""
    body = """
import gc
before = len(os.listdir("/proc/self/fd"))
for _ in range(100):
    assert api().get("f", time.monotonic() + 10).status == 200
gc.collect()
until = time.monotonic() + 20
while len(os.listdir("/proc/self/task")) > 1 and time.monotonic() < until:
    time.sleep(0.05)
print(len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd")) - before < 5)
"""
    with RawServer(play(*[answer()] * 100)) as server, program(server.url, "", body) as child:
        assert child.stdout.read() == "1 True\n"


# Silence


def test_own_requests_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """httpx and what is under it log nothing of our requests, whatever their end, and all of the application's."""
    caplog.set_level(logging.DEBUG)
    with RawServer(play(answer(), answer(503), cut(b"HTTP/1.1"), cut(b""), answer(), answer())) as server:
        api = client(server)
        api.open()
        caplog.clear()
        for _ in range(3):
            api.get("f", soon())
        api.get("f", soon(-1))
        assert [r.name for r in caplog.records if r.name.startswith("http")] == []

        def application() -> None:
            httpx.get(server.url, timeout=LONG)

        application()
        thread = threading.Thread(target=application)
        thread.start()
        thread.join(LONG)
        theirs = [r for r in caplog.records if r.name.startswith("http")]
        for ident in (threading.get_ident(), thread.ident):
            names = {r.name for r in theirs if r.thread == ident}
            assert names == {"httpx", "httpcore.connection", "httpcore.http11"}
        caplog.clear()
        api.close()
        assert [r.name for r in caplog.records if r.name.startswith("http")] == []


def test_application_is_logged_while_ours_waits(caplog: pytest.LogCaptureFixture) -> None:
    """The application's request on another thread is logged in full while one of ours is under way."""
    with RawServer(play(hold)) as ours, RawServer(play(answer(), answer())) as theirs:
        api = client(ours)
        thread = threading.Thread(target=api.get, args=("f", soon(60)))
        thread.start()
        assert ours.arrived.acquire(timeout=LONG)
        caplog.set_level(logging.DEBUG)
        httpx.get(theirs.url, timeout=LONG)
        during = [r.getMessage().split(" ")[0] for r in caplog.records if r.name.startswith("http")]
        api.close()
        thread.join(LONG)
        caplog.clear()
        httpx.get(theirs.url, timeout=LONG)
        after = [r.getMessage().split(" ")[0] for r in caplog.records if r.name.startswith("http")]
    assert during == after
    assert "HTTP" in during


def test_own_requests_are_not_traced() -> None:
    """With httpx instrumented the application's requests are traced; ours are not, nor what is under them."""
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    HTTPXClientInstrumentor().instrument(tracer_provider=provider)
    seen: list[bool] = []

    class Watching(Key):
        def redact(self, text: str) -> str:
            seen.extend([is_instrumentation_enabled(), is_http_instrumentation_enabled()])
            return text

    try:
        with RawServer(play(answer(503), answer())) as server:
            api = client(server)
            api._credentials = Watching(KEY)
            before = context.get_current()
            api.get("f", soon())
            assert context.get_current() == before
            assert seen
            assert not any(seen)
            assert not spans.get_finished_spans()
            httpx.get(server.url, timeout=LONG)
            assert len(spans.get_finished_spans()) == 1
    finally:
        HTTPXClientInstrumentor().uninstrument()


# Weight


def test_nothing_heavy_is_imported_before_the_first_request() -> None:
    """Making a FlowsApi imports neither httpx nor anything else that is heavy; opening it does."""
    program = (
        "import sys, types, opentelemetry.sdk.trace.export\n"
        "before = set(sys.modules)\n"  # older SDKs import ssl and e-mail themselves
        "from opentelemetry.exporter.versori_flow.http.api import FlowsApi\n"
        "settings = types.SimpleNamespace(base_url='http://127.0.0.1:1', organisation_id='o', project_id='p',"
        " headers={}, compression='none', max_bytes=1024, write_mode='merge')\n"
        "api = FlowsApi(settings, None)\n"
        "heavy = {'httpx', 'ssl', 'hashlib', 'email'}\n"
        "print(sorted(heavy & set(sys.modules) - before))\n"
        "api.open()\n"
        "print('httpx' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\nTrue\n"
