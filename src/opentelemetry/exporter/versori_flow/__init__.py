"""OpenTelemetry spans in Versori flows: whole traces, which stay there.

The way of a span::

    span.end()                                      the application's thread
        |
    exporter, processor      VersoriFlowSpanExporter, VersoriFlowSpanProcessor
        |
    encoding, routing        its bytes, once; the flow that it belongs to
        |
    flows -> flow            one state machine a flow: clean, dirty, busy, backing off, searching
        |    (window, document, search)   what is kept, what the platform has, what it refuses
        |
    courier                  which flow is due: threads, the clock, the one lock
        |                                           the courier's threads
    api                      GET and PUT of a flow: one deadline, one typed answer

A span is *pending* until a successful PUT has carried it; then it is *delivered*, and stays in its window
until newer traces push it out. A pending span that is pushed out, or refused, is *dropped*: counted by
reason, and logged. Each room imports later ones only.
"""

from .exporter import VersoriFlowSpanExporter
from .flow.ledger import DropReason, FlowStatus
from .processor import VersoriFlowSpanProcessor
from .settings.load import ConfigurationError
from .version import __version__

__all__ = [
    "ConfigurationError",
    "DropReason",
    "FlowStatus",
    "VersoriFlowSpanExporter",
    "VersoriFlowSpanProcessor",
    "__version__",
]
