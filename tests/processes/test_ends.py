"""A program that ends keeps its status and its last words, and leaves what it traced in the flow."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator

import pytest
from running import FLOW, Program, Run, names, works

from opentelemetry.exporter.versori_flow.server import LocalPlatform

TIMEOUT = 2.0  # VERSORI_FLOW_TIMEOUT where the platform is not there
STATUS = {"exit": 3, "exception": 1, "handler": 4, "ctrl-c": -signal.SIGINT}
# What the interpreter itself says of an exception.
SAID_BY_PYTHON = {
    "exception": ["Traceback (most recent call last):", "RuntimeError: as it happens"],
    "ctrl-c": ["Traceback (most recent call last):", "KeyboardInterrupt"],
}


def end(run: Run, how: str, **variables: str) -> Program:
    """Starts the program, and sends the signal that makes it end, if it is one that does."""
    program = run("ends.py", {"ctrl-c": "signal"}.get(how, how), PYTHONDEVMODE="1", **variables)
    if how in ("handler", "ctrl-c", "signal"):
        program.says("ready")
        program.signal(signal.SIGINT if how == "ctrl-c" else signal.SIGTERM)
    return program


def check_end(program: Program, how: str) -> None:
    """Its own status, its own last words, and no traceback but its own."""
    status = program.wait()
    assert status == STATUS.get(how, 0), program.output
    assert program.stdout.splitlines()[-1] == "last words", program.output
    assert program.stderr.splitlines()[0] == "last words", program.output
    assert program.stderr.count("Traceback") == (how in SAID_BY_PYTHON), program.output
    assert "versori_flow" not in program.stderr, program.output
    assert "Warning" not in program.stderr, program.output


@pytest.mark.parametrize(
    ("how", "traced"),
    [
        ("return", []),
        ("exit", []),
        ("exception", []),
        ("handler", []),
        ("ctrl-c", []),
        ("thread", ["thread"]),
        ("asyncio", ["async", "async.inner"]),
        ("nobody", []),
        ("fork", ["orphan"]),
    ],
)
def test_everything_is_delivered(
    platform: LocalPlatform, run: Run, processor: str, how: str, traced: list[str]
) -> None:
    """With the platform there, nothing is lost and nothing is said, whichever way the program ends.

    A thread ends spans after `main` has returned; a provider is told not to register with `atexit`, and nobody
    shuts it down; a forked child ends after its parent. Development mode has nothing to warn of.
    """
    program = end(run, how, PROCESSOR=processor)
    check_end(program, how)
    expected = sorted([*works("main"), *(n for t in traced for n in ([t] if t == "async" else works(t)))])
    # A child may outlive the program that is waited for.
    platform.wait_for(lambda p: len(p.spans(FLOW)) >= len(expected))
    assert names(platform.spans(FLOW)) == expected, program.output
    said = program.stderr.splitlines()[1:]
    if how in SAID_BY_PYTHON:
        assert [said[0], said[-1]] == SAID_BY_PYTHON[how], program.output
    else:
        assert said == [], program.output


def test_spans_of_exit_handlers(platform: LocalPlatform, run: Run, processor: str) -> None:
    """What an exit handler traces is delivered if the handler runs before the provider's own.

    Python runs the handlers that were registered last first. What comes later is lost: our processor says so.
    """
    program = end(run, "atexit", PROCESSOR=processor)
    assert program.wait() == 0, program.output
    assert names(platform.spans(FLOW)) == works("main", "registered.after"), program.output
    late = [line for line in program.stderr.splitlines() if "came after shutdown" in line]
    assert len(late) == (processor == "direct"), program.output
    assert "Traceback" not in program.stderr, program.output


def test_spans_after_shutdown(platform: LocalPlatform, run: Run, processor: str) -> None:
    """A provider that the program shuts down itself has delivered all by then; what comes later is lost."""
    program = end(run, "by-hand", PROCESSOR=processor)
    assert program.wait() == 0, program.output
    assert names(platform.spans(FLOW)) == works("main"), program.output
    assert "Traceback" not in program.stderr, program.output


def test_a_signal_that_nobody_handles(platform: LocalPlatform, run: Run) -> None:
    """SIGTERM without a handler ends a process where it is: what had been delivered by then is in the flow."""
    program = run("ends.py", "signal", PROCESSOR="direct")
    program.says("ready")
    platform.wait_for(lambda p: len(p.spans(FLOW)) == 2)
    program.signal(signal.SIGTERM)
    assert program.wait() == -signal.SIGTERM, program.output
    assert program.stderr == "", program.output
    assert names(platform.spans(FLOW)) == works("main")


@pytest.fixture(params=["refusing", "black hole"])
def nowhere(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a platform that takes no connections, or that takes them and never says a word."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        if request.param == "black hole":
            sock.listen(64)
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"


def test_without_a_platform(run: Run, nowhere: str, processor: str) -> None:
    """Where the platform refuses or never answers, a program ends as it would, a little after the timeout.

    It says how many spans are lost, and no traceback of ours.
    """
    variables = {
        "PROCESSOR": processor,
        "VERSORI_API_BASE_URL": nowhere,
        "VERSORI_FLOW_TIMEOUT": str(TIMEOUT),
    }
    ways = ["return", "exit", "exception", "handler", "ctrl-c", "thread", "asyncio", "nobody"]
    # All at once: what they do is wait.
    running = [(how, time.monotonic(), run("ends.py", how.replace("ctrl-c", "signal"), **variables)) for how in ways]
    for how, _, program in running:
        if how in ("handler", "ctrl-c"):
            program.says("ready")
            program.signal(signal.SIGINT if how == "ctrl-c" else signal.SIGTERM)
    for how, begun, program in running:
        check_end(program, how)
        assert "spans are lost: they were still waiting when the exporter shut down" in program.stderr, (
            program.output
        )
        # One export's wait before the shutdown's; starting eight programs at once on a busy machine comes first.
        assert time.monotonic() - begun < TIMEOUT + 1 + 10, program.output


@pytest.mark.parametrize("how", ["export", "return"])
def test_ctrl_c_while_it_waits(run: Run, black_hole: str, processor: str, how: str) -> None:
    """Ctrl-C ends the wait of `export`, and the wait at exit; none of our own frames is shown for the latter."""
    program = run(
        "ends.py", how, PROCESSOR=processor, VERSORI_API_BASE_URL=black_hole, VERSORI_FLOW_TIMEOUT="8"
    )
    program.says("ready" if how == "export" else "last words")
    time.sleep(0.3)  # into the wait
    begun = time.monotonic()
    program.signal(signal.SIGINT)
    status = program.wait()
    assert status == (-signal.SIGINT if how == "export" else 0), program.output
    print(time.monotonic() - begun, program.output)


@pytest.fixture
def black_hole() -> Iterator[str]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(64)
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
