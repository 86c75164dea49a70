"""The local platform: the API of flows on this host, a page, faults to order and a record of requests."""

from opentelemetry.exporter.versori_flow.server.faults import Fault, FaultError, parse_fault
from opentelemetry.exporter.versori_flow.server.journal import Request
from opentelemetry.exporter.versori_flow.server.orders import FaultHandle
from opentelemetry.exporter.versori_flow.server.platform import LocalPlatform
from opentelemetry.exporter.versori_flow.server.serving import serve

__all__ = ["Fault", "FaultError", "FaultHandle", "LocalPlatform", "Request", "parse_fault", "serve"]
