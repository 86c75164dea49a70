"""What a window is made of: spans, and the traces that they belong to. Pure."""

from __future__ import annotations

from enum import Enum

Key = tuple[str, str]
"""(trace id, span id): the same span handed over twice is one span."""


class Origin(Enum):
    """Who made a span: this exporter, or somebody else (another process, an earlier run)."""

    OWN = "own"
    FOREIGN = "foreign"


class Entry:
    """One span in a window; `pending` until a successful PUT has carried it."""

    __slots__ = ("body", "is_root", "key", "origin", "pending", "start")

    def __init__(
        self, key: Key, start: int, is_root: bool, body: bytes, pending: bool, origin: Origin
    ) -> None:
        self.key = key
        self.start = start
        self.is_root = is_root
        self.body = body
        self.pending = pending
        self.origin = origin


class Trace:
    """The spans of one trace.

    Attributes:
        entries: By span id.
        latest_end: When it last did something, in nanoseconds since the Unix epoch.
        arrival: A number that grows with each span that comes; who ends equally late leaves in this order.
        pending: How many of its spans are.
    """

    __slots__ = ("arrival", "entries", "id", "in_order", "latest_end", "pending")

    def __init__(self, trace_id: str) -> None:
        self.id = trace_id
        self.entries: dict[str, Entry] = {}
        self.in_order: list[Entry] | None = None
        self.latest_end = 0
        self.arrival = 0
        self.pending = 0

    def sorted_entries(self) -> list[Entry]:
        """Its spans by their start."""
        if self.in_order is None:
            self.in_order = sorted(self.entries.values(), key=lambda entry: (entry.start, entry.key))
        return self.in_order
