"""Where every span is accounted for: why one is lost, how a flow does, what came of all. Pure.

Handed over = delivered + pending + dropped, for a flow and for all of them together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from enum import Enum
from types import MappingProxyType
from typing import NamedTuple


class DropReason(str, Enum):
    """Why a span will not show up in its flow.

    Attributes:
        UNENCODABLE: It could not be turned into JSON.
        WINDOW_FULL: Newer traces pushed it out before it was delivered: the platform is down for too long,
            or `max_spans` and `max_bytes` are too small for the traffic.
        TOO_LARGE: It alone is larger than `max_bytes`, or than what the platform takes (413).
        REFUSED: The platform refuses it (400, 422).
        SHUTDOWN: It was still waiting when the exporter shut down, or came afterwards.
    """

    UNENCODABLE = "unencodable"
    WINDOW_FULL = "window_full"
    TOO_LARGE = "too_large"
    REFUSED = "refused"
    SHUTDOWN = "shutdown"


class FlowStatus(NamedTuple):
    """How one flow does.

    Attributes:
        flow: The flow's name.
        state: "clean", "dirty", "busy", "backing off" or "searching".
        handed_over: Spans that the application handed over: delivered + pending + dropped.
        delivered: Spans that a successful PUT has carried.
        pending: Spans that none has carried yet.
        dropped: Lost spans, by reason (see `DropReason`).
        last_error: What went wrong last, or None.
        next_attempt: Seconds until the next attempt; None when there is nothing to do.
    """

    flow: str
    state: str
    handed_over: int
    delivered: int
    pending: int
    dropped: Mapping[str, int]
    last_error: str | None
    next_attempt: float | None


class Totals(NamedTuple):
    """Spans over all flows: handed over = delivered + pending + dropped.

    A span that was delivered, and moves to another flow, is pending again; its export had finished all the
    same. `exported`, `inflight` and `failed` count it once, as what finished first: none but `inflight` ever
    falls, and handed over = exported + inflight + failed.

    Attributes:
        again: Those of the pending ones that had been delivered before.
        lost_again: Those of the dropped ones that had been delivered before, by reason.
    """

    handed_over: int
    delivered: int
    pending: int
    dropped: Mapping[str, int]
    again: int = 0
    lost_again: Mapping[str, int] = MappingProxyType({})

    @property
    def exported(self) -> int:
        """Spans that a PUT has carried, whatever became of them then."""
        return self.delivered + self.again + sum(self.lost_again.values())

    @property
    def inflight(self) -> int:
        """Spans that no PUT has carried, and that are not lost."""
        return self.pending - self.again

    @property
    def failed(self) -> dict[str, int]:
        """Spans that were lost before any PUT had carried them, by reason."""
        return {reason: lost - self.lost_again.get(reason, 0) for reason, lost in self.dropped.items()}


def add_up(parts: Iterable[Totals]) -> Totals:
    """The totals of several."""
    handed_over = delivered = pending = again = 0
    dropped: Counter[str] = Counter()
    lost_again: Counter[str] = Counter()
    for part in parts:
        handed_over += part.handed_over
        delivered += part.delivered
        pending += part.pending
        dropped.update(part.dropped)
        again += part.again
        lost_again.update(part.lost_again)
    return Totals(handed_over, delivered, pending, dropped, again, lost_again)
