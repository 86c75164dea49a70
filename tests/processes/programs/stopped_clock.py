"""An application's test that stops the clock, as freezegun does: wherever a module holds a function of `time`.

python stopped_clock.py HOW

It traces a unit of work before the clock stops and one after that, flushes, and says "flushed". HOW: "ends" ends
with the clock stopped; "thaws" lets the clock go on, says "thawed", and waits for the end of its standard input.
"""

from __future__ import annotations

import sys
import time

from tracing import set_up, work

from opentelemetry.exporter.versori_flow import VersoriFlowSpanExporter

_SPARED = ("threading", "queue")
"""Modules that freezegun leaves alone."""


def replace(old: object, new: object) -> None:
    """Puts `new` wherever a module has `old`."""
    for module_name, module in list(sys.modules.items()):
        if not module_name.startswith(_SPARED):
            for name, value in list(getattr(module, "__dict__", {}).items()):
                if value is old:
                    setattr(module, name, new)


exporter = VersoriFlowSpanExporter()
tracer = set_up(exporter).get_tracer(__name__)
work(tracer, "before")
exporter.force_flush(1000)
running = (time.monotonic, time.time, time.time_ns)
stopped = (lambda: 1.9e9, lambda: 1.9e9, lambda: int(1.9e18))
for old, new in zip(running, stopped, strict=True):
    replace(old, new)
work(tracer, "stopped")
exporter.force_flush(1000)
print("flushed", flush=True)
if sys.argv[1] == "thaws":
    for old, new in zip(running, stopped, strict=True):
        replace(new, old)
    print("thawed", flush=True)
    sys.stdin.read()
