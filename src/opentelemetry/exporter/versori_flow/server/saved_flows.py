"""The stored flows: in memory, and in a folder too when one is given."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from ulid import ULID

from .json_text import JsonText
from .replies import ApiError

_logger = logging.getLogger(__name__)
# File systems allow 255 bytes; the digest that keeps shortened names apart needs some of them.
_MOST_FILE_NAME = 120


class FlowAddress(NamedTuple):
    """Where a flow is stored: its organisation, its project and its name."""

    organisation_id: str
    project_id: str
    name: str


class SavedFlow:
    """One flow as stored; never changed, only replaced.

    Attributes:
        address: Under which organisation, project and name it is stored.
        id: The id that the platform gave it.
        raw: The bytes that GET and PUT answer.
        changed_at: When it was stored, in seconds since the epoch.
    """

    def __init__(self, address: FlowAddress, id_: str, raw: bytes, changed_at: float) -> None:
        self.address = address
        self.id = id_
        self.raw = raw
        self.changed_at = changed_at

    @cached_property
    def document(self) -> dict[str, Any] | None:
        """The flow, parsed; None where what is stored is no JSON object."""
        try:
            document = JsonText.read(self.raw).document
        except ApiError:
            return None
        return document if isinstance(document, dict) else None

    @property
    def spans(self) -> list[Any]:
        """The spans of the flow, whatever they look like; empty where there is no list of them."""
        spans = (self.document or {}).get("spans")
        return spans if isinstance(spans, list) else []


class SavedFlows:
    """All flows; safe to use from several threads.

    Args:
        folder: Where flows are written too, one file for each, and read from at the start. None keeps them
            in memory only.
        changed: Called after each change of a flow, on the thread that made it.
    """

    def __init__(self, folder: Path | None = None, changed: Callable[[], object] | None = None) -> None:
        self._folder = folder
        self._changed = changed or (lambda: None)
        self._flows: dict[FlowAddress, SavedFlow] = {}
        self._lock = threading.Lock()
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._load(folder)

    def all(self) -> list[SavedFlow]:
        """All flows, in the order in which they were created."""
        with self._lock:
            return list(self._flows.values())

    def get(self, address: FlowAddress) -> SavedFlow | None:
        """The flow at that address, or None."""
        with self._lock:
            return self._flows.get(address)

    def put(self, address: FlowAddress, body: JsonText) -> SavedFlow:
        """Stores a flow in place of what is there; its id stays, and is made when the flow is new."""
        with self._lock:
            before = self._flows.get(address)
            id_ = str(ULID()) if before is None else before.id
            flow = SavedFlow(address, id_, body.with_id(id_), time.time())
            if isinstance(body.document, dict):
                # Read already: what is stored differs in its id alone.
                flow.document = {**body.document, "id": id_}
            return self._store(flow)

    def put_verbatim(self, address: FlowAddress, raw: bytes) -> SavedFlow:
        """Stores bytes that need not be a flow."""
        with self._lock:
            before = self._flows.get(address)
            return self._store(SavedFlow(address, before.id if before else str(ULID()), raw, time.time()))

    def delete(self, address: FlowAddress) -> bool:
        """Deletes a flow; False when there was none."""
        with self._lock:
            if self._flows.pop(address, None) is None:
                return False
            if self._folder is not None:
                self._path(self._folder, address).unlink(missing_ok=True)
            self._changed()
            return True

    def clear(self) -> None:
        """Deletes all flows."""
        for flow in self.all():
            self.delete(flow.address)

    def _store(self, flow: SavedFlow) -> SavedFlow:
        if self._folder is not None:
            _write(self._path(self._folder, flow.address), flow)
        self._flows[flow.address] = flow
        self._changed()
        return flow

    @staticmethod
    def _path(folder: Path, address: FlowAddress) -> Path:
        # The digest keeps apart names that are shortened, or differ in case only on a file system that
        # ignores it.
        digest = hashlib.sha256("\0".join(address).encode("utf-8", "surrogatepass")).hexdigest()[:16]
        name = quote(address.name, safe="", errors="replace")[:_MOST_FILE_NAME]
        return folder / f"{name}-{digest}.flow"

    def _load(self, folder: Path) -> None:
        flows = [flow for path in folder.glob("*.flow") if (flow := _read(path)) is not None]
        # ULIDs sort by the time they were made, which is the order of creation.
        self._flows = {flow.address: flow for flow in sorted(flows, key=lambda flow: flow.id)}


def _write(path: Path, flow: SavedFlow) -> None:
    """Writes a file of one line that says what the flow is, then the flow; whole or not at all."""
    about = {**flow.address._asdict(), "id": flow.id, "changed_at": flow.changed_at}
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        file.write(json.dumps(about).encode("ascii") + b"\n")
        file.write(flow.raw)
    os.replace(temporary, path)


def _read(path: Path) -> SavedFlow | None:
    try:
        head, separator, raw = path.read_bytes().partition(b"\n")
        if not separator:
            raise ValueError("it is cut short")
        about = json.loads(head)
        address = FlowAddress(str(about["organisation_id"]), str(about["project_id"]), str(about["name"]))
        return SavedFlow(address, str(about["id"]), raw, float(about["changed_at"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        _logger.warning("%s holds no flow and is left alone: %s", path, error)
        return None
