"""One of several processes of a fleet that end at the same moment.

python leaving.py NAME FILE

It traces two units of work, one of them long before it ends, says "ready", waits for the file, traces the other,
and tells how many seconds its shutdown took.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tracing import set_up, tell, work

from opentelemetry.exporter.versori_flow import VersoriFlowSpanExporter

name, go = sys.argv[1], Path(sys.argv[2])
exporter = VersoriFlowSpanExporter()
provider = set_up(exporter)
tracer = provider.get_tracer(__name__)
work(tracer, f"{name}.0")
provider.force_flush()
print("ready\n", end="", flush=True)
while not go.exists():
    time.sleep(0.005)
work(tracer, f"{name}.1")
began = time.monotonic()
provider.shutdown()
tell(exporter, seconds=time.monotonic() - began)
