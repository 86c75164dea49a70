"""What the benchmarks share: contestants that run in turn, and the tables that are printed."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from opentelemetry.sdk.trace.export import SpanExportResult
from rich.console import Console
from rich.table import Table

from opentelemetry.exporter.versori_flow import VersoriFlowSpanExporter

ULID = "01J9ZQ3V5T7XKM2C8WBYH4RDNE"
NO_GOAL = float("nan")
DOWN = "http://127.0.0.1:9"
"""Where connections are refused."""


@dataclass
class Run:
    """What one contestant took in each round, in seconds."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def interleaved(
    rounds: int, contestants: dict[str, Callable[[], object]], warm_up: int = 2
) -> dict[str, Run]:
    """Runs all in turn, round by round."""
    runs = {name: Run() for name in contestants}
    # Else each collection looks again at all the batches that were made for later rounds.
    gc.collect()
    gc.freeze()
    for number in range(warm_up + rounds):
        for name, contest in contestants.items():
            gc.collect()
            gc.disable()
            wall, cpu = time.perf_counter(), time.process_time()
            contest()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            gc.enable()
            if number >= warm_up:
                runs[name].wall.append(wall)
                runs[name].cpu.append(cpu)
    gc.unfreeze()
    return runs


class Report:
    """Collects rows, prints the table."""

    def __init__(self) -> None:
        self.missed: list[str] = []
        self.table = Table(title="Beside the peers", title_justify="left")
        for column in ("measured", "median", "smallest", "largest"):
            self.table.add_column(column, justify="left" if column == "measured" else "right")
        self.ratios = Table(title="Ratios", title_justify="left")
        for column in ("measured", "ratio", "to reach", ""):
            self.ratios.add_column(column, justify="left" if column == "measured" else "right")

    def times(self, what: str, values: Sequence[float], per: int, unit: str) -> None:
        """Seconds of each round, shown by the unit and divided by `per`."""
        scale = {"us": 1e6, "ms": 1e3}[unit] / per
        cells = (statistics.median(values), min(values), max(values))
        self.table.add_row(what, *(f"{value * scale:,.2f} {unit}" for value in cells))

    def fact(self, what: str, value: str) -> None:
        """What is no time."""
        self.table.add_row(what, value, "", "")

    def ratio(
        self, what: str, ours: Sequence[float], theirs: Sequence[float], goal: float, at_least: bool
    ) -> None:
        """`at_least`: theirs/ours, as high as possible; else ours/theirs, as low as possible."""
        pairs = zip(ours, theirs, strict=True)
        self._row(what, statistics.median(b / a if at_least else a / b for a, b in pairs), "", goal, at_least)

    def medians(self, what: str, ours: Sequence[float], theirs: Sequence[float], goal: float) -> None:
        """The ratio of the medians, ours/theirs, as low as possible: for values of which one round says little."""
        self._row(what, statistics.median(ours) / statistics.median(theirs), "", goal)

    def figure(self, what: str, value: float, unit: str, goal: float) -> None:
        """A value that has a bound."""
        self._row(what, value, f" {unit}", goal)

    def _row(self, what: str, value: float, unit: str, goal: float, at_least: bool = False) -> None:
        text = f"{value:.1f}{unit}" if unit else f"{value:.2f}"
        if goal != goal:
            self.ratios.add_row(what, text, "", "")
            return
        bound = f"{goal:.1f}{unit}" if unit else f"{goal:.2f}"
        reached = value >= goal if at_least else value <= goal
        self.missed += [] if reached else [what]
        self.ratios.add_row(what, text, f"{'>=' if at_least else '<='} {bound}", "yes" if reached else "NO")

    def print(self) -> None:
        """Prints the tables."""
        console = Console(width=132)
        console.print(self.table)
        console.print(self.ratios)


def exporter(url: str, **keywords: object) -> VersoriFlowSpanExporter:
    """Ours, against the sink."""
    options: dict[str, object] = {
        "api_key": "k",
        "organisation_id": ULID,
        "project_id": ULID,
        "base_url": url,
    }
    return VersoriFlowSpanExporter(**{**options, **keywords})  # type: ignore[arg-type]


def must(result: SpanExportResult) -> None:
    """A figure of an export that fails would be no figure."""
    if result is not SpanExportResult.SUCCESS:
        raise RuntimeError("an export failed")
