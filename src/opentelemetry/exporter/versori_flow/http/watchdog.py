"""One deadline over a whole request: a thread cuts its connection when the time has come."""

from __future__ import annotations

import contextlib
import socket
import time
from _queue import Empty
from _socket import socket as native_socket
from typing import Any, Protocol

from ..native import Queue, start_thread

_FOREVER = float("inf")
# It ends after so long without a request: one that was dropped, never closed, keeps no thread. And no later than
# so it looks again, so that a request need not wake it for its sake.
_SECONDS = 1.0


class Watched(Protocol):
    """A request under way. `cut_off`: it has been cut."""

    deadline: float
    cut_off: bool

    def cut(self) -> None:
        """Ends the connection under the request; from any thread."""


class Watchdog:
    """Cuts the requests whose deadline has passed. It takes no lock, and refers to no more than it watches."""

    def __init__(self) -> None:
        self._watched: set[Watched] = set()
        self._calls: Queue[None] = Queue()
        self._next_look = _FOREVER
        self._runs = False
        self._ended = False

    def watch(self, request: Watched) -> None:
        """From now on the request is cut at its deadline, as far as a thread can be had for that."""
        self._watched.add(request)
        if not self._runs:
            self._runs = True
            self._runs = start_thread(self._run)
        elif request.deadline < self._next_look:
            self._calls.put(None)

    def leave(self, request: Watched) -> None:
        """The request is over."""
        self._watched.discard(request)

    def end(self) -> None:
        """Cuts all that is under way, and ends."""
        self._ended = True
        for request in list(self._watched):
            request.cut()
        self._calls.put(None)

    def _run(self) -> None:
        try:
            used = time.monotonic()
            while True:
                self._next_look = _FOREVER  # whoever comes now calls
                now = time.monotonic()
                if self._watched:
                    used = now
                elif self._ended or now - used >= _SECONDS:
                    self._runs = False
                    if not self._watched:
                        return
                    self._runs = True
                self._next_look = min(self._cut_late(now), now + _SECONDS)
                with contextlib.suppress(Empty):
                    self._calls.get(timeout=max(0.0, self._next_look - time.monotonic()))
        except BaseException:
            self._runs = False
            raise

    def _cut_late(self, now: float) -> float:
        """Returns the nearest deadline."""
        nearest = _FOREVER
        for request in list(self._watched):
            if request.deadline <= now and not request.cut_off:
                request.cut()
            elif not request.cut_off:
                nearest = min(nearest, request.deadline)
        return nearest


def shut(sock: Any) -> None:
    """Ends a connection under whoever waits for it; the socket stays theirs to close."""
    # Not SSLSocket.shutdown: it drops the TLS layer first, and what is being sent would leave in the clear.
    plain: Any = native_socket if isinstance(sock, native_socket) else socket.socket
    with contextlib.suppress(OSError):
        plain.shutdown(sock, socket.SHUT_RDWR)
