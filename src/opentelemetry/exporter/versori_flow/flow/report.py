"""What answers mean to a person, and what is said in the log about one flow. Pure.

Lines are collected; the courier logs them. What concerns all flows alike, such as a platform that is down, is
said once for all of them: see `bulletin.py`.
"""

import logging
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
from .notice import Loss, Notice
from .steps import Reading
from .stored import UnreadableFlow

SECONDS_BETWEEN_LINES = 60.0
"""A platform that is down for an hour is worth a handful of lines, not one for each attempt."""

_NAME_LENGTH = 200

_ADVICE = "VERSORI_FLOW_MAX_SPANS or VERSORI_FLOW_MAX_BYTES, or record fewer spans"
_BECAUSE = {
    DropReason.UNENCODABLE: "{they} could not be turned into JSON",
    DropReason.WINDOW_FULL: f"newer traces pushed {{them}} out before {{they}} could be delivered; raise {_ADVICE}",
    DropReason.TOO_LARGE: "{each} is too large alone; shorten its attributes, or raise VERSORI_FLOW_MAX_BYTES",
    DropReason.REFUSED: "the platform refuses {them} for what {they} {hold}",
    DropReason.SHUTDOWN: "{they} {were} still waiting when the exporter shut down",
}
_ONE = {"they": "it", "them": "it", "each": "it", "hold": "holds", "were": "was"}
_SEVERAL = {word: word for word in _ONE}

LOSES_AGAIN = (
    "delivered spans are missing again and again right after they were written: another writer overwrites the flow, or "
    "the platform keeps less than it takes; they are written once more with the next span"
)


class Pace:
    """How often trouble is said: once a minute, also where every second attempt succeeds.

    What a person must act on is said at once, where the line before was of what may pass.
    """

    def __init__(self) -> None:
        self.in_trouble = False
        self._said = float("-inf")
        self._level = logging.NOTSET
        self._skipped = 0

    def fail(self, level: int, now: float) -> int | None:
        """Of how many failures nothing was said since the last line; None: neither is of this one."""
        if now - self._said < SECONDS_BETWEEN_LINES and level <= self._level:
            self._skipped += 1
            return None
        skipped, self._skipped = self._skipped, 0
        self.in_trouble, self._said, self._level = True, now, level
        return skipped


class Reporter:
    """Turns what happens to one flow into lines: the first at once, later ones at most once a minute."""

    def __init__(self, flow: str) -> None:
        self._flow = flow
        self._lines: list[Notice] = []
        self._pace = Pace()
        self._losses: dict[DropReason, int] = {}
        self._loss_detail: dict[DropReason, str] = {}
        self._loss_said: dict[DropReason, float] = {}

    def trouble(self, level: int, sentence: str, waiting: int, wait: float, now: float) -> None:
        """An attempt failed, and so many spans wait for the next, in `wait` seconds."""
        skipped = self._pace.fail(level, now)
        if skipped is not None:
            self.remark(f"{sentence}. {what_follows(waits(waiting), wait, skipped)}", level)

    def recovered(self, waiting: int) -> None:
        """An attempt succeeded; it is worth a line where the trouble was."""
        if self._pace.in_trouble:
            self._pace.in_trouble = False
            self.remark("is delivered again" + (f"; {waits(waiting)}" if waiting else ""))

    def remark(self, text: str, level: int = logging.INFO, loss: Loss | None = None) -> None:
        """Something worth knowing; at INFO it needs nobody."""
        self._lines.append(Notice(level, f"flow {named(self._flow)}: {text}", loss))

    def lost(self, reason: DropReason, count: int, detail: str = "") -> None:
        """Spans were dropped. `detail` is what the platform said of it, if anything."""
        self._losses[reason] = self._losses.get(reason, 0) + count
        if detail:
            self._loss_detail[reason] = detail

    @property
    def speaks_at(self) -> float | None:
        """When `take` has something to give next, in seconds; None: there is nothing to say."""
        if self._lines:
            return float("-inf")
        return min(map(self._may_say, self._losses)) if self._losses else None

    def take(self, now: float, last: bool = False) -> list[Notice]:
        """The lines to log now; with `last` nothing is kept for later."""
        for reason in list(self._losses):
            if last or now >= self._may_say(reason):
                self._loss_said[reason] = now
                count, detail = self._losses.pop(reason), self._loss_detail.pop(reason, "")
                loss = Loss(self._flow, reason, count, detail)
                self.remark(f"{spans(count)} {because(count, reason, detail)}", logging.ERROR, loss)
        lines, self._lines = self._lines, []
        return lines

    def _may_say(self, reason: DropReason) -> float:
        return self._loss_said.get(reason, float("-inf")) + SECONDS_BETWEEN_LINES


def named(flow: str) -> str:
    """A flow's name in a line, which stays one that is read."""
    return repr(flow if len(flow) <= _NAME_LENGTH else flow[: _NAME_LENGTH - 1] + "…")


def spans(count: int) -> str:
    """A number of spans in words."""
    return "1 span" if count == 1 else f"{count} spans"


def waits(count: int, where: str = "") -> str:
    """How many spans wait, in words; nothing where none does."""
    return f"{spans(count)}{where} {'waits' if count == 1 else 'wait'}" if count else ""


def what_follows(waiting: str, wait: float, skipped: int) -> str:
    """What is said after the trouble itself: what waits, for how long, and how often nothing was said."""
    text = f"{waiting}; the" if waiting else "The"
    more = f" ({skipped} more attempt{'s' * (skipped != 1)} failed since the last line)" if skipped else ""
    return f"{text} next attempt is in {wait:.1f} s{more}"


def because(count: int, reason: DropReason, detail: str) -> str:
    """That so many spans are lost, and why."""
    why = _BECAUSE[reason].format_map(_ONE if count == 1 else _SEVERAL)
    if not isinstance(detail, WholeReason):
        detail = f"{why}: {detail}" if detail else why
    return f"{'is' if count == 1 else 'are'} lost: {detail}"


class WholeReason(str):
    """A detail of a loss that says all: it stands in the place of what is said of its `DropReason`."""


def too_much(message: str) -> WholeReason:
    """Why spans are lost that leave a flow for its size alone."""
    return WholeReason(
        f"the platform does not take a flow of this size ({message}); record fewer spans, or smaller ones"
    )


class Trouble(NamedTuple):
    """What an answer means that is no success.

    Attributes:
        error_type: What `error.type` says of it.
        level: WARNING where it may pass, ERROR where a person must act.
        text: What to say.
        of_all: Whether other flows would be answered alike: it is the platform, the key, or the address.
        vain: How sure it is that no repetition helps: 1 is; of what may be a stray page, one more is awaited.
    """

    error_type: str
    level: int
    text: str
    of_all: bool = False
    vain: float = 0.0


def error_type(answer: Reading) -> str | None:
    """What `error.type` says of an answer; None for a success."""
    trouble = explain(answer)
    return None if trouble is None else trouble.error_type


def explain(answer: Reading) -> Trouble | None:
    """What an answer means; None for a success."""
    match answer:
        case Denied(status, message):
            return Trouble(
                str(status),
                logging.ERROR,
                f"the platform denies access ({_once(status, message)}); check VERSORI_API_KEY or "
                "VERSORI_API_KEY_FILE, VERSORI_AUTH_SCHEME, and that the key may write to the project",
                of_all=True,
                vain=1.0,
            )
        case Misconfigured(414, message):
            text = f"its name is too long ({_once(414, message)}); give the flow a shorter one"
            return Trouble("414", logging.ERROR, text, vain=1.0)
        case Misconfigured(status, message):
            text = f"no request can be made ({message})"  # it says what to check
            if status not in (0, 407):
                text = (
                    f"the platform does not take flows at this address ({_once(status, message)}); check "
                    "VERSORI_API_BASE_URL, VERSORI_ORGANISATION_ID and VERSORI_PROJECT_ID"
                )
            return Trouble(str(status), logging.ERROR, text, of_all=True, vain=1.0)
        case Unreadable(message) | UnreadableFlow(args=(message,)):
            text = (
                f"the stored flow can't be read ({message}) and is not overwritten; repair or delete it, "
                "or set VERSORI_FLOW_WRITE_MODE=replace"
            )
            return Trouble("unreadable", logging.ERROR, text, vain=0.5)
        case Rejected(status, _, message):
            text = (
                f"the platform refuses the flow even without its new spans ({_once(status, message)}); "
                "repair or delete the stored flow"
            )
            return Trouble(str(status), logging.ERROR, text, vain=1.0)
        case Unavailable(kind, message):
            text = f"the platform is not available ({_once(kind, message)})"
            if kind == "error":
                text = f"the exporter itself failed in an attempt ({message})"
            return Trouble(kind, logging.WARNING, text, of_all=True)
        case TooLarge(message) | Conflict(message):
            text = f"the platform does not take the flow now ({message})"
            return Trouble("413" if isinstance(answer, TooLarge) else "409", logging.WARNING, text)
        case Absent(own_form=False, message=message):
            text = (
                f"something answers 404 that is not the platform's API ({message}); the flow is not written "
                "until that does"
            )
            return Trouble("404", logging.WARNING, text, of_all=True)
        case Stored(status, believed=False):
            text = f"the flow was answered with {status} and not as it was written, and a read does not show its spans"
            return Trouble("unreadable", logging.WARNING, text)
    return None


def _once(status: int | str, message: str) -> str:
    # A message that is made of the status begins with it.
    return message if message.startswith(str(status)) else f"{status}: {message}"
