"""Where application threads leave ended spans, and where these become what the flows take.

    span.end() --> leave --> [spans] --> take --> encoding --> routing --> (the courier)

What an application thread calls may be entered again on that thread at any point: by a finalizer that the
garbage collector runs, by a signal handler. So it takes no lock, waits for nobody and logs nothing.
"""

from __future__ import annotations

import logging
from _queue import Empty
from collections import deque
from collections.abc import Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from .encoded_span import EncodedSpan, Move, Routed, Unencodable
from .encoding.span import SpanEncoder
from .flow.notice import Notice
from .interruption import let_through
from .native import Queue, get_ident, sleep
from .routing.default_flow import DefaultFlow
from .routing.router import Router

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

_Encoded = tuple["ReadableSpan", "EncodedSpan | Unencodable"]
Prepared = tuple[EncodedSpan | Unencodable, str]
"""A span, encoded, and the flow that it belongs to where neither it nor an ancestor has a name."""

NOTHING = object()
"""What is read where no message has come."""

FULL = 2048
"""Spans left and not taken from which on whoever leaves one encodes one: nothing is dropped here, and who ends
spans faster than one thread encodes them pays for it. As many as the SDK's batch processor queues."""

_NAP = 0.001
"""Seconds for which whoever leaves a span lets others run while more than `FULL` wait encoded: in much less nobody
else has woken up."""

BATCH = 512
"""Spans taken at once: the courier looks at what else there is in between."""


class Batch(NamedTuple):
    """Spans on their way to their flows.

    Attributes:
        routed: With their flows.
        moves: Earlier spans that turn out to belong elsewhere; they come after `routed`.
        unencodable: Those that are lost, each with its default flow.
    """

    routed: Sequence[Routed]
    moves: Sequence[Move]
    unencodable: Sequence[tuple[Unencodable, str]]

    @property
    def size(self) -> int:
        """How many spans came."""
        return len(self.routed) + len(self.unencodable)


class Intake:
    """Spans that were left, and messages for whoever takes them. It belongs to one process.

    Args:
        encoder: Makes bytes of spans.
        default_flow: Names the flow of a span that has no name of its own.
        router: Says where spans belong.

    Attributes:
        messages: What the courier waits for: None when spans were left, else a message.
    """

    def __init__(self, encoder: SpanEncoder, default_flow: DefaultFlow, router: Router) -> None:
        self.messages: Queue[Any] = Queue()
        self._encoder = encoder
        self._default_flow = default_flow
        self._router = router
        self._left: deque[ReadableSpan] = deque()
        self._encoded: deque[_Encoded] = deque()
        self._taken_over: Sequence[Routed] = ()
        self._told = False
        self._helping: set[int] = set()  # threads: a finalizer may leave a span in the middle of it

    def __len__(self) -> int:
        """Spans that wait to be taken."""
        return len(self._left) + len(self._encoded) + len(self._taken_over)

    def leave(self, span: ReadableSpan) -> None:
        """Leaves an ended span; the first one since a `take` found none wakes whoever waits for `messages`."""
        self._left.append(span)
        if not self._told:
            self._tell()
        if len(self._left) > FULL and get_ident() not in self._helping:
            self._help()

    def take_over(self, before: Intake, pending: Sequence[Routed]) -> None:
        """Takes what was left with a parent that delivers nothing, and what was pending there."""
        self._left.extend(before._left)
        self._encoded.extend(before._encoded)
        self._taken_over = pending
        self._tell()

    def _tell(self) -> None:
        try:
            self._told = True
            self.messages.put(None)
        except BaseException:
            # From a signal handler, maybe in between: whoever comes next tells.
            self._told = False
            raise

    def next_message(self, seconds: float | None) -> object:
        """Waits for the next of `messages`, so long at most; NOTHING where none has come."""
        try:
            return self.messages.get(seconds != 0, seconds)
        except Empty:
            return NOTHING

    def take(self) -> Batch | None:
        """Takes up to `BATCH` spans, encoded and routed; None when there are none. One thread at a time.

        Only after None who leaves a span wakes whoever waits: he who got some is to look again by himself.
        """
        if self._taken_over:
            routed, self._taken_over = self._taken_over, ()
            return Batch(routed, (), ())
        batch: list[_Encoded] = []
        spans: list[ReadableSpan] = []
        try:
            for _ in range(2):
                _move(self._encoded, batch, BATCH)
                _move(self._left, spans, BATCH)
                if batch or spans:
                    break
                self._told = False  # before the last look: what is left from now on tells again
            else:
                return None
            encoded = [*(made for _, made in batch), *self._encoder.encode(spans)]
            return self.route(self._named([*(span for span, _ in batch), *spans], encoded))
        except BaseException:
            # Nothing was handed over yet; it is tried again.
            self._left.extendleft(reversed(spans))
            self._encoded.extendleft(reversed(batch))
            raise

    def give_up(self) -> int:
        """Gives up all that waits; returns how many spans that are."""
        given_up: list[object] = [*self._taken_over]
        self._taken_over = ()
        _move(self._left, given_up, len(self._left))
        _move(self._encoded, given_up, len(self._encoded))
        return len(given_up)

    def encode(self, spans: Sequence[ReadableSpan]) -> Batch:
        """Encodes and routes spans that were not left, but handed over by an `export`."""
        try:
            return self.route(self.prepare(spans))
        except BaseException:
            self.take_later(spans)  # memory has run out, say
            raise

    def take_later(self, spans: Sequence[ReadableSpan]) -> None:
        """Leaves spans that were handed over by an `export`, and could not be taken at once."""
        self._left.extend(spans)

    def prepare(self, spans: Sequence[ReadableSpan], flow: str | None = None) -> list[Prepared]:
        """Encodes spans; any thread may. `flow`: their default flow, instead of what the setting says."""
        encoded = self._encoder.encode(spans)
        if flow is not None:
            return [(made, flow) for made in encoded]
        return self._named(spans, encoded)

    def _named(
        self, spans: Sequence[ReadableSpan], encoded: Sequence[EncodedSpan | Unencodable]
    ) -> list[Prepared]:
        return list(zip(encoded, self._default_flow.of(spans), strict=True))

    def route(self, prepared: Sequence[Prepared]) -> Batch:
        """Says where spans belong. One thread at a time."""
        lost = [one for one in prepared if isinstance(one[0], Unencodable)]
        good = [one for one in prepared if isinstance(one[0], EncodedSpan)] if lost else prepared
        routed, moves = self._router.route(cast("Sequence[tuple[EncodedSpan, str]]", good))
        return Batch(routed, moves, cast("Sequence[tuple[Unencodable, str]]", lost))

    def remarks(self) -> list[Notice]:
        """What a person should know of the flows' names: lines to log, each of them once."""
        return [Notice(logging.WARNING, line) for line in self._default_flow.remarks()]

    def _help(self) -> None:
        """Encodes the oldest span on the thread that has just left one."""
        me = get_ident()
        oldest: list[ReadableSpan] = []
        try:
            self._helping.add(me)
            _move(self._left, oldest, 1)  # none, where the courier has taken them all
            self._encoded.extend(zip(oldest, self._encoder.encode(oldest), strict=True))
            if not self._told:  # all others were taken meanwhile
                self._tell()
        except BaseException:
            # From a signal handler: the span is not what it hit. Left twice it would still be one.
            self._left.extendleft(oldest)
            raise
        finally:
            self._helping.discard(me)
        if len(self._encoded) > FULL:
            sleep(_NAP)  # many threads encode, but one routes: it would have its turn as one of many


def _move(left: deque[Any], taken: list[Any], most: int) -> None:
    """Takes the oldest. In one call, so that what a signal handler raises finds each here or there."""
    try:
        taken.extend(map(deque.popleft, repeat(left, min(len(left), most))))
    except IndexError as error:  # another thread has taken some meanwhile
        let_through(error)
