"""An event loop ends ten spans, each exported at once, while the platform hangs: tells how many made it wait."""

from __future__ import annotations

import asyncio
import os
import time

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from tracing import tell

from opentelemetry.exporter.versori_flow import VersoriFlowSpanExporter

WAIT = 0.8

exporter = VersoriFlowSpanExporter(export_wait=WAIT, timeout=30)
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
tracer = provider.get_tracer(__name__)


async def serve() -> int:
    waits = 0
    for number in range(10):
        begun = time.monotonic()
        tracer.start_span(f"span.{number}").end()
        waits += time.monotonic() - begun > WAIT / 2
        await asyncio.sleep(0)
    return waits


tell(exporter, waits=asyncio.run(serve()))
os._exit(0)  # nothing will ever be delivered
