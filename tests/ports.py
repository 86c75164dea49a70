"""A port that nobody listens on."""

from __future__ import annotations

import socket


def free_port() -> int:
    """One of this host's, until somebody takes it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
