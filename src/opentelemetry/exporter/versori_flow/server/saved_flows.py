"""The stored flows: in memory, and in a folder too when one is given."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from ulid import ULID

from .json_text import JsonText
from .private_folder import FILE_SUFFIX, DamagedError, PrivateFolder
from .replies import ApiError

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
        self._changed = changed or (lambda: None)
        # Replaced whole on each change: who reads needs no lock, and waits for no disk.
        self._flows: dict[FlowAddress, SavedFlow] = {}
        # Whoever drops the platform may do so amid a change, on the same thread.
        self._lock = threading.RLock()
        self._folder = None if folder is None else PrivateFolder(folder)
        if self._folder is not None:
            # ULIDs sort by the time they were made, which is the order of creation.
            flows = sorted(self._folder.read_all(_read), key=lambda flow: flow.id)
            self._flows = {flow.address: flow for flow in flows}

    @property
    def on_disk(self) -> bool:
        """Whether a change waits for a disk."""
        return self._folder is not None

    def close(self) -> None:
        """Lets another process have the folder; what is in memory can still be read."""
        with self._lock:
            if self._folder is not None:
                self._folder.close()

    def leave(self) -> None:
        """In a forked child: the folder stays with the parent."""
        self._lock = threading.RLock()
        self.close()

    def all(self) -> list[SavedFlow]:
        """All flows, in the order in which they were created."""
        return list(self._flows.values())

    def get(self, address: FlowAddress) -> SavedFlow | None:
        """The flow at that address, or None."""
        return self._flows.get(address)

    def put(self, address: FlowAddress, body: JsonText) -> SavedFlow:
        """Stores a flow in place of what is there; its id stays, and is made when the flow is new.

        Raises:
            ApiError: The disk does not take it; what was there stays.
        """
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
        """Deletes a flow; False when there was none.

        Raises:
            ApiError: It can't be deleted from the disk.
        """
        with self._lock:
            if address not in self._flows:
                return False
            if self._folder is not None:
                self._folder.remove(_stem(address))
            self._flows = {at: flow for at, flow in self._flows.items() if at != address}
            self._changed()
            return True

    def clear(self) -> None:
        """Deletes all flows."""
        for flow in self.all():
            self.delete(flow.address)

    def _store(self, flow: SavedFlow) -> SavedFlow:
        if self._folder is not None:
            about = {**flow.address._asdict(), "id": flow.id, "changed_at": flow.changed_at}
            self._folder.write(_stem(flow.address), json.dumps(about).encode("ascii") + b"\n" + flow.raw)
        self._flows = {**self._flows, flow.address: flow}
        self._changed()
        return flow


def _stem(address: FlowAddress) -> str:
    """What the file of a flow is called, but for its suffix."""
    # The digest keeps apart names that are shortened, or differ in case only on a file system that ignores it.
    digest = hashlib.sha256("\0".join(address).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{quote(address.name, safe='', errors='replace')[:_MOST_FILE_NAME]}-{digest}"


def _read(name: str, content: bytes, checked: bool) -> SavedFlow:
    """Reads a file: one line that says what the flow is, then the flow."""
    head, separator, raw = content.partition(b"\n")
    try:
        if not separator:
            raise DamagedError("it is cut short")
        about = json.loads(head)
        address = FlowAddress(about["organisation_id"], about["project_id"], about["name"])
        flow = SavedFlow(address, str(ULID.from_str(about["id"])), raw, float(about["changed_at"]))
        time.gmtime(flow.changed_at)
        its_own = _stem(address)
    except (ValueError, KeyError, TypeError, OverflowError, OSError, AttributeError) as error:
        raise DamagedError(f"what should tell its flow can't be read: {error}") from None
    except RecursionError:
        raise DamagedError("what should tell its flow is nested too deeply") from None
    if name != its_own + FILE_SUFFIX:
        raise DamagedError("it is a copy of the file of another flow")
    if not checked and flow.document is None:
        # Version 0.1 wrote no length: what was torn is no JSON.
        raise DamagedError("it is cut short")
    return flow
