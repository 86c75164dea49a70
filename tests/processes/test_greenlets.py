"""gevent and eventlet replace locks, threads and sleeps under the exporter: nothing hangs, and every span arrives.

A thread that was started before, such as the SDK's batch processor's, is not found when it ends, and says so.
"""

from __future__ import annotations

import pytest
from running import FLOW, PROGRAMS, Run, names

from opentelemetry.exporter.versori_flow.server import LocalPlatform

SLOW = 0.5  # seconds, that a flush takes at least
TICKS = 20  # of a greenlet, every 5 ms meanwhile


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
@pytest.mark.parametrize("when", ["before", "after", "late"])
def test_patched(platform: LocalPlatform, run: Run, processor: str, when: str, library: str) -> None:
    """Patched before the exporter is made, after it, or after the first span: others run while a flush waits."""
    with platform.fault(f"slow={SLOW},times=1"):
        program = run("greenlets.py", library, when, PROCESSOR=processor)
        assert program.wait() == 0, program.output
    facts = program.told()
    assert facts["ticked"] >= TICKS
    assert len(names(platform.spans(FLOW))) == facts["ended"] == (52 if when == "late" else 50)


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_patched_under_auto_instrumentation(platform: LocalPlatform, start: Run, library: str) -> None:
    """The exporter that `opentelemetry-instrument` made before the program's first line delivers all the same."""
    program = start(
        "opentelemetry-instrument", "python", str(PROGRAMS / "greenlets.py"), library, "instrumented",
        OTEL_TRACES_EXPORTER="versori_flow", OTEL_METRICS_EXPORTER="none", OTEL_LOGS_EXPORTER="none",
    )  # fmt: skip
    assert program.wait() == 0, program.output
    assert len(names(platform.spans(FLOW))) == program.told()["ended"] == 50
