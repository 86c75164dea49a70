"""A program that traces one unit of work and ends in the way that is asked for.

python ends.py HOW

It says "ready" when it has traced, and "last words" on both streams when it ends in an orderly way.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

from tracing import set_up, work

HOW = sys.argv[1]


def at_exit(name: str) -> None:
    work(tracer, name)


if HOW == "atexit":
    atexit.register(at_exit, "registered.before")  # runs after the provider's: too late
provider = set_up(shutdown_on_exit=HOW != "nobody")
tracer = provider.get_tracer(__name__)
atexit.register(print, "exiting")  # runs right before the provider's
if HOW == "atexit":
    atexit.register(at_exit, "registered.after")


def last_words() -> None:
    print("last words")
    print("last words", file=sys.stderr)


def end_by_return() -> None:
    last_words()


def ready() -> None:
    # In one piece: the signal comes as soon as the word is seen, and must not come between it and its line's end.
    print("ready\n", end="", flush=True)


def end_by_exit() -> None:
    last_words()
    sys.exit(3)


def end_by_exception() -> None:
    last_words()
    raise RuntimeError("as it happens")


def end_by_signal() -> None:
    """SIGTERM or SIGINT, as a program that knows nothing of signals, or has a handler."""
    if HOW == "handler":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(4))
    try:
        ready()
        # A signal that comes while the interpreter changes threads on the way into a sleep does not end it.
        for _ in range(600):
            time.sleep(0.1)
    finally:
        last_words()


def end_with_thread() -> None:
    def later() -> None:
        time.sleep(0.3)  # by then, `main` has returned
        work(tracer, "thread")
        last_words()

    threading.Thread(target=later).start()


def end_with_asyncio() -> None:
    async def task() -> None:
        with tracer.start_as_current_span("async"):
            await asyncio.sleep(0.01)
            work(tracer, "async.inner")

    asyncio.run(task())
    last_words()


def end_by_hand() -> None:
    provider.shutdown()
    last_words()
    work(tracer, "too.late")


def end_in_fork() -> None:
    """The child leaves by `sys.exit` after its parent."""
    if os.fork():
        last_words()
        return
    while os.getppid() == PARENT:
        time.sleep(0.01)
    work(tracer, "orphan")


def end_while_exporting() -> None:
    """Ctrl-C comes while the main thread waits in `export`."""
    try:
        ready()
        provider.force_flush()
        time.sleep(60)
    finally:
        last_words()


PARENT = os.getpid()
WAYS: dict[str, Callable[[], None]] = {
    "return": end_by_return,
    "exit": end_by_exit,
    "exception": end_by_exception,
    "handler": end_by_signal,
    "signal": end_by_signal,
    "thread": end_with_thread,
    "asyncio": end_with_asyncio,
    "atexit": end_by_return,
    "nobody": end_by_return,
    "by-hand": end_by_hand,
    "fork": end_in_fork,
    "export": end_while_exporting,
}

work(tracer, "main")
WAYS[HOW]()
