"""Greenlets end spans, and one ticks while a flush waits.

python greenlets.py gevent | eventlet before | after | late | instrumented

The library patches before the exporter is made, after it, or after the first span; or the exporter was made by
`opentelemetry-instrument`. It tells how many spans it ended, and how often it ticked during the flush.
"""

from __future__ import annotations

import importlib
import sys
import time

from patching import patch

LIBRARY, WHEN = sys.argv[1:]
green = importlib.import_module(LIBRARY)

if WHEN in ("before", "instrumented"):
    patch(LIBRARY)

from tracing import set_up, tell, work  # noqa: E402

from opentelemetry import trace  # noqa: E402

provider = trace.get_tracer_provider() if WHEN == "instrumented" else set_up()
tracer = provider.get_tracer(__name__)
ended = 0
if WHEN == "late":
    work(tracer, "early")
    ended += 2
    time.sleep(0.1)
if WHEN in ("after", "late"):
    patch(LIBRARY)


def serve(name: str) -> None:
    global ended
    for number in range(5):
        with tracer.start_as_current_span(f"{name}.{number}"):
            green.sleep(0.005)
        ended += 1


ticks = 0


def tick() -> None:
    global ticks
    while True:
        ticks += 1
        green.sleep(0.005)


for greenlet in [green.spawn(serve, f"greenlet.{number}") for number in range(10)]:
    greenlet.join() if LIBRARY == "gevent" else greenlet.wait()
ticking = green.spawn(tick)
before = ticks
provider.force_flush()
ticked = ticks - before
provider.shutdown()
tell(ended=ended, ticked=ticked)
