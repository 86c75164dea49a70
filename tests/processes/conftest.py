"""A local platform, and programs that know of it by their environment alone."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import FLOW, PROGRAMS, Program, Run, clean_environment

from opentelemetry.exporter.versori_flow.server import LocalPlatform


@pytest.fixture
def platform() -> Iterator[LocalPlatform]:
    # A project of its own: what the processes of another test have left for each other is none of its business.
    project = "01" + "".join(random.choices("0123456789ABCDEFGHJKMNPQRSTVWXYZ", k=24))
    with LocalPlatform(key="k", project_id=project) as running:
        yield running


@pytest.fixture
def start(platform: LocalPlatform, tmp_path: Path) -> Iterator[Run]:
    """Starts a command with the platform's credentials: start("gunicorn", "app:app", VARIABLE="value")."""
    started: list[Program] = []

    def start(*command: str, **variables: str) -> Program:
        environment = {
            **clean_environment(),
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
        started.append(Program(list(command), environment, tmp_path / f"program-{len(started)}"))
        return started[-1]

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
