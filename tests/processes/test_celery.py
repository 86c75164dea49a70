"""Celery's prefork workers: each task's trace is in the flow, with no line of the user's."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from running import FLOW, Run, names, works

from opentelemetry.exporter.versori_flow.server import LocalPlatform

TASKS = 5


@pytest.mark.parametrize("options", [[], ["--max-tasks-per-child=1"]], ids=" ".join)
@pytest.mark.parametrize("where", ["parent", "child"])
def test_prefork(
    platform: LocalPlatform, start: Run, run: Run, tmp_path: Path, where: str, options: list[str]
) -> None:
    """A worker process ends by `os._exit`, after one task or with the worker, and its last spans are delivered.

    The provider is made once, before the fork, or by each worker process in `worker_process_init`.
    """
    for folder in ("queue", "control"):
        (tmp_path / folder).mkdir()
    variables = {"BROKER": str(tmp_path)} | ({"IN_CHILD": "1"} if where == "child" else {})
    run("tasks.py", str(TASKS), **variables).ends_well()
    worker = start(
        "celery", "-A", "tasks", "worker", "--pool=prefork", "-c", "2", "--without-gossip",
        "--without-mingle", "--without-heartbeat", *options, **variables,
    )  # fmt: skip
    worker.until("all tasks are done", lambda: len(list(tmp_path.glob("done.*"))) == TASKS)
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0, worker.output
    assert names(platform.spans(FLOW)) == works(*(f"task.{n}" for n in range(TASKS))), worker.output
