"""The steps of an attempt at a flow, as data: what to do next. `delivery/attempt.py` does it."""

from typing import NamedTuple

from ..http.answers import Answer
from .body import Body
from .stored import StoredFlow, UnreadableFlow


class Read(NamedTuple):
    """A step: read the stored flow.

    Attributes:
        known: The digest of the flow as it is known already, or None: what has it need not be parsed.
        own_connection: Whether to read on a connection of its own: the answer before was hard to believe.
        in_turn: Whether a write may follow, so that this host's turn is to be had first.
    """

    flow: str
    known: bytes | None
    own_connection: bool = False
    in_turn: bool = True


class Write(NamedTuple):
    """A step: replace the stored flow."""

    flow: str
    body: Body


Step = Read | Write
Reading = Answer | StoredFlow | UnreadableFlow
