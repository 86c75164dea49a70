"""What broke, in words that name whose fault it is: the platform's, a proxy's, a certificate's, a setting's."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import httpx

from .answers import BrokenError

if TYPE_CHECKING:
    from .line import Exchange

_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE")


def broken(error: Exception, tls: ssl.SSLError | None, exchange: Exchange) -> BrokenError:
    """Returns what failed, in words; `tls` is what `let_go` found."""
    origin, proxy = exchange.line.origin, exchange.proxy
    place = proxy or f"{origin.host}:{origin.port}"
    way = f" (by way of {proxy})" if proxy else ""
    match error:
        case httpx.ConnectTimeout():
            return BrokenError("timeout", f"no connection to {place} in time")
        case httpx.TimeoutException():
            return BrokenError("timeout", "no answer in time")
        case httpx.LocalProtocolError() | httpx.UnsupportedProtocol():
            # Its text would quote the header that is wrong, and that may be the key's.
            return BrokenError("setting", "a header can't be sent: check VERSORI_FLOW_HEADERS and the key")
        case UnicodeError():  # a label of it is empty, or too long; settings refuse such a platform
            return BrokenError("setting", f"{place} is not the name of a host")
        case httpx.ProxyError():
            return BrokenError("proxy", f"{proxy or 'the proxy'} refuses: {error}")
        case _ if tls is not None and (
            isinstance(error, httpx.ConnectError) or "ALERT" in (tls.reason or "")
        ):
            host, with_peer = exchange.tls or (origin.host, False)
            return BrokenError("tls", _tls_trouble(tls, host, place, own=not (proxy and with_peer)))
        case httpx.ConnectError():
            return BrokenError("proxy" if proxy else "connect", f"no connection to {place}: {error}")
        case httpx.RemoteProtocolError():
            return BrokenError("protocol", f"{error}{way}")
        case httpx.NetworkError():
            return BrokenError("read", f"{error or type(error).__name__}{way}")
    return BrokenError("error", type(error).__name__)


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


def let_go(error: BaseException) -> ssl.SSLError | None:
    """Lets go of the frames of an error; returns the TLS error at its bottom, if there is one."""
    tls: ssl.SSLError | None = None
    inner: BaseException | None = error
    while inner is not None:
        # They hold the body, and under Python 3.13 in a cycle: until a collection, which may take long.
        inner.__traceback__ = None
        if isinstance(inner, ssl.SSLError):
            tls = inner
        inner = inner.__cause__ or inner.__context__
    return tls
