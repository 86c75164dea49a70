"""Who has Versori's own command line needs no set-up: `run`, `show` and `doctor` with its files and no variable."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import httpx
import pytest

from opentelemetry.exporter.versori_flow.server import LocalPlatform
from tests.command.test_cli import CLEAN, COMMAND
from tests.command.test_push import otlp

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.never-to-be-shown"
PROGRAM = """
from opentelemetry import trace
trace.get_tracer("test").start_span("work").end()
"""


@pytest.fixture
def platform():
    with LocalPlatform(key=TOKEN) as running:
        yield running


@pytest.fixture
def home(tmp_path: Path, platform: LocalPlatform) -> Path:
    """The files as Versori's own command line writes them, and a program in a folder below a project's."""
    (tmp_path / ".versori").mkdir()
    (tmp_path / ".versori" / "config.yaml").write_text(
        "active_context: dev\n"
        "contexts:\n"
        "  dev:\n"
        "    name: dev\n"
        f"    organisation_id: {platform.organisation_id}\n"
        f"    jwt: {TOKEN}\n"
        f"    url_overwrite: {platform.url}/\n"
    )
    source = tmp_path / "project" / "src"
    source.mkdir(parents=True)
    project = {"project_id": platform.project_id, "context": "dev"}
    (tmp_path / "project" / ".versori").write_text(json.dumps(project))
    (source / "app.py").write_text(PROGRAM)
    return tmp_path


def environment(home: Path) -> dict[str, str]:
    """No variable of ours, and another home."""
    return {**CLEAN, "HOME": str(home)}


def versori_flow(home: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs the command in the project's folder."""
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=home / "project" / "src",
        env={**environment(home), **variables},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_no_variable_is_needed(home: Path, platform: LocalPlatform) -> None:
    """A program is traced, its flow shown and its set-up found well; each request carries the token as a JWT."""
    ran = versori_flow(home, "run", "--", "python", "app.py")
    assert (ran.returncode, len(platform.spans("app"))) == (0, 1), ran.stderr
    shown = versori_flow(home, "show", "app")
    assert (shown.returncode, "work" in shown.stdout) == (0, True), shown.stderr
    asked = versori_flow(home, "doctor", "--json")
    report = json.loads(asked.stdout)
    assert (asked.returncode, report["ok"]) == (0, True), report
    sources = {each["name"]: each["source"] for each in report["settings"]}
    assert sources["api_key"] == f"jwt of the context 'dev' in {home / '.versori' / 'config.yaml'}"
    assert sources["project_id"] == f"project_id of {home / 'project' / '.versori'}"
    schemes = {request.headers.get("authorization") for request in platform.requests}
    assert schemes - {None} == {"JWT ***"}
    assert "never-to-be-shown" not in "".join((ran.stderr, shown.stdout, asked.stdout))


def test_what_takes_spans_in_needs_none_either(home: Path, platform: LocalPlatform) -> None:
    """Files of spans, and OTLP, go where the files say, with their token, by each of several workers."""
    (home / "spans.json").write_text(json.dumps([{"traceId": "1", "id": "1", "name": "x", "timestamp": 5}]))
    pushed = versori_flow(home, "push", str(home / "spans.json"))
    assert (pushed.returncode, len(platform.spans("unknown"))) == (0, 1), pushed.stderr
    with subprocess.Popen(
        [*COMMAND, "gateway", "--port", "0", "--workers", "2"],
        cwd=home / "project" / "src", env=environment(home), stdout=subprocess.PIPE, text=True,
    ) as gateway:  # fmt: skip
        assert gateway.stdout is not None
        url = re.findall(r"http://[\d.:]+", gateway.stdout.readline())[0]
        assert httpx.post(f"{url}/v1/traces", json=otlp("gate", 1), trust_env=False).status_code == 200
        gateway.terminate()
    assert len(platform.spans("gate")) == 1


def test_files_may_begin_with_the_mark_that_editors_on_windows_put_first(home: Path) -> None:
    """Both files are read behind it."""
    for file in (home / ".versori" / "config.yaml", home / "project" / ".versori"):
        file.write_text(file.read_text(), encoding="utf-8-sig")
    done = versori_flow(home, "list")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_variable_says_otherwise(home: Path, platform: LocalPlatform) -> None:
    """A variable wins over its entry; an address on this host, and nothing else, means the local platform."""
    denied = versori_flow(home, "show", "app", VERSORI_API_KEY="another")
    assert (denied.returncode, "refuses the key (401)" in denied.stderr) == (1, True), denied.stderr
    platform.clear_requests()
    versori_flow(home, "show", "app", VERSORI_API_BASE_URL=platform.url)
    assert {request.headers["authorization"] for request in platform.requests} == {"Bearer ***"}


@pytest.mark.parametrize("command", [["run", "python", "app.py"], ["show", "app"], ["doctor"], ["gateway"]])
def test_a_broken_file_is_one_line(home: Path, command: list[str]) -> None:
    """A file that can't be read is named in a line, without what is in it; nothing is started."""
    path = home / ".versori" / "config.yaml"
    path.write_text(f"{{\njwt: {TOKEN}")
    done = versori_flow(home, *command)
    assert done.returncode == 1
    said = done.stdout if command == ["doctor"] else done.stderr
    assert str(path) in said.replace("\n", "")
    assert "versori context add" in said
    assert "Traceback" not in done.stderr
    assert "never-to-be-shown" not in done.stdout + done.stderr


def test_doctor_is_a_command_for_people_and_for_programs(home: Path, platform: LocalPlatform) -> None:
    """What is wrong is said last in one line, with the exit status 1; a wrong `--store` is an argument's."""
    done = versori_flow(home, "doctor", "--store", "mysql://x", "--base-url", "http://127.0.0.1:9")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("change this first: write memory:")
    assert "argument" in done.stdout
    written = versori_flow(home, "doctor", "--write")
    assert (written.returncode, platform.names()) == (0, []), written.stdout
    assert "may write flows" in written.stdout
