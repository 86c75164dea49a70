"""Enters the exporter again while it is in there, and tells what it ended and what it was in the middle of.

python reentrance.py finalizer | weakref | handler | sigterm end|flush|shutdown | raise end|export | burst
"""

from __future__ import annotations

import gc
import itertools
import os
import random
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable

from opentelemetry.sdk.trace import TracerProvider
from tracing import set_up, tell

from opentelemetry.exporter.versori_flow import VersoriFlowSpanExporter

ENTRIES = {"on_end", "export", "force_flush", "status", "shutdown"}
DIRECT = os.environ["PROCESSOR"] == "direct"

exporter = VersoriFlowSpanExporter()
provider = set_up(exporter)
tracer = provider.get_tracer(__name__)
numbers = itertools.count()
started: list[str] = []
ended: list[str] = []
interrupted: set[str] = set()


def end_span() -> None:
    name = f"span.{next(numbers)}"
    started.append(name)
    tracer.start_span(name).end()
    ended.append(name)


def enter() -> None:
    """Ends a span in the middle of whatever this thread does, and notes what that was."""
    frame = sys._getframe(1)
    while frame is not None:
        interrupted.add(frame.f_code.co_name)
        frame = frame.f_back
    if threading.current_thread() is not threading.main_thread():
        interrupted.add("another thread")
    end_span()


def tell_all(**facts: object) -> None:
    tell(
        exporter,
        started=started,
        ended=ended,
        interrupted=sorted(interrupted & {*ENTRIES, "another thread"}),
        **facts,
    )


# -- the garbage collector ---------------------------------------------------------------------------------


made: list[None] = []
finalized: list[None] = []


class Circle:
    """Garbage that only the collector finds, on whichever thread allocates next."""

    def __init__(self) -> None:
        self.circle = self
        made.append(None)


def finalize(*_: object) -> None:
    enter()
    finalized.append(None)


class Finalized(Circle):
    __del__ = finalize


references: list[object] = []


def referenced() -> None:
    references.append(weakref.ref(Circle(), finalize))


def collect(make: Callable[[], object]) -> None:
    """Lets collections fall everywhere, a few allocations later in each round."""
    sys.setswitchinterval(1e-5)
    for unit in range(4000):
        if unit >= 400 and interrupted & ENTRIES:
            break  # a busy machine may need more for a collection to fall there
        gc.set_threshold(1 + unit % 40)
        make()
        end_span()
        if unit % 20 == 0:
            if unit % 40:
                # Far enough away to fall on the courier's thread, which works while this one waits.
                gc.set_threshold(30 + unit % 200)
            make()
            provider.force_flush()
    gc.set_threshold(700)
    # While the courier's thread collects, this one is told that there is nothing to collect.
    while len(finalized) < len(made):
        gc.collect()
        time.sleep(0.001)
    tell_all(flushed=provider.force_flush() and exporter.force_flush())


# -- signal handlers ---------------------------------------------------------------------------------------


def handle() -> None:
    """A handler ends spans, asks for the status and flushes, while the main thread does the same."""
    # The SDK's batch processor holds a lock while it flushes: a handler that flushed it would wait for itself.
    flush = provider.force_flush if DIRECT else exporter.force_flush
    hits = itertools.count(1)
    within = False

    def handler(*_: object) -> None:
        nonlocal within
        enter()
        number = next(hits)
        if number % 5 == 0:
            exporter.status()
        if number % 7 == 0 and not within:
            within = True
            flush(200)
            within = False

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
    for unit in range(1000):
        end_span()
        if unit % 100 == 0:
            provider.force_flush()
        exporter.status()
    signal.setitimer(signal.ITIMER_REAL, 0)
    tell_all(flushed=provider.force_flush() and exporter.force_flush())


def terminate(during: str) -> None:
    """A handler shuts the provider down and exits, in the middle of whatever the main thread does."""

    def handler(*_: object) -> None:
        provider.shutdown()
        sys.exit(5)

    signal.signal(signal.SIGTERM, handler)
    end_span()
    try:
        print("ready\n", end="", flush=True)
        if during == "shutdown":
            provider.shutdown()
        while True:
            end_span()
            if during == "flush":
                provider.force_flush()
    finally:
        tell_all()


class Hit(Exception):
    """What a handler raises: a time limit, a notebook's interrupt."""


def raise_often(into: str) -> None:
    """A handler raises into the middle of `span.end` or `export`, a hundred times, and the program goes on."""
    plain = TracerProvider().get_tracer(__name__)

    def export_span() -> None:
        name = f"span.{next(numbers)}"
        started.append(name)
        span = plain.start_span(name)
        span.end()
        exporter.export([span])
        ended.append(name)

    one = export_span if into == "export" else end_span
    raised, caught, swallowed = 0, 0, 0

    def handler(*_: object) -> None:
        nonlocal raised
        raised += 1
        raise Hit

    signal.signal(signal.SIGALRM, handler)
    chance = random.Random(7)
    while raised < 100:
        try:
            signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.0002, 0.006))
            while raised == caught + swallowed:
                one()
            swallowed += 1
        except Hit:
            caught += 1
    flushed = provider.force_flush() and exporter.force_flush()
    tell_all(flushed=flushed, caught=caught, swallowed=swallowed)


# -- many threads ------------------------------------------------------------------------------------------


def burst() -> None:
    threads = [threading.Thread(target=lambda: [end_span() for _ in range(2500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tell(exporter, flushed=provider.force_flush())


KINDS: dict[str, Callable[..., None]] = {
    "finalizer": lambda: collect(Finalized),
    "weakref": lambda: collect(referenced),
    "handler": handle,
    "sigterm": terminate,
    "raise": raise_often,
    "burst": burst,
}
KINDS[sys.argv[1]](*sys.argv[2:])
