"""What the programs beside this file have in common: a provider, set up as users do, and a unit of work."""

from __future__ import annotations

import json
import os
from typing import Any

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

from opentelemetry import trace
from opentelemetry.exporter.versori_flow import VersoriFlowSpanExporter, VersoriFlowSpanProcessor


def set_up(exporter: VersoriFlowSpanExporter | None = None, **options: Any) -> TracerProvider:
    """A provider with the processor that PROCESSOR names; the global one unless LOCAL_PROVIDER says not."""
    provider = TracerProvider(**options)
    exporter = exporter or VersoriFlowSpanExporter()
    if os.environ["PROCESSOR"] == "batch":
        # An hour, so that what arrives was flushed, and did not happen to be on its way.
        delay = float(os.environ.get("SCHEDULE_DELAY", 3_600_000))
        provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=delay))
    elif os.environ["PROCESSOR"] == "simple":
        provider.add_span_processor(SimpleSpanProcessor(exporter))
    else:
        provider.add_span_processor(VersoriFlowSpanProcessor(exporter))
    if "LOCAL_PROVIDER" not in os.environ:
        trace.set_tracer_provider(provider)
    return provider


def work(tracer: trace.Tracer, name: str) -> None:
    """One trace of two spans: `name`, and `name.part` under it."""
    with tracer.start_as_current_span(name), tracer.start_as_current_span(f"{name}.part"):
        pass


def tell(exporter: VersoriFlowSpanExporter | None = None, **facts: object) -> None:
    """Prints facts as one line of JSON, with the exporter's counts over all flows."""
    flows = exporter.status().values() if exporter is not None else []
    counts = {
        "handed_over": sum(flow.handed_over for flow in flows),
        "delivered": sum(flow.delivered for flow in flows),
        "pending": sum(flow.pending for flow in flows),
        "dropped": sum(sum(flow.dropped.values()) for flow in flows),
    }
    print(json.dumps({**counts, **facts}), flush=True)
