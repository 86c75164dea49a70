"""The exporter's own metrics, through the OpenTelemetry metrics API.

Named as the semantic conventions for SDK components name them
(https://opentelemetry.io/docs/specs/semconv/otel/sdk-metrics/); what those don't have is `versori.flow.*`:

    otel.sdk.exporter.span.inflight       spans pending
    otel.sdk.exporter.span.exported       spans delivered; dropped ones with `error.type`, the reason
    otel.sdk.exporter.operation.duration  seconds of an attempt at a flow; a failed one with `error.type`
    versori.flow.span.dropped             lost spans, by `versori.flow.drop.reason`
    versori.flow.request                  requests, by `http.request.method`; failed ones with `error.type`
    versori.flow.request.body.size        bytes of a PUT

The span counts are observed, not recorded: they are the counts of `status()`, so that at every reading
handed over = exported + inflight, and a span of the application pays nothing for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter_provider

from .counts import Totals
from .version import __version__

if TYPE_CHECKING:
    from opentelemetry.util.types import AttributeValue

_TYPE = "versori_flow_span_exporter"
_numbers = count()


class Telemetry:
    """Instruments of one exporter.

    Args:
        meter_provider: None: the global one.
        base_url: The platform's address.
        totals: The counts now; None once the exporter is gone.
    """

    def __init__(
        self, meter_provider: MeterProvider | None, base_url: str, totals: Callable[[], Totals | None]
    ) -> None:
        self._totals = totals
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
            "Spans that were passed to the exporter, and are neither delivered nor dropped yet",
        )
        meter.create_observable_counter(
            "otel.sdk.exporter.span.exported",
            [self._exported],
            "{span}",
            "Spans for which the export has finished, successfully or not",
        )
        meter.create_observable_counter(
            "versori.flow.span.dropped", [self._dropped], "{span}", "Lost spans, by reason"
        )
        self._duration = meter.create_histogram(
            "otel.sdk.exporter.operation.duration", "s", "How long an attempt at a flow takes"
        )
        self._requests = meter.create_counter("versori.flow.request", "{request}", "Requests to the platform")
        self._body_size = meter.create_histogram("versori.flow.request.body.size", "By", "Bodies of PUTs")

    def request(self, method: str, body_size: int | None, error: str | None) -> None:
        """One request is over; `error` says why it failed."""
        attributes = self._with_error(error)
        self._requests.add(1, {**attributes, "http.request.method": method})
        if body_size is not None:
            self._body_size.record(body_size, self._attributes)

    def attempt(self, seconds: float, error: str | None) -> None:
        """One attempt at a flow is over; `error` says why it failed."""
        self._duration.record(seconds, self._with_error(error))

    def _with_error(self, error: str | None) -> dict[str, AttributeValue]:
        return self._attributes if error is None else {**self._attributes, "error.type": error}

    def _inflight(self, _: CallbackOptions) -> Iterable[Observation]:
        totals = self._totals()
        if totals is not None:
            yield Observation(totals.pending, self._attributes)

    def _exported(self, _: CallbackOptions) -> Iterable[Observation]:
        totals = self._totals()
        if totals is not None:
            yield Observation(totals.delivered, self._attributes)
            for reason, dropped in totals.dropped.items():
                yield Observation(dropped, self._with_error(reason))

    def _dropped(self, _: CallbackOptions) -> Iterable[Observation]:
        totals = self._totals()
        if totals is not None:
            for reason, dropped in totals.dropped.items():
                yield Observation(dropped, {**self._attributes, "versori.flow.drop.reason": reason})
