"""`VersoriFlowSpanProcessor`, the SpanProcessor's face: no queue between a span and its window."""

from __future__ import annotations

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from .exporter import VersoriFlowSpanExporter


class VersoriFlowSpanProcessor(SpanProcessor):
    """Hands each ended sampled span to the exporter at once, and never waits.

    The SDK's `BatchSpanProcessor` keeps a queue of its own, whose `force_flush` ignores its timeout, which a
    fork empties, and which `multiprocessing` children die with. Here a span is in its flow's window when
    `span.end()` returns.

    Args:
        exporter: Delivers the spans.
    """

    def __init__(self, exporter: VersoriFlowSpanExporter) -> None:
        self._exporter = exporter

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Does nothing: a span is handed over when it ends."""

    def on_end(self, span: ReadableSpan) -> None:
        """Hands the span over if it is sampled."""
        context = span.context
        if context is not None and context.trace_flags.sampled:
            self._exporter.hand_over((span,))

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Delivers all that is pending now, within `timeout_millis`; True when nothing of it is pending."""
        return self._exporter.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000) -> None:
        """Shuts the exporter down, within `timeout_millis` or its own `timeout`, whichever is less."""
        self._exporter.shutdown(timeout_millis)
