"""What is lost and what comes twice under each fault, beside OTLP/HTTP and Zipkin in the same run.

    python -m benchmarks.faults [--short] [--only WORD]

Each row is an application in a process of its own that ends 100 spans a second, before, during and after the
fault, and then shuts down in order; what is delivered later than that is lost. Its server counts what it
holds then: for ours the spans in the flow, for the peers those that were received. All have their defaults,
with two exceptions: ours a window that takes the whole run, since the flow at the end is what is counted, and
all batches leave every second (every half second in the short form) instead of every five, or they would miss
some faults.

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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.faulty_server import Fault, FaultyServer

CONTESTANTS = {
    "processor": "ours, VersoriFlowSpanProcessor",
    "batch": "ours, BatchSpanProcessor",
    "otlp": "OTLP/HTTP, BatchSpanProcessor",
    "zipkin": "Zipkin, BatchSpanProcessor",
}
OURS = ("processor", "batch")
LONGEST_EXPORT = {"processor": 1.0, "batch": 1.0 + 1.5}
"""Seconds: `export_wait`, and what a busy machine may add."""

LONGEST_SHUTDOWN = 10.0 + 2.0
"""Seconds: `timeout`, likewise."""

Act = Callable[[FaultyServer], None]


@dataclass
class Outcome:
    """What one contestant met in one row."""

    made: int = 0
    bad: int = 0
    in_flow: int = 0
    lost: int = 0
    twice: int = 0
    said_lost: int = 0
    longest_export: float = 0.0
    longest_shutdown: float = 0.0
    lines: int = 0
    trouble: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Row:
    """One fault.

    Attributes:
        name: What goes wrong.
        seconds: How long.
        begin: What is done to the server at its start.
        end: What is done at its end.
        options: For the application.
        promise: What ours promises.
        may_be_lost: How many spans it may lose, of what is known after the run.
        restart: The application is restarted in the middle of it.
        aging: Spans that were shown once, and are not in the flow any more, are not lost.
        stand: So many spans stand in the flow at the end, at least.
        peers: Whether it means anything to them.
        in_turn: The contestants run one after the other: each takes the whole machine.
    """

    name: str
    seconds: float
    begin: Act
    end: Act
    options: tuple[str, ...] = ()
    promise: str = "all arrive, once"
    may_be_lost: Callable[[Outcome], int] = lambda _: 0
    restart: bool = False
    aging: bool = False
    stand: int = 0
    peers: bool = True
    in_turn: bool = False


def order(kind: str, **options: float) -> Act:
    """Orders a fault of the server."""
    return lambda server: server.order(Fault(kind, **options))  # type: ignore[arg-type]


def over(server: FaultyServer) -> None:
    """The fault is over."""
    server.order(None)


def stays(_: FaultyServer) -> None:
    """It stays to the end."""


def come_back_empty(server: FaultyServer) -> None:
    """A platform that lost its data."""
    server.forget()
    server.start()


def rows(short: bool) -> list[Row]:
    """All faults."""
    # A batch stays below it: a flow can't hold what is larger, and pieces of it would replace each other.
    limit, giant = 300_000, 400_000
    down, up = FaultyServer.stop, FaultyServer.start
    return [
        Row("platform down", 3 if short else 20, down, up),
        Row("503 storm, 8 of 10", 2.5 if short else 12, order("status", share=0.8), over),
        Row("resets in mid-body, 6 of 10", 2.5 if short else 12, order("reset", share=0.6), over),
        Row("slow drip", 2.5 if short else 20, order("drip"), over),
        Row("black hole", 2.5 if short else 20, order("hole"), over),
        Row("429, Retry-After: 2", 2.5 if short else 10, order("status", value=429, retry_after=2), over),
        Row(
            f"413 above {limit // 1000} KB, one span of {giant // 1000} KB",
            5 if short else 15,
            order("limit", value=limit),
            stays,
            ("--giant", str(giant)),
            "all are shown but the giant; the oldest age out",
            may_be_lost=lambda outcome: outcome.bad,
            aging=True,
            stand=200,  # half of what the limit has room for, at 700 bytes a span
        ),
        Row(
            "poison: 400 without a name",
            3 if short else 10,
            order("poison"),
            stays,
            ("--poison",),
            "all arrive but the refused, which are said",
            may_be_lost=lambda outcome: outcome.bad,
        ),
        Row(
            "platform restarted empty",
            1.5 if short else 3,
            down,
            come_back_empty,
            promise="deleted is deleted; pending and later ones arrive",
            aging=True,
            peers=False,
        ),
        Row(
            "orderly restart in an outage",
            3 if short else 8,
            down,
            up,
            promise="pending at exit is lost, counted and said",
            may_be_lost=lambda outcome: outcome.said_lost,
            restart=True,
        ),
        Row(
            "fork storm, 3 times 8 children",
            3 if short else 10,
            stays,
            stays,
            ("--forks", "3"),
            in_turn=True,
        ),
        Row("clock +1 h, then -2 h, in an outage", 3 if short else 10, down, up, ("--clock",)),
    ]


def run(row: Row, contestant: str, short: bool) -> Outcome:
    """Runs one application against one server."""
    server = FaultyServer(remember=row.aging and "--giant" in row.options)
    seconds = row.seconds
    before, after = (0.8, 1.0) if short else (2.0, 2.5)
    whole = before + seconds + after
    parts = [before + seconds / 2, seconds / 2 + after] if row.restart else [whole]
    outcome = Outcome()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report")
        report.touch()

        def go_wrong() -> None:
            while "ready" not in report.read_text("utf-8", "replace"):
                time.sleep(0.02)
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
    counts = server.result()
    outcome.in_flow = len(counts)
    outcome.twice = counts.total() - len(counts)
    outcome.lost = outcome.made - len(set(counts) | server.shown)
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
            if said := re.search(r": (\d+) spans are lost", value):
                outcome.said_lost += int(said[1])


def broken(row: Row, contestant: str, outcome: Outcome) -> list[str]:
    """What ours promised, and did not keep."""
    found = list(outcome.trouble)
    allowed = row.may_be_lost(outcome)
    if outcome.lost > allowed:
        found.append(f"{outcome.lost - allowed} more are lost")
    if outcome.said_lost < outcome.lost:
        found.append(f"{outcome.said_lost} are said to be lost, {outcome.lost} are")
    if outcome.in_flow < row.stand:
        found.append(f"{row.stand} should stand in the flow")
    if outcome.twice:
        found.append(f"{outcome.twice} come twice")
    if outcome.longest_export > LONGEST_EXPORT[contestant]:
        found.append("an export is too long")
    if outcome.longest_shutdown > LONGEST_SHUTDOWN:
        found.append("the shutdown is too long")
    return found


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
        for column in ("handed over", "in flow", "lost", "twice", "export ms", "shutdown s", "log lines"):
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
            "export: the longest call of `export`, for VersoriFlowSpanProcessor of handing over, on the "
            "application's thread; shutdown: the longest of the provider's, children included."
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
