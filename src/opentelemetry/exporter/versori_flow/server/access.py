"""Who may ask: the host that this is on, and no page of another site by way of a browser."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request


def require_this_host(request: Request) -> None:
    """Lets in a request that was meant for this host.

    A page of another site can make a browser send requests here, and by a name of its own that leads here
    even read the answers. Such a request carries that name.

    Raises:
        HTTPException: 403, the request names a host that is not this one.
    """
    host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    if not is_loopback(host):
        raise HTTPException(403, "ask for this page by the name localhost")


def is_loopback(host: str) -> bool:
    """Whether a host name or address leads to this host only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
