"""Makes a hundred exporters, uses every other one, and forgets them: tells what is left of them.

It shuts none of them down.
"""

from __future__ import annotations

import gc
import os
import threading
import time
import weakref

from opentelemetry.sdk.trace import TracerProvider
from tracing import tell

from opentelemetry.exporter.versori_flow import VersoriFlowSpanExporter

tracer = TracerProvider().get_tracer(__name__)


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


def use(number: int) -> weakref.ref[VersoriFlowSpanExporter]:
    exporter = VersoriFlowSpanExporter(min_interval=0)
    if number % 2:
        span = tracer.start_span(f"span.{number}")
        span.end()
        exporter.export([span])
        assert exporter.force_flush()
    return weakref.ref(exporter)


# The provider's own, which are joined, may still be in the system's list for a moment.
while threads() > threading.active_count():
    time.sleep(0.01)
before = threads()
used = [use(number) for number in range(100)]
end = time.monotonic() + 10
while (threads() > before or any(one() for one in used)) and time.monotonic() < end:
    gc.collect()
    time.sleep(0.05)
tell(threads=threads() - before, alive=sum(one() is not None for one in used))
