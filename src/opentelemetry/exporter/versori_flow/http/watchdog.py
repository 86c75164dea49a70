"""What cuts the requests whose time has come."""

from __future__ import annotations

import contextlib
from _queue import Empty

from ..native import Queue, monotonic, start_thread
from .line import Exchange

# It ends after so long without a request: a client that was dropped, never closed, keeps no thread.
# And no later than so it looks again, so that a request need not wake it for its sake.
_LOOK_SECONDS = 1.0
_FOREVER = float("inf")


class Watchdog:
    """Cuts the requests whose deadline has passed. It takes no lock, and refers to no more than it watches."""

    def __init__(self) -> None:
        self._watched: set[Exchange] = set()
        self._calls: Queue[None] = Queue()
        self._next_look = _FOREVER
        self._runs = False
        self._ended = False

    def watch(self, exchange: Exchange) -> None:
        """From now on the request is cut at its deadline, as far as a thread can be had for that."""
        self._watched.add(exchange)
        if not self._runs:
            self._runs = True
            self._runs = start_thread(self._run)
        elif exchange.deadline < self._next_look:
            self._calls.put(None)

    def leave(self, exchange: Exchange) -> None:
        """The request is over."""
        self._watched.discard(exchange)

    def end(self) -> None:
        """Cuts all that is under way, and ends."""
        self._ended = True
        for exchange in list(self._watched):
            exchange.cut()
        self._calls.put(None)

    def _run(self) -> None:
        try:
            used = monotonic()
            while True:
                self._next_look = _FOREVER  # whoever comes now calls
                now = monotonic()
                if self._watched:
                    used = now
                elif self._ended or now - used >= _LOOK_SECONDS:
                    self._runs = False
                    if not self._watched:
                        return
                    self._runs = True
                self._next_look = min(self._cut_late(now), now + _LOOK_SECONDS)
                with contextlib.suppress(Empty):
                    self._calls.get(timeout=max(0.0, self._next_look - monotonic()))
        except BaseException:
            self._runs = False
            raise

    def _cut_late(self, now: float) -> float:
        """Returns the nearest deadline."""
        nearest = _FOREVER
        for exchange in list(self._watched):
            if exchange.deadline <= now and not exchange.cut_off:
                exchange.cut()
            elif not exchange.cut_off:
                nearest = min(nearest, exchange.deadline)
        return nearest
