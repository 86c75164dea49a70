"""One of several writers of a flow.

python writer.py NAME SECONDS [--elsewhere]

It traces ten units of work a second, at least one, and ends. With --elsewhere it is on a host of its own, as
far as that goes: it can't take turns with the others.
"""

from __future__ import annotations

import sys
import time
from itertools import count

from tracing import set_up, work

from opentelemetry.exporter.versori_flow.delivery import host_lock as turns

if "--elsewhere" in sys.argv:
    turns._CAN_LOCK = False
name, end = sys.argv[1], time.monotonic() + float(sys.argv[2])
tracer = set_up().get_tracer(__name__)
for unit in count():
    work(tracer, f"{name}.{unit}")
    if time.monotonic() + 0.1 > end:
        break
    time.sleep(0.1)
print(unit + 1)
