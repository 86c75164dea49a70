"""The way to the platform: name, proxy, connection, TLS, and what its clock says. No credentials are sent."""

from __future__ import annotations

import contextlib
import email.utils
import socket
import ssl
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any, NamedTuple

from ...http.answers import BrokenError
from ...http.broken import broken, let_go
from ...http.connection import Connections
from ...http.line import Exchange, Head, Line, Origin
from ...http.trust import tls_context
from ...http.watchdog import Watchdog
from ...native import monotonic
from ...settings.readers import Secret
from ...settings.table import Settings
from .finding import Finding, ok, skipped, warning, wrong

_MOST_APART = 60.0
"""Seconds between two clocks beyond which writers of one flow no longer agree which trace is older."""

_EXPIRES_SOON = 7 * 86400.0
_HEAD: Head = [(b"Accept", Secret("application/json")), (b"User-Agent", Secret("versori-flow-doctor"))]


class Reply(NamedTuple):
    """The head of an answer.

    Attributes:
        status: The answer's status; 0 where there was none.
        date: Its Date header, or empty.
        at: When it came, in seconds since the epoch.
        proxy: The proxy that it came by, in words; empty without one.
        tls: The socket of a TLS connection, as far as it can be looked at.
        trouble: Why there is no answer.
        peer: Whom the connection went to.
    """

    status: int
    date: str
    at: float
    proxy: str
    tls: tuple[str, float]
    trouble: BrokenError | None
    peer: tuple[str, int]


def ask(settings: Settings, method: str, url: str, head: Head) -> Reply:
    """Sends one request without a body, as the exporter would, and reads the head of its answer.

    Raises:
        BrokenError: A setting or a variable keeps any request from being made.
    """
    Connections(settings).close()  # says what is wrong with certificates and proxies
    origin = Origin.of(settings.base_url)
    line, watchdog = Line(origin, tls_context(settings)), Watchdog()
    exchange = Exchange(line, monotonic() + settings.timeout, None)
    watchdog.watch(exchange)
    trouble, date = None, ""
    try:
        with contextlib.closing(exchange.send(method, url, head, None)):
            date = exchange.header("date")
    except Exception as error:  # noqa: BLE001 - whatever keeps an answer from coming is what was asked for
        trouble = broken(error, let_go(error), exchange)
        if exchange.cut_off:
            trouble = BrokenError("timeout", f"no answer in {settings.timeout:g} s")
    finally:
        at, tls = time.time(), _tls(line.held)
        watchdog.leave(exchange)
        watchdog.end()
        exchange.end()
        line.transport.close()
    peer = line.peer or (origin.host, origin.port)
    return Reply(exchange.status, date, at, exchange.proxy, tls, trouble, peer)


def look(settings: Settings) -> Iterator[Finding]:
    """Each step of the way, up to the one that fails."""
    try:
        reply = ask(settings, "GET", settings.base_url, _HEAD)
    except BrokenError as error:
        yield _unusable(error.message)
        return
    place = f"{reply.peer[0]}:{reply.peer[1]}"
    yield ok("proxy", f"by way of {reply.proxy}" if reply.proxy else "none is used")
    resolved = _resolved(settings, reply)
    yield resolved
    if reply.trouble is not None:
        if resolved.state == "ok":
            yield _explained(settings, reply, reply.trouble)
        return
    yield ok("connection", f"{place} answers")
    if settings.base_url.lower().startswith("https:"):
        yield _certificate(reply.tls)
    yield from _status(settings, reply)
    yield _clock(reply)


def _unusable(message: str) -> Finding:
    """A certificate or a proxy that keeps any request from being made."""
    what, _, change = message.partition("; ")
    if "proxy" in message.lower():
        change = change or "write the proxy as in http://proxy.example:3128, or unset its variable"
        return wrong("proxy", "proxy-unusable", what, change)
    return wrong("TLS", "certificate-unusable", what, f"write the path of another file as {what.split()[0]}")


def _named_by(settings: Settings, reply: Reply) -> str:
    """What names the host that the connection goes to."""
    if not reply.proxy:
        return "VERSORI_API_BASE_URL"
    return Origin.of(settings.base_url).proxy_variable or "the system's settings"


def _resolved(settings: Settings, reply: Reply) -> Finding:
    host, port = reply.peer
    try:
        found = {str(each[4][0]) for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no name"
        cause = "proxy-dns" if reply.proxy else "dns"
        change = f"check the host in {_named_by(settings, reply)}, and this machine's DNS"
        return wrong("DNS", cause, f"{host} can't be resolved ({reason})", change)
    return ok("DNS", f"{host} is an address" if found == {host} else f"{host} is {', '.join(sorted(found))}")


def _explained(settings: Settings, reply: Reply, trouble: BrokenError) -> Finding:
    """Why there is no answer, by its cause."""
    host, port = reply.peer
    whose = _named_by(settings, reply)
    if trouble.kind == "tls":
        return _tls_trouble(trouble.message)
    if trouble.kind == "proxy":
        change = f"check {whose}, or exempt the platform's host by NO_PROXY"
        return wrong("proxy", "proxy", trouble.message, change)
    if trouble.kind == "timeout" and not reply.status:
        change = f"check host and port in {whose}, and whether a firewall lets them through"
        return wrong("connection", "timeout", trouble.message, change)
    if trouble.kind == "connect":
        change = f"check host and port in {whose}, and that something listens there"
        return wrong("connection", "refused", trouble.message, change)
    if settings.base_url.lower().startswith("http:") and _speaks_tls(settings, reply.peer):
        change = f"write https:{settings.base_url[5:]} as VERSORI_API_BASE_URL"
        return wrong("TLS", "http-to-https", f"{host}:{port} speaks https, and the address says http", change)
    change = f"check that {whose} names the API"
    return wrong("connection", "protocol", f"no HTTP answer from {host}:{port}: {trouble.message}", change)


def _tls_trouble(message: str) -> Finding:
    if "does not speak TLS" in message:
        what, _, change = message.partition(": ")
        return wrong("TLS", "https-to-http", what, change)
    if "is not trusted" in message:
        what, _, change = message.partition("; ")
        return wrong("TLS", "certificate-untrusted", what, change)
    return wrong("TLS", "tls", message, "check VERSORI_FLOW_CLIENT_CERTIFICATE and VERSORI_FLOW_CERTIFICATE")


def _status(settings: Settings, reply: Reply) -> Iterator[Finding]:
    """What can be told from an answer to nobody: only what never comes from the API itself."""
    if reply.status == 407:
        change = "write user and password into the URL of the proxy's variable"
        yield wrong("proxy", "proxy-credentials", f"{reply.proxy or 'a proxy'} asks for credentials", change)
    elif (
        reply.status == 400
        and settings.base_url.lower().startswith("http:")
        and _speaks_tls(settings, reply.peer)
    ):
        change = f"write https:{settings.base_url[5:]} as VERSORI_API_BASE_URL"
        place = f"{reply.peer[0]}:{reply.peer[1]}"
        yield wrong("TLS", "http-to-https", f"{place} speaks https, and the address says http", change)


def _clock(reply: Reply) -> Finding:
    try:
        theirs = email.utils.parsedate_to_datetime(reply.date)
    except (ValueError, TypeError):
        return skipped("clock", "the answer has no usable Date header")
    if theirs.tzinfo is None:
        theirs = theirs.replace(tzinfo=timezone.utc)
    ahead = reply.at - theirs.timestamp()
    if abs(ahead) <= _MOST_APART:
        return ok("clock", f"within {max(1, round(abs(ahead)))} s of the platform's")
    way = "ahead of" if ahead > 0 else "behind"
    return wrong(
        "clock",
        "clock",
        f"this machine's clock is {abs(ahead):.0f} s {way} the platform's",
        "set this machine's clock, as by NTP",
    )


def _tls(held: Any) -> tuple[str, float]:
    """The TLS version of a connection, and when its certificate expires (0: not known)."""
    if not isinstance(held, ssl.SSLSocket):
        return "", 0.0
    with contextlib.suppress(OSError, ValueError):
        certificate = held.getpeercert() or {}
        expires = str(certificate.get("notAfter", ""))
        return held.version() or "TLS", ssl.cert_time_to_seconds(expires) if expires else 0.0
    return "", 0.0


def _certificate(tls: tuple[str, float]) -> Finding:
    version, expires = tls
    if not expires:
        return ok("TLS", f"{version or 'TLS'}, the certificate is trusted")
    day = datetime.fromtimestamp(expires, timezone.utc).date()
    if expires - time.time() < _EXPIRES_SOON:
        change = "renew the platform's certificate"
        return warning("TLS", "certificate-expires", f"the certificate expires on {day}", change)
    return ok("TLS", f"{version}, the certificate is trusted, until {day}")


def _speaks_tls(settings: Settings, peer: tuple[str, int]) -> bool:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is sent
    with (
        contextlib.suppress(OSError),
        socket.create_connection(peer, min(5.0, settings.timeout)) as plain,
        context.wrap_socket(plain, server_hostname=peer[0]),
    ):
        return True
    return False
