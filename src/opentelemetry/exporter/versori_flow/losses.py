"""Why a span is lost. Every loss has one of these reasons, and is counted where it is decided."""

from __future__ import annotations

from enum import Enum


class DropReason(str, Enum):
    """Why a span will not show up in its flow.

    Attributes:
        UNENCODABLE: It could not be turned into JSON.
        WINDOW_FULL: Newer traces pushed it out before it was delivered: the platform is down for too long,
            or `max_spans` and `max_bytes` are too small for the traffic.
        TOO_LARGE: It alone is larger than `max_bytes`, or than what the platform takes (413).
        REFUSED: The platform refuses it (400, 422).
        SHUTDOWN: It was still waiting when the exporter shut down, or came afterwards.
    """

    UNENCODABLE = "unencodable"
    WINDOW_FULL = "window_full"
    TOO_LARGE = "too_large"
    REFUSED = "refused"
    SHUTDOWN = "shutdown"
