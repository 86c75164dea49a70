"""Children of `multiprocessing` deliver at their end, with no line of the user's, whatever starts them."""

from __future__ import annotations

import pytest
from running import FLOW, Run, names, works

from opentelemetry.exporter.versori_flow.server import LocalPlatform

CHILDREN = works(
    "leave",
    "leave_with_status",
    "leave_a_thread",
    "leave_a_thread.later",
    "leave_a_child",
    "leave_a_child.child",
    *(f"{pool}.{n}" for pool in ("executor", "pool") for n in range(4)),
)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_provider_of_the_module(platform: LocalPlatform, run: Run, processor: str, method: str) -> None:
    """What children of a Process, a Pool and a ProcessPoolExecutor traced is in the flow, theirs included.

    They end by returning, by `sys.exit`, or with a thread that goes on after that; they keep their exit status.
    """
    program = run("pools.py", method, PROCESSOR=processor)
    program.ends_well()
    assert names(platform.spans(FLOW)) == sorted([*CHILDREN, *works("parent")]), program.output


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_provider_of_each_child(platform: LocalPlatform, run: Run, method: str) -> None:
    """A provider that is made in the child, which is not even the global one, is flushed as well."""
    program = run("pools.py", method, "--in-child", LOCAL_PROVIDER="1")
    program.ends_well()
    assert names(platform.spans(FLOW)) == CHILDREN, program.output


def test_an_import_that_comes_later(platform: LocalPlatform, run: Run) -> None:
    """It does not matter that `multiprocessing` is imported after the exporter was made."""
    program = run("pools.py", "fork", "--late")
    program.ends_well()
    assert names(platform.spans(FLOW)) == sorted([*CHILDREN, *works("parent")]), program.output
