"""Which flow a span belongs to: its own `versori.flow.name`, else its nearest ancestor's, else the default.

Children end before their parents, so a trace may learn its flow late: what came before then moves. Pure.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

from ..encoded_span import EncodedSpan, Move, Routed

_REMEMBERED_DEFAULTS = 1024

MAX_TRACES = 4096
"""Traces remembered; the ones that were quiet for longest are forgotten first, and then can't move."""


class _Known(NamedTuple):
    """Where a span went, and the name that it or an ancestor gave, if any is known."""

    flow: str
    name: str | None


class _Trace:
    __slots__ = ("heirs", "spans")

    def __init__(self) -> None:
        self.spans: dict[str, _Known] = {}
        # Spans without a name of their own, by their parent: they inherit what it learns, or learns anew.
        self.heirs: dict[str, dict[str, None]] = {}


class Router:
    """Remembers the traces under way.

    Args:
        max_spans: Most spans remembered over all traces.
    """

    def __init__(self, max_spans: int) -> None:
        self._max_spans = max_spans
        self._spans = 0
        self._traces: OrderedDict[str, _Trace] = OrderedDict()
        # By default flow: most spans have no name, and one value serves all of a flow.
        self._nameless: dict[str, _Known] = {}

    def route(self, spans: Iterable[tuple[EncodedSpan, str]]) -> tuple[list[Routed], list[Move]]:
        """Routes spans.

        Args:
            spans: Each with its default flow, which it goes to when neither it nor an ancestor has a name.

        Returns:
            The spans with their flows, and the earlier spans that must move. The moves come after the spans:
            they may name one of them.
        """
        routed: list[Routed] = []
        moves: list[Move] = []
        new: set[tuple[str, str]] = set()
        for span, default in spans:
            routed.append(Routed(self._route(span, default, moves, new), span))
        if moves:
            # A span goes to its last flow at once, where the spans that tell of it came together with it: on
            # the way through another one it would push out what is there.
            last = {(move.trace_id, move.span_id): move.target for move in moves}
            routed = [Routed(last.get((span.trace_id, span.span_id), flow), span) for flow, span in routed]
            first: dict[tuple[str, str], Move] = {}
            for move in moves:
                first.setdefault((move.trace_id, move.span_id), move)
            moves = [
                Move(move.source, last[key], *key)
                for key, move in first.items()
                if key not in new and move.source != last[key]
            ]
        self._forget()
        return routed, moves

    def _route(self, span: EncodedSpan, default: str, moves: list[Move], new: set[tuple[str, str]]) -> str:
        trace_id, span_id, parent_id, _, _, _, _, name = span
        trace = self._traces.get(trace_id)
        if trace is None:
            trace = self._traces[trace_id] = _Trace()
        else:
            self._traces.move_to_end(trace_id)
        before = trace.spans.get(span_id)
        if before is None:
            self._spans += 1
            new.add((trace_id, span_id))
        if parent_id is not None:
            if name is not None:
                if before is not None and parent_id in trace.heirs:
                    trace.heirs[parent_id].pop(span_id, None)
            else:
                heirs = trace.heirs.get(parent_id)
                if heirs is None:
                    heirs = trace.heirs[parent_id] = {}
                heirs[span_id] = None
                parent = trace.spans.get(parent_id)
                name = parent.name if parent is not None else None
        if name is not None:
            known = _Known(name, name)
        else:
            known = self._nameless.get(default) or self._remember_nameless(default)
        if before is not None and before.flow != known.flow:
            moves.append(Move(before.flow, known.flow, trace_id, span_id))
        trace.spans[span_id] = known
        if name is not None:
            _tell_descendants(trace, trace_id, span_id, name, moves)
        return known.flow

    def _remember_nameless(self, default: str) -> _Known:
        if len(self._nameless) >= _REMEMBERED_DEFAULTS:
            self._nameless.clear()
        known = self._nameless[default] = _Known(default, None)
        return known

    def _forget(self) -> None:
        while self._spans > self._max_spans or len(self._traces) > MAX_TRACES:
            trace_id, trace = next(iter(self._traces.items()))
            if len(self._traces) > 1:
                del self._traces[trace_id]
                self._spans -= len(trace.spans)
                continue
            # One trace that is longer than everything: its older half can't move any more.
            for span_id in list(trace.spans)[: len(trace.spans) // 2 + 1]:
                del trace.spans[span_id]
                self._spans -= 1
            trace.heirs = {
                parent: left
                for parent, heirs in trace.heirs.items()
                if (left := {heir: None for heir in heirs if heir in trace.spans})
            }


def _tell_descendants(trace: _Trace, trace_id: str, span_id: str, name: str, moves: list[Move]) -> None:
    ancestors = [span_id]
    while ancestors:
        for heir in trace.heirs.get(ancestors.pop(), ()):
            known = trace.spans[heir]
            if known.name == name:
                continue
            if known.flow != name:
                moves.append(Move(known.flow, name, trace_id, heir))
            trace.spans[heir] = _Known(name, name)
            ancestors.append(heir)
