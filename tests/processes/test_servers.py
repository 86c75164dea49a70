"""Servers of several processes: each request's trace is in the flow, once, after the server has ended."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from sysconfig import get_path

import httpx
import pytest
from running import FLOW, Program, Run, names, works

from opentelemetry.exporter.versori_flow.server import LocalPlatform

REQUESTS = [f"/{n}" for n in range(12)]


def ask(program: Program, port: int, path: str) -> str:
    """Sends a request to a server that may still be starting; returns the pid of the worker that answered."""

    def answer() -> str | None:
        try:
            return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=30, trust_env=False).text
        except httpx.TransportError:
            return None

    return str(program.until(f"an answer to {path}", answer))


def check(program: Program, platform: LocalPlatform, port: int, number: int = signal.SIGTERM) -> set[str]:
    """Sends the requests, ends the server, and looks at the flow; returns the pids of the workers."""
    workers = {ask(program, port, path) for path in REQUESTS}
    program.signal(number)
    program.wait()
    assert "Traceback" not in program.stderr, program.output
    assert names(platform.spans(FLOW)) == works(*REQUESTS), program.output
    return workers


@pytest.mark.parametrize("options", [[], ["--preload"], ["--preload", "--threads", "2"]], ids=" ".join)
def test_gunicorn(
    platform: LocalPlatform, start: Run, free_port: int, processor: str, options: list[str]
) -> None:
    """Two workers, the app loaded in each of them or once before the fork, with threads or without."""
    program = start(
        "gunicorn", "web:wsgi", "-w", "2", "-b", f"127.0.0.1:{free_port}", *options, PROCESSOR=processor
    )
    check(program, platform, free_port)


@pytest.mark.parametrize("options", [[], ["--preload"]], ids=" ".join)
def test_gunicorn_replaces_its_workers(
    platform: LocalPlatform, start: Run, free_port: int, options: list[str]
) -> None:
    """With `--max-requests`, a worker ends while the server goes on: what it had not delivered is delivered."""
    program = start(
        "gunicorn", "web:wsgi", "-w", "1", "-b", f"127.0.0.1:{free_port}", "--max-requests", "4", *options
    )
    assert len(check(program, platform, free_port)) >= 3, program.output


def test_uvicorn(platform: LocalPlatform, start: Run, free_port: int, processor: str) -> None:
    """Two workers whose app has a lifespan that shuts its provider down."""
    program = start("uvicorn", "web:asgi", "--workers", "2", "--port", str(free_port), PROCESSOR=processor)
    check(program, platform, free_port)


UWSGI = shutil.which("uwsgi", path=get_path("scripts"))


@pytest.mark.skipif(UWSGI is None, reason="uWSGI is not installed: pip install pyuwsgi, where it has a wheel")
@pytest.mark.parametrize("options", [[], ["--enable-threads"], ["--lazy-apps"]], ids=" ".join)
def test_uwsgi(
    platform: LocalPlatform, start: Run, free_port: int, processor: str, options: list[str]
) -> None:
    """Two workers forked without any hook of Python's, with threads that run or that never do."""
    program = start(
        str(UWSGI), "--master", "--processes", "2", "--need-app", "--die-on-term",
        "--http-socket", f"127.0.0.1:{free_port}", "--wsgi-file", str(Path(__file__).parent / "programs/web.py"),
        "--callable", "wsgi", *options, PROCESSOR=processor,
    )  # fmt: skip
    check(program, platform, free_port)
