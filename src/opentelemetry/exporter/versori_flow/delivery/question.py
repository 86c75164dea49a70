"""What callers ask of the courier, and wait for; and what of it is open still."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from ..intake import Batch, Prepared
from ..native import Waiter, monotonic

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from ..encoded_span import EncodedSpan, Move
    from ..flow.flows import Flows, Receipt
    from ..flow.window import Key


class Kind(Enum):
    """What is asked; where nothing else is said, the answer is True or False."""

    EXPORT = "take these spans; are they delivered?"
    ACCEPT = "take these spans; are they taken, and is their flow not in trouble?"
    OFFER = "take these spans if nothing that is pending has to leave for them: Taken, or None"
    FLUSH = "deliver what is pending; is it?"
    SHUTDOWN = "deliver what is pending, read back, end: True once it has ended"
    LET_GO = "the exporter is gone: end as soon as nothing is pending; nobody waits"
    STATUS = "how does every flow do?"
    TOTALS = "how many spans, over all flows?"


class Taken(NamedTuple):
    """Spans that were offered are in their windows, and in the store where that outlives the process.

    Attributes:
        too_large: How many of them are too large for any window, and lost.
    """

    too_large: int


class Question:
    """One call, as a message to the courier.

    Args:
        kind: What is asked.
        until: How long the caller waits, in seconds of `native.monotonic()`.
        spans: To take, for an EXPORT.
        prepared: To take, for an OFFER.

    Attributes:
        waiter: Takes the answer.
        receipts: What the answer still depends on, by flow name.
        failed: Whether some of it will not be delivered by then.
    """

    __slots__ = ("failed", "kind", "prepared", "receipts", "spans", "until", "waiter")

    def __init__(
        self,
        kind: Kind,
        until: float,
        spans: Sequence[ReadableSpan] = (),
        prepared: Sequence[Prepared] = (),
    ) -> None:
        self.kind = kind
        self.prepared = prepared
        self.until = until
        self.spans = spans
        self.waiter = Waiter()
        self.receipts: dict[str, Receipt] = {}
        self.failed = False


def at_rest(question: Question, flows: Flows) -> object:
    """Answers what needs no delivery, or comes when it is over; then any thread may ask."""
    if question.kind is Kind.STATUS:
        return flows.memory.status(monotonic())
    totals = flows.memory.totals()
    if question.kind is Kind.TOTALS:
        return totals
    return question.kind is Kind.SHUTDOWN or (question.kind is Kind.FLUSH and not totals.pending)


class OpenQuestions:
    """What is asked and not answered yet, and answers that are not given yet.

    Args:
        flows: What the questions are about.

    Attributes:
        ending: Those that wait for the exporter's end.
    """

    def __init__(self, flows: Flows) -> None:
        self.ending: list[Question] = []
        self._flows = flows
        self._open: dict[Question, None] = {}  # for its order; one that has its answer leaves in no time
        self._answers: list[tuple[Question, object]] = []
        self._offered: list[tuple[Question, Batch, int]] = []
        self._hit: list[Question] = []
        # What the router has noted, and there was no room for yet: one for each span that is held.
        self._owed_moves: dict[Key, Move] = {}

    @property
    def next_end(self) -> float:
        """When the first of them waits no longer."""
        if not (self._open or self.ending):
            return float("inf")
        return min(question.until for question in (*self._open, *self.ending))

    @property
    def last_call(self) -> float:
        """When the exporter ends, whatever is left: the first shutdown says so, and others only wait for it."""
        first = self._first_shutdown if self.ending else None
        return float("inf") if first is None else first.until

    @property
    def _first_shutdown(self) -> Question | None:
        return next((question for question in self.ending if question.kind is Kind.SHUTDOWN), None)

    def add_end(self, question: Question, now: float) -> None:
        """Takes a question that ends the exporter; the first shutdown says when."""
        if question.kind is Kind.SHUTDOWN and self._first_shutdown is None:
            self._flows.close(now, question.until)
        self.ending.append(question)

    def add(self, question: Question, receipts: Sequence[Receipt], now: float) -> None:
        """Takes a question that depends on these receipts."""
        question.receipts = {receipt.flow.name: receipt for receipt in receipts}
        self._open[question] = None
        self._look_at(question, list(question.receipts), now)
        if question.kind is Kind.ACCEPT and question in self._open:
            self._conclude(question, True)

    def admit(self, question: Question, batch: Batch) -> Iterator[Batch]:
        """What of an offer is to be handed over, each before the next is asked for: moves, then all spans or none.

        A span that has to move, and that comes again, leaves its place together with that: later it might take
        its older text to where the newer one has been delivered.
        """
        for move in batch.moves:
            key = move.trace_id, move.span_id
            before = self._owed_moves.pop(key, None)
            source = self._flows.memory.flows.get(move.source)
            if before is not None and before.target == move.source:
                move = before._replace(target=move.target)
            elif source is None or key not in source.window:
                continue
            self._owed_moves[key] = move
        if (moving := self.owed()) is not None:
            yield moving
        too_large = self._flows.memory.admits(batch.routed)
        if too_large is None:
            self.answer(question, None)
            return
        self._offered.append((question, batch, too_large))
        again = [
            (span.trace_id, span.span_id)
            for flow, span in batch.routed
            if self._is_owed(flow, span) and self._flows.memory.fits(flow, span)
        ]
        yield batch._replace(moves=[self._owed_moves.pop(key) for key in dict.fromkeys(again)])

    def owed(self) -> Batch | None:
        """Moves that there was no room for, as far as there is room by now; None: none."""
        if not self._owed_moves:
            return None
        moves = list(self._owed_moves.items())
        ready = moves[: self._flows.memory.may_move([move for _, move in moves])]
        for key, _ in ready:
            del self._owed_moves[key]
        return Batch((), [move for _, move in ready], ()) if ready else None

    def _is_owed(self, flow: str, span: EncodedSpan) -> bool:
        move = self._owed_moves.get((span.trace_id, span.span_id))
        return move is not None and move.target == flow

    def look(self, flow_name: str, now: float) -> None:
        """An attempt at that flow is over: which questions does it settle?"""
        for question in [question for question in self._open if flow_name in question.receipts]:
            self._look_at(question, [flow_name], now)

    def expire(self, now: float) -> None:
        """Ends those whose time is up; of the attempts that they waited for nobody else needs to."""
        for question in [question for question in self._open if question.until <= now]:
            if question not in self._open:  # another one has ended it
                continue
            self._conclude(question, False)
            if question.kind is Kind.EXPORT:
                self._flows.waited_in_vain(list(question.receipts.values()), now)
                for name in question.receipts:
                    self.look(name, now)
        first = self._first_shutdown
        for question in [q for q in self.ending if q.until <= now and q is not first]:
            self.ending.remove(question)
            self.answer(question, False)

    def end(self) -> None:
        """The exporter has ended."""
        for question in list(self._open):
            self._conclude(question, False)
        for question in self._hit:
            self.answer(question, False)
        while self.ending:
            self.answer(self.ending.pop(), True)

    def hit(self, question: Question) -> None:
        """A fault came before it could be dealt with: a flush is to be asked again, see `take_hit`."""
        if question.kind is Kind.FLUSH:
            self._hit.append(question)
        elif question not in self.ending:
            self.answer(question, at_rest(question, self._flows))

    def take_hit(self, now: float) -> list[Question]:
        """Those that are to be asked again, as far as somebody waits for them still; looks at all others."""
        for question in list(self._open):
            self._look_at(question, list(question.receipts), now)
        hit, self._hit = self._hit, []
        return [question for question in hit if question.until > now]

    def answer(self, question: Question, answer: object) -> None:
        """Keeps an answer until `give`."""
        self._answers.append((question, answer))

    def give(self, is_safe: Callable[[str, Key], bool]) -> None:
        """Gives the answers; an offer is taken once each of its spans is safe."""
        offered, self._offered = self._offered, []
        for question, batch, too_large in offered:
            safe = all(is_safe(flow, (span.trace_id, span.span_id)) for flow, span in batch.routed)
            self.answer(question, Taken(too_large) if safe else None)
        answers, self._answers = self._answers, []
        for question, answer in answers:
            question.waiter.give(answer)

    def _look_at(self, question: Question, names: Sequence[str], now: float) -> None:
        flushes = question.kind is Kind.FLUSH
        for name in names:
            receipt = question.receipts[name]
            verdict = receipt.flow.flushed(receipt.mark) if flushes else self._flows.verdict(receipt, now)
            if verdict is not None:
                del question.receipts[name]
                question.failed |= not verdict
        if not question.receipts or (question.failed and not flushes):
            self._conclude(question, not question.failed)

    def _conclude(self, question: Question, answer: bool) -> None:
        del self._open[question]
        self.answer(question, answer)
