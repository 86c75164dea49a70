"""A process with a store of its own, driven over a pipe: locks belong to processes, so writers have to be some."""

from __future__ import annotations

import gc
import os
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from opentelemetry.exporter.versori_flow.flow.journal import Change, Kept
from opentelemetry.exporter.versori_flow.stores.seam import Store

NEVER = float("inf")


def kept(number: int, body: bytes = b"{}", start: int = 0) -> Kept:
    """A span; its number is in its ids."""
    return Kept((f"{number // 3:032x}", f"{number:016x}"), start or number, number + 5, number % 3 == 0, body)


def added(flow: str, spans: Iterable[Kept]) -> list[Change]:
    """Spans that were handed over."""
    return [Change(flow, list(spans), (), ())]


def settled(flow: str, spans: Iterable[Kept]) -> list[Change]:
    """Spans that a PUT has carried."""
    return [Change(flow, (), [span.key for span in spans], ())]


def inherit(store: Any, most: float = NEVER) -> list[tuple[str, Kept]]:
    """All that a store finds, page by page; the spans wait in memory."""
    store.look_soon(-NEVER)
    found: list[tuple[str, Kept]] = []
    while len(found) < most and store.next_look() == -NEVER:
        found += [(left.flow, span) for left in store.inherit(0.0) for span in left.spans]
    return found


class Writer:
    """A process with a store; each method of the store can be called here, and `program`s can be run there."""

    def __init__(self, make: Callable[[], Store]) -> None:
        self._pipe, theirs = Pipe()
        self.pid = os.fork()
        if not self.pid:
            self._pipe.close()
            code = 1
            try:
                gc.freeze()
                _serve(make(), theirs)
                code = 0
            finally:
                os._exit(code)
        theirs.close()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            return self.run(_call, name, *arguments)

        return call

    def run(self, program: Callable[..., Any], *arguments: Any) -> Any:
        """Runs a function of the store and the arguments there; EOFError where the process dies of it."""
        self._pipe.send((program, arguments))
        answer = self._pipe.recv()
        if isinstance(answer, Failure):
            raise AssertionError(answer.text)
        return answer

    def inherit(self, most: float = NEVER) -> list[tuple[str, Kept]]:
        """All that it finds."""
        return self.run(inherit, most)

    def kill(self) -> None:
        """kill -9."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()

    def wait(self) -> None:
        """Until it is gone."""
        os.waitpid(self.pid, 0)
        self.pid = 0
        self._pipe.close()


class Failure:
    """What was raised there."""

    def __init__(self, text: str) -> None:
        self.text = text


def _call(store: Store, name: str, *arguments: Any) -> Any:
    return getattr(store, name)(*arguments)


def _serve(store: Store, pipe: Connection) -> None:
    while (order := pipe.recv()) is not None:
        program, arguments = order
        try:
            answer = program(store, *arguments)
        except Exception as error:
            answer = Failure(repr(error))
        pipe.send(answer)


def fork_and_end(store: Store, changes: list[Change] | None = None) -> int:
    """Forks a child that may use the store, and ends as a program does, and not by a signal."""
    pid = os.fork()
    if not pid:
        if changes is not None:
            store.apply(changes)
        sys.settrace(None)
        del store
        gc.collect()
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def killed_at(store: Store, step: int, name: str, *arguments: Any) -> Any:
    """Calls a method of the store, and dies right before its `step`th statement or change of a file."""
    left = step

    def count(_frame: object, event: str, function: Any) -> None:
        nonlocal left
        if event != "c_call":
            return
        owner = getattr(function, "__self__", None)
        module = getattr(function, "__module__", None)
        if isinstance(owner, sqlite3.Connection | sqlite3.Cursor) or module in ("posix", "fcntl"):
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)
    try:
        program = inherit if name == "inherit" else getattr(type(store), name)
        return program(store, *arguments)
    finally:
        sys.setprofile(None)
