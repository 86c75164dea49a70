"""What a check found."""

from __future__ import annotations

from typing import Literal, NamedTuple

State = Literal["ok", "warning", "wrong", "skipped"]


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes:
        check: What was looked at, in a word or two.
        state: `wrong`: traces are lost or go elsewhere. `warning`: they may. `skipped`: something else is first.
        text: What was found.
        cause: What is wrong, as a word for programs; empty where nothing is.
        change: The one thing to change; empty where nothing is.
    """

    check: str
    state: State
    text: str
    cause: str = ""
    change: str = ""


def ok(check: str, text: str) -> Finding:
    """All is well."""
    return Finding(check, "ok", text)


def wrong(check: str, cause: str, text: str, change: str) -> Finding:
    """Traces are lost, or go elsewhere, until something is changed."""
    return Finding(check, "wrong", text, cause, change)


def warning(check: str, cause: str, text: str, change: str) -> Finding:
    """Something that may be meant, and keeps traces from their flow if it isn't."""
    return Finding(check, "warning", text, cause, change)


def skipped(check: str, text: str) -> Finding:
    """It could not be looked at."""
    return Finding(check, "skipped", text)
