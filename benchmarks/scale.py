"""What grows with the number of flows, threads, spans and processes, beside a loop of httpx on one thread.

    python -m benchmarks.scale [--short] [--check]

The loop makes the same requests, a GET and a PUT of the same bytes per flow, to the same server process. Each
measurement is a process of its own, ended when it takes too long ("> 60 s"). Ours and the loop take turns;
figures are medians, ratios are ratios of medians. Without `--check` a goal that is missed is only printed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.table import Table

from benchmarks.report import DOWN, NO_GOAL, ULID
from benchmarks.sink import sink

Figures = dict[str, float]
FLAT = 1.3


def measure(limit: float, *arguments: object) -> Figures | None:
    """One measurement; None where it is not over within `limit` seconds."""
    command = [sys.executable, "-m", "benchmarks.scale_app", *map(str, arguments)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return None
    figures: Figures = json.loads(done.stdout)
    return figures


class Scale:
    """Collects rows, prints the table.

    Args:
        limit: Seconds that one measurement may take.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.missed: list[str] = []
        self._table = Table(title="How cost grows", title_justify="left")
        for column in ("measured", "ours", "beside", "ratio", "to reach", ""):
            self._table.add_column(column, justify="left" if column == "measured" else "right")

    def row(
        self, what: str, ours: Sequence[Figures | None], peer: Sequence[Figures | None], key: str, goal: float
    ) -> None:
        """Ours beside the peer, by one figure; a measurement that was not over makes the row one of "more than"."""
        own, other = _median(ours, key), _median(peer, key)
        ratio = self.limit / other if own is None and other else own / other if own and other else None
        cells = [self._shown(own, key), self._shown(other, key), "" if ratio is None else f"{ratio:.2f}"]
        if own is None and ratio is not None and key == "wall":
            cells[2] = f"> {ratio:.1f}"
        elif own is None:
            cells[2] = ""
        reached = own is not None and ratio is not None and ratio <= goal
        if goal == goal and not reached:
            self.missed.append(what)
        verdict = ["", ""] if goal != goal else [f"<= {goal:.2f}", "yes" if reached else "NO"]
        self._table.add_row(what, *cells, *verdict)
        print(".", end="", flush=True, file=sys.stderr)

    def fact(self, what: str, *values: str) -> None:
        """A row without a peer."""
        self._table.add_row(what, *values)

    def print(self) -> None:
        """Prints the table."""
        print(file=sys.stderr)
        Console(width=126).print(self._table)

    def _shown(self, value: float | None, key: str) -> str:
        if value is None:
            return f"> {self.limit:.0f} s" if key in ("wall", "cpu") else "never"
        return (
            f"{value:.2f} s"
            if value >= 1
            else f"{value * 1e3:.2f} ms"
            if value >= 1e-3
            else f"{value * 1e6:.1f} us"
        )


def _median(figures: Sequence[Figures | None], key: str) -> float | None:
    known = [one[key] for one in figures if one is not None]
    return statistics.median(known) if len(known) == len(figures) and known else None


def alternating(
    rounds: int, ours: Callable[[int], Figures | None], peer: Callable[[int], Figures | None]
) -> tuple[list[Figures | None], list[Figures | None]]:
    """Ours and the peer in turn; what is not over once is not tried again."""
    own, other = [], []
    for number in range(rounds):
        own.append(ours(number))
        other.append(peer(number))
        if own[-1] is None:
            break
    return own, other


def flushes(table: Scale, url: str, sizes: dict[int, int]) -> None:
    """A flush of many flows with three spans each, beside the loop."""
    measure(table.limit, "flush", url, 1, "seed")  # the body that the loop writes
    for flows, rounds in sizes.items():
        ours, peer = alternating(
            rounds,
            lambda number, flows=flows: measure(table.limit, "flush", url, flows, f"ours-{flows}-{number}"),
            lambda number, flows=flows: measure(
                table.limit, "loop", url, flows, f"loop-{flows}-{number}", "seed-00000"
            ),
        )
        table.row(f"flush of {flows:,} flows: wall", ours, peer, "wall", 1.3)
        table.row(f"flush of {flows:,} flows: processor", ours, peer, "cpu", 2.0)
        lost = sum(one["lost"] for one in ours if one is not None)
        if lost:
            table.fact("  spans that did not arrive", f"{lost:.0f}")
            table.missed.append(f"flush of {flows:,} flows: spans lost")


def windows(table: Scale, url: str, rounds: int) -> None:
    """One trace more in a full window, beside a GET and a PUT of that window."""
    for spans in (1_000, 10_000):
        flow = f"window-{spans}"
        ours, peer = alternating(
            rounds,
            lambda _, spans=spans, flow=flow: measure(table.limit, "window", url, spans, flow),
            lambda _, flow=flow: _each(measure(table.limit, "loop", url, 10, flow, flow), 10),
        )
        table.row(f"window of {spans:,} spans, one trace more: wall", ours, peer, "wall", NO_GOAL)
        table.row(f"window of {spans:,} spans, one trace more: processor", ours, peer, "cpu", NO_GOAL)


def _each(figures: Figures | None, count: int) -> Figures | None:
    return None if figures is None else {name: value / count for name, value in figures.items()}


def many_threads(table: Scale, url: str, rounds: int) -> None:
    """2,000 spans a second, ended by one thread and by several."""
    counts = (1, 4, 16)
    found: dict[int, list[Figures | None]] = {count: [] for count in counts}
    for number in range(rounds):
        for count in counts:
            found[count].append(measure(table.limit, "threads", url, count, f"threads-{count}-{number}"))
    for key, words in (
        ("median", "span.end(), median"),
        ("thread", "its thread's processor time"),
        ("cpu", "in all"),
    ):
        for count in counts[1:]:
            table.row(f"{count} threads beside 1: {words}", found[count], found[1], key, NO_GOAL)
    lost = sum(one["lost"] for of in found.values() for one in of if one is not None)
    table.fact("  spans that did not arrive", f"{lost:.0f}")


def flatness(table: Scale, url: str, flows: int, rounds: int, settle: int, seconds: int) -> None:
    """Spans of ten flows while many are held, beside the same while these ten are all."""
    for target, state in ((url, "up"), (DOWN, "down")):
        many, few = alternating(
            rounds,
            lambda number, t=target: measure(
                table.limit, "many", t, flows, f"many-{number}", settle, seconds
            ),
            lambda number, t=target: measure(table.limit, "many", t, 10, f"few-{number}", settle, seconds),
        )
        for key, words in (
            ("median", "span.end(), median"),
            ("thread", "its thread's processor time"),
            ("cpu", "processor time in all"),
        ):
            table.row(f"{flows:,} flows beside 10, {state}: {words}", many, few, key, FLAT)
        shares = [_median(of, "idle") for of in (many, few)]
        shown = ["not over" if share is None else f"{100 * share:.1f} %" for share in shares]
        table.fact(f"{flows:,} flows beside 10, {state}, idle: share of a core", *shown)


def processes(table: Scale, url: str, rounds: int) -> None:
    """Several processes that end 200 spans each in one flow, flush and end, beside the loop's requests."""
    for count in (2, 8):
        ours, peer = alternating(
            rounds,
            lambda number, count=count: _writers(table.limit, url, count, f"writers-{count}-{number}"),
            lambda number, count=count: measure(
                table.limit, "loop", url, count, f"writers-{count}-{number}", f"writers-{count}-{number}"
            ),
        )
        table.row(f"{count} processes on one flow, to their ends: wall", ours, peer, "wall", NO_GOAL)
        table.row(f"{count} processes on one flow, to their ends: processor", ours, peer, "cpu", NO_GOAL)
        lost = _median(ours, "lost")
        table.fact("  spans that are not in the flow", "unknown" if lost is None else f"{lost:.0f}")


def _writers(limit: float, url: str, count: int, flow: str) -> Figures | None:
    command = [sys.executable, "-m", "benchmarks.scale_app", "writer", url, "200", flow]
    pipe = subprocess.PIPE
    running = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(count)]
    try:
        for one in running:
            if one.stdout is None or one.stdout.readline() != "ready\n":
                raise RuntimeError("a writer did not begin")
        begin = time.perf_counter()
        for one in running:
            if one.stdin is not None:
                one.stdin.write("\n")
                one.stdin.flush()
        left = [one.communicate(timeout=max(0.1, begin + limit - time.perf_counter()))[0] for one in running]
        wall = time.perf_counter() - begin
    except subprocess.TimeoutExpired:
        return None
    finally:
        for one in running:
            one.kill()
            one.wait()
    address = f"{url}/o/{ULID}/projects/{ULID}/workflows/{flow}"
    with urllib.request.urlopen(address) as answer:
        stored = len(json.load(answer)["spans"])
    return {"wall": wall, "cpu": sum(json.loads(text)["cpu"] for text in left), "lost": 200 * count - stored}


def main() -> int:
    """Runs everything and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="fewer flows and rounds, in under a minute")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a goal is missed")
    parser.add_argument("--limit", type=float, help="seconds for one measurement (default 120, short 20)")
    arguments = parser.parse_args()
    short = arguments.short
    table = Scale(arguments.limit or (20 if short else 120))
    with sink() as url:
        flushes(table, url, {100: 2, 1_000: 1} if short else {100: 7, 1_000: 5, 5_000: 3})
        many_threads(table, url, 1 if short else 3)
        windows(table, url, 1 if short else 3)
        processes(table, url, 1 if short else 3)
        flatness(
            table, url, 500 if short else 1_700, 1 if short else 3, 1 if short else 15, 2 if short else 5
        )
    table.print()
    return 1 if arguments.check and table.missed else 0


if __name__ == "__main__":
    sys.exit(main())
