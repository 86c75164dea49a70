"""Who may ask: no page of another site by way of a browser."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.requests import Request

from .replies import ApiError


class BrowserGuard:
    """Lets in requests that were meant for this platform.

    A page of another site can make a browser send requests here (they carry its ``Origin``), and by a name of
    its own that leads here (they carry it as ``Host``) even read the answers.

    Args:
        allowed_hosts: Names that this platform goes by, besides localhost and any IP address.
    """

    def __init__(self, allowed_hosts: Iterable[str] = ()) -> None:
        self._allowed = {name.lower() for name in allowed_hosts}

    def check(self, request: Request) -> None:
        """Lets the request pass, or not.

        Raises:
            ApiError: 403, it came by a foreign name, or would change something and comes from another site;
                400, its ``Host`` is none.
        """
        given = request.headers.get("host", "")
        try:
            host = urlsplit(f"//{given}").hostname or ""
        except ValueError:
            raise ApiError(400, "invalid_host", f"{given!r} is not a host") from None
        if not (_is_address(host) or _is_localhost(host) or host in self._allowed):
            raise ApiError(
                403, "forbidden", f"this platform does not go by the name {host!r}; --allow-host lets it"
            )
        origin = request.headers.get("origin")
        if request.method in ("GET", "HEAD") or origin is None:
            return
        if origin.partition("://")[2].lower() != given.lower():
            raise ApiError(403, "forbidden", f"a page of {origin} may not change anything here")


def is_loopback(host: str) -> bool:
    """Whether a host name or address leads to this host only."""
    return _is_localhost(host) or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_localhost(host: str) -> bool:
    return host == "localhost" or host.endswith(".localhost")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
