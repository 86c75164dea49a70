"""What the platform has of one flow, as far as this side knows, and joining it with the window. Pure.

The base of a merge is what was read last: a foreign span that the last read does not show is gone, since
somebody took it away. Spans of this side come back.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from .body import head, text
from .steps import Reading
from .stored import StoredFlow, StoredSpan, UnreadableFlow, first_twin, says
from .window import Entry, Key, Window

REMEMBERED_KEYS = 4096
"""Spans that are never adopted again, and, in replace mode, spans that the platform may have."""


class KnownFlow:
    """The stored flow as it was read or written last; the window adopts what is foreign in it.

    Attributes:
        keys: The spans that it has or may have. One that a read still shows and that is in here is nothing
            new: it has aged out of the window, or was never let in.
        digest: Of the last answer that showed just this; None where there was none.
        head: The next body up to its spans.
        others_seen: Whether another writer was ever seen at work.
        changes: Grows whenever somebody else has changed the flow.
        unsure: Spans that a PUT has carried whose answer proves nothing, and the digest before it.
    """

    def __init__(self, name: str, description: str | None, window: Window) -> None:
        self.exists = False
        self.keys: set[Key] = set()
        self.digest: bytes | None = None
        self.others_seen = False
        self.changes = 0
        self.unsure: tuple[bytes | None, Sequence[Entry]] = (None, ())
        self.name = name
        # As the platform calls it, which may write names in a way of its own.
        self._called: str | None = None
        self._description = None if description is None else text(description)
        self._window = window
        self._never_adopt: OrderedDict[Key, None] = OrderedDict()
        self.head = b""
        self._describe(None, ())

    @property
    def size(self) -> int:
        """Bytes of a body without spans."""
        return len(self.head) + len("]}")

    def checked(self, answer: Reading) -> Reading:
        """The answer to a read, where it is not some other flow than the reads before."""
        if isinstance(answer, StoredFlow) and self._called and answer.name not in (self._called, self.name):
            return UnreadableFlow("it is another flow: it has another name than before")
        return answer

    def renamed(self, stored: StoredFlow) -> bool:
        """Whether it has another name than the flow has here, and nothing was read yet that the platform calls so."""
        return self._called is None and stored.name != self.name

    def read(self, stored: StoredFlow, now_ns: int, is_read_back: bool) -> None:
        """The platform has this: what is new in it is adopted, its members and its description are kept.

        Where spans of this side are missing right after their PUT (`is_read_back`), a writer that had read
        before has overwritten all of it: all comes back.
        """
        texts = stored.texts
        shown = set(texts)
        if not (is_read_back and self._lacks_own(texts)):
            self._let_go(shown)
        for span in self._not_ours(stored):
            here = self._window.get(span.key)
            if here is not None:
                if here.body == span.body:
                    continue
            elif span.key in self.keys or span.key in self._never_adopt:
                continue
            self.others_seen |= self.exists
            self.changes += 1
            entry = Entry(span.key, span.start, span.is_root, span.body, False, False)
            self._window.adopt(entry, span.end, now_ns, self.exists)
        self._describe(stored.description, stored.members)
        self.keys, self.digest, self.exists, self._called = shown, stored.digest, True, stored.name

    def is_wrong(self, stored: StoredFlow) -> bool:
        """Whether a delivered span of this side is missing, or an older text of it stands there, or a span that must
        not be there has been brought back.
        """
        texts = stored.texts
        wrong = self._lacks_own(texts) or not self._never_adopt.keys().isdisjoint(texts)
        self.others_seen |= wrong
        return wrong

    def absent(self) -> int | None:
        """The platform has no such flow; returns how many delivered spans are forgotten, None where that was known."""
        self.keys, self.digest, self._called = set(), None, None
        if not self.exists:
            return None
        gone = [entry for entry in self._window if not entry.pending]
        for entry in gone:
            self._window.remove(entry)
        self.exists = False
        self.changes += 1
        self._describe(None, ())
        return len(gone)

    def wrote(self, body: Iterable[Entry], digest: bytes | None) -> None:
        """The platform has taken this body, and answered with what has this digest."""
        self.keys, self.digest, self.exists = {entry.key for entry in body}, digest, True

    def may_have_written(self, body: Iterable[Entry], is_read: bool, carried: Sequence[Entry] = ()) -> None:
        """The platform may have taken this body: nobody knows; a read tells, in merge mode (`is_read`).

        `carried` counts as delivered if that read shows it (see `proven`).
        """
        self.unsure = (self.digest, carried)
        self.keys.update(entry.key for entry in body)
        self.digest = None
        if not is_read and len(self.keys) > REMEMBERED_KEYS:
            # An outage may be long; what has left the window can't move to another flow any more.
            self.keys = {key for key in self.keys if key in self._window}

    def proven(self, stored: StoredFlow) -> list[Entry] | None:
        """What of the unsure spans a read shows; None where the flow is what it was before that PUT."""
        (before, carried), self.unsure = self.unsure, (None, ())
        if stored.digest == before:
            return None
        texts = stored.texts if carried else {}
        return [entry for entry in carried if entry.is_shown_by(texts.get(entry.key))]

    def is_without(self, carried: Sequence[Entry], digest: bytes | None) -> bool:
        """Whether a PUT was answered with the flow as it was read before it, which lacks what it has carried."""
        same = digest is not None and digest == self.digest
        return same and any(entry.key not in self.keys for entry in carried)

    def banish(self, key: Key) -> None:
        """The span has moved to another flow, or was refused: it is never adopted again."""
        self._never_adopt[key] = None
        if len(self._never_adopt) > REMEMBERED_KEYS:
            self._never_adopt.popitem(last=False)

    def pardon(self, key: Key) -> None:
        """The span has come back."""
        self._never_adopt.pop(key, None)

    def missing(self, body: Iterable[Entry]) -> list[Entry]:
        """Spans that count as delivered, and were not: if their answer was a stray one, they may be refused."""
        return [e for e in body if e.is_own and not e.pending and e.key not in self.keys]

    def _not_ours(self, stored: StoredFlow) -> Iterator[StoredSpan]:
        """Spans that others made; of several with the ids of one of ours, those with its text are ours."""
        twins: dict[Entry, list[StoredSpan]] = {}
        for span in stored.spans:
            key = first_twin(span.key) if stored.twins else span.key
            ours = self._window.get(key)
            if ours is None or not ours.is_own:
                yield span
            elif key in stored.twins:
                twins.setdefault(ours, []).append(span)
        for ours, alike in twins.items():
            alike.sort(key=lambda span: span.key)
            others = (span for span in alike if hash(span.body) not in ours.older)
            theirs = {span.body: span for span in others if not says(span.body, ours.body)}
            keys = [span.key for span in alike if span.key != ours.key]
            yield from (span._replace(key=key) for key, span in zip(keys, theirs.values(), strict=False))

    def _lacks_own(self, texts: Mapping[Key, bytes]) -> bool:
        return any(
            entry.is_own and not entry.pending and not entry.is_shown_by(texts.get(entry.key))
            for entry in self._window
        )

    def _let_go(self, shown: set[Key]) -> None:
        if self._window.foreign:
            gone = [e for e in self._window if not e.is_own and e.key not in shown]
            self.changes += len(gone)
            for entry in gone:
                self._window.remove(entry)

    def _describe(self, stored_description: bytes | None, members: tuple[bytes, ...]) -> None:
        description = self._description or stored_description or b'""'
        before, self.head = self.head, head(self.name, description, members)
        self.changes += before != self.head
