"""The files of Versori's own command line: who reads them, what is taken from them, and how a broken one is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from opentelemetry.exporter.versori_flow.settings.load import ConfigurationError, load_settings, nearest
from opentelemetry.exporter.versori_flow.settings.readers import Secret

ULID = "01J9ZQ3V5T7XKM2C8WBYH4RDNE"
OTHER = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.never-to-be-shown"
STAGING = "https://platform-staging.versori.com/api/v2/"
CONTEXTS = f"""
active_context: prod
contexts:
  prod: {{name: prod, organisation_id: {ULID}, jwt: {TOKEN}, url_overwrite: ""}}
  staging: {{name: staging, organisation_id: {OTHER}, jwt: {TOKEN}-2, url_overwrite: "{STAGING}"}}
"""
LISTED = f"""
active_context: prod
contexts:
- {{name: prod, organisation_id: {ULID}, jwt: {TOKEN}}}
- {{name: staging, organisation_id: {OTHER}, jwt: {TOKEN}-2, url_overwrite: {STAGING}}}
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with the file of contexts, and a project's folder in it, below which the program runs."""
    (tmp_path / ".versori").mkdir()
    (tmp_path / ".versori" / "config.yaml").write_text(CONTEXTS)
    deep = tmp_path / "project" / "src"
    deep.mkdir(parents=True)
    (tmp_path / "project" / ".versori").write_text(json.dumps({"project_id": OTHER}))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(deep)
    return tmp_path


def test_a_command_takes_what_no_variable_says(home):
    """Organisation, key, scheme and address are the active context's, the project is the folder's."""
    settings = load_settings({}, True)
    assert (settings.organisation_id, settings.project_id) == (ULID, OTHER)
    assert settings.api_key == Secret(TOKEN)
    assert (settings.auth_scheme, settings.base_url) == ("JWT", "https://platform.versori.com/api/v2")


@pytest.mark.parametrize("content", [CONTEXTS, LISTED])
@pytest.mark.parametrize("named", ["variable", "project"])
def test_a_context_is_named_by_a_variable_or_by_the_project(home, monkeypatch, content, named):
    """VERSORI_CONTEXT picks a context, a project's file does else; contexts are a mapping or a list."""
    (home / ".versori" / "config.yaml").write_text(content)
    if named == "variable":
        monkeypatch.setenv("VERSORI_CONTEXT", "staging")
    project = {"project_id": OTHER, "context": "nowhere" if named == "variable" else "staging"}
    (home / "project" / ".versori").write_text(json.dumps(project))
    settings = load_settings({}, True)
    assert (settings.organisation_id, settings.base_url) == (OTHER, STAGING.rstrip("/"))
    assert settings.api_key == Secret(f"{TOKEN}-2")


def test_a_library_does_not_read_a_home_folder_unasked(home, monkeypatch, tmp_path):
    """For the exporter alone VERSORI_CONFIG or VERSORI_CONTEXT has to ask; nothing of it is imported before."""
    program = (
        "import sys; from opentelemetry.exporter.versori_flow import *\n"
        "try: VersoriFlowSpanExporter(base_url='http://127.0.0.1:9').shutdown(); print('made')\n"
        "except ConfigurationError as error: print(len(error.problems))\n"
        "print(any('versori_config' in name or name == 'yaml' for name in sys.modules))"
    )

    def run(**variables: str) -> list[str]:
        environ = {**os.environ, **variables}
        command = [sys.executable, "-c", program]
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout.split()

    assert run() == ["3", "False"]
    assert run(VERSORI_CONTEXT="prod") == ["made", "True"]
    elsewhere = tmp_path / "elsewhere.yaml"
    elsewhere.write_text(CONTEXTS)
    assert run(VERSORI_CONFIG=str(elsewhere)) == ["made", "True"]


def test_variables_and_arguments_win_one_by_one(home, monkeypatch):
    """What a variable or an argument says stands; the key's scheme goes with the key; the source of each is known."""
    monkeypatch.setenv("VERSORI_API_KEY", "mine")
    monkeypatch.setenv("VERSORI_API_BASE_URL", "https://gateway.example")
    settings = load_settings({"project_id": ULID}, True)
    assert (settings.project_id, settings.organisation_id) == (ULID, ULID)
    assert (settings.api_key, settings.auth_scheme) == (Secret("mine"), None)
    assert settings.base_url == "https://gateway.example"
    raw, _ = nearest(Secret({"project_id": ULID}), True)
    sources = {name: source for name, (_, source) in raw.items()}
    path = home / ".versori" / "config.yaml"
    assert sources == {
        "api_key": "variable",
        "base_url": "variable",
        "project_id": "argument",
        "organisation_id": f"organisation_id of the context 'prod' in {path}",
    }


def test_a_complete_set_up_asks_no_file(home, monkeypatch):
    """Where nothing is missing a broken file in the home folder is nobody's concern; the address stays the default."""
    (home / ".versori" / "config.yaml").write_text("{")
    keywords = {"api_key": "mine", "organisation_id": ULID, "project_id": ULID}
    assert load_settings(keywords, True).base_url == "https://platform.versori.com/api/v2"


def test_nothing_there_is_no_problem(home):
    """Without the file, and with one that has no context yet, a command misses what is required, and no more."""
    for content in (None, ""):
        path = home / ".versori" / "config.yaml"
        path.unlink() if content is None else path.write_text(content)
        with pytest.raises(ConfigurationError) as caught:
            load_settings({}, True)
        assert len(caught.value.problems) == 2
    (home / "project" / ".versori").unlink()  # above it is a folder of that name
    with pytest.raises(ConfigurationError) as caught:
        load_settings({}, True)
    assert len(caught.value.problems) == 3


BROKEN: dict[str, tuple[Any, str]] = {
    "no YAML": (f"a: [\njwt: {TOKEN}", "is not YAML (line"),
    "a date that is none": (f"at: 2001-99-99\njwt: {TOKEN}", "is not YAML"),
    "too deep": ("[" * 100_000, "is not YAML"),
    "no UTF-8": (b"jwt: \xff\xfe" + TOKEN.encode(), "is not YAML"),
    "a tag that runs code": ("!!python/object/apply:os.system ['false']", "is not YAML"),
    "a list": (f"- {TOKEN}", "holds no mapping"),
    "no active context": ("contexts: {prod: {}}", "has no active_context: name one of its contexts ('prod')"),
    "another context": (
        "active_context: dev\ncontexts: {prod: {}}",
        "names the context 'dev', which is not in",
    ),
    "contexts that are none": ("active_context: dev\ncontexts: 5", "one of its contexts (none)"),
    "a folder": (None, "something that is not a file"),
    "an id that is none": (
        f"active_context: p\ncontexts: {{p: {{organisation_id: short, jwt: {TOKEN}}}}}",
        "is no ULID",
    ),
    "a key that is a number": ("active_context: p\ncontexts: {p: {jwt: 31415}}", "must be text"),
}


@pytest.mark.parametrize("what", BROKEN)
@pytest.mark.parametrize("asked", [True, False])
def test_a_broken_file_is_named(home, monkeypatch, what, asked):
    """The one configuration error names the file and what is wrong with it, and never what is in it."""
    content, words = BROKEN[what]
    path = home / ".versori" / "config.yaml"
    path.unlink()
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    if asked:
        monkeypatch.setenv("VERSORI_CONFIG", str(path))
    with pytest.raises(ConfigurationError) as caught:
        load_settings({}, not asked)
    (told,) = [text for text in caught.value.problems if str(path) in text]
    assert words in told
    assert "never-to-be-shown" not in str(caught.value)
    assert "31415" not in str(caught.value)


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"project_id": "short"}', '{"project_id": 5}', "[" * 100_000]
)
def test_a_broken_project_file_is_named(home, content):
    """A `.versori` that says nothing usable is named too."""
    (home / "project" / ".versori").write_text(content)
    with pytest.raises(ConfigurationError) as caught:
        load_settings({}, True)
    assert [text for text in caught.value.problems if str(home / "project" / ".versori") in text]


def test_a_file_that_is_asked_for_is_there(home, monkeypatch):
    """VERSORI_CONFIG that names nothing, and VERSORI_CONTEXT that names no context, are told by name."""
    monkeypatch.setenv("VERSORI_CONTEXT", "dev")
    with pytest.raises(
        ConfigurationError, match=r"VERSORI_CONTEXT names the context 'dev'.*'prod', 'staging'"
    ):
        load_settings()
    monkeypatch.setenv("VERSORI_CONFIG", "~/nowhere.yaml")
    with pytest.raises(ConfigurationError, match=r"VERSORI_CONFIG: .*/nowhere.yaml .*can't be read"):
        load_settings()


def test_without_pyyaml_the_extra_is_named(home):
    """PyYAML comes with an extra: the error says which."""
    program = (
        "import sys; sys.modules['yaml'] = None\n"
        "from opentelemetry.exporter.versori_flow import VersoriFlowSpanExporter\n"
        "VersoriFlowSpanExporter()"
    )
    environ = {**os.environ, "VERSORI_CONTEXT": "prod"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=False
    )
    assert "pip install 'opentelemetry-exporter-versori-flow[cli]'" in done.stderr


def test_no_frame_has_the_token(home):
    """A traceback with locals of a configuration error doesn't show the token, nor do those that led to it."""
    (home / ".versori" / "config.yaml").write_text(CONTEXTS.replace(ULID, "short"))
    with pytest.raises(ConfigurationError) as caught:
        load_settings({}, True)
    error: BaseException | None = caught.value
    while error is not None:
        trace = error.__traceback__
        while trace is not None:
            if (
                "versori_flow" in trace.tb_frame.f_code.co_filename
                and "tests" not in trace.tb_frame.f_code.co_filename
            ):
                assert "never-to-be-shown" not in repr(trace.tb_frame.f_locals)
            trace = trace.tb_next
        error = error.__cause__ or error.__context__
