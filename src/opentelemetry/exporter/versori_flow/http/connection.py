"""The way to the platform: connection pool, trust, proxy, and silence about our own requests.

This goes to httpcore, the engine of httpx, and leaves out `httpx.Client`: that one would log, trace (whoever
instruments or patches it), keep cookies, rewrite the flow's name in the URL and decode without a bound.
What httpx knows about trust and proxies is kept.

Only `api.py` imports this module, and only once a request is due.
"""

from __future__ import annotations

import contextlib
import logging
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote, urlsplit

import httpcore
from opentelemetry.context import (
    _SUPPRESS_HTTP_INSTRUMENTATION_KEY,
    _SUPPRESS_INSTRUMENTATION_KEY,
    attach,
    detach,
    set_value,
)

from .deadline import Backend, Exchange, TlsError, running
from .proxies import proxy_for

if TYPE_CHECKING:
    from ..settings.load import Settings

_T = TypeVar("_T")

# Longer than the batch processor's default schedule of 5 s, shorter than what load balancers allow (60 s).
_KEEPALIVE_SECONDS = 30.0
_LOGGERS = ("httpcore.connection", "httpcore.http11", "httpcore.proxy", "httpcore.socks")


class CannotOpenError(Exception):
    """The settings don't give a way to the platform; the message says which one is wrong."""


class BrokenError(Exception):
    """The exchange failed. `kind` says where; `answered`: after a status line."""

    def __init__(self, kind: str, message: str, answered: bool) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.answered = answered


class Reply:
    """An answer whose head is here, and whose body is still to be read."""

    def __init__(self, response: httpcore.Response, broken: Callable[..., BrokenError]) -> None:
        self.status = response.status
        self._response = response
        self._broken = broken

    def header(self, name: bytes) -> str:
        """Returns the first header of that (lower-case) name, or an empty text."""
        for key, value in self._response.headers:
            if key.lower() == name:
                return value.decode("latin-1").strip()
        return ""

    def chunks(self) -> Iterator[bytes]:
        """Yields the body as it was sent; raises `BrokenError` where it is cut."""
        try:
            yield from self._response.iter_stream()
        except Exception as error:  # noqa: BLE001 - whatever it is, the answer is cut
            raise self._broken(*_named(error), answered=True) from None


class Transport:
    """A pool of connections to the one host; requests may come from many threads.

    Raises:
        CannotOpenError: at construction, when a certificate, a key or a proxy can't be used.
    """

    def __init__(self, settings: Settings) -> None:
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(_not_ours)
        base = urlsplit(settings.base_url)
        host = base.hostname or ""
        self._url = (base.scheme.encode(), host.encode(), base.port)
        default = base.port is None or base.port == {"http": 80, "https": 443}.get(base.scheme)
        bracketed = f"[{host}]" if ":" in host else host
        self._host_header = (bracketed if default else f"{bracketed}:{base.port}").encode()
        self._backend = Backend()
        self._pool = _pool(
            settings, proxy_for(base.scheme, host, None if default else base.port), self._backend
        )
        self._lock = threading.Lock()
        self._exchanges = 0
        self._closed = False

    def exchange(
        self,
        method: str,
        target: bytes,
        headers: list[tuple[bytes, bytes]],
        body: bytes | None,
        deadline: float,
        consume: Callable[[Reply], _T],
    ) -> _T:
        """Sends one request and returns what `consume` makes of the answer.

        A connection that the platform closed while it was idle costs nothing: the request, of whose answer
        not one byte came, is sent again on the next one.

        Raises:
            BrokenError: when there is no whole answer by the deadline, or the client is closed.
        """
        headers = [(b"Host", self._host_header), *headers]
        request = httpcore.Request(
            method, httpcore.URL(scheme=self._url[0], host=self._url[1], port=self._url[2], target=target),
            headers=headers, content=body,
        )  # fmt: skip
        with self._counted(), _ours(deadline):
            response = self._send(request, deadline)
            try:
                return consume(Reply(response, self._broken))
            finally:
                response.close()

    def _send(self, request: httpcore.Request, deadline: float) -> httpcore.Response:
        while True:
            running.exchange = exchange = Exchange(deadline)
            try:
                response = self._pool.handle_request(request)
            except Exception as error:  # noqa: BLE001 - whatever it is, it has a name there
                kind, message = _named(error)
                stale = kind in ("read", "protocol") and not exchange.connected and not exchange.received
                if not stale or self._closed:
                    raise self._broken(kind, message, answered=False) from None
            else:
                if exchange.received:
                    return response
                # Bytes that trailed the answer before this one, and look like an answer: not to this request.
                response.close()

    def _broken(self, kind: str, message: str, *, answered: bool) -> BrokenError:
        if self._closed:
            kind, message = "closed", "the client is closed"
        return BrokenError(kind, message, answered)

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        with self._lock:
            if self._closed:
                raise BrokenError("closed", "the client is closed", answered=False)
            self._exchanges += 1
        try:
            yield
        finally:
            with self._lock:
                self._exchanges -= 1
                last = self._closed and not self._exchanges
            if last:
                self._close_pool()

    def close(self) -> None:
        """Ends all connections without waiting; the last exchange under way clears up."""
        with self._lock:
            first, self._closed = not self._closed, True
            idle = not self._exchanges
        if first:
            self._backend.shut()
            if idle:
                self._close_pool()

    def _close_pool(self) -> None:
        with _ours(0.0):
            self._pool.close()


@contextlib.contextmanager
def _ours(deadline: float) -> Iterator[None]:
    """Marks this thread's I/O as the exporter's own: neither logged nor traced."""
    context = set_value(_SUPPRESS_INSTRUMENTATION_KEY, True)
    token = attach(set_value(_SUPPRESS_HTTP_INSTRUMENTATION_KEY, True, context))
    before, running.exchange = running.exchange, Exchange(deadline)
    try:
        yield
    finally:
        running.exchange = before
        detach(token)


def _not_ours(_record: logging.LogRecord) -> bool:
    return running.exchange is None


def _named(error: Exception) -> tuple[str, str]:
    """Returns what failed, and in which words; the error's frames are let go."""
    inner: BaseException | None = error
    while inner is not None:
        # They hold the body, and under Python 3.13 in a cycle: until a collection, which may take long.
        inner.__traceback__ = None
        inner = inner.__context__
    exchange = running.exchange
    kind, message = "error", type(error).__name__
    if isinstance(error, httpcore.TimeoutException):
        kind, message = "timeout", str(error) or message
    elif isinstance(error, httpcore.LocalProtocolError | httpcore.UnsupportedProtocol):
        kind = "request"  # its text would quote the header that is wrong, and that may be the key's
    elif isinstance(error, httpcore.RemoteProtocolError):
        kind, message = "read" if exchange is not None and exchange.ended else "protocol", str(error)
    elif isinstance(error, TlsError):
        kind, message = "tls", str(error)
    elif isinstance(error, httpcore.ConnectError):
        kind, message = "connect", str(error)
    elif isinstance(error, httpcore.ProxyError):
        kind, message = "proxy", f"the proxy refused: {error}"
    elif isinstance(error, httpcore.NetworkError):
        kind, message = "read", str(error) or message
    return kind, message


def _pool(settings: Settings, proxy: str | None, backend: Backend) -> httpcore.ConnectionPool:
    # No bound on connections: the courier bounds what goes on at once, and nothing can wait here.
    tls = _tls(settings, own=True) if settings.base_url.lower().startswith("https:") else None
    if proxy is None:
        return httpcore.ConnectionPool(
            tls, max_connections=None, keepalive_expiry=_KEEPALIVE_SECONDS, network_backend=backend
        )
    try:
        parts = urlsplit(proxy)
        url = httpcore.URL(scheme=parts.scheme, host=parts.hostname or "", port=parts.port, target="/")
        auth = None
        if parts.username or parts.password:
            auth = (unquote(parts.username or "").encode(), unquote(parts.password or "").encode())
        if parts.scheme in ("socks5", "socks5h"):
            return httpcore.SOCKSProxy(
                url, auth, tls,
                max_connections=None, keepalive_expiry=_KEEPALIVE_SECONDS, network_backend=backend,
            )  # fmt: skip
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError
        return httpcore.HTTPProxy(
            url, auth, ssl_context=tls,
            proxy_ssl_context=_tls(settings, own=False) if parts.scheme == "https" else None,
            max_connections=None, keepalive_expiry=_KEEPALIVE_SECONDS, network_backend=backend,
        )  # fmt: skip
    except ValueError:
        raise CannotOpenError(
            "the proxy that the environment names (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY) is not a URL such as"
            " http://proxy.example:3128"
        ) from None
    except (RuntimeError, ImportError):
        raise CannotOpenError(
            "the environment names a SOCKS proxy, which needs `pip install httpx[socks]`;"
            " install that, or exempt the platform's host with NO_PROXY"
        ) from None


def _tls(settings: Settings, *, own: bool) -> ssl.SSLContext:
    """Returns whom to trust and, where it is for the platform itself (`own`), who we are."""
    variable = "VERSORI_FLOW_CERTIFICATE"
    try:
        if settings.certificate is None:
            import httpx

            context = httpx.create_ssl_context()
            context.load_default_certs()  # the system's own, next to those that come with httpx
        else:
            context = ssl.create_default_context(cafile=settings.certificate)
        variable = "VERSORI_FLOW_CLIENT_CERTIFICATE (with VERSORI_FLOW_CLIENT_KEY)"
        if own and settings.client_certificate is not None:
            # A password is never asked for: OpenSSL would do so on the terminal.
            context.load_cert_chain(settings.client_certificate, settings.client_key, password=lambda: "")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        raise CannotOpenError(f"{variable} can't be used: not a readable PEM file ({reason})") from None
    return context
