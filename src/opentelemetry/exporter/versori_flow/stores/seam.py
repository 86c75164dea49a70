"""What a store is to the rest: spans wait there for their delivery, and outlive the process that left them.

    flows -- what changed --> apply          before whoever handed the spans over is answered
    inherit -- what others left --> flows    delivered here, though nobody here has traced it

The windows stay in memory, and one thread owns them: a store keeps elsewhere what is pending.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from ..flow.journal import Change, Kept, News
from ..flow.notice import Notice
from ..flow.window import Key


class Left(NamedTuple):
    """Spans of one flow that another process has left, and what became of spans elsewhere.

    Attributes:
        flow: The flow's name.
        spans: Pending ones, oldest first. The store goes on keeping them until it is told what became of them.
        news: What became of the flow elsewhere.
    """

    flow: str
    spans: Sequence[Kept]
    news: News = News()


class Store(Protocol):
    """Where spans wait. The thread that owns the flows calls it; it never raises, and says what goes wrong."""

    def apply(self, changes: Sequence[Change]) -> None:
        """Keeps what was added, and forgets what was settled or is gone."""

    def wants_all(self, now: float) -> bool:
        """Whether the next `apply` must be told anew all that is pending: it could not be kept, and it is time."""

    def look_no_more(self) -> None:
        """This process ends: what others leave is taken in by those that have a turn, and not passed around."""

    def look_soon(self, now: float) -> None:
        """A turn was let go: who ended meanwhile has left what it had."""

    def next_look(self) -> float:
        """When to call `inherit` again, in seconds of the monotonic clock."""

    def inherit(self, now: float) -> Sequence[Left]:
        """What processes that are gone have left, as much of it as may be in memory at once."""

    def take_unreadable(self) -> int:
        """How many spans could not be read back since the last call."""

    def keeps(self, flow: str, key: Key) -> bool:
        """Whether a span is safe here, should the process end now."""

    def leave(self, pending: Sequence[Change]) -> bool:
        """Leaves all that is pending to whoever comes next; False where not all of it is kept, or there is nothing."""

    def take_back(self) -> bool:
        """Takes back what was left; False where another process has some of it already: then it gets all."""

    def remarks(self) -> list[Notice]:
        """Lines to log, each of them once."""
