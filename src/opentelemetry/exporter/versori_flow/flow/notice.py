"""A line to log: found out where nothing is logged, and said by the courier."""

from typing import NamedTuple

from .ledger import DropReason


class Loss(NamedTuple):
    """Spans of one flow that were lost for one reason."""

    flow: str
    reason: DropReason
    spans: int
    detail: str


class Notice(NamedTuple):
    """One line for the log.

    Attributes:
        level: A level of the `logging` module.
        text: The line.
        loss: The loss that it tells of, if it does.
    """

    level: int
    text: str
    loss: Loss | None = None
