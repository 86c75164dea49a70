"""What the command says, and where."""

from __future__ import annotations

import sys
from typing import NoReturn

import typer
from rich.console import Console

_PIPE_WIDTH = 160  # columns, where no terminal says how many it has


def console() -> Console:
    """Standard output."""
    return Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def say(text: str) -> None:
    """Says something beside what the program itself prints."""
    for line in text.splitlines():
        print(f"versori-flow: {line}", file=sys.stderr, flush=True)


def fail(text: str, status: int = 1) -> NoReturn:
    """Says why the command ends, and ends it."""
    say(text)
    raise typer.Exit(status)
