"""What is lost and what comes twice under each fault, beside OTLP/HTTP and Zipkin in the same run.

    python -m benchmarks.faults [--short] [--only WORD]

Each row is an application in a process of its own that ends 100 spans a second, before, during and after the
fault, and then shuts down in order; what is delivered later than that is lost. Its server counts what it
holds then: for ours the spans in the flow, for the peers those that were received. Before the
application begins, its flow has what others wrote, which ours must not erase. All have their defaults, with two
exceptions: ours a window that takes the whole run, since the flow at the end is what is counted, and all batches
leave every second (every half second in the short form) instead of every five, or they would miss some faults.

The exit status is 1 when ours breaks a promise.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.fault_rows import Outcome, Row, broken, rows
from benchmarks.faulty_server import FaultyServer

CONTESTANTS = {
    "processor": "ours, VersoriFlowSpanProcessor",
    "batch": "ours, BatchSpanProcessor",
    "otlp": "OTLP/HTTP, BatchSpanProcessor",
    "zipkin": "Zipkin, BatchSpanProcessor",
}
OURS = ("processor", "batch")


def run(row: Row, contestant: str, short: bool) -> Outcome:
    """Runs one application against one server."""
    may_age = row.aging is not None
    server = FaultyServer(remember=may_age and "--giant" in row.options)
    seconds = row.seconds
    before, after = (0.8, 1.0) if short else (2.0, 2.5)
    whole = before + seconds + after
    parts = [before + seconds / 2, seconds / 2 + after] if row.restart else [whole]
    outcome = Outcome()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report")
        report.touch()

        def go_wrong() -> None:
            while (ready := re.search(r"^ready (\d+)\n", report.read_text("utf-8", "replace"), re.M)) is None:
                time.sleep(0.02)
            server.application = int(ready[1])
            time.sleep(before)
            row.begin(server)
            time.sleep(seconds)
            row.end(server)

        faults = threading.Thread(target=go_wrong, daemon=True)
        faults.start()
        for part in parts:
            outcome.trouble += application(contestant, server.url, report, part, row.options, short)
        faults.join(whole + 60)
        read_report(report, outcome)
    counts = server.taken.counts()
    outcome.in_flow = len(counts)
    outcome.twice = counts.total() - len(counts)
    outcome.lost = outcome.made - len(set(counts) | server.taken.shown)
    if contestant in OURS:
        outcome.erased = server.taken.erased(may_age)
        outcome.came_back = server.taken.came_back()
        outcome.trouble += [f"it met nothing of this: {kind}" for kind in server.unplayed]
    server.stop()
    return outcome


def application(
    contestant: str, url: str, report: Path, seconds: float, options: tuple[str, ...], short: bool
) -> Iterator[str]:
    """Runs the application to its end; yields what is wrong with how it ended."""
    command = [sys.executable, "-m", "benchmarks.faults_app", contestant, url, str(report), str(seconds)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "VERSORI_"))}
    environment["OTEL_BSP_SCHEDULE_DELAY"] = "500" if short else "1000"
    try:
        done = subprocess.run(
            [*command, *options], env=environment, capture_output=True, text=True, timeout=seconds + 60
        )
    except subprocess.TimeoutExpired:
        yield "it hangs"
        return
    if done.returncode:
        yield f"it ends with {done.returncode}: {done.stderr[-300:]}"
    elif "Traceback" in done.stderr:
        yield f"it shows a traceback: {done.stderr[-300:]}"


def read_report(report: Path, outcome: Outcome) -> None:
    """Sums up what the processes of the application saw."""
    for line in report.read_text("utf-8", "replace").splitlines():
        what, _, value = line.partition(" ")
        if what == "made":
            outcome.made += int(value)
        elif what == "bad":
            outcome.bad += int(value)
        elif what == "export":
            outcome.longest_export = max(outcome.longest_export, float(value))
        elif what == "shutdown":
            outcome.longest_shutdown = max(outcome.longest_shutdown, float(value))
        elif what == "log":
            outcome.lines += 1
            if said := re.search(r": (\d+) spans? (?:is|are) lost", value):
                outcome.said_lost += int(said[1])


class Board:
    """Shows results as they come, and all of them at the end."""

    def __init__(self, short: bool) -> None:
        self.failed = False
        self._short = short
        self._lock = threading.Lock()
        self._progress = Console(stderr=True, width=160)
        self._cells: dict[tuple[str, str], list[str]] = {}

    def add(self, row: Row, contestant: str, outcome: Outcome) -> None:
        """One more result."""
        problems = broken(row, contestant, outcome) if contestant in OURS else outcome.trouble
        verdict = f"BROKEN: {'; '.join(problems)}" if problems else "kept" if contestant in OURS else ""
        cells = [
            str(outcome.made),
            str(outcome.in_flow),
            str(outcome.lost),
            str(outcome.twice),
            "-" if outcome.erased is None else str(outcome.erased),
            f"{outcome.longest_export * 1000:,.1f}",
            f"{outcome.longest_shutdown:.2f}",
            str(outcome.lines),
            verdict,
        ]
        with self._lock:
            self.failed |= bool(problems) and contestant in OURS
            self._cells[row.name, contestant] = cells
            self._progress.print(f"{row.name}: {CONTESTANTS[contestant]}: {' | '.join(cells)}", markup=False)

    def print(self, played: Sequence[Row]) -> None:
        """The table."""
        table = Table(title=f"Faults{', short' if self._short else ''}: 100 spans a second", show_lines=False)
        table.add_column("fault; what ours promises", max_width=38)
        table.add_column("exporter", no_wrap=True)
        for column in (
            "handed over",
            "in flow",
            "lost",
            "twice",
            "erased",
            "export ms",
            "shutdown s",
            "log lines",
        ):
            table.add_column(column, justify="right")
        table.add_column("promise")
        for row in played:
            mine = [name for name in CONTESTANTS if (row.name, name) in self._cells]
            for place, contestant in enumerate(mine):
                first = [f"{row.name}, {row.seconds:g} s", row.promise, "", ""][place]
                cells = self._cells[row.name, contestant]
                table.add_row(first, CONTESTANTS[contestant], *cells, end_section=place == len(mine) - 1)
        Console(width=168).print(table)
        Console(width=168).print(
            "erased: of what others had written, and nobody took away; export: the longest call of `export`, for "
            "VersoriFlowSpanProcessor of leaving a span, on the application's thread; shutdown: the longest of the "
            "provider's, children included."
        )


def main() -> None:
    """Runs all rows and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--short", action="store_true", help="the same rows with shorter faults, in a minute")
    parser.add_argument("--only", default="", help="only rows with this word in their name")
    given = parser.parse_args()
    board = Board(given.short)

    def play(row: Row) -> None:
        contestants = [name for name in CONTESTANTS if row.peers or name in OURS]
        # All at once where each waits for most of its time.
        with ThreadPoolExecutor(1 if row.in_turn else len(contestants)) as pool:
            outcomes = pool.map(lambda name: run(row, name, given.short), contestants)
            for contestant, outcome in zip(contestants, outcomes, strict=True):
                board.add(row, contestant, outcome)

    chosen = [row for row in rows(given.short) if given.only in row.name]
    with ThreadPoolExecutor(3 if given.short else 1) as pool:
        list(pool.map(play, sorted(chosen, key=lambda row: not row.in_turn)))  # the longest first
    board.print(chosen)
    sys.exit(1 if board.failed else 0)


if __name__ == "__main__":
    main()
