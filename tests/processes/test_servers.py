"""Servers of several processes: each request's trace is in the flow, once, after the server has ended."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from sysconfig import get_path

import httpx
import pytest
from running import FLOW, Program, Run, names, works

from opentelemetry.exporter.versori_flow.server import LocalPlatform

REQUESTS = [f"/{n}" for n in range(12)]

WORKERS = int(os.environ.get("TEST_WORKERS", "3"))
SECONDS = float(os.environ.get("TEST_WORKERS_SECONDS", "3"))
"""How many workers share a folder, and for how long: 8 for 60 s show more, and take it."""


def ask(program: Program, port: int, path: str) -> str:
    """Sends a request to a server that may still be starting; returns the pid of the worker that answered."""

    def answer() -> str | None:
        try:
            return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=30, trust_env=False).text
        except httpx.TransportError:
            return None

    return str(program.until(f"an answer to {path}", answer))


def check(
    program: Program,
    platform: LocalPlatform,
    port: int,
    ready: str = "",
    processes: int = 0,
    own_words: str = "nobody's",
) -> set[str]:
    """Sends the requests, ends the server, and looks at the flow; returns the pids of the workers.

    Args:
        program: The server.
        platform: Where its traces go.
        port: Where it listens.
        ready: What each worker says when it has loaded the app: a signal before that ends in its import.
        processes: How many workers say so.
        own_words: A traceback is somebody else's where the line before it holds these.
    """
    with ThreadPoolExecutor(4) as clients:
        workers = set(clients.map(lambda path: ask(program, port, path), REQUESTS))
    program.until("all workers are ready", lambda: program.stderr.count(ready) >= processes)
    program.signal(signal.SIGTERM)
    program.wait()
    lines = program.stderr.splitlines()
    tracebacks = [
        before for before, line in zip(["", *lines], lines, strict=False) if line.startswith("Traceback")
    ]
    assert all(own_words in before for before in tracebacks), program.output
    assert names(platform.spans(FLOW)) == works(*REQUESTS), program.output
    return workers


@pytest.mark.parametrize(
    "options", ["", "--preload", "--preload --threads 2", "-k gevent", "-k gevent --preload"]
)
def test_gunicorn(platform: LocalPlatform, start: Run, free_port: int, processor: str, options: str) -> None:
    """Two workers, the app loaded in each of them or once before the fork, with threads, greenlets or neither.

    Of the SDK's batch processor a patched worker says that it does not find its thread.
    """
    program = start(
        "gunicorn", "web:wsgi", "-w", "2", "-b", f"127.0.0.1:{free_port}", *options.split(),
        PROCESSOR=processor,
    )  # fmt: skip
    check(program, platform, free_port, own_words="OtelBatchSpanRecordProcessor")


@pytest.mark.parametrize("options", [[], ["--preload"]], ids=" ".join)
def test_gunicorn_replaces_its_workers(
    platform: LocalPlatform, start: Run, free_port: int, options: list[str]
) -> None:
    """With `--max-requests`, a worker ends while the server goes on: what it had not delivered is delivered."""
    program = start(
        "gunicorn", "web:wsgi", "-w", "1", "-b", f"127.0.0.1:{free_port}", "--max-requests", "4", *options
    )
    assert len(check(program, platform, free_port)) >= 3, program.output


def test_gunicorn_shares_a_folder_while_requests_fail(
    platform: LocalPlatform, start: Run, free_port: int, tmp_path: Path
) -> None:
    """Every worker keeps what is pending in one folder, a third of the PUTs and reads fail: each span is there once."""
    platform.fault("status=503,share=0.34")
    program = start(
        *("gunicorn", "web:wsgi", "-w", str(WORKERS), "-b", f"127.0.0.1:{free_port}"),
        PROCESSOR="direct",
        VERSORI_FLOW_STORE=f"sqlite://{tmp_path / 'store'}",
        VERSORI_FLOW_MAX_SPANS="50000",
        VERSORI_FLOW_MAX_BYTES="67108864",
    )
    enough, numbers, asked = threading.Event(), count(), []

    def traffic() -> None:
        while not enough.wait(0.02):
            asked.append(path := f"/{next(numbers)}")
            ask(program, free_port, path)

    with ThreadPoolExecutor(4) as clients:
        running = [clients.submit(traffic) for _ in range(4)]
        enough.wait(SECONDS)
        enough.set()
        for each in running:
            each.result()
    platform.clear_faults()
    program.signal(signal.SIGTERM)
    assert program.wait() == 0, program.output
    platform.wait_for(lambda p: len(p.spans(FLOW)) >= 2 * len(asked), 30)
    assert names(platform.spans(FLOW)) == works(*asked), program.output


def test_uvicorn(platform: LocalPlatform, start: Run, free_port: int, processor: str) -> None:
    """Two workers whose app has a lifespan that shuts its provider down."""
    program = start("uvicorn", "web:asgi", "--workers", "2", "--port", str(free_port), PROCESSOR=processor)
    check(program, platform, free_port, "Application startup complete", 2)


UWSGI = shutil.which("uwsgi", path=get_path("scripts"))
GRACEFULLY = ("--hook-master-start", "unix_signal:15 gracefully_kill_them_all")
"""As docs/processes.md has it."""


@pytest.mark.skipif(UWSGI is None, reason="uWSGI is not installed: pip install pyuwsgi, where it has a wheel")
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("direct", ["--processes", "3"]),
        ("direct", ["--processes", "3", "--enable-threads"]),
        ("direct", ["--processes", "3", "--lazy-apps"]),
        ("batch", ["--processes", "3", "--lazy-apps"]),
        ("batch", ["--processes", "1"]),
        ("batch", ["--processes", "1", "--enable-threads"]),
    ],
)
def test_uwsgi(platform: LocalPlatform, start: Run, free_port: int, kind: str, options: list[str]) -> None:
    """Workers forked without any hook of Python's, with threads that run or never do, some with nothing to do.

    A worker that inherits the SDK's batch processor and traces nothing waits half a minute at its end for a
    thread that it has not: that one is left out. And uWSGI ends a worker that is in a request without a word to Python,
    unless it is told to end gracefully: here each may still be in one whose answer is there.
    """
    program = start(
        str(UWSGI), "--master", "--need-app", "--die-on-term", *GRACEFULLY,
        "--http-socket", f"127.0.0.1:{free_port}", "--callable", "wsgi",
        "--wsgi-file", str(Path(__file__).parent / "programs/web.py"), *options, PROCESSOR=kind, BUSY_AFTER="0.2",
    )  # fmt: skip
    check(program, platform, free_port, " ready in ", 3 if "--lazy-apps" in options else 1)


@pytest.mark.skipif(UWSGI is None, reason="uWSGI is not installed: pip install pyuwsgi, where it has a wheel")
@pytest.mark.parametrize(("processor", "spans"), [("direct", 2000), ("simple", 20)])
def test_uwsgi_forks_while_there_is_work(
    platform: LocalPlatform, start: Run, free_port: int, processor: str, spans: int
) -> None:
    """No thread of ours runs where workers are forked from: one that has the interpreter then has it for ever.

    What the app traced while it was loaded, left or pending, is the first worker's to deliver.
    """
    program = start(
        str(UWSGI), "--master", "--need-app", "--die-on-term", *GRACEFULLY, "--enable-threads", "--processes", "4",
        "--http-socket", f"127.0.0.1:{free_port}", "--callable", "wsgi",
        "--wsgi-file", str(Path(__file__).parent / "programs/web.py"),
        PROCESSOR=processor, SPANS_OF_THE_IMPORT=str(spans), VERSORI_FLOW_MAX_SPANS="2000",
    )  # fmt: skip
    check(program, platform, free_port, " ready in ", 1)
    assert len(platform.spans("import")) == spans, program.output
