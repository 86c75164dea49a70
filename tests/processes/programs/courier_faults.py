"""Something is raised on the courier's thread; when the cause is gone, delivery goes on by itself.

python courier_faults.py descriptors | memory | exit | log

It tells the flows' last errors while the cause is there, and once more when all is delivered.
"""

from __future__ import annotations

import logging
import os
import resource
import socket
import sys
import time
from collections.abc import Callable

from tracing import set_up, tell

from opentelemetry import trace
from opentelemetry.exporter.versori_flow import VersoriFlowSpanExporter

KIND = sys.argv[1]
FLOWS = [f"flow.{number}" for number in range(40)]
raised = 0


def cause(error: type[BaseException]) -> None:
    global raised
    raised += 1
    raise error(f"raised by the test, {raised}")


class NoMemory:
    """Stands in the way of an import: the courier's first."""

    def find_spec(self, name: str, *_: object) -> None:
        if name.partition(".")[0] == "httpx":
            cause(MemoryError)


class BrokenHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        cause(RuntimeError)


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


def exit_from_connections() -> Callable[[], None]:
    connect, socket.create_connection = socket.create_connection, lambda *_, **__: cause(SystemExit)

    def mend() -> None:
        socket.create_connection = connect

    return mend


def break_log() -> Callable[[], None]:
    logger = logging.getLogger("opentelemetry.exporter.versori_flow")
    handler = BrokenHandler()
    logger.addHandler(handler)
    return lambda: logger.removeHandler(handler)


def until(what: Callable[[], object]) -> None:
    end = time.monotonic() + 15
    while not what() and time.monotonic() < end:
        time.sleep(0.02)


exporter = VersoriFlowSpanExporter()
tracer = set_up(exporter).get_tracer(__name__)
break_it = {
    "descriptors": use_up_descriptors,
    "memory": use_up_memory,
    "exit": exit_from_connections,
    "log": break_log,
}
mend = break_it[KIND]()
for flow in FLOWS:
    tracer.start_span(flow, attributes={"versori.flow.name": flow}).end()
until(lambda: len([flow for flow in exporter.status().values() if flow.last_error]) == len(FLOWS))
errors = sorted({str(flow.last_error) for flow in exporter.status().values()})
if KIND == "log":
    # The platform is what is out of order meanwhile; the test lets it recover.
    until(lambda: raised)
    print("broken\n", end="", flush=True)
    sys.stdin.readline()
mend()
trace.get_current_span()
until(lambda: all(flow.delivered for flow in exporter.status().values()))
tell(exporter, errors=errors, raised=raised)
