"""Runs the programs in `programs/` as the processes that they are, and looks at the flow that they left."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = Path(__file__).parent / "programs"
FLOW = "flow"
PATIENCE = float(os.environ.get("TEST_PATIENCE", "40"))
"""Seconds, for a program on a busy machine to do what takes it one."""


class Program:
    """A running program, whose output is shown where something is not as it should be."""

    def __init__(
        self, command: list[str], environment: dict[str, str], folder: Path, cwd: Path | None = None
    ) -> None:
        folder.mkdir()
        self._out, self._err = folder / "stdout", folder / "stderr"
        self._begun = time.monotonic()
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                command,
                env=environment,
                cwd=cwd or folder,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @property
    def stdout(self) -> str:
        return self._out.read_text(encoding="utf-8", errors="replace")

    @property
    def stderr(self) -> str:
        return self._err.read_text(encoding="utf-8", errors="replace")

    @property
    def output(self) -> str:
        return f"\n{self.process.args}\n--- stdout:\n{self.stdout}\n--- stderr:\n{self.stderr}\n---"

    def wait(self) -> int:
        """The exit status, negative for a signal."""
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            # Where it hangs is worth knowing: faulthandler is registered for this signal by PYTHONFAULTHANDLER.
            os.killpg(self.process.pid, signal.SIGABRT)
            self.process.wait()
            pytest.fail(f"still running after {PATIENCE:g} s:{self.output}")

    def ends_well(self) -> None:
        """It ends with status 0, and standard error says nothing but that `export` waited in vain: a busy machine."""
        status = self.wait()
        said = [line for line in self.stderr.splitlines() if "VERSORI_FLOW_EXPORT_WAIT" not in line]
        assert (status, said) == (0, []), self.output

    def told(self) -> dict[str, Any]:
        """What it told last by `tracing.tell`, after a look that its counts add up."""
        facts: dict[str, Any] = json.loads(self.stdout.splitlines()[-1])
        counted = facts["delivered"] + facts["pending"] + facts["dropped"]
        assert facts["handed_over"] == counted, self.output
        return facts

    def says(self, line: str) -> float:
        """Waits for a line on standard output; returns when that was."""
        self.until(f"the line {line!r}", lambda: line in self.stdout.splitlines())
        return time.monotonic()

    def until(self, what: str, condition: Callable[[], Any]) -> Any:
        """Waits for the condition to hold, and returns what it returned."""
        end = time.monotonic() + PATIENCE
        while True:
            ended = self.process.poll() is not None
            if found := condition():
                return found
            if ended or time.monotonic() > end:
                pytest.fail(f"{'ended' if ended else 'waited'}, and not seen: {what}{self.output}")
            time.sleep(0.02)

    def tell(self, line: str) -> None:
        """Writes a line to its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()

    def finish(self) -> None:
        """Ends its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """Ends it and all that it started, at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()


Run = Callable[..., Program]


def clean_environment() -> dict[str, str]:
    """This process's, without what steers a traced program, and with the commands of its Python."""
    clean = {
        key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "VERSORI_", "PYTHON"))
    }
    return {
        **clean,
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), clean.get("PATH", os.defpath))),
    }


def names(spans: Iterable[dict[str, Any]]) -> list[str]:
    """The names of the spans, after a look that each is there once and every parent is there."""
    spans = list(spans)
    ids = Counter((span["spanContext"]["traceId"], span["spanContext"]["spanId"]) for span in spans)
    assert not [key for key, count in ids.items() if count > 1], "the same span twice"
    for span in spans:
        if parent := span.get("parentSpanContext"):
            assert (parent["traceId"], parent["spanId"]) in ids, f"an orphan: {span['name']}"
    return sorted(span["name"] for span in spans)


def works(*units: str) -> list[str]:
    """The names of the spans that `tracing.work` leaves for these units."""
    return sorted(name for unit in units for name in (unit, f"{unit}.part"))
