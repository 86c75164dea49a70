"""Every console block and every Python block of the README and the docs does what it shows.

A block is played line by line in a folder that has the examples, beside a local platform. What installs is
held against pyproject.toml, what CI runs itself against `.ci/run`; what serves is started, seen to be up, and
interrupted. A block of another kind (`text`, or none) is an output or a picture.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from packaging.requirements import Requirement

from opentelemetry.exporter.versori_flow.command.launch import local_credentials
from opentelemetry.exporter.versori_flow.server import LocalPlatform
from tests.ports import free_port
from tests.processes.running import PATIENCE, clean_environment

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
OURS = "opentelemetry-exporter-versori-flow"
# What CI runs as a newcomer, or as a step of its own.
CI = ("./scripts/demo", "./scripts/test", "./scripts/lint", "./scripts/versions", "./scripts/docs")
# Too long for a test: a benchmark's short form is a step of CI, the simulator has a test of its own.
ELSEWHERE = (*CI, "./scripts/simulate", "python -m benchmarks.")
INSTRUMENTED = re.compile("flask|django|fastapi|celery|gunicorn")
# They end when they are told to.
SERVES = re.compile(
    r"versori-flow (serve|gateway|tail|demo)|runserver|uvicorn|gunicorn|celery .*worker|flask_app"
)


class Block(NamedTuple):
    """A block of a page."""

    page: str
    line: int
    text: str


def blocks(language: str) -> list[Any]:
    """The blocks of that language in all pages, each a parameter."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in re.finditer(rf"^```{language}\n(.*?)^```", text, re.M | re.S):
            block = Block(page.name, text.count("\n", 0, match.start()) + 1, match[1])
            found.append(pytest.param(block, id=f"{block.page}:{block.line}"))
    return found


def commands(text: str) -> list[str]:
    """What is typed, continued lines joined; other lines are what is printed."""
    joined = text.replace("\\\n", " ")
    typed = [line[2:].split("   #")[0].strip() for line in joined.splitlines() if line.startswith("$ ")]
    assert typed, "a console block types something"
    return [re.sub(r"\s+", " ", command) for command in typed]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a reader works: a clone's examples, and a program of his own."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    shutil.copy(ROOT / "examples" / "script.py", tmp_path / "app.py")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(sysconfig.get_path("scripts"))
    return tmp_path


@pytest.fixture
def environment(folder: Path) -> dict[str, str]:
    scripts = os.pathsep.join((sysconfig.get_path("scripts"), os.environ["PATH"]))
    own = {"HOME": str(folder), "CELERY_FOLDER": str(folder / "broker"), "PYTHONUNBUFFERED": "1"}
    # A worker that gunicorn has just forked may miss its signal, and is waited for this long.
    own["GUNICORN_CMD_ARGS"] = "--graceful-timeout 2"
    return {**clean_environment(), "PATH": scripts, **own}


def check_requirements(command: str) -> None:
    """What is installed by that name exists: ours with these extras, or what the tests run with."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for word in command.split()[2:]:
        requirement = Requirement(word.strip("'"))
        if requirement.name == OURS:
            for extra in requirement.extras:
                assert re.search(rf"^{extra} = \[", project, re.M), f"no extra {extra}"
        else:
            assert f'"{requirement.name}' in project, f"{requirement.name} is none that the tests run with"


def serve(command: str, folder: Path, environment: dict[str, str]) -> None:
    """Starts what serves, waits until it says something or listens, and interrupts it as a reader would."""
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command}" if not re.match(r"[A-Z_]+=", command) else command],
            cwd=folder, env=environment, stdin=subprocess.DEVNULL,
            stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        end = time.monotonic() + PATIENCE
        while not re.search(r"http://|ready|[Ll]istening|[Ww]aiting", log.read_text(errors="replace")):
            assert process.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() < end, log.read_text(errors="replace")
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        # Celery's own is 1 after a warm shutdown.
        assert process.wait(PATIENCE) in (0, 130, -2, "celery" in command), log.read_text(errors="replace")
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert "Traceback" not in log.read_text(errors="replace")


def play(command: str, folder: Path, environment: dict[str, str]) -> None:
    called = re.sub(r"^([A-Z_]+=\S+ )+", "", command)
    if called.startswith(ELSEWHERE):
        assert (ROOT / called.split()[0]).exists() or called.startswith("python -m benchmarks.")
    elif command.startswith("pip install"):
        check_requirements(command)
    elif command.startswith("export "):
        for name, value in re.findall(r"(\w+)=(\S+)", command):
            environment[name] = environment.get(name, value) if value == "..." else value
    elif SERVES.search(command):
        serve(command, folder, environment)
    else:
        done = subprocess.run(
            ["bash", "-c", command], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("block", blocks("console"))
def test_what_is_to_be_typed_works(block, folder, environment):
    """Each command of the block ends well."""
    port = str(free_port())
    environment |= {"PORT": port, "BIND": f"127.0.0.1:{port}"}
    if not INSTRUMENTED.search(block.text):
        # To instrument all frameworks that the tests run with takes a second for each program.
        environment["OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"] = "*"
    with LocalPlatform(key="local") as platform:
        environment |= local_credentials(platform.url)
        if "show" in block.text:
            fill(folder, environment)
        for command in commands(block.text):
            command = command.replace("8901", port).replace("flow gateway", f"flow gateway --port {port}")
            play(re.sub(r"/var/lib/[\w-]+", str(folder), command), folder, environment)


def test_no_command_hides():
    """What is typed is a console block, but for the runtimes of other languages, which are not here."""
    for page in PAGES:
        languages = re.findall(r"^```(\w+).*\n(?=[^`])", page.read_text("utf-8"), re.M)
        assert {"console", "python", "text", "yaml"}.issuperset(languages) or page.stem == "other-languages"


def test_a_span_by_hand():
    """The request that is written out stores its span."""
    page = (ROOT / "docs" / "other-languages.md").read_text(encoding="utf-8")
    request = re.search(r"^```sh\n(curl .*?)^```", page, re.M | re.S)
    assert request is not None
    with LocalPlatform() as platform:
        command = request[1].replace("http://localhost:4318", platform.url)
        done = subprocess.run(
            ["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.stdout == "{}"
        assert platform.wait_for(lambda there: there.spans("shop"))[0]["name"] == "by hand"


@pytest.mark.parametrize("block", blocks("python"))
def test_python_runs(block, folder, environment):
    """A block of Python is a program, as it stands, or a test."""
    (folder / "test_block.py").write_text(block.text, encoding="utf-8")
    program = [sys.executable, "-W", "error", "test_block.py"]
    if "\ndef test_" in block.text:
        program = [sys.executable, "-m", "pytest", "test_block.py"]
    with LocalPlatform(key="local") as platform:
        done = subprocess.run(
            program, cwd=folder, env={**environment, **local_credentials(platform.url)},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def fill(folder: Path, environment: dict[str, str]) -> None:
    """The flows that pages name are there, each with the trace of the example script."""
    for name in ("shop", "app"):
        subprocess.run(
            [sys.executable, "app.py"], cwd=folder, check=True, capture_output=True,
            env={**environment, "VERSORI_FLOW_NAME": name},
        )  # fmt: skip
