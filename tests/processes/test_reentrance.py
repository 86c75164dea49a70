"""A program enters the exporter again while it is in there: it never hangs, and every span is accounted for."""

from __future__ import annotations

import signal

import pytest
from running import FLOW, Run, names, works

from opentelemetry.exporter.versori_flow.server import LocalPlatform

ROOM = {
    "VERSORI_FLOW_MAX_SPANS": "50000",
    "VERSORI_FLOW_MAX_BYTES": "100000000",
    "VERSORI_FLOW_TIMEOUT": "30",
}
"""For all that a program ends: a window pushes none of it out."""


def stored(platform: LocalPlatform, flow: str = FLOW) -> set[str]:
    return set(names(platform.spans(flow)))


@pytest.mark.parametrize("kind", ["finalizer", "weakref", "handler"])
def test_it_is_entered_again(platform: LocalPlatform, run: Run, processor: str, kind: str) -> None:
    """Finalizers and weakref callbacks end spans in `span.end`, in a flush and on the courier's own thread.

    A signal handler ends spans, reads `status()` and flushes, in the middle of the same calls of the main thread.
    """
    program = run("reentrance.py", kind, PROCESSOR=processor, **ROOM)
    program.ends_well()
    facts = program.told()
    wanted = {"force_flush"} if kind == "handler" else {"on_end", "export", "force_flush"}
    assert wanted & set(facts["interrupted"])
    assert ("another thread" in facts["interrupted"]) == (kind != "handler")
    assert (facts["flushed"], facts["pending"], facts["dropped"]) == (True, 0, 0)
    assert facts["handed_over"] == len(facts["ended"]) == len(facts["started"])
    assert stored(platform) == set(facts["ended"])


@pytest.mark.parametrize("during", ["end", "flush", "shutdown"])
def test_a_signal_handler_shuts_down(platform: LocalPlatform, run: Run, during: str) -> None:
    """SIGTERM's handler shuts the provider down and exits: whatever had ended by then is delivered.

    Our processor alone: the SDK's batch processor holds a lock over its flush, and its shutdown waits half a
    minute for the thread that wants it too.
    """
    with platform.fault("slow=0.2"):
        program = run("reentrance.py", "sigterm", during, PROCESSOR="direct", **ROOM)
        program.says("ready")
        if during != "end":
            platform.wait_for(lambda p: any(request.status is None for request in p.requests))
        program.signal(signal.SIGTERM)
        assert program.wait() == 5, program.output
    facts = program.told()
    assert facts["pending"] == 0
    assert set(facts["ended"]) <= stored(platform) <= set(facts["started"])


@pytest.mark.parametrize("into", ["end", "export"])
def test_a_signal_handler_raises(platform: LocalPlatform, run: Run, into: str) -> None:
    """What a handler raises reaches the program each time, and costs at most the span that it hit."""
    program = run("reentrance.py", "raise", into, PROCESSOR="direct", **ROOM)
    assert program.wait() == 0, program.output
    facts = program.told()
    assert (facts["caught"], facts["swallowed"]) == (100, 0)
    assert (facts["flushed"], facts["pending"]) == (True, 0)
    found = stored(platform)
    assert facts["handed_over"] == len(found) + facts["dropped"]
    assert set(facts["ended"]) <= found <= set(facts["started"])
    assert len(facts["started"]) - len(found) <= 100


def test_a_burst(platform: LocalPlatform, run: Run) -> None:
    """Four threads end 10,000 spans as fast as they can: not one is dropped on its way into the window."""
    program = run("reentrance.py", "burst", PROCESSOR="direct", **ROOM)
    program.ends_well()
    facts = program.told()
    assert (facts["flushed"], facts["handed_over"], facts["delivered"]) == (True, 10_000, 10_000)
    assert len(stored(platform)) == 10_000


@pytest.mark.parametrize(
    ("kind", "error"),
    [("descriptors", "Too many open files"), ("memory", "MemoryError")],
)
def test_whatever_the_courier_meets(platform: LocalPlatform, run: Run, kind: str, error: str) -> None:
    """What is raised on the courier's thread ends the attempt: it is said, and delivery goes on afterwards."""
    program = run("courier_faults.py", kind, PROCESSOR="direct")
    assert program.wait() == 0, program.output
    facts = program.told()
    # What was left of a half import may be another error for who tries again.
    assert any(error in said for said in facts["errors"]), program.output
    # Once for the exporter's own work, and once where a request failed for it too.
    assert 1 <= program.stderr.count(error) <= 2, program.output
    assert "Traceback" not in program.stderr, program.output
    assert (facts["delivered"], facts["pending"], facts["dropped"]) == (40, 0, 0), program.output


def test_forgotten_exporters(platform: LocalPlatform, run: Run) -> None:
    """Exporters that nobody shuts down, with nothing pending, leave no thread and no memory."""
    program = run("dropped.py")
    program.ends_well()
    facts = program.told()
    assert (facts["threads"], facts["alive"]) == (0, 0)
    assert len(platform.spans(FLOW)) == 50


def test_an_isolated_subinterpreter(platform: LocalPlatform, run: Run) -> None:
    """Where no thread, or no daemon thread, may be started, a flush and shutdown deliver all the same."""
    program = run("isolated.py", PROCESSOR="direct")
    assert program.wait() == 0, program.output
    assert program.told()["delivered"] == 4, program.output
    assert '"flushed": true' in program.stdout
    assert names(platform.spans(FLOW)) == works("flushed", "at.shutdown")
