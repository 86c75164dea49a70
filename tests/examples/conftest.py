"""Runs the examples as the programs that they are, against a local platform."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from opentelemetry.exporter.versori_flow.command.launch import local_credentials
from opentelemetry.exporter.versori_flow.server import LocalPlatform

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0  # seconds, for a program on a busy machine to do what takes it one


class Program:
    """A running program, whose output is shown where something is not as it should be."""

    def __init__(self, command: list[str], environment: dict[str, str], output: Path) -> None:
        self._output = output
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                command,
                env=environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._output.read_text(encoding="utf-8", errors="replace")

    def wait(self) -> int:
        """The exit status, negative for a signal."""
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still running:\n{self.output}")

    def stop(self) -> int:
        """Ends it as an operator would."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def until(self, what: str, condition: Callable[[], Any]) -> Any:
        """Waits for the condition to hold, and returns what it returned."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if found := condition():
                return found
            time.sleep(0.05)
        pytest.fail(f"not seen: {what}\n{self.output}")

    def get(self, url: str) -> httpx.Response:
        """Asks a server that may still be starting."""

        def ask() -> list[httpx.Response]:
            if self.process.poll() is not None:
                pytest.fail(f"ended too early:\n{self.output}")
            try:
                return [httpx.get(url, timeout=PATIENCE, trust_env=False)]
            except httpx.ConnectError:
                return []

        [response] = self.until(f"an answer at {url}", ask)
        return response


@pytest.fixture
def platform() -> Iterator[LocalPlatform]:
    with LocalPlatform(key="local", port=0) as running:
        yield running


@pytest.fixture
def start(platform: LocalPlatform, tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Starts a program with the platform's credentials: start("python", "x.py", VARIABLE="value")."""
    started: list[Program] = []
    clean = {
        key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "VERSORI_", "PYTHON"))
    }
    path = os.pathsep.join((str(Path(sys.executable).parent), clean.get("PATH", os.defpath)))

    def start(*command: str, **variables: str) -> Program:
        environment = {**clean, **local_credentials(platform.url), "PATH": path, **variables}
        program = Program(list(command), environment, tmp_path / f"output-{len(started)}")
        started.append(program)
        return program

    yield start
    for program in started:
        if program.process.poll() is None:
            os.killpg(program.process.pid, signal.SIGKILL)
            program.process.wait()


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
