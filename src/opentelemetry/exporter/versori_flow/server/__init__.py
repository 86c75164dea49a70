"""The local platform: the API of flows on this host, a page, faults to order and a record of requests."""

from .faults import Fault, FaultError, parse_fault
from .journal import Request
from .orders import FaultHandle
from .platform import LocalPlatform
from .serving import serve

__all__ = ["Fault", "FaultError", "FaultHandle", "LocalPlatform", "Request", "parse_fault", "serve"]
