"""`VersoriFlowSpanProcessor`, the SpanProcessor's face: no queue that overflows between a span and its flow."""

from __future__ import annotations

from opentelemetry.sdk.trace import ReadableSpan

from .exporter import VersoriFlowSpanExporter
from .flow_context import FlowNameProcessor


class VersoriFlowSpanProcessor(FlowNameProcessor):
    """Leaves each ended sampled span with the exporter, and never waits; one begun in a `flow` gets its name.

    `span.end()` takes no lock, logs nothing and encodes nothing: that is done on the exporter's own thread.
    The SDK's `BatchSpanProcessor` keeps a queue of its own, which can overflow, whose `force_flush` ignores
    its timeout, which a fork empties, and which `multiprocessing` children die with.

    Args:
        exporter: Delivers the spans.
    """

    def __init__(self, exporter: VersoriFlowSpanExporter) -> None:
        self._exporter = exporter
        self._leave = exporter.leave

    def on_end(self, span: ReadableSpan) -> None:
        """Leaves the span with the exporter if it is sampled."""
        context = span.context
        if context is not None and context.trace_flags.sampled:
            self._leave(span)

    def force_flush(self, timeout_millis: float | None = 30_000) -> bool:
        """Delivers all that is pending now, within `timeout_millis`; True when nothing of it is pending."""
        return self._exporter.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float | None = 30_000) -> None:
        """Shuts the exporter down, within `timeout_millis` or its own `timeout`, whichever is less."""
        self._exporter.shutdown(timeout_millis)
