"""`versori-flow serve`, as the process that it is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import httpx

from opentelemetry.exporter.versori_flow.server.platform import ORGANISATION_ID, PROJECT_ID

COMMAND = [sys.executable, "-m", "opentelemetry.exporter.versori_flow", "serve", "--port", "0"]
FLOWS = f"/o/{ORGANISATION_ID}/projects/{PROJECT_ID}/workflows"
PATIENCE = 30.0  # seconds, for a program on a busy machine to do what takes it one
_T = TypeVar("_T")


class Serving:
    """A running `serve`, and an HTTP client for it."""

    def __init__(self, process: subprocess.Popen[str], errors: Path) -> None:
        assert process.stdout is not None
        self.process = process
        self.printed: list[str] = []
        self._errors = errors
        # What it prints last.
        while not self.printed or "Ctrl-C" not in self.printed[-1]:
            line = process.stdout.readline()
            assert line, self.errors
            self.printed.append(line)
        self.url, *more = re.findall(r"http://[^\s;]+", "".join(self.printed))
        self.page_url = more[0] if more else self.url
        self.port = int(self.url.rpartition(":")[2])
        self.http = httpx.Client(base_url=self.url, trust_env=False, timeout=PATIENCE)

    @property
    def errors(self) -> str:
        """What it wrote on standard error."""
        return self._errors.read_text(encoding="utf-8")

    def memory(self) -> int:
        """The most that it ever took, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        peak = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert peak is not None
        return int(peak[1]) * 1024

    def processor_time(self) -> float:
        """Seconds of a processor that it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def serving(*arguments: str, descriptors: int | None = None, **variables: str) -> Iterator[Serving]:
    """Runs `serve`, with as many descriptors as it may have, until the end of the block."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "VERSORI_"))}
    command = [*COMMAND, *arguments]
    if descriptors is not None:
        command = ["sh", "-c", f'ulimit -n {descriptors} && exec "$@"', "sh", *command]
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "stderr").open("w") as errors:
        process = subprocess.Popen(
            command, env={**clean, **variables}, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        try:
            made = Serving(process, Path(errors.name))
            with made.http:
                yield made
        finally:
            process.kill()
            process.communicate()


def until(condition: Callable[[], _T], what: str) -> _T:
    """Waits until something is so, and returns it."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {PATIENCE:g} s: {what}"
        time.sleep(0.01)
    return found
