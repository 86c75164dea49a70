"""A process with a durable store, whose platform may be down.

python outage.py NAME UNITS HOW

It traces so many units of work. HOW: "killed" says "ready" once all is handed over, and waits to be killed;
"returns" ends in order; "forks" forks once a child that ends in order, then waits to be killed; "idles" says
"ready" and waits for the end of its standard input.
"""

from __future__ import annotations

import os
import sys
import time

from tracing import set_up, tell, work

from opentelemetry.exporter.versori_flow import VersoriFlowSpanExporter

name, units, how = sys.argv[1], int(sys.argv[2]), sys.argv[3]
exporter = VersoriFlowSpanExporter()
provider = set_up(exporter)
tracer = provider.get_tracer(__name__)
for unit in range(units):
    work(tracer, f"{name}.{unit}")
provider.force_flush(1)
while sum(flow.handed_over for flow in exporter.status().values()) < 2 * units:
    time.sleep(0.01)
if how == "forks":
    child = os.fork()
    if not child:
        work(tracer, f"{name}.child")
        sys.exit()
    os.waitpid(child, 0)
print("ready\n", end="", flush=True)
if how in ("killed", "forks", "idles"):
    sys.stdin.read()
provider.shutdown()
tell(exporter, stores=sorted({flow.store for flow in exporter.status().values()}))
