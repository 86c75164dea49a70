"""What a local platform holds of its process, given back in whatever way it ends: closed, dropped, or forked."""

from __future__ import annotations

import os
import warnings
import weakref

from .http_server import HttpServer
from .receiver import Receiver
from .saved_flows import SavedFlows

_all: weakref.WeakSet[Holdings] = weakref.WeakSet()


class Holdings:
    """A port, a thread, a folder, and what delivers spans that came as OTLP.

    Args:
        owner: Who holds them: they are given back where it is dropped without ``close``.
        receiver: Delivers.
        server: Has the port and the thread.
        flows: Have the folder.
    """

    def __init__(self, owner: object, receiver: Receiver, server: HttpServer, flows: SavedFlows) -> None:
        self._receiver = receiver
        self._server = server
        self._flows = flows
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
        self._server.leave()
        self._flows.leave()

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
