"""Children, and ends of processes: nothing of the user's is needed for what is pending to be delivered then.

    the program itself              `atexit`, after the provider's own: for a provider that nobody shuts down
    a child of `os.fork`            the same, inherited
    a child of `multiprocessing`    a finalizer: it ends by `os._exit`, before Python 3.13 without `atexit`
    a child of Celery's prefork     the signal `worker_process_shutdown`: it ends by `os._exit` too

Nothing is imported for this: who has not imported `multiprocessing` or Celery has no such children. They may
be imported later than the exporter, so each child looks again when it begins, in the hook that every fork
runs. A process that ends by `os._exit` of its own or by a signal runs nothing at all.

And a fork waits while another thread imports for us: see `forks_wait`. Where that is not enough, nothing is left to be
imported: see `imports_now`.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from . import greenlets, native, uwsgi_fork
from .native import allocate_lock, get_ident, monotonic
from .settings.load import says_at_end

if TYPE_CHECKING:
    from .delivery.courier import Courier
    from .flow.ledger import FlowStatus

_LAST = -1000
"""A finalizer's priority. Below those of the standard library, which end at -100."""

_PARTS = ("multiprocessing", "billiard")
"""Celery's `billiard` is a copy of `multiprocessing`."""

_LONGEST_IMPORT = 5.0
_THREAD_BEGINS = 1.0
_THREAD_ENDS = 1.0


class Exporter(Protocol):
    """An exporter, as far as its processes go."""

    def shutdown(self) -> None:
        """Delivers what is pending, within its own bound, and ends."""

    def _start_anew(self) -> None:
        """In a forked child: makes anew all that belongs to one process."""

    def _say_late(self) -> None:
        """Says how many spans came after `shutdown`, if any."""


_ORPHANS_TIME = 10.0
"""Seconds, for all couriers together whose exporters are gone, at the end of the process."""

_open: weakref.WeakSet[Exporter] = weakref.WeakSet()
_ends: dict[int, weakref.finalize[..., Any]] = {}
# Of exporters that were dropped without `shutdown`, while spans were pending.
_orphans: set[Courier] = set()
# Inherited by children, as are the registries that these names stand for.
_registered: set[str] = set()
_finalizer: tuple[int, Any] | None = None
_imports = allocate_lock()
_forking: int | None = None  # the thread that holds it for a fork


def watch(exporter: Exporter) -> None:
    """Sees to it that the exporter is shut down when this process ends, and in each child at its end.

    It does not keep the exporter: whoever drops the last reference to it ends it, see `end_with`.
    """
    _open.add(exporter)
    _enlist()


def end_with(exporter: Exporter, courier: Courier) -> None:
    """Lets the courier end once the exporter is gone, after it has delivered what is pending.

    In a child it replaces what the parent said of its own courier.
    """
    has_ended(exporter)
    end = weakref.finalize(exporter, _let_go, id(exporter), courier)
    end.atexit = False
    _ends[id(exporter)] = end


def has_ended(exporter: Exporter) -> bool:
    """The exporter's courier has ended, or is another process's; False where that was known."""
    end = _ends.pop(id(exporter), None)
    if end is None:
        return False
    end.detach()
    return True


def say_at_end(status: Callable[[], Mapping[str, FlowStatus]]) -> None:
    """How many spans went where, on standard error, where that is asked for."""
    if not says_at_end():
        return
    from .flow.report import spans

    flows = status()
    # Standard error may be closed, and there may be none.
    with contextlib.suppress(OSError, ValueError, AttributeError):
        for name, flow in flows.items():
            rest = [(flow.pending, "wait"), (sum(flow.dropped.values()), "are lost")]
            more = "".join(f", {count} {what}" for count, what in rest if count)
            print(f"versori-flow: {spans(flow.delivered)} in the flow {name!r}{more}", file=sys.stderr)
        if not flows:
            print("versori-flow: no span was handed over", file=sys.stderr)


def _let_go(key: int, courier: Courier) -> None:
    _ends.pop(key, None)
    _orphans.difference_update([orphan for orphan in _orphans if orphan.over])
    _orphans.add(courier)
    courier.let_go()


def deliver(**_: object) -> None:
    """Empties the SDK's queues into the exporters that are still open, and shuts these down."""
    for exporter in list(_open):
        for processor in _queues_before(exporter):
            processor.force_flush()
        exporter.shutdown()
    until = monotonic() + _ORPHANS_TIME
    while _orphans:
        orphan = _orphans.pop()
        if not orphan.over:
            orphan.shutdown(max(0.0, until - monotonic()))


def _queues_before(exporter: Exporter) -> Iterator[Any]:
    """The batch processors that hand over to the exporter: nothing else knows of all of them.

    A provider need not be the global one. What every batch processor has is a live thread that runs a method
    of its own.
    """
    for thread in threading.enumerate():
        processor = getattr(getattr(thread, "_target", None), "__self__", None)
        # Under the name of newer SDKs, and that of older ones.
        following = getattr(processor, "_exporter", None) or getattr(processor, "span_exporter", None)
        # One of another pid has a copy of the parent's queue and locks: uWSGI forks without the hooks.
        if following is exporter and getattr(processor, "_pid", None) == os.getpid():
            yield processor


def _enlist() -> None:
    for part in _PARTS:
        util = sys.modules.get(f"{part}.util")
        if util is None:
            continue
        if part not in _registered:
            _registered.add(part)
            # The child drops all finalizers when it begins, and calls these afterwards.
            util.register_after_fork(watch, lambda _, util=util: _finalize(util))
        if _is_child(part):
            _finalize(util)
    signals = sys.modules.get("celery.signals")
    if signals is not None and hasattr(signals, "worker_process_shutdown"):
        signals.worker_process_shutdown.connect(deliver, weak=False, dispatch_uid=__name__)


def _is_child(part: str) -> bool:
    parent = getattr(sys.modules.get(f"{part}.process"), "parent_process", None)
    return parent is not None and parent() is not None


def _finalize(util: Any) -> None:
    global _finalizer
    # A child of a child is one before it has begun, and drops the finalizer that it was given too early.
    if _finalizer is None or _finalizer[0] != os.getpid() or not _finalizer[1].still_active():
        _finalizer = os.getpid(), util.Finalize(None, _end_child, exitpriority=_LAST)


def _end_child() -> None:
    # Before Python 3.13 a child runs its finalizers first and joins its threads after that. These may still
    # end spans, so that one more thread, which is joined too, waits for them.
    others = [t for t in threading.enumerate() if not t.daemon and t is not threading.current_thread()]
    if others:
        last = threading.Thread(target=_deliver_after, args=(others,), name="versori-flow-last", daemon=False)
        try:
            last.start()
        except RuntimeError:
            pass
        else:
            return
    deliver()


def _deliver_after(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join()
    deliver()


def forks_wait() -> Any:
    """While this thread imports, a fork waits.

    The child would inherit half a module, and the lock of a thread that is not there to finish it.
    """
    return _imports


def imports_now() -> bool:
    """Whether nothing may be left for our threads to import: uWSGI forks without the hooks, and see `greenlets`."""
    return uwsgi_fork.is_here() or greenlets.may_come()


def _before_fork() -> None:
    global _forking
    if _imports.acquire(True, _LONGEST_IMPORT):
        _forking = get_ident()


def _after_fork_in_parent() -> None:
    global _forking
    if _forking == get_ident():
        _forking = None
        _imports.release()


def _after_fork_in_child() -> None:
    global _imports, _forking
    _imports, _forking = allocate_lock(), None
    native.start_anew()
    _orphans.clear()  # they are the parent's
    for exporter in list(_open):
        exporter._start_anew()
    _enlist()


def _at_exit() -> None:
    deliver()
    for exporter in list(_open):
        exporter._say_late()
    native.wait_until_begun(_THREAD_BEGINS)
    native.wait_until_ended(_THREAD_ENDS)
    # The interpreter ends by SIGINT where Ctrl-C has ended the program, and forgets that it has when a text is
    # executed meanwhile: as the courier's imports do, where the program was too short for them to be over.
    if getattr(sys, "last_type", None) is KeyboardInterrupt and not hasattr(sys, "ps1"):
        with contextlib.suppress(KeyboardInterrupt):
            exec("raise KeyboardInterrupt")  # noqa: S102


# At import, so that it runs after the provider's own: providers are made later than that.
atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
