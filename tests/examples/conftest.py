"""Runs the examples as the programs that they are, against a local platform."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from opentelemetry.exporter.versori_flow.command.launch import local_credentials
from opentelemetry.exporter.versori_flow.server import LocalPlatform
from tests.processes import running

ROOT = Path(__file__).parents[2]


class Program(running.Program):
    """A running program, which may be a server."""

    def stop(self) -> int:
        """Ends it as an operator would."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def get(self, url: str) -> httpx.Response:
        """Asks a server that may still be starting."""

        def ask() -> list[httpx.Response]:
            try:
                return [httpx.get(url, timeout=running.PATIENCE, trust_env=False)]
            except httpx.ConnectError:
                return []

        [response] = self.until(f"an answer at {url}", ask)
        return response


@pytest.fixture
def platform() -> Iterator[LocalPlatform]:
    with LocalPlatform(key="local", port=0) as serving:
        yield serving


@pytest.fixture
def start(platform: LocalPlatform, tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Starts a program with the platform's credentials: start("python", "x.py", VARIABLE="value")."""
    started: list[Program] = []

    def start(*command: str, **variables: str) -> Program:
        environment = {**running.clean_environment(), **local_credentials(platform.url), **variables}
        started.append(Program(list(command), environment, tmp_path / f"program-{len(started)}", ROOT))
        return started[-1]

    yield start
    for program in started:
        program.kill()
