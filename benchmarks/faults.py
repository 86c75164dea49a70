"""What is lost and what comes twice under each fault, beside OTLP/HTTP and Zipkin in the same run.

    python -m benchmarks.faults [--short] [--only WORD]

Each row is an application in a process of its own that ends 100 spans a second, before, during and after the
fault, and then shuts down in order; what is delivered later than that is lost. Its server counts what it
holds then: for ours the spans in the flow, for the peers those that were received. Before the
application begins, its flow has what others wrote, which ours must not erase. All have their defaults, with two
exceptions: ours a window that takes the whole run, since the flow at the end is what is counted, and all batches
leave every second (every half second in the short form) instead of every five, or they would miss some faults.

Ours is played with the store in memory, and with a folder that outlives the process. Of an application that is
killed, the spans count that it had handed over; those that it had pending are lost with memory, and no other.

The exit status is 1 when ours breaks a promise.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
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

from benchmarks.fault_rows import CONTESTANTS, OURS, Contestant, Outcome, Row, broken, rows
from benchmarks.faulty_server import FaultyServer
from benchmarks.redis_faults import redis_rows, running_redis
from benchmarks.store_faults import mounted, store_rows
from benchmarks.taken import Taken
from opentelemetry.exporter.versori_flow.stores.fleet_window import RELIED_ON

_UNTIL_BACK = 1.0
"""Seconds that the last application runs before the fault is over, where others were killed."""

_FOREVER = 600.0


def run(row: Row, contestant: Contestant, short: bool) -> Outcome:
    """Plays a row against one server."""
    outcome = Outcome()
    with tempfile.TemporaryDirectory() as folder, mounted(Path(folder, "spans"), row.store.mount) as why_not:
        if why_not:
            outcome.skipped = why_not
            return outcome
        with running_redis(Path(folder), contestant.store == "redis:") as redis:
            if isinstance(redis, str):
                outcome.skipped = redis
                return outcome
            server = FaultyServer(remember=row.aging is not None and "--giant" in row.options)
            server.redis = redis
            play(row, contestant, short, Path(folder), outcome, server)
    return outcome


def play(
    row: Row, contestant: Contestant, short: bool, folder: Path, outcome: Outcome, server: FaultyServer
) -> None:
    """Runs one application after the other; the store and the report are in the folder."""
    may_age = row.aging is not None
    before, after = (0.8, 1.0) if short else (2.0, 2.5)
    whole = before + row.seconds + after
    kills = row.store.kills
    if kills:
        # Over Redis, a process that was killed seems to live so long, and what waits is left to it.
        parts = [_FOREVER] * kills + [_UNTIL_BACK + max(after, RELIED_ON)]
    else:
        parts = [before + row.seconds / 2, row.seconds / 2 + after] if row.restart else [whole]
    report, spans = folder / "report", folder / "spans"
    report.touch()
    faults = threading.Thread(target=go_wrong, args=(row, server, report, before), daemon=True)
    faults.start()
    command = [sys.executable, "-m", "benchmarks.faults_app", contestant.kind, server.url, str(report)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "VERSORI_"))}
    environment["OTEL_BSP_SCHEDULE_DELAY"] = "500" if short else "1000"
    urls = {"memory:": "memory:", "sqlite:": f"sqlite://{spans}"}
    environment["VERSORI_FLOW_STORE"] = urls.get(contestant.store) or (
        f"redis://127.0.0.1:{server.redis.port}" if server.redis else "memory:"
    )
    environment.update(row.store.variables)
    for number, seconds in enumerate(parts):
        killed = number < kills
        how = ["--watched"] if killed else ["--idle"] if kills else []
        if row.store.damage is not None and not killed:
            row.store.damage(spans)
        outcome.trouble += application(
            [*command, str(seconds), *row.options, *how], environment, killed, whole + 60
        )
    faults.join(1 if outcome.trouble else whole + 60)
    read_report(report, outcome, server.taken)
    outcome.puts = server.taken.puts
    outcome.left = len(list(spans.glob("*.db")))
    if contestant.name.startswith("ours"):
        outcome.erased = server.taken.erased(may_age)
        outcome.came_back = server.taken.came_back()
        outcome.trouble += [f"it met nothing of this: {kind}" for kind in server.unplayed]
    server.stop()


def go_wrong(row: Row, server: FaultyServer, report: Path, before: float) -> None:
    """The fault begins and ends, and applications are killed meanwhile."""
    await_application(server, report, 1)
    time.sleep(before)
    row.begin(server)
    for number in range(row.store.kills):
        await_application(server, report, number + 1)
        time.sleep(row.seconds / row.store.kills)
        os.kill(server.application, signal.SIGKILL)
    if row.store.kills:
        await_application(server, report, row.store.kills + 1)
    time.sleep(_UNTIL_BACK if row.store.kills else row.seconds)
    row.end(server)


def await_application(server: FaultyServer, report: Path, count: int) -> None:
    """Until so many applications have begun to trace; without them there is nothing more to do."""
    while (
        report.exists()
        and len(ready := re.findall(r"^ready (\d+)\n", report.read_text("utf-8", "replace"), re.M)) < count
    ):
        time.sleep(0.02)
    if not report.exists():
        sys.exit()  # this thread
    server.application = int(ready[count - 1])


def application(
    command: list[str], environment: dict[str, str], killed: bool, longest: float
) -> Iterator[str]:
    """Runs the application to its end; yields what is wrong with how it ended."""
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=longest)
    except subprocess.TimeoutExpired:
        yield "it hangs"
        return
    if done.returncode != (-signal.SIGKILL if killed else 0):
        yield f"it ends with {done.returncode}: {done.stderr[-300:]}"
    elif "Traceback" in done.stderr:
        yield f"it shows a traceback: {done.stderr[-300:]}"


def read_report(report: Path, outcome: Outcome, taken: Taken) -> None:
    """Sums up what the processes of the application saw, and the server."""
    given: set[str] = set()
    pending: dict[str, int] = {}
    for line in report.read_text("utf-8", "replace").splitlines():
        what, _, value = line.partition(" ")
        if what == "made":
            outcome.made += int(value)
        elif what == "given":
            given.add(value)
        elif what == "pending":
            process, _, count = value.partition(" ")
            pending[process] = int(count)
        elif what == "bad":
            outcome.bad += int(value)
        elif what == "counted":
            outcome.counted += int(value)
        elif what == "export":
            outcome.longest_export = max(outcome.longest_export, float(value))
        elif what == "shutdown":
            outcome.longest_shutdown = max(outcome.longest_shutdown, float(value))
        elif what == "log":
            outcome.lines.append(value)
            if said := re.search(r"(\d+) (?:spans? )?(?:is|are) lost", value):
                outcome.said_lost += int(said[1])
    outcome.pending = sum(pending.values())
    counts = taken.counts()
    outcome.in_flow = len(counts)
    outcome.twice = counts.total() - len(counts)
    shown = set(counts) | taken.shown
    # A process that is killed makes more than it hands over.
    outcome.lost = len(given - shown) if given else outcome.made - len(shown)
    outcome.made += len(given)


class Board:
    """Shows results as they come, and all of them at the end."""

    def __init__(self, short: bool) -> None:
        self.failed = False
        self._short = short
        self._lock = threading.Lock()
        self._progress = Console(stderr=True, width=160)
        self._cells: dict[tuple[str, str], list[str]] = {}

    def add(self, row: Row, name: str, outcome: Outcome) -> None:
        """One more result."""
        ours = name in OURS
        problems = broken(row, CONTESTANTS[name], outcome) if ours else outcome.trouble
        verdict = f"BROKEN: {'; '.join(problems)}" if problems else "kept" if ours else ""
        cells = [
            str(outcome.made),
            str(outcome.in_flow),
            str(outcome.lost),
            str(outcome.twice),
            "-" if outcome.erased is None else str(outcome.erased),
            str(outcome.puts or "-"),
            f"{outcome.longest_export * 1000:,.1f}",
            f"{outcome.longest_shutdown:.2f}",
            str(len(outcome.lines)),
            verdict,
        ]
        if outcome.skipped:
            problems, cells = [], [*["-"] * (len(cells) - 1), f"skipped: {outcome.skipped}"]
        with self._lock:
            self.failed |= bool(problems) and ours
            self._cells[row.name, name] = cells
            title = " | ".join([row.name, CONTESTANTS[name].name, CONTESTANTS[name].store])
            self._progress.print(f"{title}: {' | '.join(cells)}", markup=False)

    def print(self, played: Sequence[Row]) -> None:
        """The table."""
        table = Table(title=f"Faults{', short' if self._short else ''}: 100 spans a second", show_lines=False)
        table.add_column("fault; what ours promises", max_width=38)
        table.add_column("exporter", no_wrap=True)
        table.add_column("store", no_wrap=True)
        for column in (
            "handed over",
            "in flow",
            "lost",
            "twice",
            "erased",
            "PUTs",
            "export ms",
            "shutdown s",
            "log lines",
        ):
            table.add_column(column, justify="right")
        table.add_column("promise")
        for row in played:
            mine = [name for name in CONTESTANTS if (row.name, name) in self._cells]
            for place, name in enumerate(mine):
                first = [f"{row.name}, {row.seconds:g} s", row.promise][place] if place < 2 else ""
                contestant, cells = CONTESTANTS[name], self._cells[row.name, name]
                last = place == len(mine) - 1
                table.add_row(first, contestant.name, contestant.store, *cells, end_section=last)
        Console(width=184).print(table)
        Console(width=184).print(
            "erased: of what others had written, and nobody took away; export: the longest call of `export`, for "
            "VersoriFlowSpanProcessor of leaving a span, on the application's thread; shutdown: the longest of the "
            "provider's, children included."
        )


def main() -> None:
    """Runs all rows and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--short", action="store_true", help="the same rows with shorter faults, in a minute")
    parser.add_argument("--only", default="", help="only rows with this (a pattern) in their name")
    given = parser.parse_args()
    board = Board(given.short)

    def play_all(row: Row) -> None:
        # All at once where each waits for most of its time.
        with ThreadPoolExecutor(1 if row.in_turn else len(row.by)) as pool:
            outcomes = pool.map(lambda name: run(row, CONTESTANTS[name], given.short), row.by)
            for name, outcome in zip(row.by, outcomes, strict=True):
                board.add(row, name, outcome)

    chosen = [
        row
        for row in [*rows(given.short), *store_rows(given.short), *redis_rows(given.short)]
        if re.search(given.only, row.name)
    ]
    with ThreadPoolExecutor(3 if given.short else 1) as pool:
        list(pool.map(play_all, sorted(chosen, key=lambda row: not row.in_turn)))  # the longest first
    board.print(chosen)
    sys.exit(1 if board.failed else 0)


if __name__ == "__main__":
    main()
