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


METHODS = ("fork", "spawn", "forkserver")


@pytest.mark.parametrize(
    ("options", "variables"),
    [
        *((method, {"PROCESSOR": "direct"}) for method in METHODS),
        *((f"{method} --in-child", {"LOCAL_PROVIDER": "1"}) for method in METHODS),
        ("fork", {}),
        ("fork --late", {}),
    ],
)
def test_children(platform: LocalPlatform, run: Run, options: str, variables: dict[str, str]) -> None:
    """What children of a Process, a Pool and a ProcessPoolExecutor traced is in the flow, theirs included.

    They end by returning, by `sys.exit`, or with a thread that goes on after that; they keep their exit status.
    The provider is the module's, or made in each child and not even the global one; `multiprocessing` may be
    imported after the exporter was made.
    """
    program = run("pools.py", *options.split(), **variables)
    program.ends_well()
    parents = [] if "--in-child" in options else works("parent")
    assert names(platform.spans(FLOW)) == sorted([*CHILDREN, *parents]), program.output
