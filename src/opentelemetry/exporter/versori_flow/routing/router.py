"""Which flow a span belongs to: its own `versori.flow.name`, else its nearest ancestor's, else the default.

Children end before their parents, so a trace may learn its flow late: what came before then moves. Pure.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from ..encoded_span import EncodedSpan, Move, Routed

MAX_TRACES = 4096
"""Traces remembered; the ones that were quiet for longest are forgotten first, and then can't move."""


class _Trace:
    __slots__ = ("flows", "heirs", "names")

    def __init__(self) -> None:
        self.flows: dict[str, str] = {}  # where each span went
        self.names: dict[str, str] = {}  # the name that it or an ancestor gave, where one is known
        # Spans without a name of their own, by their parent: they inherit what it learns, or learns anew.
        self.heirs: dict[str, dict[str, None]] = {}


class Router:
    """Remembers the traces under way, up to `max_spans` over all of them."""

    def __init__(self, max_spans: int) -> None:
        self._max_spans = max_spans
        self._spans = 0
        self._traces: OrderedDict[str, _Trace] = OrderedDict()

    def route(self, spans: Iterable[tuple[EncodedSpan, str]]) -> tuple[list[Routed], list[Move]]:
        """Routes spans, each given with its default flow: where neither it nor an ancestor has a name.

        Returns:
            The spans with their flows, and what must move after that: earlier spans, or one of these.
        """
        moves: list[Move] = []
        new: list[EncodedSpan] = []
        routed = [(self._route(span, default, moves, new), span) for span, default in spans]
        if moves:
            # A span goes to its last flow at once, where the spans that tell of it came together with it: on
            # the way through another one it would push out what is there.
            first_seen = {(span.trace_id, span.span_id) for span in new}
            last = {(move.trace_id, move.span_id): move.target for move in moves}
            first = {(move.trace_id, move.span_id): move.source for move in reversed(moves)}
            routed = [(last.get((span.trace_id, span.span_id), flow), span) for flow, span in routed]
            moves = [
                Move(first[key], target, *key)
                for key, target in last.items()
                if key not in first_seen and first[key] != target
            ]
        self._forget()
        return routed, moves

    def _route(self, span: EncodedSpan, default: str, moves: list[Move], new: list[EncodedSpan]) -> str:
        trace_id, span_id, parent_id, _, _, _, _, name = span
        trace = self._traces.get(trace_id)
        if trace is None:
            trace = self._traces[trace_id] = _Trace()
        else:
            self._traces.move_to_end(trace_id)
        before = trace.flows.get(span_id)
        if before is None:
            self._spans += 1
            new.append(span)
        if parent_id is not None:
            if name is None:
                heirs = trace.heirs.get(parent_id)
                if heirs is None:
                    trace.heirs[parent_id] = {span_id: None}
                else:
                    heirs[span_id] = None
                name = trace.names.get(parent_id)
            elif before is not None and parent_id in trace.heirs:
                trace.heirs[parent_id].pop(span_id, None)
        flow = trace.flows[span_id] = default if name is None else name
        if before is not None and before != flow:
            moves.append(Move(before, flow, trace_id, span_id))
        if name is not None:
            trace.names[span_id] = name
            _tell_descendants(trace, trace_id, span_id, name, moves)
        elif before is not None:
            trace.names.pop(span_id, None)
        return flow

    def _forget(self) -> None:
        while self._spans > self._max_spans or len(self._traces) > MAX_TRACES:
            trace_id, trace = next(iter(self._traces.items()))
            if len(self._traces) > 1:
                del self._traces[trace_id]
                self._spans -= len(trace.flows)
                continue
            # One trace that is longer than everything: its older half can't move any more. By halves, so that
            # going through all of it is paid by as many spans.
            for span_id in list(trace.flows)[: len(trace.flows) // 2 + 1]:
                del trace.flows[span_id]
                trace.names.pop(span_id, None)
                self._spans -= 1
            trace.heirs = {
                parent: left
                for parent, heirs in trace.heirs.items()
                if (left := {heir: None for heir in heirs if heir in trace.flows})
            }


def _tell_descendants(trace: _Trace, trace_id: str, span_id: str, name: str, moves: list[Move]) -> None:
    ancestors = [span_id]
    while ancestors:
        for heir in trace.heirs.get(ancestors.pop(), ()):
            if trace.names.get(heir) == name:
                continue
            if trace.flows[heir] != name:
                moves.append(Move(trace.flows[heir], name, trace_id, heir))
            trace.flows[heir] = trace.names[heir] = name
            ancestors.append(heir)
