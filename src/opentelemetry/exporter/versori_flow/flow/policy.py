"""What holds for every flow of an exporter. A value."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class FlowPolicy(NamedTuple):
    """What holds for every flow of an exporter; see the settings of the same names.

    Attributes:
        durable: Whether a store keeps what is pending, and is told of every change.
        backoff: The wait in seconds after so many failed attempts in a row.
        uniform: A random number between two.
    """

    max_spans: int
    max_bytes: int
    min_interval: float
    timeout: float
    merge: bool
    description: str | None
    durable: bool
    backoff: Callable[[int], float]
    uniform: Callable[[float, float], float]
