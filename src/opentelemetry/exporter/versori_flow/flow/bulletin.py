"""What is said in the log about all flows together, and how much of it. Pure.

A platform that is down is said once for all flows: when it begins, at most once a minute, and when it is over.
What concerns one flow is said of that flow (see `report.py`), but in no more than `MAX_LINES` lines a minute
for all flows: what is lost beyond that is added up, and said in one line when the minute is over.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from .flow import Flow
from .ledger import DropReason
from .notice import Loss, Notice
from .ranking import Ranking
from .report import (
    SECONDS_BETWEEN_LINES,
    Pace,
    Trouble,
    because,
    named,
    spans,
    waits,
    what_follows,
)

MAX_LINES = 10
"""Lines a minute about single flows."""

_NAMED = 5

Waiting = Callable[[], tuple[Sequence[str], int]]
"""Names the flows with spans that wait, and says how many those spans are."""


class Outage:
    """What keeps any flow from being delivered: the platform, the key, the address.

    Attributes:
        flows: The flows whose last attempt failed for it.
    """

    def __init__(self) -> None:
        self.flows: set[str] = set()
        self._only: str | None = None
        self._pace = Pace()
        # Level, sentence, seconds until the next attempt, attempts of which nothing was said.
        self._lines: list[tuple[int, str, float, int]] = []

    def failed(self, flow: str, trouble: Trouble, wait: float, now: float) -> None:
        """An attempt failed for it; the next one at this flow is in `wait` seconds."""
        self._only = flow if not self._pace.in_trouble or self._only == flow else None
        self.flows.add(flow)
        skipped = self._pace.fail(trouble.level, now)
        if skipped is not None:
            self._lines.append((trouble.level, trouble.text, wait, skipped))

    def came_through(self, flow: str) -> None:
        """An attempt at the flow met nothing of the kind: with the last such flow the outage is over."""
        self.flows.discard(flow)
        if self._pace.in_trouble and not self.flows:
            self._pace.in_trouble = False
            again = "the platform takes flows again"
            if self._only is not None:
                again = f"flow {named(self._only)}: is delivered again"
            self._lines.append((logging.INFO, again, 0.0, 0))

    def take(self, waiting: Waiting) -> list[Notice]:
        """The lines to log now."""
        if not self._lines:
            return []
        lines, self._lines = self._lines, []
        names, count = waiting()
        subject = (
            f"flow {named(self._only)}: " if self._only is not None and set(names) <= {self._only} else ""
        )
        told = waits(count, f" of {len(names)} flows" if len(names) > 1 else "")
        notices = []
        for level, text, wait, skipped in lines:
            if level != logging.INFO:
                text = f"{subject}{text}. {what_follows(told, wait, skipped)}"
            elif told:
                text += f"; {told}"
            notices.append(Notice(level, text))
        return notices


class Bulletin:
    """Collects the lines of all flows.

    Args:
        flows: Those that are held, by name.

    Attributes:
        outage: What concerns all of them.
    """

    def __init__(self, flows: Mapping[str, Flow]) -> None:
        self.outage = Outage()
        self._flows = flows
        # When each flow that has something to say may say it.
        self._speaks_at = Ranking[float]()
        self._last_words: list[Notice] = []
        self._minute = float("-inf")
        self._lines = 0
        self._left_out: dict[DropReason, list[Loss]] = {}
        self._slow = Pace()
        self._others_left_out = 0

    def listen(self, flow: Flow) -> None:
        """Something happened to the flow: it may have something to say."""
        self._speaks_at.put(flow.name, flow.report.speaks_at)

    def waited_in_vain(self, flows: Sequence[str], now: float) -> None:
        """An export has waited for these as long as it does, and nothing has failed."""
        if flows and (skipped := self._slow.fail(logging.WARNING, now)) is not None:
            subject = f"flow {named(flows[0])} is" if len(flows) == 1 else f"{len(flows)} flows are"
            more = f" ({skipped} more exports since the last line)" if skipped else ""
            text = (
                f"{subject} not delivered within VERSORI_FLOW_EXPORT_WAIT, and the exporter goes on: the platform"
                f" is slow to answer, or another process of this host is writing there{more}"
            )
            self._last_words.append(Notice(logging.WARNING, text))

    def part(self, flow: Flow) -> None:
        """The flow leaves memory; what it had to say is kept."""
        self._speaks_at.put(flow.name, None)
        self.outage.flows.discard(flow.name)
        self._last_words += flow.report.take(0.0, last=True)

    def take(self, now: float, last: bool, waiting: Waiting) -> list[Notice]:
        """The lines to log now; with `last` nothing is kept for later."""
        notices = self.outage.take(waiting)
        words, self._last_words = self._last_words, []
        while (first := self._speaks_at.first()) is not None and (last or first[0] <= now):
            flow = self._flows[first[1]]
            words += flow.report.take(now, last)
            self.listen(flow)
        if now - self._minute >= SECONDS_BETWEEN_LINES:
            notices += self._sum_up()
            self._minute, self._lines = now, 0
        notices += self._bounded(words, last)
        return notices + self._sum_up() if last else notices

    def _bounded(self, words: Iterable[Notice], last: bool) -> list[Notice]:
        said = []
        for notice in words:
            # At the end what is left is one line for each reason.
            if self._lines < MAX_LINES and not (last and notice.loss):
                self._lines += 1
                said.append(notice)
            elif notice.loss is not None:
                self._left_out.setdefault(notice.loss.reason, []).append(notice.loss)
            else:
                self._others_left_out += 1
        return said

    def _sum_up(self) -> list[Notice]:
        left_out, self._left_out = self._left_out, {}
        notices = [_sum_of_losses(reason, losses) for reason, losses in left_out.items()]
        others, self._others_left_out = self._others_left_out, 0
        if others:
            text = f"{others} more lines about single flows were left out; status() says how each does"
            notices.append(Notice(logging.WARNING, text))
        return notices


def _sum_of_losses(reason: DropReason, losses: Sequence[Loss]) -> Notice:
    by_flow = Counter[str]()
    for loss in losses:
        by_flow[loss.flow] += loss.spans
    count = sum(by_flow.values())
    why = because(count, reason, next((loss.detail for loss in losses if loss.detail), ""))
    if len(by_flow) == 1:
        return Notice(logging.ERROR, f"flow {named(losses[0].flow)}: {spans(count)} {why}")
    most = ", ".join(f"{named(flow)}: {lost}" for flow, lost in by_flow.most_common(_NAMED))
    more = f" and {len(by_flow) - _NAMED} more" if len(by_flow) > _NAMED else ""
    return Notice(logging.ERROR, f"{spans(count)} of {len(by_flow)} flows {why} ({most}{more})")
