"""Exports a span from an environment that holds the wheel and nothing else, to a platform in this one.

python scripts/check_wheel.py ENVIRONMENT/bin
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from opentelemetry.exporter.versori_flow.command.launch import local_credentials
from opentelemetry.exporter.versori_flow.server import LocalPlatform

PROGRAM = """
from importlib.metadata import entry_points
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

[entry] = entry_points(group="opentelemetry_traces_exporter", name="versori_flow")
provider = TracerProvider(resource=Resource.create({"service.name": "alone"}))
provider.add_span_processor(BatchSpanProcessor(entry.load()()))
with provider.get_tracer("check").start_as_current_span("from the wheel"):
    pass
"""


def run(*command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "VERSORI_"))
    }
    with tempfile.TemporaryDirectory() as elsewhere:
        return subprocess.run(
            command,
            env={**environment, **variables},
            cwd=elsewhere,  # so that nothing is imported from the checkout
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


def main(programs: Path) -> int:
    with LocalPlatform(key="local", port=0) as platform:
        export = run(programs / "python", "-c", PROGRAM, **local_credentials(platform.url))
        names = [span["name"] for span in platform.spans("alone")]
    command = run(programs / "versori-flow", "serve")
    module = run(programs / "python", "-m", "opentelemetry.exporter.versori_flow")
    hints = [done.stderr.splitlines() for done in (command, module)]
    checks = {
        "the program ends well and says nothing": (export.returncode, export.stderr) == (0, ""),
        "its span is in the flow": names == ["from the wheel"],
        "the command says in one line what to install": all(
            len(lines) == 1 and "pip install 'opentelemetry-exporter-versori-flow[cli]'" in lines[0]
            for lines in hints
        ),
        "and ends with status 2": (command.returncode, module.returncode) == (2, 2),
    }
    for what, well in checks.items():
        print(f"{'ok' if well else 'NOT OK'}: {what}")
    if not all(checks.values()):
        print(export, command, module, names, sep="\n", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).absolute()))
