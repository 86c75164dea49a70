"""gevent and eventlet: what they put in the place of the interpreter's own, and what they don't bear.

A native thread of ours that imports a module takes locks of theirs, once they have patched. The application's import of
the same module meanwhile, in a greenlet, then hangs, or fails as gevent sees nothing that would ever wake it.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import Any

_LIBRARIES = ("gevent", "eventlet")
_BEFORE_THE_PROGRAM = "opentelemetry.instrumentation.auto_instrumentation"
# Classes that a thread's first wait imports.
_OF_ITS_HUB = ("loop", "threadpool", "resolver", "format_context")


def original(module: Any, name: str) -> Any:
    """What the interpreter has under that name, whatever was put there."""
    if (monkey := sys.modules.get("gevent.monkey")) is not None:
        return monkey.get_original(module.__name__, name)
    patcher = sys.modules.get("eventlet.patcher")
    if patcher is not None and patcher.is_monkey_patched(module.__name__.strip("_")):
        module = patcher.original(module.__name__)  # a second one of that name
    return getattr(module, name)


def are_here() -> bool:
    """Whether one of the two has put sockets of its own in the place of the interpreter's."""
    return _patched_by("socket") is not None


def threads_own_sockets() -> bool:
    """Whether a socket is its thread's alone: one of gevent's waits in the hub of the thread that has made it."""
    return _patched_by("socket") == "gevent"


def nap() -> Callable[[float], object] | None:
    """What lets other greenlets run; None where there are none.

    Not whatever `time.sleep` is now: that of a test may return at once, raise, or count who calls it.
    """
    library = _patched_by("time")
    sleep: Callable[[float], object] | None = None if library is None else sys.modules[library].sleep
    return sleep


def leave_thread() -> None:
    """At the end of a thread: ends the hub that waiting has made there, or its descriptors stay open."""
    if sys.is_finalizing() or not are_here():
        return
    if threads_own_sockets():
        sys.modules["gevent"].get_hub().destroy(destroy_loop=True)
    elif (hub := sys.modules["eventlet.hubs"].get_hub()).running:
        hub.abort(wait=True)


def may_come() -> bool:
    """Whether this process has greenlets, or may have them once the program's first line runs."""
    if any(library in sys.modules for library in _LIBRARIES):
        return True
    if _BEFORE_THE_PROGRAM not in sys.modules:
        return False
    from importlib.util import find_spec  # most programs go without

    return any(map(find_spec, _LIBRARIES))


def warm_up() -> None:
    """Imports what gevent leaves for later, where a program has it."""
    if (gevent := sys.modules.get("gevent")) is not None:
        with contextlib.suppress(ImportError):
            for name in _OF_ITS_HUB:
                getattr(gevent.config, name)


def _patched_by(module: str) -> str | None:
    monkey, patcher = sys.modules.get("gevent.monkey"), sys.modules.get("eventlet.patcher")
    if monkey is not None and monkey.is_module_patched(module):
        return "gevent"
    if patcher is not None and patcher.is_monkey_patched(module):
        return "eventlet"
    return None
