"""Whose an exception is: what a signal handler of the program raises in the middle of our work is the program's.

Python runs such a handler between two instructions of whatever the main thread does. Celery's soft time limit, a
notebook's interrupt and a test's timeout raise there, often an ordinary `Exception`.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed has `signal` alone
from itertools import pairwise
from types import FrameType
from typing import Any

from .native import get_ident

_VARARGS = 4  # of a code's flags: `inspect.CO_VARARGS`, without the milliseconds that importing it takes

at_work: set[int] = set()
"""The threads of all exporters' couriers and crews: no handler runs there, and what is called there must not wait."""


def let_through(error: BaseException) -> None:
    """Raises the error again if it is the program's; for those who would bear anything else.

    That is what a signal handler has raised, Python's own for Ctrl-C included, which leaves no trace of itself.
    """
    is_ours = isinstance(error, Exception) or get_ident() in at_work
    if not is_ours or is_from_a_handler(error):
        raise error


def is_from_a_handler(error: BaseException) -> bool:
    """Whether a signal handler of the program has raised it, on a thread of the program's."""
    if get_ident() in at_work:
        return False
    entry, handlers = error.__traceback__, _installed()
    while entry is not None:
        frame = entry.tb_frame
        # One that has put another in its place by now has still been given the frame that it interrupts.
        if frame.f_code in handlers or _is_given(frame, frame.f_back):
            return True
        entry = entry.tb_next
    return False


def _installed() -> set[Any]:
    """The code of the handlers that there are now; by `_signal`, as `signal` makes enums of all numbers first."""
    handlers = [_signal.getsignal(number) for number in _signal.valid_signals()]
    return {getattr(handler, "__code__", None) for handler in handlers} - {None}


def _is_given(frame: FrameType, interrupted: FrameType | None) -> bool:
    """Whether the call has the arguments of a handler: a signal's number and a frame, one after the other."""
    code, given = frame.f_code, frame.f_locals
    arguments = [given.get(name) for name in code.co_varnames[: code.co_argcount]]
    if code.co_flags & _VARARGS:
        arguments += given.get(code.co_varnames[code.co_argcount + code.co_kwonlyargcount], ())
    return any(second is interrupted and isinstance(first, int) for first, second in pairwise(arguments))
