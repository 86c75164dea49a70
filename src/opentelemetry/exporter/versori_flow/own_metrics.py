"""The exporter's own metrics, through the OpenTelemetry metrics API.

Named as the semantic conventions for SDK components name them
(https://opentelemetry.io/docs/specs/semconv/otel/sdk-metrics/); what those don't have is `versori.flow.*`:

    otel.sdk.exporter.span.inflight       spans pending
    otel.sdk.exporter.span.exported       spans delivered; dropped ones with `error.type`, the reason
    otel.sdk.exporter.operation.duration  seconds from a flow's first attempt to the PUT that succeeds, the
                                          waits between included; with `error.type` where there is none
    versori.flow.attempt.duration         seconds of each attempt at a flow; a failed one with `error.type`
    versori.flow.request                  requests, by `http.request.method`; failed ones with `error.type`
    versori.flow.request.body.size        bytes of a PUT, before compression
    versori.flow.span.dropped             lost spans, by `versori.flow.drop.reason`

The span counts are observed, not recorded: they are the counts of `status()`, so that at every reading
handed over = exported + inflight, and a span of the application pays nothing for them. A span is exported
once: where it is delivered, and moves to another flow, or is lost later, that changes nothing.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from itertools import count
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter_provider

from .flow.ledger import Totals
from .interruption import let_through
from .native import monotonic
from .version import __version__

if TYPE_CHECKING:
    from opentelemetry.util.types import AttributeValue

_TYPE = "versori_flow_span_exporter"
_numbers = count()

_REMEMBERED_OPERATIONS = 1000
"""Flows in trouble whose beginning is remembered."""


class OwnMetrics:
    """Instruments of one exporter. What they raise costs a value, and no delivery.

    Args:
        meter_provider: None: the global one.
        base_url: The platform's address.
        totals: The counts now; None once the exporter is gone.
    """

    def __init__(
        self, meter_provider: MeterProvider | None, base_url: str, totals: Callable[[], Totals | None]
    ) -> None:
        self._totals = totals
        self._last: Totals | None = None
        self._snapshot: Totals | None = None
        self._raised = count()
        self._problems: list[str] = []
        self._asked: set[str] = set()
        self._operations: OrderedDict[str, tuple[float, str]] = OrderedDict()
        url = urlsplit(base_url)
        self._attributes: dict[str, AttributeValue] = {
            "otel.component.type": _TYPE,
            "otel.component.name": f"{_TYPE}/{next(_numbers)}",
            "server.address": url.hostname or "",
            "server.port": url.port or (443 if url.scheme == "https" else 80),
        }
        meter = (meter_provider or get_meter_provider()).get_meter(
            "opentelemetry.exporter.versori_flow", __version__
        )
        meter.create_observable_up_down_counter(
            "otel.sdk.exporter.span.inflight",
            [self._inflight],
            "{span}",
            "The number of spans which were passed to the exporter, but that have not been exported yet "
            "(neither successful, nor failed).",
        )
        meter.create_observable_counter(
            "otel.sdk.exporter.span.exported",
            [self._exported],
            "{span}",
            "The number of spans for which the export has finished, either successful or failed.",
        )
        meter.create_observable_counter(
            "versori.flow.span.dropped", [self._dropped], "{span}", "The number of lost spans, by reason."
        )
        self._duration = meter.create_histogram(
            "otel.sdk.exporter.operation.duration",
            "s",
            "The duration of exporting a batch of telemetry records.",
        )
        self._attempts = meter.create_histogram(
            "versori.flow.attempt.duration", "s", "The duration of one attempt at a flow: read, merge, write."
        )
        self._requests = meter.create_counter(
            "versori.flow.request", "{request}", "The number of requests to the platform."
        )
        self._body_size = meter.create_histogram(
            "versori.flow.request.body.size", "By", "The size of a flow as it is written."
        )

    def request(self, flow: str, begun: float, method: str, body_size: int | None, error: str | None) -> None:
        """One request is over.

        Args:
            flow: The flow's name.
            begun: When the attempt began, in seconds of the monotonic clock.
            method: GET or PUT.
            body_size: Bytes of the flow that a PUT carried.
            error: Why it failed, or None.
        """
        attributes = self._with_error(error)
        self._tell(self._requests.add, 1, {**attributes, "http.request.method": method})
        if body_size is not None:
            self._tell(self._body_size.record, body_size, self._attributes)
        operation_begun, _ = self._operations.get(flow, (begun, ""))
        if error is not None:
            self._operations[flow] = operation_begun, error
            if len(self._operations) > _REMEMBERED_OPERATIONS:
                self._operations.popitem(last=False)
        elif method == "PUT":
            self._operations.pop(flow, None)
            self._tell(self._duration.record, monotonic() - operation_begun, self._attributes)

    def attempt(self, flow: str, begun: float, error: str | None, unfinished: bool) -> None:
        """One attempt at a flow is over.

        Args:
            flow: The flow's name.
            begun: When it began, in seconds of the monotonic clock.
            error: Why it failed, or None.
            unfinished: Whether another attempt follows: the operation goes on.
        """
        now = monotonic()
        self._tell(self._attempts.record, now - begun, self._with_error(error))
        if self._last is None and (error is None or not unfinished):  # `end` has told the others
            operation_begun, _ = self._operations.pop(flow, (begun, ""))
            if error is not None:
                self._tell(self._duration.record, now - operation_begun, self._with_error(error))

    def end(self) -> None:
        """The exporter has ended: what was to be tried again has failed, and the counts are its last."""
        self._last = self._totals()
        now = monotonic()
        while self._operations:
            _, (begun, error) = self._operations.popitem()
            self._tell(self._duration.record, now - begun, self._with_error(error))

    def take_problem(self) -> str | None:
        """What an instrument has raised, as a line to log; once."""
        with contextlib.suppress(IndexError):  # several threads may ask at once
            return self._problems.pop()
        return None

    def start_anew(self) -> None:
        """In a forked child: what is under way is the parent's."""
        self._operations = OrderedDict()

    def _tell(
        self,
        tell: Callable[[float, dict[str, AttributeValue]], None],
        value: float,
        attributes: dict[str, AttributeValue],
    ) -> None:
        try:
            tell(value, attributes)
        except BaseException as error:  # noqa: BLE001 - the meter provider may be anybody's
            let_through(error)
            if next(self._raised) == 0:
                kind = type(error).__name__
                self._problems.append(
                    f"an instrument of the meter provider raised {kind}: metrics of the exporter are missing"
                )

    def _with_error(self, error: str | None) -> dict[str, AttributeValue]:
        return self._attributes if error is None else {**self._attributes, "error.type": error}

    def _read(self, instrument: str) -> list[Totals]:
        """The counts, of one moment for all instruments of a reading; none once the exporter is gone."""
        if self._snapshot is None or instrument in self._asked:
            self._snapshot = self._totals() or self._last
            self._asked.clear()
        self._asked.add(instrument)
        return [] if self._snapshot is None else [self._snapshot]

    def _inflight(self, _: CallbackOptions) -> Iterable[Observation]:
        for totals in self._read("inflight"):
            yield Observation(totals.pending, self._attributes)

    def _exported(self, _: CallbackOptions) -> Iterable[Observation]:
        for totals in self._read("exported"):
            yield Observation(totals.delivered, self._attributes)
            for reason, dropped in totals.dropped.items():
                yield Observation(dropped, self._with_error(reason))

    def _dropped(self, _: CallbackOptions) -> Iterable[Observation]:
        for totals in self._read("dropped"):
            for reason, dropped in totals.dropped.items():
                yield Observation(dropped, {**self._attributes, "versori.flow.drop.reason": reason})
