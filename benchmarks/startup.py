"""Import and construction, in processes of their own, beside the SDK alone, and beside the SDK and httpx."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

from benchmarks.report import NO_GOAL, ULID, Report

_SDK = "import opentelemetry.sdk.trace.export, opentelemetry.sdk.resources"
_OURS = (
    "import opentelemetry.exporter.versori_flow as v; "
    f"v.VersoriFlowSpanExporter(api_key='k', organisation_id='{ULID}', project_id='{ULID}')"
)
_OTLP = (
    "from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter; OTLPSpanExporter()"
)
# The main thread's own time too: what is imported on a thread of ours does not hold up the application's start.
_TIMES = "import time; print(time.process_time(), time.thread_time())"
_PROGRAMS = {
    "sdk": _SDK,
    "sdk, httpx": f"{_SDK}; import httpx",
    "ours": f"{_SDK}; {_OURS}",
    "ours, httpx": f"{_SDK}; import httpx; {_OURS}",
    "otlp": f"{_SDK}; {_OTLP}",
}


def startup(report: Report, rounds: int) -> None:
    """The rows of the report; figures are differences of medians, since one start says little."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in _PROGRAMS}
    # With compiled files, as an installed package has them; the first round writes what is missing.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for number in range(rounds + 1):
        for name, program in _PROGRAMS.items():
            done = subprocess.run(
                [sys.executable, "-c", f"{program}; {_TIMES}"],
                capture_output=True,
                text=True,
                check=True,
                env=environment,
            )
            if number:
                process, thread = map(float, done.stdout.split())
                times[name].append((process, thread))
    for name in _PROGRAMS:
        report.times(f"start of a program, {name}: processor", [one for one, _ in times[name]], 1, "ms")
    for what, own, alone, goal in (
        ("ours over the SDK alone", "ours", "sdk", NO_GOAL),
        ("ours over the SDK and httpx", "ours, httpx", "sdk, httpx", 12.0),
        ("OTLP/HTTP over the SDK alone", "otlp", "sdk", NO_GOAL),
    ):
        for column, kind in ((0, "processor"), (1, "the main thread's")):
            over = [statistics.median(one[column] for one in times[name]) for name in (own, alone)]
            bound = goal if column == 0 else NO_GOAL
            report.figure(f"import and construction, {what}: {kind}", (over[0] - over[1]) * 1e3, "ms", bound)
