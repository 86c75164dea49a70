"""Greenlets end spans of many flows, which are delivered side by side.

python crowd.py gevent | eventlet before | after

The library patches before the exporter is made, or after it. It tells how many spans it ended, how long the flush
and the shutdown took, and how many descriptors are left over.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
import time

from patching import patch

LIBRARY, WHEN = sys.argv[1:]
green = importlib.import_module(LIBRARY)

if WHEN == "before":
    patch(LIBRARY)

from tracing import set_up, tell  # noqa: E402

FLOWS, ROUNDS = 6, 2
FLUSH = float(os.environ.get("FLUSH", "30"))
LEFT_WITHIN = 3.0


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


green.sleep(0.001)
before = descriptors()
provider = set_up()
if WHEN == "after":
    patch(LIBRARY)
tracer = provider.get_tracer(__name__)


def serve(number: int) -> None:
    with tracer.start_as_current_span("unit", attributes={"versori.flow.name": f"flow {number}"}):
        green.sleep(0.003)


begun = time.monotonic()
for _ in range(ROUNDS):
    for greenlet in [green.spawn(serve, number) for number in range(FLOWS)]:
        greenlet.join() if LIBRARY == "gevent" else greenlet.wait()
    provider.force_flush(int(FLUSH * 1000))
flushed = time.monotonic()
provider.shutdown()
ended = time.monotonic()
while descriptors() > before and time.monotonic() < ended + LEFT_WITHIN:
    gc.collect()
    green.sleep(0.01)
tell(ended=FLOWS * ROUNDS, flush=flushed - begun, shutdown=ended - flushed, left=descriptors() - before)
