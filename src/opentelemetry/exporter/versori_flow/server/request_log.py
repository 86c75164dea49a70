"""The record of requests: what came in, when, and what was answered."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TextIO

# Enough for any test; an evening of development must not fill the memory, long heads neither.
_MOST_REQUESTS = 10_000
_MOST_BYTES = 16 * 1024 * 1024
_logger = logging.getLogger(__name__)
# A request holds its headers and fault: its line is for whoever asked by `tell`, not for the application's log.
_logger.setLevel(logging.WARNING)


@dataclass
class Request:
    """One request to the API.

    Attributes:
        method: The HTTP method.
        path: The path as it was sent, still percent-encoded.
        flow: The name of the flow, decoded; None for a list of flows.
        headers: The headers in lower case; of credentials the scheme only.
        at: When it came in, on the monotonic clock.
        size: Bytes of body that came in.
        status: The status that was answered; None while there is none, or where a fault withheld it.
        seconds: How long the answer took; None while the request is under way.
        fault: The fault that struck, in the words it was ordered with; None without one.
    """

    method: str
    path: str
    flow: str | None
    headers: Mapping[str, str]
    at: float
    size: int = 0
    status: int | None = None
    seconds: float | None = None
    fault: str | None = None

    def __str__(self) -> str:
        """A line for people: no control characters, whatever was sent."""
        line = f"{self.method} {self.path} -> {self.status or 'no answer'}, {self.size} bytes"
        line += "" if self.seconds is None else f", {self.seconds * 1000:.1f} ms"
        return ascii(line + (f", fault {self.fault}" if self.fault else ""))[1:-1]


@dataclass
class RequestLog:
    """The latest requests, and counts of all of them; safe to use from several threads.

    Kept are 10,000 requests at most, and 16 MiB of what their heads hold.
    """

    changed: threading.Condition = field(default_factory=threading.Condition)
    _requests: deque[Request] = field(default_factory=deque)
    _bytes: int = 0
    _counts: Counter[tuple[str, int | None]] = field(default_factory=Counter)

    def begin(self, method: str, path: str, flow: str | None, headers: Mapping[str, str]) -> Request:
        """Notes a request as soon as its head is in."""
        request = Request(method, path, flow, headers, time.monotonic())
        with self.changed:
            self._requests.append(request)
            self._bytes += _weight(request)
            while len(self._requests) > _MOST_REQUESTS or self._bytes > _MOST_BYTES:
                self._bytes -= _weight(self._requests.popleft())
            self.changed.notify_all()
        return request

    def note(self, request: Request, change: Callable[[Request], None]) -> None:
        """Changes a request and wakes those who wait for it."""
        with self.changed:
            change(request)
            self.changed.notify_all()

    def end(self, request: Request, status: int | None) -> None:
        """Notes the answer, once; None where none was given."""
        with self.changed:
            first = request.seconds is None
            if first:
                request.status = status
                request.seconds = time.monotonic() - request.at
                self._counts[request.method, status] += 1
            self.changed.notify_all()
        if first:
            _logger.info("%s", request)

    def requests(self) -> list[Request]:
        """The latest requests, oldest first."""
        with self.changed:
            return list(self._requests)

    def counts(self) -> Counter[tuple[str, int | None]]:
        """How many requests were answered, by method and status."""
        with self.changed:
            return Counter(self._counts)

    def clear(self) -> None:
        """Forgets all requests and counts."""
        with self.changed:
            self._requests.clear()
            self._bytes = 0
            self._counts.clear()

    def leave(self) -> None:
        """In a forked child: who held the lock is not there to let it go."""
        self.changed = threading.Condition()


def _weight(request: Request) -> int:
    heads = sum(len(name) + len(value) for name, value in request.headers.items())
    return len(request.path) + len(request.flow or "") + heads


def tell(stream: TextIO) -> None:
    """Writes a line for each request that is over."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    _logger.addHandler(handler)
    _logger.setLevel(logging.INFO)
    _logger.propagate = False
