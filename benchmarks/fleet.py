"""Many writer processes of one flow and of many, over each store.

    python -m benchmarks.fleet [--short]

Each writer ends as many spans at the same rate, and shuts down; all begin, and end, together. Printed: spans a
second from the first span until every one is visible at the platform, PUTs and reads a second there, the time
from the last span until all are visible, and the processor time of a span, beside `memory:` in the same run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from benchmarks.report import ULID
from opentelemetry.exporter.versori_flow.server import LocalPlatform

_START = 0.35
"""Seconds that one writer takes to start on a busy machine."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """What came of one run."""

    spans: int
    visible: int
    seconds: float
    after: float
    puts: int
    reads: int
    cpu: float
    dropped: int


def run(store: str, writers: int, many: bool, spans: int, per_second: float) -> Fleet:
    """Runs the writers, until every span is visible or a minute has passed."""
    with LocalPlatform(key="k", organisation_id=ULID, project_id=ULID) as platform:
        go = time.time() + 1 + _START * writers
        flows = [f"flow {number}" if many else "flow" for number in range(writers)]
        processes = [
            subprocess.Popen(
                [
                    *(sys.executable, "-m", "benchmarks.fleet_app", platform.url, store, flow),
                    *(str(spans), str(per_second), str(go)),
                ],
                stdout=subprocess.PIPE,
                text=True,
            )
            for flow in flows
        ]
        told = [json.loads(process.communicate()[0]) for process in processes]
        wanted, last = spans * writers, go + spans / per_second
        while (visible := _visible(platform, flows)) < wanted and time.time() < last + 60:
            time.sleep(0.05)
        ended = time.time()
        methods = [request.method for request in platform.requests]
        return Fleet(
            wanted,
            visible,
            ended - go,
            max(0.0, ended - last),
            methods.count("PUT"),
            methods.count("GET"),
            sum(each["cpu"] for each in told) / wanted,
            sum(each["dropped"] for each in told),
        )


def _visible(platform: LocalPlatform, flows: list[str]) -> int:
    return sum(len(platform.spans(flow)) for flow in set(flows) if flow in platform.names())


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--short", action="store_true", help="two and eight writers only")
    parser.add_argument("--redis", metavar="URL", help="a Redis to measure too")
    options = parser.parse_args()
    table = Table(title="A fleet of writer processes", title_justify="left")
    for column in (
        *(
            "store",
            "writers",
            "flows",
            "visible",
            "spans/s",
            "PUTs/s",
            "reads/s",
            "seen after",
            "us/span",
            "to memory",
        ),
    ):
        table.add_column(column, justify="left" if column in ("store", "flows") else "right")
    for many in (False, True):
        for writers in (2, 8) if options.short else (2, 8, 16, 32, 64):
            memory = 0.0
            for store in ("memory:", "sqlite:", options.redis):
                if store is None:
                    continue
                with tempfile.TemporaryDirectory() as folder:
                    url = f"sqlite://{folder}" if store == "sqlite:" else store
                    fleet = run(url, writers, many, 200 if options.short else 500, 100.0)
                memory = memory or fleet.cpu
                table.add_row(
                    store.split("?")[0],
                    str(writers),
                    "many" if many else "one",
                    f"{fleet.visible}/{fleet.spans}",
                    f"{fleet.visible / fleet.seconds:.0f}",
                    f"{fleet.puts / fleet.seconds:.1f}",
                    f"{fleet.reads / fleet.seconds:.1f}",
                    f"{fleet.after:.2f} s",
                    f"{fleet.cpu * 1e6:.0f}",
                    f"{fleet.cpu / memory:.2f}",
                )
                print(".", end="", flush=True, file=sys.stderr)
    print(file=sys.stderr)
    Console(width=126).print(table)


if __name__ == "__main__":
    main()
