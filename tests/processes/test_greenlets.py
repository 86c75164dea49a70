"""gevent and eventlet replace locks, threads and sleeps under the exporter: nothing hangs, and every span arrives.

A thread that was started before, such as the SDK's batch processor's, is not found when it ends, and says so.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from running import FLOW, PROGRAMS, Run, names

from opentelemetry.exporter.versori_flow.server import LocalPlatform

SLOW = 0.3  # seconds for each request, that a flush takes at least
TICKS = 20  # of a greenlet, every 5 ms meanwhile


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
@pytest.mark.parametrize("when", ["before", "after", "late"])
def test_patched(platform: LocalPlatform, run: Run, processor: str, when: str, library: str) -> None:
    """Patched before the exporter is made, after it, or after the first span: others run while a flush waits."""
    with platform.fault(f"slow={SLOW}"):
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


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
@pytest.mark.parametrize("store", ["memory:", "sqlite://{0}", "redis://127.0.0.1:1"])
def test_no_module_is_imported_on_our_threads(
    platform: LocalPlatform, run: Run, tmp_path: Path, library: str, store: str
) -> None:
    """Importing takes locks that are greenlets' by then: an import of the application's own would hang, or fail."""
    url = store.format(tmp_path / "store")
    program = run("late_imports.py", library, "before", PROCESSOR="direct", VERSORI_FLOW_STORE=url)
    assert program.wait() == 0, program.output
    assert len(platform.spans(FLOW)) == 2, program.output
    assert program.told()["late"] == []


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_no_module_is_imported_on_our_threads_after_the_first_line(
    platform: LocalPlatform, start: Run, library: str
) -> None:
    """The same where the exporter is older than the program, which patches or does not."""
    program = start(
        "opentelemetry-instrument", "python", str(PROGRAMS / "late_imports.py"), library, "instrumented",
        OTEL_TRACES_EXPORTER="versori_flow", OTEL_METRICS_EXPORTER="none", OTEL_LOGS_EXPORTER="none",
    )  # fmt: skip
    assert program.wait() == 0, program.output
    assert len(platform.spans(FLOW)) == 2, program.output
    assert [name for name in program.told()["late"] if not name.startswith("gevent.")] == []
