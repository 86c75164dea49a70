"""What broke, in words that name whose fault it is: the platform's, a proxy's, a certificate's, a setting's."""

from __future__ import annotations

import ssl
import urllib.request
from typing import NamedTuple

import httpx

_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE")


class BrokenError(Exception):
    """There is no whole answer. `kind` says where it failed; `answered`: after a status line."""

    def __init__(self, kind: str, message: str, *, answered: bool = False) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.answered = answered


class Origin(NamedTuple):
    """Where the platform is."""

    scheme: str
    host: str
    port: int

    def proxy(self, peer: tuple[str, int] | None) -> str:
        """Returns words for the proxy that a connection to `peer` goes to; empty where that is the platform."""
        if peer is None or peer == self[1:]:
            return ""
        named = urllib.request.getproxies_environment()
        variables = [f"{name.upper()}_PROXY" for name in (self.scheme, "all") if named.get(name)]
        return f"the proxy that {variables[0] if variables else 'the system'} names ({peer[0]}:{peer[1]})"


def named(
    error: Exception, origin: Origin, peer: tuple[str, int] | None, tls: tuple[str, bool] | None
) -> tuple[str, str]:
    """Returns what failed, and in which words; the error's frames are let go.

    Args:
        error: What httpx raised.
        origin: Where the platform is.
        peer: To which host and port the connection went, as far as that is known.
        tls: With which host TLS was begun last, and whether that is `peer`: a proxy then, if that is one.
    """
    failed = _let_go(error)
    proxy = origin.proxy(peer)
    place = proxy or f"{origin.host}:{origin.port}"
    if isinstance(error, httpx.ConnectTimeout):
        return "timeout", f"no connection to {place} in time"
    if isinstance(error, httpx.TimeoutException):
        return "timeout", "no answer in time"
    if isinstance(error, httpx.LocalProtocolError | httpx.UnsupportedProtocol):
        return "request", ""  # its text would quote the header that is wrong, and that may be the key's
    if isinstance(error, httpx.ProxyError):
        return "proxy", f"{proxy or 'the proxy'} refuses: {error}"
    if failed is not None and (isinstance(error, httpx.ConnectError) or "ALERT" in (failed.reason or "")):
        host, with_peer = tls or (origin.host, False)
        return "tls", _tls_trouble(failed, host, place, own=not (proxy and with_peer))
    if isinstance(error, httpx.ConnectError):
        return "proxy" if proxy else "connect", f"no connection to {place}: {error}"
    way = f" (by way of {proxy})" if proxy else ""
    if isinstance(error, httpx.RemoteProtocolError):
        return "protocol", f"{error}{way}"
    if isinstance(error, httpx.NetworkError):
        return "read", f"{error or type(error).__name__}{way}"
    return "error", type(error).__name__


def _tls_trouble(tls: ssl.SSLError, host: str, place: str, *, own: bool) -> str:
    if isinstance(tls, ssl.SSLCertVerificationError):
        setting = "VERSORI_FLOW_CERTIFICATE" if own else "SSL_CERT_FILE"
        return (
            f"certificate verify failed: {host if own else place} is not trusted ({tls.verify_message});"
            f" if it should be, set {setting} to the PEM file of its authority"
        )
    reason = tls.reason or type(tls).__name__
    if any(word in reason for word in _NO_TLS):
        address = "VERSORI_API_BASE_URL" if own else "the proxy's address"
        return f"{place} does not speak TLS: check the scheme and port of {address}"
    advice = "; it may ask for VERSORI_FLOW_CLIENT_CERTIFICATE" if own and "ALERT" in reason else ""
    return f"no TLS with {host}: {reason}{advice}"


def _let_go(error: BaseException) -> ssl.SSLError | None:
    """Returns the TLS error at the bottom, if there is one."""
    tls: ssl.SSLError | None = None
    inner: BaseException | None = error
    while inner is not None:
        # They hold the body, and under Python 3.13 in a cycle: until a collection, which may take long.
        inner.__traceback__ = None
        if isinstance(inner, ssl.SSLError):
            tls = inner
        inner = inner.__cause__ or inner.__context__
    return tls
