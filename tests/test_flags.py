"""The package under the interpreter's stricter modes: warnings as errors, development mode, no docstrings."""

from __future__ import annotations

import subprocess
import sys

import pytest

from opentelemetry.exporter.versori_flow.server import LocalPlatform
from tests.conftest import KEY

PROGRAM = """
import sys
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from opentelemetry.exporter.versori_flow import VersoriFlowSpanExporter, VersoriFlowSpanProcessor

url, key, organisation, project = sys.argv[1:]
exporter = VersoriFlowSpanExporter(
    base_url=url, api_key=key, organisation_id=organisation, project_id=project
)
provider = TracerProvider(resource=Resource.create({"service.name": "flags"}))
provider.add_span_processor(VersoriFlowSpanProcessor(exporter))
with provider.get_tracer("flags").start_as_current_span("root", attributes={"a": (1, 2)}) as span:
    span.add_event("said")
provider.force_flush() or sys.exit("not delivered")
provider.shutdown()
"""


@pytest.mark.parametrize("flags", [["-W", "error"], ["-X", "dev", "-W", "error"], ["-OO"]], ids=" ".join)
def test_a_span_arrives(platform: LocalPlatform, flags: list[str]) -> None:
    """Importing, making an exporter, delivering a span and shutting down says nothing on standard error."""
    given = [platform.url, KEY, platform.organisation_id, platform.project_id]
    done = subprocess.run(
        [sys.executable, *flags, "-c", PROGRAM, *given],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [span["name"] for span in platform.flow("flags")["spans"]] == ["root"]
