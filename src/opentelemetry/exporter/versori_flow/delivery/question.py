"""What callers ask of the courier, and wait for."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from typing import TYPE_CHECKING

from ..flow.flows import Receipt
from ..native import Waiter

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan


class Kind(Enum):
    """What is asked."""

    EXPORT = auto()
    """Take these spans; are they delivered? True or False."""
    ACCEPT = auto()
    """Take these spans; are they taken, and is their flow not in trouble? True or False."""
    FLUSH = auto()
    """Deliver what is pending; is it? True or False."""
    SHUTDOWN = auto()
    """Deliver what is pending, read back, end. True once it has ended."""
    LET_GO = auto()
    """The exporter is gone: end as soon as nothing is pending. Nobody waits."""
    STATUS = auto()
    """How does every flow do?"""
    TOTALS = auto()
    """How many spans, over all flows?"""


class Question:
    """One call, as a message to the courier.

    Args:
        kind: What is asked.
        until: How long the caller waits, in seconds of `time.monotonic()`.
        spans: To take, for an EXPORT.

    Attributes:
        waiter: Takes the answer.
        receipts: What the answer still depends on, by flow name.
        failed: Whether some of it will not be delivered by then.
    """

    __slots__ = ("failed", "kind", "receipts", "spans", "until", "waiter")

    def __init__(self, kind: Kind, until: float, spans: Sequence[ReadableSpan] = ()) -> None:
        self.kind = kind
        self.until = until
        self.spans = spans
        self.waiter = Waiter()
        self.receipts: dict[str, Receipt] = {}
        self.failed = False
