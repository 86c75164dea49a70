"""OpenTelemetry's declarative configuration makes the exporter, and says what a file without quotes means."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from opentelemetry.exporter.versori_flow import VersoriFlowSpanExporter
from opentelemetry.exporter.versori_flow.server import LocalPlatform
from tests.conftest import KEY

configuration = pytest.importorskip("opentelemetry.configuration")

DATA = Path(__file__).parent / "data"
GOOD = DATA / "declarative.yaml"
UNQUOTED = DATA / "declarative_unquoted.yaml"
EXAMPLE = Path(__file__).parents[2] / "examples" / "declarative.yaml"
ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"

PROGRAM = """
from opentelemetry import trace
with trace.get_tracer("program").start_as_current_span("root"):
    with trace.get_tracer("program").start_as_current_span("child"):
        pass
"""
IN_CODE = """
import os
from opentelemetry.configuration import configure_sdk, load_config_file
configure_sdk(load_config_file(os.environ["OTEL_CONFIG_FILE"]))
"""


def run(
    platform: LocalPlatform, file: Path, *command: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "VERSORI_"))}
    given = {
        "OTEL_CONFIG_FILE": str(file),
        "PLATFORM_KEY": KEY,
        "PLATFORM_URL": platform.url,
        "PLATFORM_ORGANISATION": platform.organisation_id,
        "PLATFORM_PROJECT": platform.project_id,
    }
    return subprocess.run(
        command,
        env={**clean, **given, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(params=["OTEL_CONFIG_FILE", "in code"])
def command(request: pytest.FixtureRequest) -> list[str]:
    """How a program takes the file: by the variable under auto-instrumentation, or by a call of its own."""
    if request.param == "in code":
        return [sys.executable, "-c", IN_CODE + PROGRAM]
    instrument = Path(sys.executable).with_name("opentelemetry-instrument")
    return [str(instrument), sys.executable, "-c", PROGRAM]


def test_spans_arrive(platform, command):
    """The settings of the file hold, those in the environment are its defaults, and the trace is whole."""
    done = run(platform, GOOD, *command, VERSORI_FLOW_MAX_FLOWS="3")
    assert done.returncode == 0, done.stderr
    # The SDK says of its own launcher that the file is what counts.
    assert [line for line in done.stderr.splitlines() if "ignoring configurator kwargs" not in line] == []
    flow = platform.flow("declared by YAML")
    assert flow["description"] == "2026-01-01: what is written in quotes is text"
    assert {span["name"] for span in flow["spans"]} == {"root", "child"}
    assert {span["attributes"]["service.version"] for span in flow["spans"]} == {"7"}
    assert {request.method for request in platform.requests} == {"PUT"}
    headers = platform.requests[0].headers
    assert (headers["x-team"], headers["x-stage"]) == ("0042", "test one")


def test_the_example_is_a_file_that_loads(monkeypatch):
    """The file in `examples/` has settings as keys, and makes the exporter."""
    for name in ("VERSORI_ORGANISATION_ID", "VERSORI_PROJECT_ID"):
        monkeypatch.setenv(name, ULID)
    monkeypatch.setenv("VERSORI_API_KEY", "key")
    loaded = configuration.load_config_file(EXAMPLE)
    (processor,) = loaded.tracer_provider.processors
    keywords = processor.batch.exporter.additional_properties["versori_flow"]
    assert keywords["organisation_id"] == ULID
    VersoriFlowSpanExporter(**keywords).shutdown()


def test_without_quotes(platform, command):
    """Every value that YAML made something else of is said at once, with what to write; none of them is shown."""
    told = (
        "VERSORI_API_KEY (keyword api_key) must be text, not a number: quote it",
        "VERSORI_AUTH_SCHEME (keyword auth_scheme) must be text, not true or false: quote it",
        "VERSORI_ORGANISATION_ID (keyword organisation_id) must be text, not a number: quote it",
        "VERSORI_PROJECT_ID (keyword project_id) must be text, not a number: quote it",
        "VERSORI_FLOW_NAME (keyword flow_name) must be text, not a mapping: quote it",
        "VERSORI_FLOW_DESCRIPTION (keyword flow_description) must be text, not a value of type date: quote it",
        "VERSORI_FLOW_WRITE_MODE (keyword write_mode) must be text, not a list: quote it",
        "VERSORI_FLOW_TIMEOUT (keyword timeout) is no number: write one",
        "VERSORI_FLOW_HEADERS (keyword headers) must be k=v,k=v or a mapping, not a number: write name=value",
        "VERSORI_FLOW_RESOURCE_ATTRIBUTES (keyword resource_attributes) must be a list of names, not a number: "
        "write a,b or [a, b]",
        "keyword 'max_span' is not a setting: write max_spans",
    )
    done = run(platform, UNQUOTED, *command)
    assert "\n- ".join(("the Versori flow exporter is not configured:", *told)) in done.stderr
    assert "1234567890" not in done.stderr
    assert platform.requests == []


def test_a_variable_is_a_default_of_the_file(tmp_path, monkeypatch):
    """A key that the file leaves out, or leaves empty, is read from its variable."""
    monkeypatch.setenv("VERSORI_API_KEY", "from the environment")
    monkeypatch.setenv("VERSORI_ORGANISATION_ID", ULID)
    monkeypatch.setenv("VERSORI_PROJECT_ID", ULID)
    file = tmp_path / "otel.yaml"
    file.write_text(
        'file_format: "1.0"\n'
        "tracer_provider:\n"
        "  processors:\n"
        '    - simple: {exporter: {versori_flow: {api_key: , project_id: "${NOT_SET}"}}}\n'
        "    - simple: {exporter: {versori_flow: }}\n"
    )
    for processor in configuration.load_config_file(file).tracer_provider.processors:
        keywords = processor.simple.exporter.additional_properties["versori_flow"]
        exporter = VersoriFlowSpanExporter(**(keywords or {}))
        exporter.shutdown()
        assert exporter._settings.project_id == ULID
