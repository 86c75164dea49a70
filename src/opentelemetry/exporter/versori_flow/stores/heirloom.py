"""A file that a process which is gone has left: how far it is read, and what of it is in memory."""

from __future__ import annotations

from .spool_file import SpoolFile

_MOST_BYTES, _SHARED_BYTES = 4 << 20, 256 << 10
"""Bytes of inherited spans that are in memory at once; and the last of them, of which no flow has more than a part."""


class Room:
    """How much of what is inherited is in memory, so that no flow takes what the others need.

    Args:
        max_spans: Spans of one flow that are in memory at once.

    Attributes:
        max_spans: As given.
        size: Bytes that are in memory.
    """

    def __init__(self, max_spans: int) -> None:
        self.max_spans = max_spans
        self.size = 0
        self._taken: dict[str, tuple[int, int]] = {}

    @property
    def is_full(self) -> bool:
        """Whether there is none, for whatever flow."""
        return self.size >= _MOST_BYTES

    def has(self, flow: str) -> bool:
        """Whether a flow may take more; where there is little, no more than is left three times over."""
        (spans, size), free = self._taken.get(flow, (0, 0)), _MOST_BYTES - self.size
        return spans < self.max_spans and (free > _SHARED_BYTES or 3 * size < free)

    def take(self, flow: str, size: int, spans: int = 1) -> None:
        """A span is in memory; or is no longer, where both are less than 0."""
        of = self._taken.pop(flow, (0, 0))
        self.size += size
        if of[0] + spans:
            self._taken[flow] = of[0] + spans, of[1] + size


class Heirloom:
    """An orphan's file that is ours to deliver.

    Attributes:
        file: The file.
        expected: Spans that its owner has noted.
        found: Spans that were read.
        broken: Rows that were read, and are not whole.
        cursors: The number of the last row that was read of a flow which is read by itself, since there was no room
            for it once; under None that of all others; -1 where all are read.
        in_memory: Rows that were read and are not delivered yet, each with its bytes.
        removed: Rows that are delivered, and still in the file.
        damaged: Whether it can only be read.
    """

    __slots__ = ("broken", "cursors", "damaged", "expected", "file", "found", "in_memory", "removed")

    def __init__(self, file: SpoolFile, expected: int) -> None:
        self.file = file
        self.expected = expected
        self.found = self.broken = 0
        self.cursors: dict[str | None, int] = {None: 0}
        self.in_memory: dict[int, int] = {}
        self.removed: list[int] = []
        self.damaged = False

    @property
    def is_read(self) -> bool:
        """Whether nothing in it was not in memory yet."""
        return all(cursor < 0 for cursor in self.cursors.values())

    def readable(self, room: Room) -> list[str | None]:
        """The flows that can be read on, None for those that are not read by themselves."""
        if room.is_full:
            return []
        return [
            flow for flow, cursor in self.cursors.items() if cursor >= 0 and (flow is None or room.has(flow))
        ]

    @property
    def lost(self) -> int:
        """Spans that nobody can read any more, once all was read."""
        return max(self.expected - self.found, self.broken)
