"""Which proxy the environment (or the system) names for a host, by the rules of httpx."""

from __future__ import annotations

import ipaddress
import urllib.request
from urllib.parse import urlsplit


def proxy_for(scheme: str, host: str, port: int | None) -> str | None:
    """Returns the proxy that httpx would take for this host by the environment, or None for none."""
    found = urllib.request.getproxies()
    skip = [item.strip() for item in found.get("no", "").split(",") if item.strip()]
    if any(item == "*" or _exempt(item, scheme, host, port) for item in skip):
        return None
    proxy = found.get(scheme) or found.get("all")
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


def _exempt(item: str, scheme: str, host: str, port: int | None) -> bool:
    """Tells whether an item of NO_PROXY (a name, an address, a URL; with a port or not) means this host."""
    wildcard = ""
    if "://" not in item:
        address = _is_address(item)
        wildcard = "" if address or item.lower() == "localhost" else "*"
        item = f"all://[{item}]" if address and ":" in item else f"all://{item}"
    try:
        parts = urlsplit(item)
        name, its_port = wildcard + (parts.hostname or ""), parts.port
    except ValueError:
        return False
    if its_port == {"http": 80, "https": 443}.get(parts.scheme):
        its_port = None
    if parts.scheme not in ("all", scheme) or (its_port is not None and its_port != port):
        return False
    if name in ("", "*"):
        return True
    if name.startswith("*."):
        return host.endswith(name[1:])
    if name.startswith("*"):
        return host == name[1:] or host.endswith(f".{name[1:]}")
    return host == name


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.split("/")[0])
    except ValueError:
        return False
    return True
