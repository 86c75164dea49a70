"""Threads, locks, queues and the clock of the interpreter's own, whatever was put in their place.

Under gevent or eventlet a patched thread that blocks stops every greenlet with it, and a lock made before it has
patched mixes both worlds. So what the courier runs on is native, whenever it was made; what the application waits on
is either a native lock, or, where one of the two has patched `time.sleep`, a sleep that lets other greenlets run.
"""

from __future__ import annotations

import _queue
import _thread
import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakSet

from . import greenlets, uwsgi_fork
from .greenlets import original


class Holder(Protocol):
    """What holds sockets of threads, of each its own; see `owner_of_sockets`."""

    def leave_thread(self) -> None:
        """Closes those of the thread that calls: it ends."""


_FIRST_NAP = 0.0005
_LONGEST_NAP = 0.01


allocate_lock: Callable[[], Any] = original(_thread, "allocate_lock")
get_ident: Callable[[], int] = original(_thread, "get_ident")
sleep: Callable[[float], None] = original(time, "sleep")
if TYPE_CHECKING:
    from queue import SimpleQueue

    Queue = SimpleQueue
else:
    Queue = original(_queue, "SimpleQueue")
"""Its `put` may be entered again on the same thread, from a finalizer or a signal handler
(https://docs.python.org/3/library/queue.html#simplequeue-objects)."""

_clock: tuple[Callable[[], float]] = (time.monotonic,)
"""Not a plain name: where a test stops the clock, freezegun puts another function wherever a module has this one."""

_start_new_thread: Callable[..., int] = original(_thread, "start_new_thread")
_not_begun: set[object] = set()
_ends: dict[int, WeakSet[Holder]] = {}  # by thread of ours


def monotonic() -> float:
    """Seconds of the monotonic clock, which goes on also where an application's test has stopped it."""
    return _clock[0]()


def start_thread(function: Callable[[], object]) -> bool:
    """Starts a thread that does not keep the process alive.

    Returns:
        False where none can be had: at interpreter exit, in an isolated subinterpreter, at the system's limit;
        and where uWSGI is about to fork its workers.
    """
    allowed = getattr(_thread, "daemon_threads_allowed", None)
    if allowed is not None and not allowed():
        return False  # ending a subinterpreter beside a running thread aborts the process
    if uwsgi_fork.is_before_the_workers():
        return False
    thread = object()

    def live() -> None:
        _not_begun.discard(thread)
        holders = _ends[get_ident()] = WeakSet()
        try:
            function()
        finally:
            for holder in [*holders, greenlets]:
                with contextlib.suppress(Exception):
                    holder.leave_thread()
            _ends.pop(get_ident(), None)

    _not_begun.add(thread)
    try:
        _start_new_thread(live, ())
    except (RuntimeError, MemoryError):
        _not_begun.discard(thread)
        return False
    return True


def tell_end(holder: Holder) -> None:
    """Tells it when this thread ends, where that is one of ours."""
    if (holders := _ends.get(get_ident())) is not None:
        holders.add(holder)


def owner_of_sockets() -> int:
    """Whose a socket is that is made now: everybody's (0), or that of this thread alone."""
    return get_ident() if greenlets.threads_own_sockets() else 0


def wait_until_begun(seconds: float) -> None:
    """Waits until the threads that were started have begun, so long at most: the interpreter is about to end.

    Python 3.11 and older free what such a thread begins with, and it ends the process by a segmentation fault
    (https://github.com/python/cpython/issues/104690).
    """
    until = monotonic() + seconds
    while _not_begun and monotonic() < until:
        sleep(_FIRST_NAP)


def wait_until_ended(seconds: float) -> None:
    """Waits until no thread of ours waits among greenlets, so long at most: the interpreter is about to end.

    It ends a thread where that takes the interpreter next, and greenlet does not bear that: a segmentation fault.
    """
    until = monotonic() + seconds
    while greenlets.are_here() and _ends and monotonic() < until:
        sleep(_FIRST_NAP)


def start_anew() -> None:
    """In a forked child: the threads are the parent's."""
    _not_begun.clear()
    _ends.clear()


class Waiter:
    """What one call waits for, made by that call: nobody else ever holds it up. Answered once."""

    __slots__ = ("_lock", "answer", "answered")

    def __init__(self) -> None:
        self.answered = False
        self.answer: Any = None
        self._lock = allocate_lock()
        self._lock.acquire()

    def give(self, answer: object) -> None:
        """Ends the wait; only the first answer counts."""
        if not self.answered:
            self.answer, self.answered = answer, True
            self._lock.release()

    def wait(self, seconds: float) -> None:
        """Waits for the answer, `seconds` at most."""
        nap = greenlets.nap()
        if nap is None:
            if not self.answered and self._lock.acquire(True, max(0.0, seconds)):
                self._lock.release()
            return
        until, length = monotonic() + seconds, _FIRST_NAP
        while not self.answered and (left := until - monotonic()) > 0:
            nap(min(length, left))
            length = min(1.5 * length, _LONGEST_NAP)
