"""A line to the platform, one client of httpx with one connection, and a request under way on it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from http.cookiejar import DefaultCookiePolicy
from ssl import SSLContext
from typing import Any

import httpx

from .watchdog import shut

# Longer than the batch processor's default schedule of 5 s, shorter than what load balancers allow (60 s).
KEEPALIVE_SECONDS = 30.0
_LIMITS = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEPALIVE_SECONDS)
# settimeout() refuses what the platform's time type can't hold, and a deadline may be infinite.
_LONGEST_WAIT = 3600.0
_LONGEST_CONNECT = 10.0
# Of a body: between two pieces the deadline is looked at, and what is left of one is copied at each send.
_PIECE = 1 << 18


class Line:
    """One client with at most one connection; used by one thread at a time.

    Attributes:
        held: The connection's socket.
        peer: Whom it is connected to: the platform, or a proxy.
        idle_since: When its last request ended; None before that.
    """

    def __init__(self, tls: SSLContext) -> None:
        # The proxies are those of the environment.
        self.client = httpx.Client(verify=tls, limits=_LIMITS, event_hooks={"response": [_set_aside]})
        self.client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.held: Any = None
        self.peer: tuple[str, int] | None = None
        self.idle_since: float | None = None


class Request:
    """One request and its answer, as the watchdog sees it."""

    def __init__(self, line: Line, deadline: float) -> None:
        self.deadline = deadline
        self.cut_off = False
        self.connected = False  # a connection was made for it
        self.answered = False
        self.tls: tuple[str, bool] | None = (
            None  # with whom it was begun; whether with whom it is connected to
        )
        self.line = line
        self._copy: Any = None

    def extensions(self) -> dict[str, Any]:
        """What httpx takes to keep the time of each operation, and to tell of the connection."""
        left = min(self.left(), _LONGEST_WAIT)
        # For each address of a name, and for the handshake: dead addresses should leave time for a live one.
        connect = min(_LONGEST_CONNECT, max(min(left, 1.0), left / 4))
        return {
            "timeout": {"connect": connect, "read": left, "write": left, "pool": left},
            "trace": self._trace,
        }

    def left(self) -> float:
        """Returns the seconds left; raises where there are none."""
        seconds = self.deadline - time.monotonic()
        if seconds <= 0 or self.cut_off:
            raise httpx.ReadTimeout("the deadline has passed")
        return seconds

    def pieces(self, body: bytes) -> Iterator[bytes]:
        """Yields a body, as long as there is time to send it."""
        for start in range(0, len(body), _PIECE):
            self.left()
            yield body[start : start + _PIECE]

    def cut(self) -> None:
        """Ends the connection under the request; from any thread."""
        self.cut_off = True
        if self.line.held is not None:
            shut(self.line.held)

    def end(self) -> None:
        """Lets go of what was made for the request alone."""
        if self._copy is not None:
            self._copy.close()

    def _trace(self, event: str, info: dict[str, Any]) -> None:
        """Follows the connection's socket; called on the thread of the request."""
        if event.endswith("send_request_headers.started"):
            self.left()  # connecting took a while, or the process was stopped
        elif event.endswith("connect_tcp.started"):
            self.connected = True
            self.line.peer = (info.get("host", ""), info.get("port", 0))
        elif event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._hold(info["return_value"].get_extra_info("socket"))
        elif event.endswith("start_tls.started"):
            self.tls = (info.get("server_hostname") or "", event.startswith("connection."))
            with contextlib.suppress(
                NotImplementedError
            ):  # TLS inside of TLS leaves the outer socket as it is
                # The handshake takes the descriptor away from the object that is held.
                self._copy = self.line.held.dup()
                self._hold(self._copy)

    def _hold(self, sock: Any) -> None:
        self.line.held = sock
        if self.cut_off:  # before it was held
            shut(sock)


def _set_aside(response: httpx.Response) -> None:
    # httpx would make up the next request, and fail where the address is none.
    response.headers["x-location"] = response.headers.pop("location", "")
