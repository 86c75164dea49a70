"""A local platform, and programs that know of it by their environment alone."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import FLOW, PROGRAMS, Program, Run

from opentelemetry.exporter.versori_flow.server import LocalPlatform


@pytest.fixture
def platform() -> Iterator[LocalPlatform]:
    with LocalPlatform(key="k") as running:
        yield running


@pytest.fixture
def start(platform: LocalPlatform, tmp_path: Path) -> Iterator[Run]:
    """Starts a command with the platform's credentials: start("gunicorn", "app:app", VARIABLE="value")."""
    started: list[Program] = []
    clean = {
        key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "VERSORI_", "PYTHON"))
    }
    path = os.pathsep.join((str(Path(sys.executable).parent), clean.get("PATH", os.defpath)))

    def start(*command: str, **variables: str) -> Program:
        environment = {
            **clean,
            "PATH": path,
            "PYTHONPATH": str(PROGRAMS),
            "PYTHONFAULTHANDLER": "1",
            "PYTHONUNBUFFERED": "1",
            # Python 3.12 warns of every fork of a process with threads.
            "PYTHONWARNINGS": "ignore::DeprecationWarning",
            "OTEL_SERVICE_NAME": FLOW,
            "VERSORI_API_BASE_URL": platform.url,
            "VERSORI_API_KEY": "k",
            "VERSORI_ORGANISATION_ID": platform.organisation_id,
            "VERSORI_PROJECT_ID": platform.project_id,
            "PROCESSOR": "batch",
            **variables,
        }
        folder = tmp_path / f"program-{len(started)}"
        folder.mkdir()
        program = Program(list(command), environment, folder)
        started.append(program)
        return program

    yield start
    for program in started:
        program.kill()


@pytest.fixture
def run(start: Run) -> Run:
    """Starts one of the programs: run("fork.py", "argument", VARIABLE="value")."""
    return lambda name, *arguments, **variables: start(
        sys.executable, str(PROGRAMS / name), *arguments, **variables
    )


@pytest.fixture(params=["batch", "direct"])
def processor(request: pytest.FixtureRequest) -> str:
    """The SDK's batch processor, and our own."""
    return str(request.param)


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
