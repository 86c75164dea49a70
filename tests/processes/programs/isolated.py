"""Traces in an isolated subinterpreter, which refuses daemon threads, or all: tells what came of it there."""

from __future__ import annotations

import sys

if sys.version_info >= (3, 13):
    import _interpreters as interpreters

    isolated = interpreters.create("isolated")
else:
    import _xxsubinterpreters as interpreters

    isolated = interpreters.create(isolated=True)

failed = interpreters.run_string(
    isolated,
    f"""
import sys
sys.path[:] = {sys.path!r}
from opentelemetry.sdk.resources import Resource
from tracing import set_up, tell, work
from opentelemetry.exporter.versori_flow import VersoriFlowSpanExporter
exporter = VersoriFlowSpanExporter()
# `Resource.create` asks its detectors on threads of its own.
provider = set_up(exporter, resource=Resource({{"service.name": "flow"}}))
tracer = provider.get_tracer("isolated")
work(tracer, "flushed")
tell(exporter, flushed=provider.force_flush())
work(tracer, "at.shutdown")
provider.shutdown()
tell(exporter)
""",
)
interpreters.destroy(isolated)
sys.exit(str(failed) if failed else 0)
