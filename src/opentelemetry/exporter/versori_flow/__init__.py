"""OpenTelemetry spans in Versori flows: whole traces, which stay there.

The way of a span::

    span.end(), export()                            the application's threads
        |
    exporter, processor      VersoriFlowSpanExporter, VersoriFlowSpanProcessor
        |
    intake                   left there: no lock, no wait
        |                                           one thread at a time has the flows
    encoding, routing        its bytes, once; the flow that it belongs to
        |
    flow                     what is kept, what the platform has, what it refuses, what is due: pure
        |
    delivery                 who does what when: the courier, its crew, this host's turns
        |                                           the crew's threads
    http                     GET and PUT of a flow: one deadline, one typed answer

A span is *pending* until a successful PUT has carried it; then it is *delivered*, and stays in its window
until newer traces push it out. A pending span that is pushed out, or refused, is *dropped*: counted by
reason, and logged. Each room imports those on its way or below, never one before it (`tests/test_rooms.py`).
"""

from typing import TYPE_CHECKING, Any

from .exporter import VersoriFlowSpanExporter
from .flow.ledger import DropReason, FlowStatus
from .flow_context import FlowNameProcessor, flow
from .processor import VersoriFlowSpanProcessor
from .settings.load import ConfigurationError
from .version import __version__

if TYPE_CHECKING:
    from .set_up import configure

__all__ = [
    "ConfigurationError",
    "DropReason",
    "FlowNameProcessor",
    "FlowStatus",
    "VersoriFlowSpanExporter",
    "VersoriFlowSpanProcessor",
    "__version__",
    "configure",
    "flow",
]


def __getattr__(name: str) -> Any:
    if name == "configure":  # most programs are set up by their environment
        from .set_up import configure

        return configure
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
