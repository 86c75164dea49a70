"""Something is raised on the courier's thread; when the cause is gone, delivery goes on by itself.

python courier_faults.py descriptors | memory

It tells the flows' last errors while the cause is there, and once more when all is delivered.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable

from tracing import set_up, tell

from opentelemetry.exporter.versori_flow import VersoriFlowSpanExporter

FLOWS = [f"flow.{number}" for number in range(40)]


class NoMemory:
    """Stands in the way of an import: the courier's first."""

    def find_spec(self, name: str, *_: object) -> None:
        if name.partition(".")[0] == "httpx":
            raise MemoryError


def use_up_descriptors() -> Callable[[], None]:
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    held = []
    try:
        while True:
            held.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return lambda: [os.close(one) for one in held] and None


def use_up_memory() -> Callable[[], None]:
    sys.meta_path.insert(0, NoMemory())
    return lambda: sys.meta_path.pop(0) and None


def until(what: Callable[[], object]) -> None:
    end = time.monotonic() + 15
    while not what() and time.monotonic() < end:
        time.sleep(0.02)


exporter = VersoriFlowSpanExporter()
tracer = set_up(exporter).get_tracer(__name__)
# Without descriptors nothing is taken from the intake: the default flow is all that status() knows then.
use_up, failing = {"descriptors": (use_up_descriptors, 1), "memory": (use_up_memory, len(FLOWS))}[sys.argv[1]]
mend = use_up()
for flow in FLOWS:
    tracer.start_span(flow, attributes={"versori.flow.name": flow}).end()
until(lambda: len([flow for flow in exporter.status().values() if flow.last_error]) == failing)
errors = sorted({str(flow.last_error) for flow in exporter.status().values()})
mend()
until(lambda: all(flow.delivered for flow in exporter.status().values()))
tell(exporter, errors=errors)
