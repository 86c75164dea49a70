"""Several processes that write one flow, each with a window in memory: at rest it holds the spans of all."""

from __future__ import annotations

import os

import pytest
from running import FLOW, Program, Run, names, works

from opentelemetry.exporter.versori_flow.server import LocalPlatform

SECONDS = os.environ.get("TEST_WRITERS_SECONDS", "4")
"""How long they write: 20 and more show more, and take it."""

PATIENT = {"VERSORI_FLOW_EXPORT_WAIT": "10"}
"""A busy machine is no slow platform, which the exporter would speak of."""


def written(program: Program, name: str) -> list[str]:
    """What a writer that has ended says that it traced."""
    program.ends_well()
    return works(*(f"{name}.{unit}" for unit in range(int(program.stdout))))


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_two_writers(platform: LocalPlatform, run: Run, where: str) -> None:
    """Two write all the time, and end together: each reads back what it wrote, and puts it right.

    On one host they take turns, and nothing has to be put right.
    """
    options = ["--elsewhere"] if where == "elsewhere" else []
    one = run("writer.py", "one", SECONDS, *options, PROCESSOR="batch", SCHEDULE_DELAY="300", **PATIENT)
    two = run("writer.py", "two", SECONDS, *options, PROCESSOR="direct", **PATIENT)
    expected = sorted([*written(one, "one"), *written(two, "two")])
    assert names(platform.spans(FLOW)) == expected, one.output + two.output


def test_a_long_lived_parent_and_short_lived_children(
    platform: LocalPlatform, run: Run, processor: str
) -> None:
    """Children that live for one unit of work, one after another and together, beside one that goes on."""
    parent = run("writer.py", "parent", "4", PROCESSOR="direct", **PATIENT)
    platform.wait_for(lambda p: p.spans(FLOW), 30)
    expected = []
    for n in range(3):
        expected += written(run("writer.py", f"after.{n}", "0", PROCESSOR=processor, **PATIENT), f"after.{n}")
    together = [run("writer.py", f"together.{n}", "0", PROCESSOR=processor, **PATIENT) for n in range(4)]
    for n, program in enumerate(together):
        expected += written(program, f"together.{n}")
    expected += written(parent, "parent")
    assert names(platform.spans(FLOW)) == sorted(expected), parent.output
