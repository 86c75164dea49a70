"""What holds for every flow, and how one does. Values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple


class FlowPolicy(NamedTuple):
    """What holds for every flow of an exporter; see the settings of the same names.

    Attributes:
        backoff: The wait in seconds after so many failed attempts in a row.
        uniform: A random number between two.
    """

    max_spans: int
    max_bytes: int
    min_interval: float
    timeout: float
    merge: bool
    description: str | None
    backoff: Callable[[int], float]
    uniform: Callable[[float, float], float]


class FlowStatus(NamedTuple):
    """How one flow does.

    Attributes:
        flow: The flow's name.
        state: "clean", "dirty", "busy", "backing off" or "searching".
        handed_over: Spans that the application handed over: delivered + pending + dropped.
        delivered: Spans that a successful PUT has carried.
        pending: Spans that none has carried yet.
        dropped: Lost spans, by reason (see `DropReason`).
        last_error: What went wrong last, or None.
        next_attempt: Seconds until the next attempt; None when there is nothing to do.
    """

    flow: str
    state: str
    handed_over: int
    delivered: int
    pending: int
    dropped: Mapping[str, int]
    last_error: str | None
    next_attempt: float | None
