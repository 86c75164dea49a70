"""A program that ends keeps its status and its last words, and leaves what it traced in the flow."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator

import pytest
from running import FLOW, PATIENCE, Program, Run, names, works

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


def check_end(program: Program, how: str, *, ours: bool = False) -> None:
    """Its own status, its own last words, and no traceback but its own, with frames of `ours` or without."""
    status = program.wait()
    assert status == STATUS.get(how, 0), program.output
    assert "last words" in program.stdout.splitlines(), program.output
    assert "last words" in program.stderr.splitlines(), program.output
    assert program.stderr.count("Traceback") == (how in SAID_BY_PYTHON), program.output
    assert ours or "versori_flow" not in program.stderr, program.output
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


@pytest.mark.parametrize(
    ("how", "traced", "said"), [("atexit", ["registered.after"], True), ("by-hand", [], False)]
)
def test_spans_that_come_late(
    platform: LocalPlatform, run: Run, processor: str, how: str, traced: list[str], said: bool
) -> None:
    """What an exit handler traces is delivered if the handler runs before the provider's own, or its shutdown.

    Python runs the handlers that were registered last first. What comes later is lost: our processor says so.
    """
    program = end(run, how, PROCESSOR=processor)
    assert program.wait() == 0, program.output
    assert names(platform.spans(FLOW)) == works("main", *traced), program.output
    if said:
        assert program.stderr.count("came after shutdown") == (processor == "direct"), program.output
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


@pytest.fixture
def black_hole() -> Iterator[socket.socket]:
    """A platform that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as sock:
        sock.settimeout(PATIENCE)
        yield sock


@pytest.fixture(params=["refusing", "black hole"])
def nowhere(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a platform that takes no connections, or that takes them and never says a word."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        if request.param == "black hole":
            sock.listen(64)
        yield address(sock)


def address(sock: socket.socket) -> str:
    return f"http://127.0.0.1:{sock.getsockname()[1]}"


def test_without_a_platform(run: Run, nowhere: str, processor: str) -> None:
    """Where the platform refuses or never answers, a program ends as it would, a little after the timeout.

    It says how many spans are lost, and no traceback of ours.
    """
    variables = {
        "PROCESSOR": processor,
        "VERSORI_API_BASE_URL": nowhere,
        "VERSORI_FLOW_TIMEOUT": str(TIMEOUT),
        "PYTHONDEVMODE": "1",
    }
    ways = ["return", "exit", "exception", "handler", "ctrl-c", "thread", "asyncio", "nobody"]
    # All at once, as what they do is wait; each has a flow of its own, or they would leave theirs to each other.
    running = []
    for how in ways:
        program = run("ends.py", how.replace("ctrl-c", "signal"), OTEL_SERVICE_NAME=how, **variables)
        running.append((how, time.monotonic(), program))
    for how, _, program in running:
        if how in ("handler", "ctrl-c"):
            program.says("ready")
            program.signal(signal.SIGINT if how == "ctrl-c" else signal.SIGTERM)
    for how, begun, program in running:
        check_end(program, how)
        assert "spans are lost: they were still waiting when the exporter shut down" in program.stderr, (
            program.output
        )
        # One export's wait before the shutdown's; eight programs that start at once on a busy machine.
        assert time.monotonic() - begun < TIMEOUT + 1 + 10, program.output


def test_ctrl_c_in_export(run: Run, black_hole: socket.socket, processor: str) -> None:
    """Ctrl-C ends the wait of a flush, as an exception like any other; the program ends by SIGINT."""
    program = wait_for_nothing(run, "export", black_hole, processor)
    program.says("ready")
    connection, _ = black_hole.accept()
    with connection:
        program.signal(signal.SIGINT)
        check_end(program, "ctrl-c", ours=True)


def test_ctrl_c_at_exit(run: Run, black_hole: socket.socket, processor: str) -> None:
    """Ctrl-C ends the wait at exit, and none of our frames is shown; the program keeps its status.

    The wait for the SDK's own thread may be what it ends. Ours, which is bounded, comes after that.
    """
    program = wait_for_nothing(run, "return", black_hole, processor)
    begun = program.says("exiting")
    connection, _ = black_hole.accept()
    with connection:
        program.signal(signal.SIGINT)
        assert program.wait() == 0, program.output
    assert time.monotonic() - begun < TIMEOUT + 1 + 5, program.output
    assert "exporter/versori_flow" not in program.stderr, program.output
    assert "2 spans are lost" in program.stderr, program.output


def wait_for_nothing(run: Run, how: str, black_hole: socket.socket, processor: str) -> Program:
    return run(
        "ends.py", how,
        PROCESSOR=processor, VERSORI_API_BASE_URL=address(black_hole), VERSORI_FLOW_TIMEOUT=str(TIMEOUT),
    )  # fmt: skip
