"""A process that is frozen and thawed, and a clock that jumps: nothing is lost, and nothing comes twice."""

from __future__ import annotations

import os
import signal
from datetime import datetime

from running import FLOW, Program, Run, names, works

from opentelemetry.exporter.versori_flow.server import LocalPlatform


def freeze(program: Program) -> None:
    program.signal(signal.SIGSTOP)
    os.waitid(os.P_PID, program.process.pid, os.WSTOPPED | os.WNOWAIT)


def runtime(run: Run, processor: str, **variables: str) -> Program:
    # Through the SDK's batch processor, a flush is an `export`, which keeps to the pacing.
    return run("invocations.py", PROCESSOR=processor, VERSORI_FLOW_MIN_INTERVAL="0", **variables)


def invoke(program: Program, name: str) -> None:
    program.tell(f"invoke {name}")
    program.says(f"done {name}")


def finish(program: Program) -> None:
    program.finish()
    program.ends_well()


def test_frozen_between_invocations(platform: LocalPlatform, run: Run, processor: str) -> None:
    """Flushed at its end, an invocation is in the flow before the process is frozen.

    Meanwhile the platform has closed the idle connection, which costs the next invocation nothing.
    """
    program = runtime(run, processor)
    done = []
    for name in ("first", "second", "third"):
        invoke(program, name)
        freeze(program)
        done.append(name)
        assert names(platform.spans(FLOW)) == works(*done), program.output
        platform.stop()
        platform.start()
        program.signal(signal.SIGCONT)
    finish(program)
    assert names(platform.spans(FLOW)) == works(*done), program.output


def test_frozen_in_a_request(platform: LocalPlatform, run: Run, processor: str) -> None:
    """Frozen while a request is under way, until long after its deadline, it delivers when it is thawed."""
    program = run(
        "invocations.py", PROCESSOR=processor, VERSORI_FLOW_TIMEOUT="1", VERSORI_FLOW_EXPORT_WAIT="0"
    )
    invoke(program, "before")
    with platform.fault("slow=1.5,method=PUT,times=1"):
        # Not flushed, where a thread of the courier's delivers it; flushed without waiting, where the SDK's
        # queue would keep it.
        program.tell("invoke during" if processor == "batch" else "start during")
        program.says("done during")
        platform.wait_for(
            lambda p: any(r.method == "PUT" and r.fault and r.status is None for r in p.requests)
        )
        freeze(program)
        platform.wait_for(lambda p: all(r.seconds is not None for r in p.requests))
    program.signal(signal.SIGCONT)
    invoke(program, "after")
    program.finish()
    assert program.wait() == 0, program.output
    assert "lost" not in program.stderr, program.output
    assert names(platform.spans(FLOW)) == works("before", "during", "after"), program.output


def test_a_clock_that_jumps(platform: LocalPlatform, run: Run, processor: str) -> None:
    """A clock set an hour ahead, and then a day back, loses no span, and stops no delivery."""
    program = runtime(run, processor)
    invoke(program, "before")
    program.tell("clock 3600")
    invoke(program, "ahead")
    program.tell("clock -86400")
    invoke(program, "back")
    program.tell("across again")
    finish(program)
    spans = platform.spans(FLOW)
    assert names(spans) == sorted([*works("before", "ahead", "back", "again"), "across"]), program.output
    starts = {span["name"]: datetime.fromisoformat(span["startTime"][:19]) for span in spans}
    assert 3500 < (starts["ahead"] - starts["before"]).total_seconds() < 3700
    assert 86300 < (starts["ahead"] - starts["back"]).total_seconds() < 86500


def test_a_stopped_clock(platform: LocalPlatform, run: Run, processor: str) -> None:
    """Where a test of the application's stops the clock, a flush and the program end, the platform being away."""
    platform.stop()
    program = run("stopped_clock.py", "ends", PROCESSOR=processor, VERSORI_FLOW_TIMEOUT="2")
    assert program.wait() == 0, program.output
    assert "flushed" in program.stdout.splitlines(), program.output
    assert "are lost" in program.stderr, program.output


def test_a_clock_that_goes_on_again(platform: LocalPlatform, run: Run) -> None:
    """Nothing is put off until the time at which the clock was stopped."""
    platform.stop()
    program = run("stopped_clock.py", "thaws", PROCESSOR="direct")
    program.says("thawed")
    platform.start()
    platform.wait_for(lambda p: names(p.spans(FLOW)) == works("before", "stopped"), 30)
    program.finish()
    assert program.wait() == 0, program.output
