"""What a local platform holds of its process, given back in whatever way it ends: closed, dropped, or forked."""

from __future__ import annotations

import os
import warnings
import weakref
from typing import Protocol

from .http_server import HttpServer
from .receiver import Receiver
from .saved_flows import SavedFlows


class Shared(Protocol):
    """What the threads of a platform share, behind a lock."""

    def leave(self) -> None:
        """Takes a lock of its own in a forked child."""


_all: weakref.WeakSet[Holdings] = weakref.WeakSet()


class Holdings:
    """A port, a thread, a folder, and what delivers spans that came as OTLP.

    Args:
        owner: Who holds them: they are given back where it is dropped without ``close``.
        receiver: Delivers.
        server: Has the port and the thread.
        flows: Have the folder.
        *shared: What else its threads share: a forked child can look at it still.
    """

    def __init__(
        self,
        owner: object,
        receiver: Receiver,
        server: HttpServer,
        flows: SavedFlows,
        *shared: Shared,
    ) -> None:
        self._receiver = receiver
        self._server = server
        self._flows = flows
        self._left_behind: tuple[Shared, ...] = (server, flows, *shared)
        self._pid = os.getpid()
        self._dropped = weakref.finalize(owner, self._drop)
        # The end of the process gives all back.
        self._dropped.atexit = False
        _all.add(self)

    def close(self) -> None:
        """Gives all back; in a forked child, does nothing."""
        self._dropped.detach()
        if self._pid == os.getpid():
            self._receiver.close()
        self._server.close()
        self._flows.close()

    def leave(self) -> None:
        """In a forked child: all stays with the parent."""
        for left in self._left_behind:
            left.leave()

    def _drop(self) -> None:
        if self._pid == os.getpid():
            warnings.warn(
                f"unclosed local platform on port {self._server.port}", ResourceWarning, stacklevel=2
            )
            self.close()


def _leave() -> None:
    for holdings in list(_all):
        holdings.leave()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave)
