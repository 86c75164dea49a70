"""The steps of an attempt at a flow, as data: what to do next. `delivery/attempt.py` does it."""

from __future__ import annotations

from typing import NamedTuple

from ..http.answers import Answer
from .body import Body
from .stored import StoredFlow, UnreadableFlow


class Read(NamedTuple):
    """A step: read the stored flow. `known` is the digest of the flow as it is known already, or None."""

    flow: str
    known: bytes | None
    own_connection: bool = False


class Write(NamedTuple):
    """A step: replace the stored flow."""

    flow: str
    body: Body


class Stale(NamedTuple):
    """A write that was not begun: what was read before it is too old."""


Step = Read | Write
Reading = Answer | StoredFlow | UnreadableFlow | Stale
