"""What happened to the spans of a flow since a store was told last. Pure."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from ..encoded_span import EncodedSpan
from .ledger import DropReason
from .window import Entry, Key


class Kept(NamedTuple):
    """One span as a store holds it: what a window needs to have it again.

    Attributes:
        key: Its trace id and span id.
        start: Its start, in nanoseconds since the Unix epoch.
        end: Its end, likewise.
        is_root: Whether it has no parent in this process.
        body: The span as UTF-8 JSON, an `OTelSpan` of the platform's API.
        older: Hashes of the last texts whose place it took.
    """

    key: Key
    start: int
    end: int
    is_root: bool
    body: bytes
    older: tuple[int, ...] = ()

    @property
    def encoded(self) -> EncodedSpan:
        """As it was handed over."""
        return EncodedSpan(*self.key, None, self.is_root, self.start, self.end, self.body, None)


class Change(NamedTuple):
    """What happened to one flow: for each span the last of it.

    Attributes:
        flow: The flow's name.
        added: Pending from now on, in the order in which they came; a newer text takes an older one's place.
        settled: A PUT has carried them.
        gone: Dropped, or moved to another flow.
        dropped: Those of them that were dropped, and why.
        theirs: Those of `added` that were another process's: they are told anew, and may have left meanwhile.
    """

    flow: str
    added: Sequence[Kept]
    settled: Sequence[Key]
    gone: Sequence[Key]
    dropped: Mapping[Key, DropReason] = {}
    theirs: Collection[Key] = ()


class News(NamedTuple):
    """What became of one flow elsewhere, as a store tells it.

    Attributes:
        delivered: Spans that a PUT of another process has carried, so that they stand in the flow.
        settled: Spans that are pending here, and that a PUT of another process has carried.
        dropped: Spans that are pending here, and that are thrown away elsewhere, and why.
        moved: Spans that have moved to another flow: they are neither lost nor missed in this one.
        doubted: Whether something may be missing at the platform, or wait for somebody.
    """

    delivered: Sequence[Kept] = ()
    settled: Sequence[Key] = ()
    dropped: Mapping[Key, DropReason] = {}
    moved: Sequence[Key] = ()
    doubted: bool = False


class Journal:
    """Collects what happens to the spans of one flow."""

    __slots__ = ("_added", "_dropped", "_out")

    def __init__(self) -> None:
        self._added: dict[Key, Kept] = {}
        # Those that left, by whether a PUT has carried them; and why, if they were dropped.
        self._out: dict[Key, bool] = {}
        self._dropped: dict[Key, DropReason] = {}

    def add(self, span: Kept) -> None:
        """A span is pending from now on."""
        self._added.pop(span.key, None)  # to the end of the line
        self._out.pop(span.key, None)
        self._dropped.pop(span.key, None)
        self._added[span.key] = span

    def leave(self, key: Key, settled: bool, reason: DropReason | None = None) -> None:
        """A span is pending no longer: a PUT has carried it, or it was dropped for a reason, or it moved away."""
        self._added.pop(key, None)
        self._dropped.pop(key, None)
        self._out[key] = settled
        if reason is not None:
            self._dropped[key] = reason

    def take(self, flow: str) -> Change | None:
        """What is not told yet; None: nothing."""
        if not (self._added or self._out):
            return None
        settled = [key for key, carried in self._out.items() if carried]
        gone = [key for key, carried in self._out.items() if not carried]
        change = Change(flow, list(self._added.values()), settled, gone, self._dropped)
        self._added, self._out, self._dropped = {}, {}, {}
        return change


def kept(entry: Entry, end: int) -> Kept:
    """A window's span as a store holds it."""
    return Kept(entry.key, entry.start, end, entry.is_root, entry.body, entry.older)
