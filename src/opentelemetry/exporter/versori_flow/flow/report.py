"""What answers mean to a person, and what is said in the log about one flow. Pure.

Lines are collected; the courier logs them. What concerns all flows alike, such as a platform that is down, is
said once for all of them: see `bulletin.py`.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import NamedTuple

from ..http.answers import (
    Absent,
    Conflict,
    Denied,
    Misconfigured,
    Rejected,
    Stored,
    TooLarge,
    Unavailable,
    Unreadable,
)
from .ledger import DropReason
from .steps import Reading
from .stored import UnreadableFlow

SECONDS_BETWEEN_LINES = 60.0
"""A platform that is down for an hour is worth a handful of lines, not one for each attempt."""

_BECAUSE = {
    DropReason.UNENCODABLE: ("it could not be turned into JSON", "they could not be turned into JSON"),
    DropReason.WINDOW_FULL: (
        "newer traces pushed it out before it could be delivered; raise VERSORI_FLOW_MAX_SPANS or "
        "VERSORI_FLOW_MAX_BYTES, or record fewer spans",
        "newer traces pushed them out before they could be delivered; raise VERSORI_FLOW_MAX_SPANS or "
        "VERSORI_FLOW_MAX_BYTES, or record fewer spans",
    ),
    DropReason.TOO_LARGE: (
        "it is too large alone; shorten its attributes, or raise VERSORI_FLOW_MAX_BYTES",
        "each is too large alone; shorten its attributes, or raise VERSORI_FLOW_MAX_BYTES",
    ),
    DropReason.REFUSED: (
        "the platform refuses it for what it holds",
        "the platform refuses them for what they hold",
    ),
    DropReason.SHUTDOWN: (
        "it was still waiting when the exporter shut down",
        "they were still waiting when the exporter shut down",
    ),
}
"""Why, for one span and for several."""


class Loss(NamedTuple):
    """Spans of one flow that were lost for one reason."""

    flow: str
    reason: DropReason
    spans: int
    detail: str


class Notice(NamedTuple):
    """One line for the log.

    Attributes:
        level: A level of the `logging` module.
        text: The line.
        loss: The loss that it tells of, if it does.
    """

    level: int
    text: str
    loss: Loss | None = None


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

    def trouble(self, level: int, sentence: str, waiting: int, wait: float, now: float) -> None:
        """An attempt failed: a line a minute, also where every second attempt succeeds.

        What a person must act on is said at once, where the line before was of what may pass. What concerns
        all flows (see `concerns_all`) is not said here.

        Args:
            level: WARNING where it may pass, ERROR where a person must act.
            sentence: What went wrong.
            waiting: Spans that wait for the next attempt.
            wait: Seconds until then.
            now: Seconds.
        """
        if now - self._trouble_said < SECONDS_BETWEEN_LINES and level <= self._level_said:
            self._skipped += 1
            return
        text = f"{sentence}. {what_follows(waits(waiting), wait, self._skipped)}"
        self._in_trouble, self._trouble_said, self._level_said, self._skipped = True, now, level, 0
        self._say(level, text)

    def recovered(self, waiting: int) -> None:
        """An attempt succeeded; it is worth a line where the trouble was."""
        if self._in_trouble:
            self._in_trouble = False
            self._say(logging.INFO, "is delivered again" + (f"; {waits(waiting)}" if waiting else ""))

    def remark(self, text: str, level: int = logging.INFO) -> None:
        """Something worth knowing; at INFO it needs nobody."""
        self._say(level, text)

    def lost(self, reason: DropReason, count: int, detail: str = "") -> None:
        """Spans were dropped. `detail` is what the platform said of it, if anything."""
        self._losses[reason] += count
        if detail:
            self._loss_detail[reason] = detail

    @property
    def speaks_at(self) -> float | None:
        """When `take` has something to give next, in seconds; None: there is nothing to say."""
        if self._lines:
            return float("-inf")
        return min((self._may_say(reason) for reason in self._losses), default=None)

    def take(self, now: float, last: bool = False) -> list[Notice]:
        """The lines to log now; with `last` nothing is kept for later."""
        for reason in list(self._losses):
            if last or now >= self._may_say(reason):
                self._loss_said[reason] = now
                loss = Loss(self._flow, reason, self._losses.pop(reason), self._loss_detail.pop(reason, ""))
                text = f"{spans(loss.spans)} {because(loss.spans, reason, loss.detail)}"
                self._say(logging.ERROR, text, loss)
        lines, self._lines = self._lines, []
        return lines

    def _may_say(self, reason: DropReason) -> float:
        return self._loss_said.get(reason, float("-inf")) + SECONDS_BETWEEN_LINES

    def _say(self, level: int, text: str, loss: Loss | None = None) -> None:
        self._lines.append(Notice(level, f"flow {self._flow!r}: {text}", loss))


def spans(count: int) -> str:
    """A number of spans in words."""
    return "1 span" if count == 1 else f"{count} spans"


def waits(count: int, where: str = "") -> str:
    """How many spans wait, in words; nothing where none does."""
    return f"{spans(count)}{where} {'waits' if count == 1 else 'wait'}" if count else ""


def what_follows(waiting: str, wait: float, skipped: int) -> str:
    """What is said after the trouble itself: what waits, for how long, and how often nothing was said."""
    text = (
        f"{waiting}; the next attempt is in {wait:.1f} s"
        if waiting
        else f"The next attempt is in {wait:.1f} s"
    )
    return text + (
        f" ({skipped} more attempt{'s' * (skipped != 1)} failed since the last line)" if skipped else ""
    )


def because(count: int, reason: DropReason, detail: str = "") -> str:
    """That so many spans are lost, and why."""
    one, many = _BECAUSE[reason]
    text = f"is lost: {one}" if count == 1 else f"are lost: {many}"
    return f"{text}: {detail}" if detail else text


def concerns_all(answer: Reading) -> bool:
    """Whether other flows would be answered alike: it is the platform, the key, or the address."""
    if isinstance(answer, Absent):
        return not answer.own_form
    return isinstance(answer, Unavailable | Denied | Misconfigured)


def error_type(answer: Reading) -> str | None:
    """What `error.type` says of an answer; None for a success."""
    match answer:
        case Denied() | Misconfigured() | Rejected():
            return str(answer.status)
        case Unavailable():
            return answer.kind
        case TooLarge():
            return "413"
        case Conflict():
            return "409"
        case Unreadable() | UnreadableFlow() | Stored(believed=False):
            return "unreadable"
        case Absent(own_form=False):
            return "404"
    return None


def explain(answer: Reading) -> tuple[int, str]:
    """The log level and the sentence for an answer that is no success."""
    match answer:
        case Denied():
            return logging.ERROR, (
                f"the platform denies access ({answer.status}: {answer.message}); check VERSORI_API_KEY or "
                "VERSORI_API_KEY_FILE, VERSORI_AUTH_SCHEME, and that the key may write to the project"
            )
        case Misconfigured(status=0 | 407, message=message):  # it says what to check
            return logging.ERROR, f"no request can be made ({message})"
        case Misconfigured(status=status, message=message):
            told = message if message.startswith(str(status)) else f"{status}: {message}"
            return logging.ERROR, (
                f"the platform does not take flows at this address ({told}); check "
                "VERSORI_API_BASE_URL, VERSORI_ORGANISATION_ID and VERSORI_PROJECT_ID"
            )
        case Unreadable(message=message) | UnreadableFlow(args=(message,)):
            return logging.ERROR, (
                f"the stored flow can't be read ({message}) and is not overwritten; repair or delete it, "
                "or set VERSORI_FLOW_WRITE_MODE=replace"
            )
        case Rejected():
            return logging.ERROR, (
                f"the platform refuses the flow even without its new spans ({answer.status}: "
                f"{answer.message}); repair or delete the stored flow"
            )
        case Unavailable(kind="error", message=message):
            return logging.WARNING, f"the exporter itself failed in an attempt ({message})"
        case Unavailable(kind=kind, message=message):
            return logging.WARNING, f"the platform is not available ({kind}: {message})"
        case TooLarge(message=message) | Conflict(message=message):
            return logging.WARNING, f"the platform does not take the flow now ({message})"
        case Absent(message=message):
            return logging.WARNING, (
                f"something answers 404 that is not the platform's API ({message}); the flow is not written "
                "until that does"
            )
        case Stored(status=status, believed=False):
            return logging.WARNING, (
                f"the flow was answered with {status} and what is no flow, and a read does not show its spans"
            )
    return logging.ERROR, f"the platform answers with what was not asked for ({type(answer).__name__})"
