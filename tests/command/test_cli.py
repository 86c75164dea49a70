"""The command, as the programs and processes that a user meets."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from opentelemetry.exporter.versori_flow.command.launch import (
    LOCAL_ORGANISATION,
    LOCAL_PROJECT,
    local_credentials,
)
from opentelemetry.exporter.versori_flow.command.platform_api import Project
from opentelemetry.exporter.versori_flow.server import LocalPlatform
from opentelemetry.exporter.versori_flow.version import __version__

COMMAND = [sys.executable, "-m", "opentelemetry.exporter.versori_flow"]
PATIENCE = 30.0  # seconds, for a program on a busy machine to do what takes it one
CLEAN = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "VERSORI_"))}
CLEAN["HOME"] = "/nonexistent"  # whoever has Versori's own command line has credentials there
# A second for each program that is run, and none of those here uses a framework.
CLEAN["OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"] = "*"

TRACED = """
import os, signal, sys, time
from opentelemetry import trace
tracer = trace.get_tracer("test")
with tracer.start_as_current_span("outer") as outer:
    outer.add_event("[bold]begun[/bold]")
    with tracer.start_as_current_span("inner") as inner:
        inner.set_status(trace.StatusCode.ERROR, "it broke")
"""


def versori_flow(
    *arguments: str, stdin: int = subprocess.DEVNULL, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env={**CLEAN, **variables},
        stdin=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        start_new_session=True,
    )


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the command, and ends it with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **variables: str) -> subprocess.Popen[str]:
        command = subprocess.Popen(
            [*COMMAND, *arguments],
            env={**CLEAN, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(command)
        return command

    yield start
    for command in started:
        command.kill()
        command.communicate()


@pytest.fixture
def platform() -> Iterator[LocalPlatform]:
    with LocalPlatform(key="local", port=0) as running:
        yield running


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., str]:
    """Writes a traced program, with more after its spans, and returns its path."""

    def write(rest: str = "", name: str = "app.py") -> str:
        path = tmp_path / name
        path.write_text(TRACED + rest, encoding="utf-8")
        return str(path)

    return write


def test_version() -> None:
    """It says its version."""
    done = versori_flow("--version")
    assert (done.returncode, done.stdout) == (0, f"versori-flow {__version__}\n")


def test_without_its_extra_it_says_in_one_line_what_to_install(tmp_path: Path) -> None:
    """The core wheel has no Typer: one line says what to install, and nothing else is printed."""
    blocked = "import sys; sys.modules['typer'] = None\n"
    (tmp_path / "sitecustomize.py").write_text(blocked, encoding="utf-8")
    done = versori_flow("serve", PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "pip install 'opentelemetry-exporter-versori-flow[cli]'" in done.stderr


def test_run_with_credentials(platform: LocalPlatform, program: Callable[..., str]) -> None:
    """A program with credentials is traced into its flow, with its own output and status."""
    path = program("print(sys.argv[1:]); sys.exit(3)")
    done = versori_flow("run", "--", "python", path, "--port", "1", **local_credentials(platform.url))
    assert (done.returncode, done.stdout) == (3, "['--port', '1']\n"), done.stderr
    assert done.stderr.splitlines() == [
        "versori-flow: the service is called 'app', as OTEL_SERVICE_NAME is not set",
        "versori-flow: 2 spans in the flow 'app'",
    ]
    assert sorted(span["name"] for span in platform.spans("app")) == ["inner", "outer"]


def test_run_says_at_the_end_what_is_lost(platform: LocalPlatform, program: Callable[..., str]) -> None:
    """Where the program takes the command's place, its exporter says how many spans went where, and how many not."""
    platform.fault("status=503")
    short = {"VERSORI_FLOW_TIMEOUT": "1", "OTEL_SERVICE_NAME": "app"}
    done = versori_flow("run", "python", program(), **local_credentials(platform.url), **short)
    assert done.stderr.splitlines()[-1] == "versori-flow: 0 spans in the flow 'app', 2 are lost"


def test_run_without_credentials_has_a_platform_of_its_own(program: Callable[..., str]) -> None:
    """Nothing set: the flows are on a platform of the program's own; its page and what arrived are named."""
    done = versori_flow("run", "--port", "0", "--service-name", "shop", "python", program("sys.exit(4)"))
    assert done.returncode == 4, done.stderr
    assert done.stdout == ""
    first, second = done.stderr.splitlines()
    assert "http://127.0.0.1:" in first
    assert "2 spans" in second
    assert "shop" in second


def test_run_with_part_of_the_credentials_does_not_start(program: Callable[..., str]) -> None:
    """A program that is set up by half is not started untraced: a line for each variable that it misses."""
    done = versori_flow("run", "python", program("print('done')"), VERSORI_API_KEY="secret-key-3141")
    assert (done.returncode, done.stdout) == (1, "")
    assert "VERSORI_ORGANISATION_ID" in done.stderr
    assert "VERSORI_PROJECT_ID" in done.stderr
    assert done.stderr.count("\n") == 2
    assert "secret-key-3141" not in done.stderr


def test_run_uses_the_platform_that_runs(start: Callable[..., Any], program: Callable[..., str]) -> None:
    """No second platform is started beside one that runs, and what arrived is counted: what is new."""
    with LocalPlatform(port=0) as running:
        for _ in range(2):
            done = versori_flow(
                "run", "python", program("sys.exit(4)"),
                OTEL_SERVICE_NAME="beside", VERSORI_API_BASE_URL=running.url,
            )  # fmt: skip
            assert done.returncode == 4
            assert done.stderr.splitlines() == [
                f"versori-flow: the flows are on the local platform that runs at {running.url}",
                "versori-flow: 2 spans in the flow 'beside'",
            ]
        assert len(running.spans("beside")) == 4
        lists = [asked for asked in running.requests if asked.method == "GET" and asked.flow is None]
        assert len(lists) == 4, "once before each program, and once after"


def test_run_says_what_arrived_in_a_flow_that_is_full(program: Callable[..., str], tmp_path: Path) -> None:
    """As many spans left as arrived: those that are there and were not before are counted, by either platform."""
    with LocalPlatform(port=0) as running:
        for _ in range(2):
            done = versori_flow(
                "run", "python", program(), OTEL_SERVICE_NAME="full", VERSORI_FLOW_MAX_SPANS="2",
                VERSORI_API_BASE_URL=running.url,
            )  # fmt: skip
            assert done.stderr.splitlines()[-1] == "versori-flow: 2 spans in the flow 'full'"
        assert len(running.spans("full")) == 2
    for _ in range(2):
        own = ("--data", str(tmp_path / "flows"), "--port", "0", "--service-name", "full")
        done = versori_flow("run", *own, "python", program(), VERSORI_FLOW_MAX_SPANS="2")
        assert done.stderr.splitlines()[-1] == "versori-flow: 2 spans in the flow 'full'"


def test_only_a_platform_that_answers_without_a_key_of_its_own_is_used(platform: LocalPlatform) -> None:
    """One that lets `run` in is found; one with another key, a server of another kind, and nothing are not."""
    found = Project.running(platform.url)
    assert found is not None
    found[0].close()
    with LocalPlatform(key="another") as keyed:
        assert Project.running(keyed.url) is None
    platform.fault("status=200,body=<html>")
    assert Project.running(platform.url) is None
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert Project.running(f"http://127.0.0.1:{unused.getsockname()[1]}") is None


def test_run_keeps_flows_on_the_port_and_in_the_folder_that_are_named(
    program: Callable[..., str], tmp_path: Path, platform: LocalPlatform
) -> None:
    """--data and --port are those of the program's own platform; what is wrong with them is a line."""
    folder = tmp_path / "flows"
    done = versori_flow(
        "run", "--data", str(folder), "--port", "0", "python", program(), OTEL_SERVICE_NAME="kept"
    )
    assert "2 spans in the flow 'kept'" in done.stderr
    with LocalPlatform(data=folder) as later:
        assert len(later.spans("kept")) == 2
    cases = (
        (["--port", str(platform.port)], "is taken"),
        (["--data", __file__], "it is a file; name a folder"),
    )
    for words, said in cases:
        done = versori_flow("run", *words, "python", program("print('ran')"), OTEL_SERVICE_NAME="x")
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert said in done.stderr


@pytest.mark.parametrize("command", [["serve"], ["run", "true"], ["demo"]], ids=lambda words: words[0])
def test_an_empty_path_is_not_the_working_directory(command: list[str]) -> None:
    """An unset variable in a shell's line is a mistake that is said."""
    done = versori_flow(command[0], "--data", "", *command[1:])
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "it is empty; name a file or a folder" in done.stderr


def test_run_opens_the_page(program: Callable[..., str], tmp_path: Path) -> None:
    """--open hands the page's address to the browser."""
    browser = tmp_path / "browser"
    browser.write_text('#!/bin/sh\necho "$1" > "$0.log"\n', encoding="utf-8")
    browser.chmod(0o700)
    done = versori_flow(
        "run", "--open", "--port", "0", "python", program(), OTEL_SERVICE_NAME="x", BROWSER=str(browser)
    )
    assert done.returncode == 0, done.stderr
    wait_until(lambda: Path(f"{browser}.log").exists() and Path(f"{browser}.log").read_text())
    assert Path(f"{browser}.log").read_text().startswith("http://127.0.0.1:")


def test_a_burst_fits_into_the_queue(program: Callable[..., str]) -> None:
    """Six thousand spans at once are all in the flow: the batch processor's queue holds them."""
    path = program("for n in range(6_000): tracer.start_span(str(n)).end()")
    done = versori_flow(
        "run", "--port", "0", "python", path, OTEL_SERVICE_NAME="burst", VERSORI_FLOW_MAX_SPANS="20000",
        VERSORI_FLOW_MAX_BYTES="40000000",
    )  # fmt: skip
    assert "6002 spans in the flow 'burst'" in done.stderr


@pytest.mark.parametrize(
    ("command", "status", "words"),
    [
        (["nowhere"], 127, "no program 'nowhere'"),
        (["app.py"], 127, "python app.py"),
        (["/"], 126, "can't be run"),
        ([], 2, "PROGRAM"),
    ],
)
@pytest.mark.parametrize("key", ["", "k"])
def test_run_says_what_it_can_not_start(command: list[str], status: int, words: str, key: str) -> None:
    """A wrong program is a line and a shell's usual status, with credentials and without."""
    credentials = local_credentials("http://127.0.0.1:9") if key else {}
    done = versori_flow("run", "--", *command, OTEL_SERVICE_NAME="x", **credentials)
    assert done.returncode == status
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("handled", [True, False])
def test_run_passes_signals_on(
    start: Callable[..., Any], program: Callable[..., str], tmp_path: Path, number: int, handled: bool
) -> None:
    """The program gets the signal, once; its own status is the command's, or 128 and the signal's number."""
    started = tmp_path / "started"
    handler = "lambda *_: (print('told', flush=True), sys.exit(5))" if handled else "signal.SIG_DFL"
    path = program(
        f"signal.signal({int(number)}, {handler})\n"
        f"open({str(started)!r}, 'w').close()\n"
        f"time.sleep({PATIENCE})"
    )
    command = start("run", "--port", "0", "--stay", "python", path)
    wait_until(started.exists)
    command.send_signal(number)
    lines = []
    for line in command.stderr:
        lines.append(line)
        if "until Ctrl-C" in line:
            command.send_signal(signal.SIGINT)
    stdout, _ = command.communicate(timeout=PATIENCE)
    assert command.returncode == (5 if handled else 128 + number), lines
    assert stdout == ("told\n" if handled else "")


def test_at_a_terminal_ctrl_c_reaches_the_program_once(program: Callable[..., str]) -> None:
    """The terminal tells the program itself; the command then keeps the page until the next Ctrl-C."""
    path = program(
        "told = []\n"
        "signal.signal(signal.SIGINT, lambda *_: told.append(1))\n"
        "print('ready', flush=True)\n"
        "while not told: time.sleep(0.01)\n"
        "time.sleep(0.3)\n"
        "print('told', len(told), flush=True)\n"
        "sys.exit(7)\n"
    )
    process, terminal = pty.fork()
    if process == 0:
        os.execve(sys.executable, [*COMMAND, "run", "--port", "0", "python", path], CLEAN)
    try:
        seen = b""
        for wanted in (b"ready", b"until Ctrl-C"):
            while wanted not in seen:
                seen += os.read(terminal, 4096)
            os.write(terminal, b"\x03")
        _, status = os.waitpid(process, 0)
    finally:
        os.close(terminal)
    assert b"told 1" in seen
    assert os.waitstatus_to_exitcode(status) == 7


def test_the_page_stays_until_ctrl_c(start: Callable[..., Any], program: Callable[..., str]) -> None:
    """With --stay the platform answers after the program has ended."""
    command = start("run", "--port", "0", "--stay", "python", program(), OTEL_SERVICE_NAME="stays")
    line = next(line for line in command.stderr if "until Ctrl-C" in line)
    url = next(word for word in line.split() if word.startswith("http://"))
    assert httpx.get(url, follow_redirects=True, trust_env=False).status_code == 200
    shown = versori_flow("show", "stays", "--base-url", url.partition("?")[0].rstrip("/"))
    assert "outer" in shown.stdout, shown.stderr
    command.send_signal(signal.SIGINT)
    assert command.wait(PATIENCE) == 0


def test_show(platform: LocalPlatform, program: Callable[..., str]) -> None:
    """A flow is a tree with durations, errors with their message, and events as they are."""
    credentials = local_credentials(platform.url)
    for _ in range(3):
        done = versori_flow("run", "python", program(), OTEL_SERVICE_NAME="a/b", **credentials)
        assert done.returncode == 0
    done = versori_flow("show", "a/b", "--traces", "2", **credentials)
    assert done.returncode == 0, done.stderr
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    assert sum(line.startswith("trace ") for line in lines) == 2
    assert lines[1].startswith("└── outer  ")
    assert lines[2] == "    ├── * [bold]begun[/bold]"
    assert lines[3].startswith("    └── inner  ")
    assert lines[3].endswith("ERROR it broke")
    assert lines[-1] == "a/b: 6 spans; 1 older trace not shown (--all shows all)"
    assert versori_flow("show", "a/b", "--all", **credentials).stdout.count("trace ") == 3
    assert "local" not in done.stdout + done.stderr


def test_show_says_in_a_line_why_there_is_nothing_to_show(platform: LocalPlatform) -> None:
    """A refused key, a platform that is not there, missing settings: a line each, without the key."""
    denied = versori_flow(
        "show", "x", **{**local_credentials(platform.url), "VERSORI_API_KEY": "wrong-key-2718"}
    )
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        gone = versori_flow("show", "x", **local_credentials(f"http://127.0.0.1:{unused.getsockname()[1]}"))
    unset = versori_flow("show", "x", VERSORI_API_KEY="wrong-key-2718")
    # The address of a local platform will do, without credentials.
    absent = versori_flow("show", "x", VERSORI_API_BASE_URL=platform.url)
    cases = (denied, "refuses the key"), (gone, "no connection"), (unset, "VERSORI_PROJECT_ID")
    for done, words in (
        *cases,
        (absent, f"of organisation {LOCAL_ORGANISATION} at {platform.url}, nor any other\n"),
    ):
        assert done.returncode == 1
        assert words in done.stderr
        assert "Traceback" not in done.stderr
        assert "wrong-key" not in done.stderr
        assert done.stdout == ""


def test_show_survives_what_is_not_a_flow(platform: LocalPlatform) -> None:
    """Numbers without end, nesting without end and no JSON at all are a line, or shown."""
    for body in (b"[1]", b"{", b"[" * 100_000):
        platform.put("odd", body)
        done = versori_flow("show", "odd", **local_credentials(platform.url))
        assert "is not a flow" in done.stderr
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    platform.put("odd", b'{"name": "odd", "spans": [{"name": %s}]}' % (b"1" * 5000))
    assert versori_flow("show", "odd", **local_credentials(platform.url)).returncode == 0


@pytest.fixture
def serve(start: Callable[..., Any]) -> Callable[..., tuple[subprocess.Popen[str], str]]:
    """Starts `serve`, and returns it with its address once it answers."""

    def serve(*arguments: str) -> tuple[subprocess.Popen[str], str]:
        command = start("serve", "--port", "0", *arguments)
        words = command.stdout.readline().split()
        return command, next(word for word in words if word.startswith("http://"))

    return serve


def test_serve_keeps_flows_in_a_folder_and_lets_one_key_in(
    serve: Callable[..., Any], program: Callable[..., str], tmp_path: Path
) -> None:
    """The platform as a command: SIGTERM is a good end, and the next one has the flows of the last."""
    arguments = ("--data", str(tmp_path / "flows"), "--key", "local")
    command, url = serve(*arguments)
    done = versori_flow("run", "python", program(), OTEL_SERVICE_NAME="kept", **local_credentials(url))
    assert done.stderr == "versori-flow: 2 spans in the flow 'kept'\n"
    denied = versori_flow("show", "kept", **{**local_credentials(url), "VERSORI_API_KEY": "another"})
    assert "refuses the key" in denied.stderr
    command.send_signal(signal.SIGTERM)
    assert command.wait(PATIENCE) == 0
    _, url = serve(*arguments)
    assert "outer" in versori_flow("show", "kept", **local_credentials(url)).stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_runs_until_told_to_end(serve: Callable[..., Any], number: int) -> None:
    """`serve` prints its page and faults, answers, and ends well by Ctrl-C or SIGTERM, clients or not."""
    faults = ("blackhole,flow=stuck", "status=418,flow=tea")
    command, url = serve("--fault", faults[0], "--fault", faults[1])
    for fault in faults:
        assert fault in command.stdout.readline()
    assert "Ctrl-C" in command.stdout.readline()
    assert "Flows" in httpx.get(url, trust_env=False).text
    host, port = url.removeprefix("http://").split(":")
    path = f"/o/{LOCAL_ORGANISATION}/projects/{LOCAL_PROJECT}/workflows"
    assert httpx.get(f"{url}{path}/tea", trust_env=False).status_code == 418
    with socket.create_connection((host, int(port)), timeout=10) as stuck:
        stuck.sendall(f"GET {path}/stuck HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        command.send_signal(number)
        _, errors = command.communicate(timeout=PATIENCE)
    assert (command.returncode, errors) == (0, "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_who_tells_serve_twice_is_answered_as_well(serve: Callable[..., Any], number: int) -> None:
    """`timeout` signals its program, and then the group that this is in."""
    for wait in (0.01, 0.05):
        command, _ = serve()
        command.send_signal(number)
        time.sleep(wait)
        command.send_signal(number)
        assert command.wait(PATIENCE) == 0


@pytest.mark.parametrize(
    ("arguments", "words", "status"),
    [
        (["--port", "99999"], "port is 99999", 2),
        (["--port", "-1"], "port is -1", 2),
        (["--port", "TAKEN"], "is taken", 1),
        (["--data", __file__], f"in {__file__}: it is a file; name a folder", 1),
        (["--key", ""], "the key is empty", 2),
        (["--key", " "], "the key is empty", 2),
        (["--fault", "flood of frogs"], "the kinds are status, slow, drip", 2),
        (["--fault", "nonsense"], "the kinds are status, slow, drip", 2),
        (["--fault", "status=503,retry-after=1\n1"], "retry-after should be printable ASCII", 2),
        (["--fault", "status=302,location=http://é"], "location should be printable ASCII", 2),
    ],
)
def test_serve_names_what_is_wrong(
    platform: LocalPlatform, arguments: list[str], words: str, status: int
) -> None:
    """What `serve` can't start with is one line on standard error; status 2 where it is not written as it should be."""
    taken = [str(platform.port) if word == "TAKEN" else word for word in arguments]
    done = versori_flow("serve", "--port", "0", *taken)
    assert (done.returncode, done.stderr.count("\n")) == (status, 1), done.stderr
    assert done.stderr.startswith("versori-flow: ")
    assert words in done.stderr


def test_serve_prints_a_line_for_each_request(serve: Callable[..., Any]) -> None:
    """With -v method, path, status, size and time of each request are on standard error, without the key."""
    command, url = serve("-v", "--fault", "status=418,flow=tea")
    path = f"/o/{LOCAL_ORGANISATION}/projects/{LOCAL_PROJECT}/workflows"
    for name in ("none", "tea"):
        httpx.get(f"{url}{path}/{name}", headers={"Authorization": "Bearer s3cret"}, trust_env=False)
    command.terminate()
    _, errors = command.communicate(timeout=PATIENCE)
    first, second = errors.splitlines()
    assert f"GET {path}/none -> 404, 0 bytes" in first
    assert f"GET {path}/tea -> 418, 0 bytes" in second
    assert "fault status=418,flow=tea" in second
    assert "s3cret" not in errors


def test_serve_says_which_faults_there_are() -> None:
    """The help names every kind, and `--fault help` says what each does, and starts nothing."""
    short, long = versori_flow("serve", "-h"), versori_flow("serve", "--fault", "help")
    for kind in (
        "status=N",
        "slow=S",
        "drip",
        "reset",
        "blackhole",
        "cut",
        "flood",
        "max-body=N",
        "poison=T",
    ):
        assert kind in " ".join(short.stdout.split())
        assert kind in long.stdout
    assert long.returncode == 0


def test_serve_warns_where_others_can_reach_it(start: Callable[..., Any]) -> None:
    """Listening on more than loopback is warned of, the more so without a key."""
    command = start("serve", "--host", "0.0.0.0", "--port", "0")
    command.stdout.readline()
    command.terminate()
    _, errors = command.communicate(timeout=PATIENCE)
    assert command.returncode == 0
    assert errors.startswith("versori-flow: 0.0.0.0 is not a loopback address")
    assert "no key is set" in errors


def wait_until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)
