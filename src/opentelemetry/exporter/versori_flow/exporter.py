"""`VersoriFlowSpanExporter`, the SpanExporter's face: it encodes, routes, hands over, waits a moment."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from . import lifecycle
from .delivery.courier import Courier
from .delivery.log import say_one
from .encoding.span import SpanEncoder
from .flow.ledger import FlowStatus, Totals
from .http.credentials import Credentials
from .intake import Intake
from .interruption import at_work, let_through
from .routing.default_flow import DefaultFlow
from .routing.router import Router
from .settings.load import internal_metrics_enabled, load_settings, unknown_variables
from .settings.readers import Secret
from .settings.table import arguments

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.sdk.trace import ReadableSpan

    from .delivery.dispatcher import Dispatcher
    from .delivery.log import Faults
    from .own_metrics import OwnMetrics

_A_DAY = 24 * 60 * 60 * 1000
"""Milliseconds: clocks and locks take no endless times."""

_ROUTED_WINDOWS = 8
"""Spans whose route is remembered, in windows of `max_spans`: a trace may learn its flow late."""


class VersoriFlowSpanExporter(SpanExporter):
    __doc__ = f"""Shows spans in their Versori flows, whole traces that stay there.

    Every setting is a keyword and an environment variable; the keyword wins.

    Args:
{arguments()}

    Raises:
        ConfigurationError: Settings are missing or wrong; it lists every problem.
    """

    _admits = False  # see FlowPolicy

    def __init__(
        self,
        *,
        api_key: str | None = None,
        api_key_file: str | os.PathLike[str] | None = None,
        auth_scheme: str | None = None,
        organisation_id: str | None = None,
        project_id: str | None = None,
        base_url: str | None = None,
        allow_insecure: bool | str | None = None,
        flow_name: str | Callable[[ReadableSpan], str] | None = None,
        flow_description: str | None = None,
        write_mode: str | None = None,
        store: str | None = None,
        max_store_bytes: int | str | None = None,
        max_spans: int | str | None = None,
        max_bytes: int | str | None = None,
        max_flows: int | str | None = None,
        min_interval: float | str | None = None,
        timeout: float | str | None = None,
        export_wait: float | str | None = None,
        headers: Mapping[str, str] | Sequence[object] | str | None = None,
        compression: str | None = None,
        certificate: str | os.PathLike[str] | None = None,
        client_certificate: str | os.PathLike[str] | None = None,
        client_key: str | os.PathLike[str] | None = None,
        resource_attributes: Sequence[str] | str | None = None,
        meter_provider: MeterProvider | None = None,
        **unknown: object,
    ) -> None:
        # First, so that no traceback with locals shows a key; a copy, as a debugger changes the original.
        given, api_key, headers, store, unknown = Secret({**locals()}), *[None] * 3, dict.fromkeys(unknown)
        del given.reveal()["self"], given.reveal()["unknown"]
        self._settings = load_settings(given, **unknown)
        for variable, meant in unknown_variables().items():
            advice = f" (did you mean {meant}?)" if meant else ""
            say_one(logging.WARNING, f"{variable} is no setting{advice}; it is ignored")
        self._credentials = Credentials(self._settings)
        self._metrics: OwnMetrics | None = None
        if internal_metrics_enabled():
            from .own_metrics import OwnMetrics  # few switch it on, and all would pay for the import

            # Weak: a meter provider keeps its callbacks for as long as it lives.
            totals = weakref.WeakMethod(self._totals)
            self._metrics = OwnMetrics(
                self._settings.meter_provider,
                self._settings.base_url,
                lambda: method() if (method := totals()) is not None else None,
            )
        self._said_late = False
        self._start_anew()
        lifecycle.watch(self)
        if lifecycle.imports_now():
            try:
                self._courier.wire()
            except BaseException as error:  # noqa: BLE001 - it is tried again when there is something to do, and said
                let_through(error)
        # At interpreter exit no thread can be had, and the imports of the first request could eat a KeyboardInterrupt.
        self._courier.start()

    def _start_anew(self) -> None:
        """Wires all that belongs to one process: at construction, and in each forked child.

        A child has a copy of what its parent delivers, and the parent's sockets, but no thread: all is new there.
        The inherited client stays referenced: closing it would end TLS sessions that are still the parent's.
        """
        settings = self._settings
        before: Courier | None = getattr(self, "_courier", None)
        if before is not None:
            self._inherited = before.api
            at_work.clear()
            if before.api is not None:
                from .delivery import host_lock

                host_lock.start_anew()
            if self._metrics is not None:
                self._metrics.start_anew()
        router = Router(_ROUTED_WINDOWS * settings.max_spans)
        intake = Intake(SpanEncoder(settings.resource_attributes), DefaultFlow(settings.flow_name), router)
        credentials, metrics, admits = self._credentials, self._metrics, self._admits

        def wire(faults: Faults) -> Dispatcher:  # without `self`: an exporter that was dropped is not kept
            with lifecycle.forks_wait():
                from .wiring import wired
            return wired(settings, credentials, intake, metrics, faults, admits=admits)

        self._courier = Courier(intake, wire, before)
        self._pid = os.getpid()
        if before is not None and before.closing:  # in a child of a process that had shut it down
            self._courier.shutdown(0)
        lifecycle.end_with(self, self._courier)

    def _here(self) -> Courier:
        # uWSGI forks without running the hooks.
        if self._pid != os.getpid():
            self._start_anew()
        return self._courier

    def leave(self, span: ReadableSpan) -> None:
        """Leaves an ended span: what `VersoriFlowSpanProcessor` calls. No lock, no wait, no log line.

        It may be called anywhere, also by a finalizer or a signal handler in the middle of another call.
        """
        (self._courier if self._pid == os.getpid() else self._here()).leave(span)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Hands spans over to their flows, and waits `export_wait` for them to be delivered.

        Spans that are not delivered by then stay pending and are delivered without further calls.

        Returns:
            SUCCESS: the spans are with the platform, or wait for their flow's pacing interval only.
            FAILURE: they are not delivered yet, or some are lost. Nothing is raised.
        """
        courier = self._here()
        if courier.closing:
            courier.lose(len(spans))
            self._say_late()
            return SpanExportResult.FAILURE
        delivered = courier.export(spans, self._settings.export_wait)
        return SpanExportResult.SUCCESS if delivered else SpanExportResult.FAILURE

    def force_flush(self, timeout_millis: float | None = 30_000) -> bool:
        """Delivers all that is pending now; pacing, backoff and a running `Retry-After` are ignored.

        Args:
            timeout_millis: Milliseconds to wait at most, and at most a day; None: 30,000.

        Returns:
            True when nothing of it is pending any more; False when the time is up, when no attempt within it can
            change anything, and at once on the exporter's own thread (in a finalizer that happens to run there).
        """
        return self._here().flush(_seconds(timeout_millis))

    def shutdown(self, timeout_millis: float | None = 30_000) -> None:
        """Delivers what is pending, reads back what was written, and ends. A second call waits for the first.

        What could not be delivered is logged, by flow and count.

        Args:
            timeout_millis: Milliseconds to take at most, and at most the setting `timeout`, whatever the platform
                does; None: 30,000. An ordinary parameter: the SDK looks for it by name, and passes what is left of
                its time.
        """
        courier = self._here()
        try:
            courier.shutdown(min(_seconds(timeout_millis), self._settings.timeout))
        except KeyboardInterrupt:
            # At interpreter exit nobody can take it: it has ended the wait, and would be shown as a fault.
            if threading.main_thread().is_alive():
                raise
        if courier.over and lifecycle.has_ended(self):
            lifecycle.say_at_end(self.status)

    def status(self) -> dict[str, FlowStatus]:
        """How every flow does, by its name; by the empty one what was lost of no known flow (in a damaged file)."""
        return self._here().status()

    def _say_late(self) -> None:
        late = self._courier.late
        if late and not self._said_late:
            self._said_late = True
            came = (
                "1 span came after shutdown and is"
                if late == 1
                else f"{late} spans came after shutdown and are"
            )
            say_one(logging.WARNING, f"{came} lost, as all that follow")

    def _totals(self) -> Totals:
        return self._here().totals()

    def __repr__(self) -> str:
        settings = getattr(self, "_settings", None)
        if settings is None:  # the constructor raised
            return f"<{type(self).__name__}, not configured>"
        return f"{type(self).__name__}(base_url={settings.base_url!r}, flow_name={settings.flow_name!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} can't be pickled: make one in each process")


def _seconds(millis: float | None) -> float:
    # `max` and `min` with the constant in these places make nothing of what is no number.
    return max(0, min(30_000 if millis is None else millis, _A_DAY)) / 1000
