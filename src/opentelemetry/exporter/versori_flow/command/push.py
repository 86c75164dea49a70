"""`versori-flow push`: files of spans become flows."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from ..native import monotonic
from .terminal import at_a_terminal, fail, say
from .tree import count, plain
from .versori_cli import credentials

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from ..otlp.admission import AdmittingExporter
    from ..span_files.progress import Progress as Pushed
    from ..span_files.reading import SpanFile

_BETWEEN_NOTES = 5000
"""Spans that are pushed again at most, where a push was killed."""

_BETWEEN_TRIES = 0.05
_NO_PROGRESS = 30.0
"""Seconds without a delivered span after which it is given up."""


def push(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="What to push.")],
    again: Annotated[bool, typer.Option("--again", help="From the beginning, also what was pushed.")] = False,
) -> None:
    """Push files of spans into their flows: OTLP JSON (a Collector's file exporter), Jaeger, Zipkin v2, a saved flow.

    The VERSORI_ variables say where to, as for the exporter, then the files of Versori's own CLI. A push that was
    ended goes on where it stopped. A flow keeps its newest VERSORI_FLOW_MAX_SPANS spans, however many are pushed.
    """
    from ..otlp.admission import AdmittingExporter
    from ..settings.load import ConfigurationError

    try:
        from ..span_files.progress import Progress as Pushed
        from ..span_files.reading import SpanFile, Unreadable
    except ImportError as error:
        fail(f"push takes the extra `cli`: {error}")
    try:
        opened = [SpanFile(path) for path in files]
        os.environ.update(credentials(os.environ))
        exporter = AdmittingExporter()
    except Unreadable as error:
        fail(str(error))
    except ConfigurationError as error:
        fail("\n".join(error.problems))
    settings = exporter._settings
    target = (*settings.target, str(settings.flow_name))
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    failed = False
    with Progress(*columns, **at_a_terminal()) as bars:
        for file in opened:
            state = Pushed(_state_folder(), file.path, *target)
            if again:
                state.forget()
            bar = bars.add_task(plain(file.path.name), total=file.path.stat().st_size)
            failed |= not _File(exporter, file, state, bars, bar).push()
    exporter.shutdown()
    totals = exporter._totals()
    dropped = sum(totals.dropped.values())
    typer.echo(f"{count(totals.delivered, 'span')} delivered, {dropped} dropped")
    if failed or dropped or totals.pending:
        raise typer.Exit(1)


class _File:
    """One file on its way."""

    def __init__(
        self, exporter: AdmittingExporter, file: SpanFile, state: Pushed, bars: Progress, bar: TaskID
    ) -> None:
        self._exporter = exporter
        self._file = file
        self._state = state
        self._bars = bars
        self._bar = bar
        self._settled, self._moved = 0, monotonic()
        self._dropped_before = self._dropped()

    def push(self) -> bool:
        """Pushes what was not pushed before; False where some of it can't be."""
        from ..span_files.reading import Unreadable

        name = plain(self._file.path.name)
        piece = self._state.pieces
        if piece:
            say(f"{name}: {count(piece, 'piece')} of it were pushed before (--again pushes all)")
        rejected, reason, since_note, whole = 0, "", 0, True
        try:
            for number, (received, flow) in enumerate(self._file.pieces(piece), piece + 1):
                self._deliver(received.spans, flow)
                self._bars.update(self._bar, completed=self._file.seen.length)
                rejected, reason = rejected + received.rejected, reason or received.reason
                since_note += len(received.spans)
                if not rejected:
                    piece = number
                if since_note >= _BETWEEN_NOTES:
                    since_note = 0
                    self._note(piece)
        except Unreadable as error:
            say(str(error))
            whole = False
        self._note(piece)
        if rejected:
            say(f"{name}: {count(rejected, 'span')} left out: {plain(reason)}")
        return whole and not rejected

    def _deliver(self, spans: Sequence[ReadableSpan], flow: str | None) -> None:
        offer = self._exporter.admit(spans, flow)
        while offer.left:
            self._watch()
            time.sleep(_BETWEEN_TRIES)
            offer.go_on()

    def _note(self, piece: int) -> None:
        """Notes what is delivered: nothing that follows a span which was dropped, so that it is tried again."""
        while not self._exporter.force_flush(1000):
            self._watch()
        if piece > self._state.pieces and self._dropped() == self._dropped_before:
            seen = self._file.seen
            self._state.note(piece, seen.length, seen.digest())
            if not self._state.kept:
                say("how far it was pushed can't be kept: the next push begins anew")

    def _dropped(self) -> int:
        return sum(self._exporter._totals().dropped.values())

    def _watch(self) -> None:
        """Gives up where nothing is delivered for long."""
        totals = self._exporter._totals()
        settled = totals.handed_over - totals.pending
        if settled > self._settled:
            self._settled, self._moved = settled, monotonic()
        elif monotonic() - self._moved > _NO_PROGRESS:
            errors = [flow.last_error for flow in self._exporter.status().values() if flow.last_error]
            self._bars.stop()
            fail(
                f"nothing was delivered for {_NO_PROGRESS:.0f} s ({errors[0] if errors else 'no answer'}); "
                "the same command goes on from here"
            )


def _state_folder() -> Path:
    """Where it is kept how far files were pushed."""
    home = os.environ.get("XDG_STATE_HOME", "").strip()
    try:
        return (Path(home) if home else Path.home() / ".local" / "state") / "versori-flow"
    except RuntimeError:  # a user whom the system doesn't know has no home
        return Path(os.devnull)  # nothing can be kept there, which is said
