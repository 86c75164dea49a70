"""What a turn at a flow is to whoever waits for it: this host's lock, or the fleet's lease."""

from __future__ import annotations

from typing import Protocol

_FOREVER = float("inf")


class Turn(Protocol):
    """A turn that is held."""

    def release(self) -> None:
        """Lets the next one have it."""

    def touch(self) -> None:
        """Shows whoever waits that its holder is alive."""


class Wait(Protocol):
    """The wait for a turn.

    Attributes:
        turn: Ours, once `over` has said so; None: there is none, or it was waited for in vain.
        vain: Whether another one had it to the last.
        put_off: Whether the attempt is not to be made now.
        next_look: When to ask `over` again.
    """

    turn: Turn | None
    vain: bool
    put_off: bool
    next_look: float

    def over(self, now: float, deadline: float, patient: bool = True, awaited: float = _FOREVER) -> bool:
        """Looks; True when the wait is over, one way or the other.

        Args:
            now: Seconds.
            deadline: What may have come between: the exporter ends by then.
            patient: Whether to wait for a turn that another one has.
            awaited: Until when somebody waits for what is done in the turn: who is stuck there is not waited for
                so long that nothing can be done by then.
        """


class Turns(Protocol):
    """Whom to ask for a turn."""

    def wait(self, flow_name: str, deadline: float, now: float) -> Wait:
        """Begins to wait for the turn at a flow."""

    def holder(self, flow_name: str) -> object:
        """What tells one holder of the turn at a flow from another."""
