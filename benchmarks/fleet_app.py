"""One writer process of `benchmarks.fleet`.

python -m benchmarks.fleet_app URL STORE FLOW SPANS PER_SECOND GO

It waits for the moment GO (seconds since the Unix epoch), ends spans at the given rate, shuts down, and prints
its counts and its processor time as JSON.
"""

from __future__ import annotations

import json
import sys
import time

from opentelemetry.sdk.trace import TracerProvider

from benchmarks.report import exporter
from opentelemetry.exporter.versori_flow import VersoriFlowSpanProcessor

_BATCH = 10
"""Spans that are ended at once: a sleep for each would be what is measured."""

url, store, flow, spans, per_second, go = sys.argv[1:]
made = exporter(url, store=store, flow_name=flow, max_spans=100_000, max_bytes=10**9)
provider = TracerProvider(shutdown_on_exit=False)
provider.add_span_processor(VersoriFlowSpanProcessor(made))
tracer = provider.get_tracer("fleet", "1.0")
time.sleep(max(0.0, float(go) - time.time()))
cpu, begun = time.process_time(), time.monotonic()
for number in range(int(spans)):
    with tracer.start_as_current_span(f"unit {number}", attributes={"http.method": "GET", "size": number}):
        pass
    if number % _BATCH == 0:
        time.sleep(max(0.0, begun + number / float(per_second) - time.monotonic()))
provider.shutdown()
totals = made._totals()
print(
    json.dumps(
        {
            "cpu": time.process_time() - cpu,
            "delivered": totals.delivered,
            "pending": totals.pending,
            "dropped": sum(totals.dropped.values()),
        }
    )
)
