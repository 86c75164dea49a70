"""Ways to break the exporter, each of them a promise: worlds must notice every one of them.

Each is a change of the real code, as somebody might make it by mistake.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from opentelemetry.exporter.versori_flow.delivery import attempt, backoff, host_lock, question
from opentelemetry.exporter.versori_flow.flow import (
    exchange,
    holdings,
    outcomes,
    refusal_search,
    remote,
    schedule,
    window,
)
from opentelemetry.exporter.versori_flow.flow.journal import Kept
from opentelemetry.exporter.versori_flow.stores import heritage, own, owned, rows, spool_file

from .redis_broken import REDIS_BROKEN


class Break(NamedTuple):
    """A way to break it.

    Attributes:
        seed: The world that notices it.
        apply: Breaks it, for the rest of this interpreter.
        redis: Whether the processes of these worlds share a Redis.
    """

    seed: int
    apply: Callable[[], None]
    redis: bool = False


def _put(place: Any, **parts: Any) -> Callable[[], None]:
    def apply() -> None:
        for name, part in parts.items():
            setattr(place, name, part)

    return apply


def _around(place: Any, name: str, make: Callable[[Any], Any]) -> Callable[[], None]:
    return _put(place, **{name: make(getattr(place, name))})


def _deliver_what_failed(fail: Any) -> Any:
    def fail_and_deliver(self: Any, *how: Any) -> Any:
        if self.attempt is not None:
            self._spans.deliver(self.attempt.carried)
        return fail(self, *how)

    return fail_and_deliver


def _drop_all_suspects(self: Any, named: Any = ()) -> refusal_search.Verdict:
    self.guilty, self.testing = self.testing, []
    return refusal_search.Verdict.DROP


def _keep_no_description(describe: Any) -> Any:
    return lambda self, description, members: describe(self, None, members)


def _believe(columns: Any) -> rows.Row:
    number, flow, trace_id, span_id, start, end, is_root, _, body = columns
    kept = Kept((rows.as_text(trace_id), rows.as_text(span_id)), start, end, bool(is_root), body)
    return rows.Row(number, rows.as_text(flow), kept)


def _only_at_first(start_anew: Any) -> Any:
    return lambda self: None if hasattr(self, "pid") else start_anew(self)


def _newest_first(self: Any, trace_id: str) -> Any:
    trace = self._traces.get(trace_id)
    return None if trace is None else (not trace.pending, -trace.latest_end, -trace.arrival)


def _forget_the_old_flow(self: Any, key: Any) -> bool:
    self.known.banish(key)
    return False


BROKEN = {
    "a store keeps nothing": Break(6, _put(own.Own, write=lambda self, added: None)),
    "a file keeps nothing": Break(
        2, _put(spool_file.SpoolFile, write=lambda self, number, added, removed: None)
    ),
    "a row is believed without its checksum": Break(42, _put(spool_file, row=_believe)),
    "no orphan is found": Break(2, _put(heritage.Heritage, _adopt=lambda self, side: None)),
    "orphans are looked for once": Break(47, _put(heritage, _BETWEEN_LOOKS=float("inf"))),
    "what is unreadable is not counted": Break(12, _put(heritage.Heirloom, lost=0)),
    "a child keeps its parent's files": Break(199, _around(owned._Table, "start_anew", _only_at_first)),
    "a child keeps its parent's turns": Break(40, _put(host_lock, start_anew=lambda: None)),
    "a turn is not taken": Break(1, _put(host_lock, _lock=lambda path: True)),
    "a turn is not let go": Break(0, _put(host_lock.HostTurn, release=lambda self: None)),
    "what was read is never stale": Break(1, _put(attempt, _STALE=float("inf"))),
    "there is no pacing": Break(3, _put(schedule.Schedule, begun_write=lambda self, now: None)),
    "what a person took away comes back": Break(18, _put(remote.KnownFlow, _let_go=lambda self, shown: None)),
    "there is no back-off": Break(30, _put(backoff, wait_after=lambda failures: 0.0)),
    "nobody's time is ever up": Break(21, _put(question.OpenQuestions, expire=lambda self, now: None)),
    "what failed is delivered": Break(20, _around(exchange.Exchange, "_fail", _deliver_what_failed)),
    "a stray 200 is believed": Break(
        12,
        _put(
            exchange.Exchange,
            _stored=lambda self, attempt, answer, now, in_turn: self._taken(attempt, None, now, in_turn),
        ),
    ),
    "a stray 404 is believed": Break(9, _put(outcomes.Absence, believed=lambda *_: True)),
    "a 413 teaches nothing": Break(
        2, _put(exchange.Exchange, _too_large=lambda self, attempt, answer, now: self._fail(answer, now))
    ),
    "what moves stays in its old flow": Break(192, _put(exchange.Exchange, moved_away=_forget_the_old_flow)),
    "a refusal drops whoever is there": Break(6, _put(refusal_search.Search, refused=_drop_all_suspects)),
    "the description is not kept": Break(0, _around(remote.KnownFlow, "_describe", _keep_no_description)),
    "what others wrote is not adopted": Break(0, _put(remote.KnownFlow, read=lambda *_: None)),
    "a loss is not counted": Break(2, _put(holdings.Holdings, lose=lambda *_: None)),
    "what is pending leaves first": Break(2, _put(window.Window, _rank=_newest_first)),
}
BROKEN |= {how: Break(*broken, redis=True) for how, broken in REDIS_BROKEN.items()}
