"""Puts the modelled machine under the product."""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace
from typing import Any

from opentelemetry.exporter.versori_flow import descriptors, native
from opentelemetry.exporter.versori_flow.delivery import attempt, backoff, dispatcher, host_lock, keeper
from opentelemetry.exporter.versori_flow.flow import flows, holdings, stored, window
from opentelemetry.exporter.versori_flow.stores import folder, heritage, owned, spool, spool_file

from .database import Connection
from .files import Files
from .machine import Violation, clock, here
from .redis_fleet import install_fleet


class _Chance:
    """Stands where a module of the product has `random`, or `secrets`."""

    def uniform(self, low: float, high: float) -> float:
        return float(here.process.random.uniform(low, high))

    def random(self) -> float:
        return float(here.process.random.random())

    def sample(self, among: list[Any], count: int) -> list[Any]:
        return list(here.process.random.sample(among, count))

    def token_hex(self, size: int) -> str:
        return f"{here.process.random.getrandbits(8 * size):0{2 * size}x}"


def _raise(error: BaseException) -> Any:
    """A fault of ours is not to be hidden as an attempt that failed."""
    if isinstance(error, Violation):
        raise error
    raise Violation(f"{type(error).__name__} within the flows") from error


def install() -> None:
    """Puts the modelled machine under the product, for the rest of this interpreter."""
    files, chance = Files(), _Chance()
    locks = SimpleNamespace(lockf=files.lockf, LOCK_EX=2, LOCK_NB=4)
    _put(native, _clock=(clock.monotonic,))
    # What one process has read another one need not parse again.
    _put(attempt, read=lru_cache(256)(stored.read))
    _put(dispatcher, time=clock, failed_by=_raise)
    _put(keeper, time=clock)
    _put(flows, failed_by=_raise)
    _put(backoff, random=chance)
    _put(host_lock, os=files, fcntl=locks, random=chance)
    _put(owned, os=files, fcntl=locks)
    _put(descriptors, os=files)
    _put(folder, os=files, time=clock, secrets=chance)
    _put(spool_file, os=files, time=clock, Connection=Connection)
    _put(heritage, os=files)
    _put(spool, os=files)
    install_fleet(chance, files)
    drop: Any = holdings.Holdings.drop

    def note(self: Any, entries: Any, reason: Any, detail: str) -> Any:
        dropped = drop(self, entries, reason, detail)
        here.process.dropped.update(entry.key for entry in dropped)
        here.process.promises.has_dropped(self, dropped, reason)
        return dropped

    trim: Any = window.Window.trim

    def look(self: Any) -> Any:
        delivered = [trace_id for trace_id, trace in self._traces.items() if not trace.pending]
        lost = trim(self)
        if lost and any(trace_id in self._traces for trace_id in delivered):
            raise Violation(f"{here.process} pushes out what is pending, and keeps what is delivered")
        return lost

    _put(window.Window, trim=look)
    learn: Any = holdings.Holdings.learn

    def note_news(self: Any, news: Any, now_ns: int) -> None:
        pending = [
            key for key in news.dropped if (entry := self.window.get(key)) is not None and entry.pending
        ]
        learn(self, news, now_ns)
        here.process.dropped.update(key for key in pending if self.window.get(key) is None)

    _put(holdings.Holdings, drop=note, learn=note_news)


def _put(place: Any, **parts: Any) -> None:
    for name, part in parts.items():
        setattr(place, name, part)
