"""One of several processes that trace a few units of work and end at the same moment.

python together.py NAME UNITS FILE [two]

It says "ready", waits for the file, traces, and ends. With "two" it has a second exporter, and a child.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from opentelemetry.sdk.trace import TracerProvider
from tracing import set_up, work

from opentelemetry.exporter.versori_flow import VersoriFlowSpanExporter, VersoriFlowSpanProcessor

name, units, go = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
tracer = set_up().get_tracer(__name__)
print("ready\n", end="", flush=True)
while not go.exists():
    time.sleep(0.005)
for unit in range(units):
    work(tracer, f"{name}.{unit}")
if "two" in sys.argv:
    other = TracerProvider()
    other.add_span_processor(VersoriFlowSpanProcessor(VersoriFlowSpanExporter()))
    for unit in range(units):
        work(other.get_tracer(__name__), f"{name}.other.{unit}")
    if not os.fork():
        for unit in range(units):
            work(tracer, f"{name}.child.{unit}")
