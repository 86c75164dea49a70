"""Where every span is accounted for: why one is lost, how a flow does, what came of all. Pure.

Handed over = delivered + pending + dropped, for a flow and for all of them together. Nothing is ever taken
back but a pending span that moves to another flow: a delivered one that moves stays delivered where it was,
and is handed over anew where it goes.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from enum import Enum
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
        UNREADABLE: A store had it for a process that is gone, in a file that is damaged.
    """

    UNENCODABLE = "unencodable"
    WINDOW_FULL = "window_full"
    TOO_LARGE = "too_large"
    REFUSED = "refused"
    SHUTDOWN = "shutdown"
    UNREADABLE = "unreadable"


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
        store: Where its pending spans wait: the setting of that name.
    """

    flow: str
    state: str
    handed_over: int
    delivered: int
    pending: int
    dropped: Mapping[str, int]
    last_error: str | None
    next_attempt: float | None
    store: str = "memory:"


class Totals(NamedTuple):
    """Spans over all flows: handed over = delivered + pending + dropped."""

    handed_over: int
    delivered: int
    pending: int
    dropped: Mapping[str, int]


class Ledger:
    """The counts of one flow, which go on from those that it had before its window left memory."""

    def __init__(self, former: FlowStatus | None) -> None:
        self.handed_over = former.handed_over if former else 0
        self.delivered = former.delivered if former else 0
        self.dropped: dict[str, int] = dict(former.dropped) if former else {}
        self.last_error = former.last_error if former else None

    @property
    def lost(self) -> int:
        """How many spans were dropped."""
        return sum(self.dropped.values())


def add_up(parts: Iterable[Totals | FlowStatus]) -> Totals:
    """The totals of several."""
    handed_over = delivered = pending = 0
    dropped: Counter[str] = Counter()
    for part in parts:
        handed_over += part.handed_over
        delivered += part.delivered
        pending += part.pending
        if part.dropped:
            dropped.update(part.dropped)
    return Totals(handed_over, delivered, pending, dropped)
