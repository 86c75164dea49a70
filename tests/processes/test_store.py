"""Durable stores: what was exported outlives its process, and processes that end together wait for none."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from running import FLOW, Program, Run, names, works

from opentelemetry.exporter.versori_flow.server import LocalPlatform

HERE, EACH = int(os.environ.get("TEST_WRITERS", "12")), 10
"""How many processes end together: forty show more, and take it."""

_MEMORY = {"VERSORI_FLOW_STORE": "memory:", "PROCESSOR": "direct"}


def spool(folder: Path) -> dict[str, str]:
    return {"VERSORI_FLOW_STORE": f"sqlite://{folder}/spans", "PROCESSOR": "direct"}


def delivered(platform: LocalPlatform, *units: str) -> None:
    """The flow holds what these units left, and no more."""
    platform.wait_for(lambda p: len(p.spans(FLOW)) >= 2 * len(units), 30)
    assert names(platform.spans(FLOW)) == works(*units)


def killed(run: Run, name: str, units: int, folder: Path, how: str = "killed") -> Program:
    """A process that was killed once all it traced was handed over."""
    program = run("outage.py", name, str(units), how, **spool(folder))
    program.says("ready")
    program.signal(signal.SIGKILL)
    program.wait()
    return program


def test_what_was_exported_survives_a_kill(platform: LocalPlatform, run: Run, tmp_path: Path) -> None:
    """kill -9 amid an outage, twice; the next process delivers all of it, though it traces nothing itself."""
    platform.stop()
    killed(run, "one", 40, tmp_path)
    killed(run, "two", 1, tmp_path)
    platform.start()
    idle = run("outage.py", "none", "0", "idles", **spool(tmp_path))
    delivered(platform, *(f"one.{n}" for n in range(40)), "two.0")
    idle.finish()
    idle.ends_well()
    assert idle.told()["stores"] == [f"sqlite://{tmp_path}/spans"]
    assert list((tmp_path / "spans").iterdir()) == []


def test_a_process_that_ends_amid_an_outage_leaves_its_spans(
    platform: LocalPlatform, run: Run, tmp_path: Path
) -> None:
    """It ends at once, says what it leaves and how to deliver it, and counts it as pending."""
    platform.stop()
    program = run("outage.py", "one", "3", "returns", **spool(tmp_path))
    assert program.wait() == 0
    assert program.told()["pending"] == 6
    assert "6 spans not delivered: kept in sqlite:" in program.stderr
    assert "versori-flow store drain" in program.stderr
    files = sorted((tmp_path / "spans").iterdir())
    assert {path.suffix for path in files} == {".db", ".lock"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    platform.start()
    run("outage.py", "two", "1", "returns", **spool(tmp_path)).ends_well()
    delivered(platform, *(f"one.{n}" for n in range(3)), "two.0")


def test_a_fork_amid_an_outage(platform: LocalPlatform, run: Run, tmp_path: Path) -> None:
    """The child keeps its own spans, and its end takes nothing of the parent's, which is killed later."""
    platform.stop()
    killed(run, "parent", 20, tmp_path, "forks")
    platform.start()
    run("outage.py", "next", "1", "returns", **spool(tmp_path)).ends_well()
    delivered(platform, *(f"parent.{n}" for n in range(20)), "parent.child", "next.0")


@pytest.mark.parametrize("kind", ["files", "sockets"])
@pytest.mark.parametrize("store", ["memory:", "sqlite"])
def test_a_program_that_closes_all_descriptors(
    platform: LocalPlatform, run: Run, tmp_path: Path, store: str, kind: str
) -> None:
    """As one does that becomes a daemon without a fork: under our numbers it has files and connections of its own by
    then, which get no byte of ours, and stay open. Delivery goes on, and nothing is left behind."""
    folder = tmp_path / "store"
    settings = {} if store == "memory:" else {"VERSORI_FLOW_STORE": f"sqlite://{folder}"}
    program = run("closing.py", kind, PROCESSOR="direct", **settings)
    assert program.wait() == 0, program.output
    facts = program.told()
    assert (facts["flushed"], facts["changed"], facts["closed"]) == ([True, True], [], []), program.output
    assert (facts["delivered"], facts["pending"], facts["dropped"]) == (6, 0, 0), program.output
    assert names(platform.spans(FLOW)) == works("before", "after", "later")
    assert program.stderr.count("the program has closed") == (store != "memory:"), program.output
    assert store == "memory:" or not list(folder.iterdir())


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_processes_that_end_together(platform: LocalPlatform, run: Run, tmp_path: Path, store: str) -> None:
    """All spans stand in the flow, in a few PUTs: who hasn't the turn leaves what it has to whoever has it."""
    variables = spool(tmp_path) if store == "sqlite" else _MEMORY
    go = tmp_path / "go"
    platform.fault("slow=0.4")
    programs = [run("together.py", f"w{n}", str(EACH), str(go), **variables) for n in range(HERE)]
    for program in programs:
        program.says("ready")
    go.touch()
    for program in programs:
        assert program.wait() == 0, program.output
    delivered(platform, *(f"w{n}.{unit}" for n in range(HERE) for unit in range(EACH)))
    puts = sum(request.method == "PUT" for request in platform.requests)
    assert puts <= 10, puts


def test_two_exporters_and_a_fork_that_end_together(
    platform: LocalPlatform, run: Run, tmp_path: Path
) -> None:
    """Within a process POSIX locks stop nobody: they take turns all the same."""
    go = tmp_path / "go"
    platform.fault("slow=0.2")
    programs = [run("together.py", f"w{n}", "5", str(go), "two", **_MEMORY) for n in range(3)]
    for program in programs:
        program.says("ready")
    go.touch()
    for program in programs:
        assert program.wait() == 0, program.output
    units = [f"w{n}.{who}{unit}" for n in range(3) for who in ("", "other.", "child.") for unit in range(5)]
    delivered(platform, *units)


def test_a_full_store_harms_nothing(platform: LocalPlatform, run: Run, tmp_path: Path) -> None:
    """It is said once; what does not fit waits in memory, and is delivered when the platform is back."""
    platform.stop()
    full = {**spool(tmp_path), "VERSORI_FLOW_MAX_STORE_BYTES": "1048576", "VERSORI_FLOW_MAX_SPANS": "9000"}
    program = run("outage.py", "one", "2000", "idles", **full)
    program.says("ready")
    platform.start()
    platform.wait_for(lambda p: len(p.spans(FLOW)) == 4000, 30)
    program.finish()
    assert program.wait() == 0
    assert program.told()["delivered"] == 4000
    assert program.stderr.count("can't be kept") == 1, program.output
    assert "VERSORI_FLOW_MAX_STORE_BYTES" in program.stderr


Command = Callable[..., str]


@pytest.fixture
def command(platform: LocalPlatform, tmp_path: Path) -> Command:
    """`versori-flow store`: what it prints; its errors where they are expected."""
    environment = {
        **os.environ,
        **spool(tmp_path),
        "VERSORI_API_BASE_URL": platform.url,
        "VERSORI_API_KEY": "k",
        "VERSORI_ORGANISATION_ID": platform.organisation_id,
        "VERSORI_PROJECT_ID": platform.project_id,
    }

    def command(*arguments: str, status: int = 0, **more: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "opentelemetry.exporter.versori_flow", "store", *arguments],
            env=environment | more,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stderr if status else done.stdout

    return command


def made_newer(folder: Path) -> Path:
    """The one file in there, as of a version that nobody here can read."""
    (newer,) = folder.rglob("*.db")
    with contextlib.closing(sqlite3.connect(newer)) as connection:
        connection.execute("PRAGMA user_version = 99")
    return newer


def test_the_command_shows_drains_and_drops(
    platform: LocalPlatform, run: Run, tmp_path: Path, command: Command
) -> None:
    """`versori-flow store`: what waits by flow, and each way to get rid of it."""
    platform.stop()
    killed(run, "one", 3, tmp_path)
    platform.start()
    listed = command("list")
    assert FLOW in listed
    assert "left by a process that is gone" in listed
    assert "6 spans" in command("show", FLOW)
    (waits,) = json.loads(command("show", FLOW, "--json"))
    assert json.loads(command("list", "--json")) == [waits]
    assert (waits["flow"], waits["spans"], waits["alive"]) == (FLOW, 6, False)
    assert (waits["base_url"], waits["project_id"]) == (platform.url, platform.project_id)
    assert "6 spans delivered, 0 dropped, 0 left" in command("drain")
    delivered(platform, "one.0", "one.1", "one.2")
    assert command("list").strip() == "nothing waits"
    assert json.loads(command("list", "--json")) == []
    platform.stop()
    killed(run, "two", 1, tmp_path)
    assert "2 spans thrown away" in command("drop", "--yes")
    assert command("list").strip() == "nothing waits"
    killed(run, "three", 1, tmp_path)
    newer = made_newer(tmp_path)
    killed(run, "four", 1, tmp_path)
    said = " ".join(command("drop", "--yes", status=1).split())
    assert "kept, since not all in it can be read" in said
    assert list(tmp_path.rglob("*.db")) == [newer]


def test_a_drain_ends_once_all_is_delivered(
    platform: LocalPlatform, run: Run, tmp_path: Path, command: Command
) -> None:
    """Also where a file holds more than is delivered at once, and the platform is slow; what can't be read is said."""
    platform.stop()
    killed(run, "one", 300, tmp_path)
    platform.start()
    platform.fault("slow=0.3")
    assert "600 spans delivered, 0 dropped, 0 left" in command("drain", VERSORI_FLOW_MAX_SPANS="100")
    platform.stop()
    killed(run, "two", 1, tmp_path)
    platform.start()
    newer = made_newer(tmp_path)
    assert str(newer) in command("drain", status=1).replace("\n", "")
    shutil.rmtree(tmp_path / "spans")
    assert command("list").strip() == "nothing waits"
    (tmp_path / "spans").write_text("no folder")
    for what in ("list", "drop"):
        assert "can't be read" in " ".join(command(what, status=1).split())
