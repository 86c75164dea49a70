"""What holds for every flow of an exporter. A value."""

from collections.abc import Callable
from typing import NamedTuple


class FlowPolicy(NamedTuple):
    """What holds for every flow of an exporter; see the settings of the same names.

    Attributes:
        backoff: The wait in seconds after so many failed attempts in a row.
        uniform: A random number between two.
        store: What keeps what is pending, as `status()` shows it.
        durable: Whether that outlives this process, and is told of every change.
        admits: Whether spans are asked in (see `Memory.admits`): nothing pending then leaves for others.
    """

    max_spans: int
    max_bytes: int
    min_interval: float
    timeout: float
    merge: bool
    description: str | None
    backoff: Callable[[int], float]
    uniform: Callable[[float, float], float]
    store: str = "memory:"
    durable: bool = False
    admits: bool = False
