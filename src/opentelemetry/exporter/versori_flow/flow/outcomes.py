"""What an answer leads to: what may be believed, and who has to leave. Pure."""

from collections.abc import Sequence

from ..http.answers import Absent, Rejected, TooLarge, Unavailable
from .holdings import Holdings
from .ledger import DropReason
from .report import too_much
from .steps import Read, Reading
from .stored import StoredFlow
from .window import Entry

STRAYS_BELIEVED = 3
SECONDS_OF_STRAYS = 2.0
"""So many 404s in a form that is not the API's, over so long, mean what they say."""


class Attempt:
    """The attempt under way."""

    # All spans of its PUT, foreign ones included, and those of them that it delivers.
    body: Sequence[Entry] = ()
    carried: Sequence[Entry] = ()
    # Whether the PUT is needed for more than what it delivers.
    rewriting = False
    conflicted = False
    # Whether it reads only to see if its PUT was taken.
    confirming = False
    # Whether somebody has waited for it as long as he does.
    in_vain = False

    def __init__(self, begun: float, mark: int, checking: bool) -> None:
        self.begun = begun
        # Up to which hand-over its PUT settles everything.
        self.mark = mark
        # Whether it only looks if what was written is still there.
        self.checking = checking

    @property
    def may_write(self) -> bool:
        """Whether it is more than a look, which sees itself what the platform has."""
        return bool(self.body or not self.checking)

    @property
    def size(self) -> int:
        """Bytes of its spans, each with a comma."""
        return sum(len(entry.body) + 1 for entry in self.body)


class Absence:
    """The 404s that one flow was answered with in a row, and whether they are believed.

    In the API's own form it means that there is no such flow. But where there was one, a second read must say
    so, a pacing interval later and on a connection of its own: an ingress may have answered. The same goes for a
    flow of another name, which may be another flow.

    Args:
        interval: Seconds.
        was_there: Whether the flow was seen before its window left memory.
    """

    def __init__(self, interval: float, was_there: bool = False) -> None:
        self.since: float | None = None
        self._interval = interval
        self._was_there = was_there
        self._strays = 0
        self._strays_since = 0.0
        self._name = ""
        self._named_since: float | None = None

    @property
    def doubted(self) -> bool:
        """True after an answer that was not believed yet."""
        return not (self.since is self._named_since is None) or self._strays > 0

    def clear(self) -> None:
        """The flow is there, or its absence was believed."""
        self.since, self._strays, self._named_since, self._was_there = None, 0, None, False

    def believed(self, answer: Absent, was_there: bool, own_connection: bool, now: float) -> bool:
        """Whether the flow is not there."""
        if answer.own_form:
            if not (was_there or self._was_there):
                return True
            if self.since is not None:
                return own_connection and now - self.since >= self._interval
            self.since = now
            return False
        if not self._strays:
            self._strays_since = now
        self._strays += 1
        long_enough = now - self._strays_since >= SECONDS_OF_STRAYS
        return self._strays >= STRAYS_BELIEVED and long_enough

    def sure(self, stored: StoredFlow, step: Read, now: float) -> bool:
        """Whether the platform calls the flow as this one is, which is not its name here."""
        if self._named_since is None or stored.name != self._name:
            self._name, self._named_since = stored.name, now
            return False
        return step.own_connection and now - self._named_since >= self._interval

    @property
    def next_read(self) -> float:
        """When the next read may confirm it, in seconds of the same clock."""
        return max(self.since or 0.0, self._named_since or 0.0) + self._interval


class SizeLimit:
    """The 413s that one flow was answered with in a row, and what they mean.

    One alone may come from something on the way. One that says when to come again is temporary (RFC 9110 section
    15.5.14): that is waited for, once for a body of its size, since some say it each time.
    """

    def __init__(self) -> None:
        self._times = 0
        self._size: float = float("inf")
        self._over_at = 0.0

    def meet(
        self,
        body: Sequence[Entry],
        size: int,
        spans: Holdings,
        answer: TooLarge,
        now: float,
        at_the_end: bool,
    ) -> bool:
        """Makes a body of so many bytes smaller; False where nothing can leave, or it is waited first."""
        self._times += 1
        spans.ledger.last_error = answer.message
        smaller = make_smaller(body, spans.window.overhead, spans.accepted)
        if smaller is None or self._passes(answer, size, now, at_the_end):
            return False
        if self._times > 1:
            if isinstance(smaller, Entry):
                spans.drop([smaller], DropReason.TOO_LARGE, answer.message)
            else:
                spans.window.max_bytes = smaller
                spans.trim(too_much(answer.message))
        return True

    def _passes(self, answer: TooLarge, size: int, now: float, at_the_end: bool) -> bool:
        if not answer.retry_after:
            return False
        if size < self._size:
            self._size, self._over_at = size, now + answer.retry_after
            return True
        return now < self._over_at and not at_the_end


def may_come_late(answer: Reading) -> bool:
    """Whether a PUT that was answered so, or not at all, may still be under way, and be carried out after the next."""
    if not isinstance(answer, Unavailable) or not answer.reached:
        return False
    return not answer.answered or answer.kind in ("502", "504")


def blame(answer: Rejected, body: Sequence[Entry]) -> tuple[list[Entry], bool]:
    """Whom a refusal names: spans of this side, and whether it names anybody else's."""
    named = [body[index] for index in answer.spans if index < len(body)]
    own = [entry for entry in named if entry.is_own]
    return own, len(own) < len(named)


def make_smaller(body: Sequence[Entry], overhead: int, accepted: int) -> Entry | int | None:
    """What follows from a body that was too large.

    Args:
        overhead: Bytes of its other members, which do not get smaller.
        accepted: Bytes of the largest body that the platform has taken.

    Returns:
        The span that is too large alone; else how many bytes to try; None where nothing can leave.
    """
    room = sum(len(entry.body) + 1 for entry in body)
    largest = max(body, key=lambda entry: len(entry.body), default=None)
    if largest is None or (len(body) == 1 and not largest.pending):
        return None
    too_large_alone = 2 * len(largest.body) > room and overhead + len(largest.body) > accepted
    if largest.pending and (len(body) == 1 or too_large_alone):
        return largest
    size, half = overhead + room, overhead + room - room // 2
    return accepted if half < accepted < size else half
