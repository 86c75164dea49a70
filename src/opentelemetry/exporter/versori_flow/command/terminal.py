"""What the command says, and where."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

import typer
from rich.console import Console

_PIPE_WIDTH = 160  # columns, where no terminal says how many it has


def prepare() -> None:
    """Makes the three streams be there, and take any text: what a terminal's encoding hasn't is shown escaped."""
    # In the order of their numbers: what is opened gets the lowest that is free.
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started it
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - for as long as it runs
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if logging.lastResort is not None:  # what is logged and handled by nobody is said like all else
        logging.lastResort.setFormatter(logging.Formatter("versori-flow: %(message)s"))


def examples(*lines: str) -> str:
    """Examples as the end of a help text."""
    return "\n".join(("\b", "Examples:", *(f"  {line}" for line in lines)))


def path(text: str) -> Path:
    """A path that was given: an unset variable of a shell is none, and not the working directory."""
    if not text.strip():
        raise typer.BadParameter("it is empty; name a file or a folder")
    return Path(text)


def let_go() -> None:
    """Where an output takes nothing, what is left for it goes nowhere: the interpreter's last flush would fail too."""
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)


def console() -> Console:
    """Standard output."""
    return Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def at_a_terminal() -> dict[str, Any]:
    """Where bars are shown: on standard error, and only where somebody sees them move."""
    return {"console": Console(stderr=True), "disable": not sys.stderr.isatty()}


def say(text: str) -> None:
    """Says something beside what the program itself prints; where that can't be written, nobody is told."""
    try:
        for line in text.splitlines():
            print(f"versori-flow: {line}", file=sys.stderr, flush=True)
    except OSError:
        let_go()


def confirm(question: str) -> None:
    """Asks; ends the command unless the answer is yes."""
    try:
        if typer.confirm(question, err=True):
            return
    except OSError:  # it can't be asked, or the answer can't be read
        raise typer.Abort from None
    raise typer.Exit(1)


def has_ended() -> None:
    """It was told to end, and has: some tell it twice, as `timeout` and whoever signals a group of processes."""
    for number in (signal.SIGINT, signal.SIGTERM):
        # A handler would be taken away while the interpreter ends.
        signal.signal(number, signal.SIG_IGN)


def fail(text: str, status: int = 1) -> NoReturn:
    """Says why the command ends, and ends it."""
    say(text)
    raise typer.Exit(status)
