"""The local platform: the API of flows, on this host, for development and for tests."""

from __future__ import annotations

import json
import weakref
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ..native import monotonic
from .access import Access
from .active_faults import ActiveFaults, FaultHandle
from .app import build
from .faults import Fault, parse_fault
from .faults_endpoint import FaultsEndpoint
from .flows_endpoint import FlowsEndpoint
from .holdings import Holdings
from .http_server import HttpServer
from .json_text import JsonText
from .page.live import Changes
from .page.pages import Pages
from .receiver import Receiver
from .replies import ApiError
from .request_log import Request, RequestLog
from .saved_flows import FlowAddress, SavedFlow, SavedFlows
from .validation import FlowValidator

if TYPE_CHECKING:
    from ..otlp.admission import AdmittingExporter

_T = TypeVar("_T")
# Valid ULIDs that say at a glance that they are not real.
ORGANISATION_ID = "01H0000000000000000000000R"
PROJECT_ID = "01H0000000000000000000000P"


class LocalPlatform:
    """Versori's API of flows on this host, in a thread of its own.

    It binds its port when it is made, and answers between ``start`` and ``stop``, or within ``with``::

        with LocalPlatform(key="local") as platform:
            exporter = VersoriFlowSpanExporter(base_url=platform.url, api_key="local", ...)

    Args:
        key: The API key that requests must carry, as ``Bearer`` or as ``JWT``; ``page_url`` lets a browser
            in. None lets all in.
        data: A folder to keep the flows in, over restarts. None keeps them in memory.
        faults: Faults that stand from the start, as texts or as ``Fault``.
        host: The address to listen on.
        port: The port; 0 takes a free one.
        validate: "full" checks each body against the API description; "off" takes any JSON object.
        organisation_id: Where ``put`` puts flows unless told otherwise; nothing else depends on it.
        project_id: As organisation_id.
        allowed_hosts: Names that requests may come by where there is no key, besides localhost and IP
            addresses.

    Raises:
        OSError: The port is taken, or the folder can't be written to, or another platform has it.
        ValueError: The key is empty, or the port is none.
        FaultError: A fault is not written as one.
    """

    def __init__(
        self,
        key: str | None = None,
        data: str | Path | None = None,
        faults: Sequence[str | Fault] = (),
        host: str = "127.0.0.1",
        port: int = 0,
        validate: Literal["full", "off"] = "full",
        organisation_id: str = ORGANISATION_ID,
        project_id: str = PROJECT_ID,
        allowed_hosts: Sequence[str] = (),
    ) -> None:
        self._access = Access(key, allowed_hosts)
        self._key = key
        if not 0 <= port <= 65535:
            raise ValueError(f"port is {port}; it should be from 0 to 65535")
        if validate not in ("full", "off"):
            raise ValueError(f"validate is {validate!r}; it should be 'full' or 'off'")
        self.organisation_id = organisation_id
        self.project_id = project_id
        self._faults = ActiveFaults()
        for fault in faults:
            self.fault(fault)
        self._log = RequestLog()
        changes = Changes()
        self._flows = SavedFlows(None if data is None else Path(data), changes.tell)
        validator = FlowValidator() if validate == "full" else None
        api = FlowsEndpoint(self._flows, self._faults, self._log, validator, self._access)
        # What serves requests must not keep a platform alive that was dropped.
        receiver = Receiver(self._access, partial(LocalPlatform._exporter, weakref.proxy(self)))
        pages = Pages(self._flows, changes, has_key=key is not None)
        app = build(self._access, api, FaultsEndpoint(self._faults, self._access), receiver, pages)
        try:
            self._server = HttpServer(app, host, port)
        except BaseException:
            self._flows.close()
            raise
        self._holdings = Holdings(self, receiver, self._server, self._flows, self._log, self._faults, changes)

    @property
    def url(self) -> str:
        """The base URL for an exporter, and the address of the page where there is no key."""
        return self._server.url

    @property
    def page_url(self) -> str:
        """The address of the page for a browser: with a key it carries a token, which is not the key."""
        return self.url + self._access.page_query

    @property
    def port(self) -> int:
        """The port, the true one where 0 was asked for."""
        return self._server.port

    def start(self) -> LocalPlatform:
        """Answers from now on, again on the same port after ``stop``; RuntimeError once closed, or in a child."""
        self._server.start()
        return self

    def stop(self) -> None:
        """An outage: connections end, new ones are refused. Flows, faults and records stay. RuntimeError in a child."""
        self._server.stop()

    def close(self) -> None:
        """Ends for good, and gives the port and the folder back; in a forked child, does nothing."""
        self._holdings.close()

    def __enter__(self) -> LocalPlatform:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # What is stored.

    def flows(
        self, organisation_id: str | None = None, project_id: str | None = None
    ) -> list[dict[str, Any]]:
        """The flows, parsed, in the order of their creation; of one organisation or project if given."""
        found = self._matching(None, organisation_id, project_id)
        return [flow.document for flow in found if flow.document is not None]

    def names(self) -> list[str]:
        """The names that flows are stored under, in the order of their creation."""
        return [flow.address.name for flow in self._flows.all()]

    def flow(
        self, name: str, organisation_id: str | None = None, project_id: str | None = None
    ) -> dict[str, Any] | None:
        """A flow, parsed; in any project unless one is given. None where there is none."""
        found = self._matching(name, organisation_id, project_id)
        return found[0].document if found else None

    def raw(
        self, name: str, organisation_id: str | None = None, project_id: str | None = None
    ) -> bytes | None:
        """The bytes that a GET of the flow is answered with; None where there is none."""
        found = self._matching(name, organisation_id, project_id)
        return found[0].raw if found else None

    def spans(
        self, name: str, organisation_id: str | None = None, project_id: str | None = None
    ) -> list[dict[str, Any]]:
        """The spans of a flow; empty where there is no flow of that name."""
        found = self._matching(name, organisation_id, project_id)
        return found[0].spans if found else []

    def put(
        self,
        name: str,
        flow: bytes | Mapping[str, Any],
        organisation_id: str | None = None,
        project_id: str | None = None,
    ) -> None:
        """Stores a flow without a request, as another writer would, or bytes that are no flow at all.

        Nothing is validated; an object gets the flow's id, other bytes stay as they are. No fault strikes.
        """
        address = FlowAddress(organisation_id or self.organisation_id, project_id or self.project_id, name)
        raw = flow if isinstance(flow, bytes) else json.dumps(flow).encode("ascii")
        try:
            text = JsonText.read(raw)
        except ApiError:
            self._flows.put_verbatim(address, raw)
        else:
            self._flows.put(address, text)

    def delete(self, name: str, organisation_id: str | None = None, project_id: str | None = None) -> bool:
        """Deletes a flow, in any project unless one is given; False where there was none."""
        found = self._matching(name, organisation_id, project_id)
        return sum(self._flows.delete(flow.address) for flow in found) > 0

    def forget(self) -> None:
        """Deletes all flows, as a platform that lost its data."""
        self._flows.clear()

    # What goes wrong.

    def fault(self, fault: str | Fault, **options: object) -> FaultHandle:
        """Orders a fault, e.g. ``fault("reset", times=5)`` or ``fault("status=503,retry-after=2")``.

        Args:
            fault: The fault in words, or as ``parse_fault`` returned it.
            **options: More options, where it is given in words.

        Returns:
            A handle to take it back with; a context manager that does so at the end.

        Raises:
            FaultError: It is not written as a fault.
        """
        if isinstance(fault, Fault):
            return self._faults.add(parse_fault(fault.text, **options) if options else fault)
        return self._faults.add(parse_fault(fault, **options))

    def clear_faults(self) -> None:
        """Takes all faults back."""
        self._faults.clear()

    # What came in.

    @property
    def requests(self) -> list[Request]:
        """The latest requests to the API, oldest first, those under way included.

        At most 10,000, and 16 MiB of what their heads hold.
        """
        return self._log.requests()

    def counts(self) -> Counter[tuple[str, int | None]]:
        """How many requests were answered, by method and status (None: no answer)."""
        return self._log.counts()

    def clear_requests(self) -> None:
        """Forgets the record of requests."""
        self._log.clear()

    def wait_for(self, condition: Callable[[LocalPlatform], _T], timeout: float = 10.0) -> _T:
        """Waits until something holds of this platform.

        Args:
            condition: Looks at the platform; what it returns counts as true or false.
            timeout: Seconds to wait.

        Returns:
            What the condition returned.

        Raises:
            TimeoutError: It did not hold in time; the message tells what did come in.
        """
        deadline = monotonic() + timeout
        # Asked without the lock: a condition may send requests of its own.
        while not (result := condition(self)):
            left = deadline - monotonic()
            if left <= 0:
                raise TimeoutError(f"not within {timeout:g} s; {self._summary()}")
            with self._log.changed:
                # Woken by every request; what changes without one is looked at now and then.
                self._log.changed.wait(min(left, 0.05))
        return result

    def _exporter(self) -> AdmittingExporter:
        """Delivers what is received as OTLP to this platform."""
        from ..otlp.admission import AdmittingExporter  # not for those who receive none

        return AdmittingExporter(
            api_key=self._key or "local",
            organisation_id=self.organisation_id,
            project_id=self.project_id,
            base_url=self.url,
            store="memory:",
            allow_insecure=True,
        )

    def _summary(self) -> str:
        latest = [
            f"{request.method} {request.flow or request.path} -> {request.status} ({request.size} bytes)"
            for request in self.requests[-10:]
        ]
        held = {flow.address.name: len(flow.spans) for flow in self._flows.all()}
        return f"the latest requests: {latest}; the spans by flow: {held}"

    def _matching(
        self, name: str | None, organisation_id: str | None, project_id: str | None
    ) -> list[SavedFlow]:
        wanted = (organisation_id, project_id, name)
        return [
            flow
            for flow in self._flows.all()
            if all(want in (None, have) for want, have in zip(wanted, flow.address, strict=True))
        ]
