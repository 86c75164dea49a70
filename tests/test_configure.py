"""`configure()`: three lines, and a program's spans are in their flow."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from opentelemetry.exporter.versori_flow.server import LocalPlatform
from tests.conftest import KEY

THREE_LINES = """
from opentelemetry import trace
from opentelemetry.exporter.versori_flow import configure
configure()
with trace.get_tracer("program").start_as_current_span("work"): pass
"""


def run(program: str, platform: LocalPlatform, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs a program that has the credentials of a platform."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "VERSORI_"))}
    credentials = {
        "VERSORI_API_KEY": KEY,
        "VERSORI_ORGANISATION_ID": platform.organisation_id,
        "VERSORI_PROJECT_ID": platform.project_id,
        "VERSORI_API_BASE_URL": platform.url,
    }
    environ = {**clean, **credentials, "OTEL_SERVICE_NAME": "shop", **variables}
    return subprocess.run(
        [sys.executable, "-c", program], env=environ, capture_output=True, text=True, timeout=30, check=False
    )


def test_three_lines_are_enough(platform):
    """The global provider sends spans to their flow, and delivers at the end of the program what is pending."""
    done = run(THREE_LINES, platform)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [span["name"] for span in platform.spans("shop")] == ["work"]


def test_it_returns_the_provider_and_takes_the_exporters_keywords(platform):
    """What it returns is the SDK's provider, the global one, with a processor that never drops; keywords win."""
    program = THREE_LINES.replace("configure()", "provider = configure(flow_name='till', export_wait=0)") + (
        "assert trace.get_tracer_provider() is provider and provider.force_flush(10_000)\n"
        "from opentelemetry.exporter.versori_flow import VersoriFlowSpanProcessor as P\n"
        "assert [type(p) for p in provider._active_span_processor._span_processors] == [P]\n"
    )
    done = run(program, platform)
    assert done.returncode == 0, done.stderr
    assert [span["name"] for span in platform.spans("till")] == ["work"]


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (
            "from opentelemetry.sdk.trace import TracerProvider as T; trace.set_tracer_provider(T())",
            "sdk.trace",
        ),
        ("trace.set_tracer_provider(trace.NoOpTracerProvider())", "opentelemetry.trace.NoOpTracerProvider"),
        ("from opentelemetry.exporter.versori_flow import configure; configure()", "add_span_processor("),
    ],
)
def test_a_provider_that_is_set_already_is_told(platform, before, words):
    """OpenTelemetry would keep the first provider with a mere warning: here it is an error that says what to do."""
    done = run(f"from opentelemetry import trace\n{before}\n{THREE_LINES}", platform)
    assert done.returncode == 1
    assert "ConfigurationError" in done.stderr
    assert "has a global tracer provider already" in done.stderr
    assert words in done.stderr


def test_wrong_settings_set_no_provider(platform):
    """A configuration error lists every problem and leaves the program without a provider, free to try again."""
    program = (
        "from opentelemetry.exporter.versori_flow import ConfigurationError, configure\n"
        "try: configure(timeout=0, max_span=3)\n"
        "except ConfigurationError as error: print(len(error.problems))\n"
    ) + THREE_LINES
    done = run(program, platform)
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
    assert len(platform.spans("shop")) == 1
