"""`os.fork` in a program that traces: two processes, one flow, every span once."""

from __future__ import annotations

from pathlib import Path

import pytest
from running import FLOW, Run, names, works

from opentelemetry.exporter.versori_flow.server import LocalPlatform


@pytest.mark.parametrize(
    ("processor", "how"), [("batch", ""), ("direct", ""), ("direct", "--importing"), ("direct", "--flushing")]
)
def test_fork_in_mid_stream(platform: LocalPlatform, run: Run, processor: str, how: str) -> None:
    """Threads trace while the process forks: parent and children go on, nothing hangs, is lost or comes twice.

    That holds too where the courier imports, or another thread waits in a flush, at the moment of the fork.
    """
    if how == "--flushing":
        platform.fault("slow=0.3,times=20")
    room = {"VERSORI_FLOW_MAX_SPANS": "50000", "VERSORI_FLOW_MAX_BYTES": "100000000"}
    program = run("fork.py", "4", *filter(None, [how]), PROCESSOR=processor, **room)
    program.ends_well()
    kept = [f"parent.{n}" for n in range(3)]
    expected = works(
        *(f"{when}.{child}" for child in range(4) for when in ("before", "after")),
        *(f"child.{child}.{where}" for child in range(4) for where in ("main", "thread")),
    )
    found = names(platform.spans(FLOW))
    assert [name for name in found if not name.startswith("parent.")] == expected
    streamed = [name for name in found if name.startswith(tuple(kept))]
    assert len(streamed) == 2 * sum(map(int, program.stdout.split())), program.output


@pytest.mark.parametrize("store", ["memory:", "sqlite:"])
def test_forks_wait_for_all_that_is_imported(
    platform: LocalPlatform, run: Run, store: str, tmp_path: Path
) -> None:
    """Nothing is imported on the exporter's threads while a fork would not wait for it."""
    url = f"{store}//{tmp_path / 'spans'}" if store == "sqlite:" else store
    for fault in ("reset,times=1", "status=400,times=1", "status=503,times=1"):
        platform.fault(fault)
    program = run("imports.py", PROCESSOR="direct", VERSORI_FLOW_STORE=url)
    assert (program.wait(), program.stdout) == (0, "\n"), program.output


def test_fork_after_shutdown(platform: LocalPlatform, run: Run, processor: str) -> None:
    """What was shut down before the fork is so in the child: it says that spans are lost, and does nothing."""
    program = run("after_shutdown.py", PROCESSOR=processor)
    assert program.wait() == 0, program.output
    assert names(platform.spans(FLOW)) == works("before"), program.output
    assert ("came after shutdown" in program.stderr) == (processor == "direct"), program.output
