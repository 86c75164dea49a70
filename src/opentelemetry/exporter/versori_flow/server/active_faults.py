"""The faults that stand, and which of them strikes a request."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from .faults import Fault


class FaultHandle:
    """An ordered fault; a context manager that takes it back at the end."""

    def __init__(self, id_: int, fault: Fault, clear: Callable[[int], bool]) -> None:
        self.id = id_
        self.fault = fault
        self.struck = 0
        self._clear = clear
        self._owed = 0.0
        self._chance = None if fault.seed is None else random.Random(fault.seed)  # noqa: S311 - faults, not secrets

    @property
    def over(self) -> bool:
        """It struck as often as it was ordered to."""
        return self.fault.times is not None and self.struck >= self.fault.times

    def clear(self) -> bool:
        """Takes the fault back; False when that was done before."""
        return self._clear(self.id)

    def __enter__(self) -> FaultHandle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()

    def due(self) -> bool:
        """Whether this request falls into the share."""
        if self._chance is not None:
            return self._chance.random() < self.fault.share
        self._owed += self.fault.share
        # Ten shares of 0.1 are a little less than one.
        if self._owed < 1 - 1e-9:
            return False
        self._owed -= 1
        return True


@dataclass(frozen=True)
class Strike:
    """A fault that strikes a request, and the spans that it names."""

    fault: Fault
    fields: tuple[str, ...] = ()


@dataclass
class ActiveFaults:
    """The faults that stand; safe to use from several threads."""

    _handles: dict[int, FaultHandle] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _last: int = 0

    def add(self, fault: Fault) -> FaultHandle:
        """Orders a fault."""
        with self._lock:
            self._last += 1
            handle = FaultHandle(self._last, fault, self.remove)
            self._handles[handle.id] = handle
            return handle

    def remove(self, id_: int) -> bool:
        """Takes one back; False when there is none of that number."""
        with self._lock:
            return self._handles.pop(id_, None) is not None

    def clear(self) -> None:
        """Takes all back."""
        with self._lock:
            self._handles.clear()

    def all(self) -> list[FaultHandle]:
        """All that were not taken back, those that are over included."""
        with self._lock:
            return list(self._handles.values())

    def leave(self) -> None:
        """In a forked child: who held the lock is not there to let it go."""
        self._lock = threading.Lock()

    def strike(self, method: str, flow: str | None, body: bytes) -> Strike | None:
        """The first fault that strikes this request; None when it is to be answered truly."""
        with self._lock:
            for handle in self._handles.values():
                fault = handle.fault
                if handle.over or fault.method not in (None, method) or fault.flow not in (None, flow):
                    continue
                if fault.kind == "max-body" and len(body) <= fault.limit:
                    continue
                fields = _poisoned(fault, body) if fault.kind == "poison" else ()
                if (fault.kind == "poison" and not fields) or not handle.due():
                    continue
                handle.struck += 1
                return Strike(fault, fields if fault.named else ())
        return None


def _poisoned(fault: Fault, body: bytes) -> tuple[str, ...]:
    """The paths of the spans whose name or attributes hold the text."""
    try:
        spans = json.loads(body)["spans"]
        return tuple(
            f"spans[{index}]" for index, span in enumerate(spans) if fault.match in _searchable(span)
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return ()


def _searchable(span: Any) -> str:
    if not isinstance(span, dict):
        return ""
    return json.dumps([span.get("name"), span.get("attributes")], ensure_ascii=False)
