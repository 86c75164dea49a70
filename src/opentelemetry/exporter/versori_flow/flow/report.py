"""What is said in the log about one flow, and how often. Pure: lines are collected, the courier logs them."""

from __future__ import annotations

import logging
from collections import Counter
from typing import NamedTuple

from .ledger import DropReason

SECONDS_BETWEEN_LINES = 60.0
"""A platform that is down for an hour is worth a handful of lines, not one for each attempt."""

_ADVICE = {
    DropReason.UNENCODABLE: "they could not be turned into JSON",
    DropReason.WINDOW_FULL: "newer traces pushed them out before they could be delivered; raise "
    "VERSORI_FLOW_MAX_SPANS or VERSORI_FLOW_MAX_BYTES, or record fewer spans",
    DropReason.TOO_LARGE: "each is too large alone; shorten its attributes, or raise VERSORI_FLOW_MAX_BYTES",
    DropReason.REFUSED: "the platform refuses them for what they hold",
    DropReason.SHUTDOWN: "they were still waiting when the exporter shut down",
}


class Notice(NamedTuple):
    """One line for the log.

    Attributes:
        level: A level of the `logging` module.
        text: The line.
    """

    level: int
    text: str


class Reporter:
    """Turns what happens to one flow into lines: the first at once, later ones at most once a minute.

    Args:
        flow: The flow's name.
    """

    def __init__(self, flow: str) -> None:
        self._flow = flow
        self._lines: list[Notice] = []
        self._in_trouble = False
        self._trouble_said = float("-inf")
        self._level_said = logging.NOTSET
        self._skipped = 0
        self._losses: Counter[DropReason] = Counter()
        self._loss_detail: dict[DropReason, str] = {}
        self._loss_said: dict[DropReason, float] = {}

    def trouble(self, level: int, text: str, now: float) -> None:
        """An attempt failed: WARNING where it may pass, ERROR where a person must act.

        A line a minute, also where every second attempt succeeds; but what a person must act on is said at
        once, where the line before was of what may pass.
        """
        if now - self._trouble_said < SECONDS_BETWEEN_LINES and level <= self._level_said:
            self._skipped += 1
            return
        tail = f" ({self._skipped} more attempts failed since the last line)" if self._skipped else ""
        self._in_trouble, self._trouble_said, self._level_said, self._skipped = True, now, level, 0
        self._say(level, text + tail)

    def recovered(self, waiting: int) -> None:
        """An attempt succeeded; it is worth a line where the trouble was."""
        if self._in_trouble:
            self._in_trouble = False
            self._say(logging.INFO, f"is delivered again; {waiting} spans wait")

    def remark(self, text: str, level: int = logging.INFO) -> None:
        """Something worth knowing, said once; by default it needs nobody."""
        self._say(level, text)

    def lost(self, reason: DropReason, count: int, detail: str = "") -> None:
        """Spans were dropped. `detail` is what the platform said of it, if anything."""
        self._losses[reason] += count
        if detail:
            self._loss_detail[reason] = detail

    def take(self, now: float, last: bool = False) -> list[Notice]:
        """The lines to log now; with `last` nothing is kept for later."""
        for reason in [r for r, count in self._losses.items() if count]:
            said = self._loss_said.get(reason)
            if last or said is None or now - said >= SECONDS_BETWEEN_LINES:
                self._loss_said[reason] = now
                detail = self._loss_detail.pop(reason, "")
                because = f"{_ADVICE[reason]}: {detail}" if detail else _ADVICE[reason]
                self._say(logging.ERROR, f"{self._losses.pop(reason)} spans are lost: {because}")
        lines, self._lines = self._lines, []
        return lines

    def _say(self, level: int, text: str) -> None:
        self._lines.append(Notice(level, f"flow {self._flow!r}: {text}"))
