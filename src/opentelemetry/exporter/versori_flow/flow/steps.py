"""The steps of an attempt at a flow, and what their answers mean to a person."""

from __future__ import annotations

import logging
from typing import NamedTuple

from ..http.answers import (
    Answer,
    Conflict,
    Denied,
    Misconfigured,
    Rejected,
    TooLarge,
    Unavailable,
    Unreadable,
)
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


def error_type(answer: Reading) -> str | None:
    """What `error.type` says of an answer; None for a success."""
    match answer:
        case Denied() | Misconfigured() | Rejected():
            return str(answer.status)
        case Unavailable():
            return answer.kind
        case TooLarge():
            return "413"
        case Conflict():
            return "409"
        case Unreadable() | UnreadableFlow():
            return "unreadable"
    return None


def explain(answer: Reading) -> tuple[int, str]:
    """The log level and the sentence for an answer that is no success."""
    match answer:
        case Denied():
            return logging.ERROR, (
                f"the platform denies access ({answer.status}: {answer.message}); check VERSORI_API_KEY or "
                "VERSORI_API_KEY_FILE, VERSORI_AUTH_SCHEME, and that the key may write to the project"
            )
        case Misconfigured():
            return logging.ERROR, (
                f"the platform does not take flows at this address ({answer.message}); check "
                "VERSORI_API_BASE_URL, VERSORI_ORGANISATION_ID and VERSORI_PROJECT_ID"
            )
        case Unreadable(message=message) | UnreadableFlow(args=(message,)):
            return logging.ERROR, (
                f"the stored flow can't be read ({message}) and is not overwritten; repair or delete it, "
                "or set VERSORI_FLOW_WRITE_MODE=replace"
            )
        case Rejected():
            return logging.ERROR, (
                f"the platform refuses the flow even without its new spans ({answer.status}: "
                f"{answer.message}); repair or delete the stored flow"
            )
        case Unavailable(kind=kind, message=message):
            return logging.WARNING, f"the platform is not available ({kind}: {message})"
        case TooLarge(message=message) | Conflict(message=message):
            return logging.WARNING, f"the platform does not take the flow now ({message})"
    return logging.ERROR, f"the platform answers with what was not asked for ({type(answer).__name__})"
