"""What a window is made of: spans. Pure."""

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
