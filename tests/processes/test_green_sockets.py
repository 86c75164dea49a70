"""Sockets of gevent and eventlet, which our native threads are given once these have patched."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import Run

from opentelemetry.exporter.versori_flow.server import LocalPlatform
from tests.authority import Authority
from tests.http.raw_server import RawServer, answer
from tests.stores.fleet.redis_server import PROGRAM, RedisServer

TIMEOUT = 1.0
LATE = 2.0  # seconds that a busy machine may take beside it


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    if PROGRAM is None:
        pytest.skip("no redis-server on the path: apt-get install redis-server")
    (folder := tmp_path / "redis").mkdir()
    server = RedisServer(folder)
    yield server
    server.kill()


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_flows_side_by_side(platform: LocalPlatform, run: Run, library: str) -> None:
    """A socket of gevent's belongs to the thread that made it: no other one of ours uses it, and all are closed.

    One that waited on it failed, or hung, and with it whoever waited for the flush.
    """
    delivers_all(platform, run, library)


def test_flows_side_by_side_with_redis(platform: LocalPlatform, run: Run, redis: RedisServer) -> None:
    """The same of the connections to Redis."""
    delivers_all(platform, run, "gevent", VERSORI_FLOW_STORE=redis.url)


def delivers_all(platform: LocalPlatform, run: Run, library: str, **variables: str) -> None:
    with platform.fault("slow=0.1"):
        program = run(
            "crowd.py", library, "before", PROCESSOR="direct", VERSORI_FLOW_MIN_INTERVAL="0.1", **variables
        )
        assert program.wait() == 0, program.output
    facts = program.told()
    assert "exporter" not in program.stderr, program.output  # it has said nothing
    assert sum(len(platform.spans(flow)) for flow in platform.names()) == facts["ended"]
    assert facts["left"] <= 0, program.output


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_a_platform_without_an_answer(platform: LocalPlatform, run: Run, library: str) -> None:
    """The deadline holds: another thread than the one that waits ends the connection, without the library's help."""
    with platform.fault("blackhole"):
        program = run(
            "crowd.py", library, "before", PROCESSOR="direct", VERSORI_FLOW_TIMEOUT=str(TIMEOUT), FLUSH="0.5"
        )
        assert program.wait() == 0, program.output
    assert program.told()["shutdown"] < TIMEOUT + LATE
    assert "Traceback" not in program.stderr, program.output
    assert "12 spans of 6 flows are lost" in program.stderr


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_tls_of_an_exporter_that_is_older(run: Run, tmp_path: Path, library: str) -> None:
    """A context of TLS that was made before the library patched takes none of its sockets: another one is made."""
    authority, flows = Authority(tmp_path), dict[str, bytes]()

    def serve(server: RawServer, sock: socket.socket) -> None:
        while (request := server.read(sock)) is not None:
            if request.method == "PUT":
                flows[request.target] = request.body
            sock.sendall(answer(200, flows[request.target]))

    with RawServer(serve, authority.server()) as server:
        program = run(
            "crowd.py", library, "after", PROCESSOR="direct", VERSORI_FLOW_WRITE_MODE="replace",
            VERSORI_API_BASE_URL=server.url, VERSORI_FLOW_CERTIFICATE=authority.file, FLUSH="5",
        )  # fmt: skip
        assert program.wait() == 0, program.output
    assert "exporter" not in program.stderr, program.output
    assert len(flows) == 6, program.output
