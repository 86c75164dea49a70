"""What the fleet's Redis answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ..flow.journal import Kept
from ..flow.ledger import DropReason
from ..flow.window import Key


class Seen(NamedTuple):
    """How much of a flow one process knows. A value of the caller's; it begins with `Seen()`."""

    epoch: str = ""
    arrival: int = 0
    change: int = 0


class Put(NamedTuple):
    """What became of a hand-over.

    Attributes:
        epoch: Changes where Redis has lost what it had.
        dropped: Pending spans, of whatever process, that left the window by it: flow and key.
    """

    epoch: str
    dropped: list[tuple[str, Key]]


class Claim(NamedTuple):
    """The lease of a flow, and what there is to deliver.

    Attributes:
        flow: The flow's name.
        fence: Which claim this is.
        lease_end: Until when nobody else writes, in seconds of the monotonic clock.
        doubt: Not 0: somebody may have overwritten the flow, so that it is to be read whatever is pending.
        seen: For the next claim.
        spans: What came into the window since the last claim.
        pending: All spans that no PUT has carried.
        left: Spans that left since the last look: pending ones that are lost, and why, and those that moved away.
    """

    flow: str
    fence: str
    lease_end: float
    doubt: int
    seen: Seen
    spans: list[Kept]
    pending: frozenset[Key]
    left: Mapping[Key, DropReason | None]


class Wait(NamedTuple):
    """It is not this process's turn.

    Attributes:
        seconds: For how long not; infinite: there is nothing to deliver.
        seen: For the next claim.
        pending: All spans that no PUT has carried; None: of those before none has left.
        left: Likewise of `Claim`.
        others: Whether a process that ends need not wait: another one stays, and delivers what is there.
    """

    seconds: float
    seen: Seen
    pending: frozenset[Key] | None
    left: Mapping[Key, DropReason | None]
    others: bool


class Held(NamedTuple):
    """What the fleet holds of a flow: its spans, how many of them are pending, and their bytes."""

    flow: str
    spans: int
    pending: int
    size: int
