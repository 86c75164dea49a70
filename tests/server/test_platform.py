"""A local platform in a test: stopped and started by anybody, beside forks, dropped, and as a fixture."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from opentelemetry.exporter.versori_flow.server import LocalPlatform
from tests.server.platform_client import Project, make_flow, read_all
from tests.server.serving import until

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")


def in_child(promise: Callable[[], object]) -> None:
    """Runs something in a forked child, which must not raise."""
    pid = os.fork()
    if pid == 0:
        try:
            promise()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


def refused(platform: LocalPlatform) -> bool:
    try:
        socket.create_connection(("127.0.0.1", platform.port), timeout=10).close()
    except ConnectionRefusedError:
        return True
    return False


def test_an_outage_refuses_connections_and_keeps_flows() -> None:
    """Between stop and start connections are refused; then the same port answers with the same flows."""
    with LocalPlatform() as platform, Project(platform) as project:
        stored = project.put("shop", make_flow()).content
        for _ in range(2):
            platform.stop()
            platform.stop()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", platform.port))
            platform.start()
            assert project.get("shop").content == stored
        platform.forget()
        assert project.get("shop").status_code == 404


def test_stop_does_not_wait_for_clients() -> None:
    """Stopping ends idle connections and half-sent requests; the client sees the end."""
    with LocalPlatform() as platform, Project(platform) as project:
        idle = project.connect("GET " + project.path)
        assert idle.recv(8) == b"HTTP/1.1"
        half = socket.create_connection(project.address, timeout=10)
        half.sendall(b"PUT / HTTP/1.1\r\nContent-Le")
        platform.stop()
        for connection in (idle, half):
            with contextlib.suppress(ConnectionResetError):
                read_all(connection)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody binds a port that is bound")
@pytest.mark.parametrize("when", ["before", "after"])
def test_the_port_is_reserved_while_it_is_down(when: str) -> None:
    """Before the first start and between stop and start, nobody else gets the port, and the platform does."""
    platform = LocalPlatform()
    with contextlib.closing(platform):
        for _ in range(2):
            if when == "after":
                platform.start()
                platform.stop()
            for address in ("127.0.0.1", "0.0.0.0"):
                with socket.socket() as other:
                    other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    with pytest.raises(OSError, match="in use"):
                        other.bind((address, platform.port))
        platform.start()
        assert not refused(platform)
    with pytest.raises(RuntimeError, match="closed"):
        platform.start()
    LocalPlatform(port=platform.port).close()


def test_several_threads_start_and_stop() -> None:
    """Whatever the order of eight threads' starts and stops, none fails, and one server is left or none."""
    before = set(threading.enumerate())  # those of other tests may end meanwhile
    failed: list[BaseException] = []
    with LocalPlatform() as platform:

        def play() -> None:
            try:
                for _ in range(10):
                    platform.stop()
                    platform.start()
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=play) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        assert not refused(platform)
        servers = [thread for thread in threading.enumerate() if thread.name == "versori-local-platform"]
        assert len(servers) == 1
        platform.stop()
        assert refused(platform)
    assert set(threading.enumerate()) - before == set()


@forks
def test_a_forked_child_leaves_the_platform_to_its_parent(tmp_path: Path) -> None:
    """A child can neither start, stop nor store; its close does nothing, and the parent goes on."""
    with LocalPlatform(data=tmp_path) as platform, Project(platform) as project:
        stored = project.put("shop", make_flow()).content

        def promise() -> None:
            for call in (platform.start, platform.stop, lambda: platform.put("shop", make_flow(more=1))):
                with pytest.raises(RuntimeError, match="belongs to"):
                    call()
            assert platform.raw("shop") == stored
            platform.close()
            with LocalPlatform() as own:
                own.put("other", make_flow())

        in_child(promise)
        assert project.get("shop").content == stored
        platform.stop()
        assert refused(platform)
        platform.start()
        assert project.get("shop").content == stored


@forks
def test_a_child_that_is_forked_amid_requests_can_look() -> None:
    """Whatever other threads held at the fork, a child reads flows and records, and orders faults."""
    with LocalPlatform() as platform:
        begun, end = threading.Barrier(3), threading.Event()

        def hold(lock: threading.Lock | threading.Condition) -> None:
            with lock:
                begun.wait(10)
                end.wait(30)

        # Held for longer than any request does, so that no fork misses it.
        locks = (platform._log.changed, platform._faults._lock)
        threads = [threading.Thread(target=hold, args=(lock,)) for lock in locks]
        for thread in threads:
            thread.start()
        begun.wait(10)

        def look() -> None:
            signal.alarm(10)
            platform.put("shop", make_flow())
            assert platform.names() == ["shop"]
            assert (platform.requests, platform.counts()) == ([], {})
            platform.fault("reset").clear()

        try:
            in_child(look)
        finally:
            end.set()
            for thread in threads:
                thread.join()
        assert platform.names() == []


@forks
def test_a_living_child_holds_nothing() -> None:
    """While a child lives on, connections end when the parent stops, and the port is free when it closes."""
    platform = LocalPlatform().start()
    waits, tells = os.pipe()
    born, bears = os.pipe()
    with Project(platform) as project:
        idle = project.connect("GET " + project.path)
        assert idle.recv(8) == b"HTTP/1.1"
        pid = os.fork()
        if pid == 0:
            os.close(tells)
            os.write(bears, b".")
            os.read(waits, 1)
            os._exit(0)
        try:
            os.read(born, 1)
            # Ended, where a copy in the child would keep it open.
            platform.stop()
            with contextlib.suppress(ConnectionResetError):
                read_all(idle)
            platform.close()
            LocalPlatform(port=platform.port).close()
        finally:
            for descriptor in (tells, waits, born, bears):
                os.close(descriptor)
            os.waitpid(pid, 0)


@pytest.mark.parametrize("closed", [False, True], ids=["dropped", "closed"])
def test_a_platform_gives_all_back(tmp_path: Path, closed: bool) -> None:
    """Closed, or dropped with a ResourceWarning: threads, port and folder are free, after requests too."""
    before = threading.active_count()
    platform = LocalPlatform(data=tmp_path).start()
    with Project(platform) as project:
        assert project.put("shop", make_flow()).status_code == 200
    port = platform.port
    held = [platform]
    del platform
    if closed:
        held[0].close()
    else:
        with pytest.warns(ResourceWarning, match=f"unclosed local platform on port {port}"):
            held.clear()
    until(lambda: threading.active_count() == before, "all threads have ended")
    LocalPlatform(port=port, data=tmp_path).close()


def test_a_platform_that_can_not_be_made_holds_nothing(tmp_path: Path) -> None:
    """Where the port is taken, the folder is free again."""
    with LocalPlatform() as other:
        with pytest.raises(OSError, match="in use"):
            LocalPlatform(data=tmp_path, port=other.port)
        LocalPlatform(data=tmp_path).close()


USES = """
def test_one(versori_flow_platform):
    versori_flow_platform.put("shop", {"name": "shop"})
    assert versori_flow_platform.names() == ["shop"]

def test_another(versori_flow_platform):
    assert versori_flow_platform.names() == []
"""
USES_NOT = """
import sys
def test_light():
    loaded = [name for name in sys.modules if name.startswith(("opentelemetry.", "starlette", "uvicorn"))]
    assert {name for name in loaded if not name.endswith("versori_flow_pytest")} <= {"opentelemetry.exporter"}
"""
NO_EXTRA = """
import sys
sys.modules["starlette"] = None
def test_missing(versori_flow_platform): pass
def test_other(): pass
"""


DOCUMENTED = (Path(__file__).parents[2] / "docs" / "local-platform.md").read_text(encoding="utf-8")
SHOWN = DOCUMENTED.partition("```python\n")[2].partition("```")[0]


# By its entry point, without the plugins that the other tests use: they take seconds to load.
ALONE = ("-p", "versori_flow_platform")


@pytest.mark.parametrize(
    ("text", "plugins", "outcome"),
    [
        (SHOWN + USES, (), "3 passed"),
        (USES_NOT, ALONE, "1 passed"),
        (NO_EXTRA, ALONE, "1 passed, 1 error"),
    ],
    ids=["as documented", "unused", "no extra"],
)
def test_the_fixture(tmp_path: Path, text: str, plugins: tuple[str, ...], outcome: str) -> None:
    """pytest has `versori_flow_platform`, a new one for each test; who uses it not pays and needs nothing."""
    (tmp_path / "test_mine.py").write_text(text)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        *plugins,
    ]
    alone = "1" if plugins else ""
    environ = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": alone, "PYTEST_ADDOPTS": ""}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert outcome in done.stdout, done.stdout + done.stderr
    if "error" in outcome:
        assert "opentelemetry-exporter-versori-flow[server]" in done.stdout
