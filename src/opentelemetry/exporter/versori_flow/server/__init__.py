"""The local platform: the API of flows on this host, a page, faults to order and a record of requests."""

from .active_faults import FaultHandle
from .faults import Fault, FaultError, parse_fault
from .platform import LocalPlatform
from .request_log import Request
from .serve_command import serve

__all__ = ["Fault", "FaultError", "FaultHandle", "LocalPlatform", "Request", "parse_fault", "serve"]
