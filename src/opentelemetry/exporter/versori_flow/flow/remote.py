"""What the platform has of one flow, as far as this side knows, and joining it with the window. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from .body import head, text
from .stored import StoredFlow
from .window import Entry, Key, Origin, Window

REMEMBERED_KEYS = 4096
"""Spans that are never adopted again, and, in replace mode, spans that the platform may have."""


class KnownFlow:
    """The stored flow as it was read or written last.

    Args:
        name: The flow's name.
        description: The description to write; None: the stored one is kept.
        window: What this side keeps; foreign spans are adopted into it.

    Attributes:
        exists: Whether the platform has the flow.
        keys: The spans that it has or may have. One that a read still shows and that is in here is nothing
            new: it has aged out of the window, or was never let in.
        digest: Of the last answer that showed just this; None where there was none.
        head: The next body up to its spans.
        missing: Whether the last read lacked a span that this side had delivered.
        others_seen: Whether another writer was ever seen at work.
    """

    def __init__(self, name: str, description: str | None, window: Window) -> None:
        self.exists = False
        self.keys: set[Key] = set()
        self.digest: bytes | None = None
        self.missing = False
        self.others_seen = False
        self._name = name
        self._description = None if description is None else text(description)
        self._window = window
        self._never_adopt: OrderedDict[Key, None] = OrderedDict()
        self._describe(None, ())

    def read(self, stored: StoredFlow, now_ns: int) -> None:
        """The platform has this: what is new in it is adopted, its members and its description are kept."""
        shown = set()
        for span in stored.spans:
            shown.add(span.key)
            here = self._window.get(span.key)
            if here is not None:
                if here.origin is Origin.OWN or here.body == span.body:
                    continue
            elif span.key in self.keys or span.key in self._never_adopt:
                continue
            self.others_seen |= self.exists
            self._window.adopt(span.key, span.start, span.end, span.is_root, span.body, now_ns)
        self._describe(stored.description, stored.members)
        self.keys, self.digest, self.exists = shown, stored.digest, True

    def look_for_missing(self) -> None:
        """After a read, and with the window trimmed: is a delivered span of this side not in the stored flow?"""
        self.missing = any(
            entry.origin is Origin.OWN and not entry.pending and entry.key not in self.keys
            for entry in self._window
        )
        self.others_seen |= self.missing

    def absent(self) -> int | None:
        """The platform has no such flow.

        Returns:
            None where that was known; else it was deleted on purpose: how many delivered spans are forgotten.
        """
        self.missing = False
        self.keys, self.digest = set(), None
        if not self.exists:
            return None
        gone = [entry for entry in self._window if not entry.pending]
        for entry in gone:
            self._window.remove(entry)
        self.exists = False
        self._describe(None, ())
        return len(gone)

    def wrote(self, body: Iterable[Entry], digest: bytes | None) -> None:
        """The platform has taken this body, and answered with what has this digest."""
        self.keys, self.digest, self.exists = {entry.key for entry in body}, digest, True

    def may_have_written(self, body: Iterable[Entry], is_read: bool) -> None:
        """The platform may have taken this body: nobody knows. `is_read`: a read will tell."""
        self.keys.update(entry.key for entry in body)
        self.digest = None
        if not is_read and len(self.keys) > REMEMBERED_KEYS:
            # An outage may be long; what has left the window can't move to another flow any more.
            self.keys = {key for key in self.keys if key in self._window}

    def banish(self, key: Key) -> None:
        """The span has moved to another flow, or was refused: it is never adopted again."""
        self._never_adopt[key] = None
        if len(self._never_adopt) > REMEMBERED_KEYS:
            self._never_adopt.popitem(last=False)

    def pardon(self, key: Key) -> None:
        """The span has come back."""
        self._never_adopt.pop(key, None)

    def _describe(self, stored_description: bytes | None, members: tuple[bytes, ...]) -> None:
        description = self._description or stored_description or b'""'
        self.head = head(self._name, description, members)
        self._window.overhead = len(self.head) + len("]}")
