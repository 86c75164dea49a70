"""Who may ask: whoever has the key, and no page of another site by way of a browser."""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
from collections.abc import Iterable, Sequence
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from .replies import ApiError

SCHEMES = ("bearer", "jwt")
_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[\w.-]*)(:(?P<port>\d{1,5}))?", re.ASCII | re.IGNORECASE)
_TOKEN = "token"  # noqa: S105 - its name in an address
_SENT_AWAY = """<!doctype html>
<html lang="en"><title>Local platform</title>
<p>This platform has a key. Open the link that its command printed: it carries a token.</p>
<p>If you just did, from a page in this browser: <a href="">go on</a>.</p></html>
"""
_SHOWN_TO_NOBODY = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class BrowserGuard:
    """Lets in requests that were meant for this platform.

    A page of another site can make a browser send requests here (they carry its ``Origin``, and say that they
    come from elsewhere), and by a name of its own that leads here (they carry it as ``Host``) even read the
    answers.

    Args:
        allowed_hosts: Names that this platform goes by, besides localhost and any IP address. None: by any,
            for something else tells who asks.
    """

    def __init__(self, allowed_hosts: Iterable[str] | None = ()) -> None:
        self._allowed = None if allowed_hosts is None else {name.lower() for name in allowed_hosts}

    def check(self, request: Request) -> None:
        """Lets the request pass, or not.

        Raises:
            ApiError: 403, it came by a foreign name, or from another site; 400, its ``Host`` is none.
        """
        given = request.headers.get("host", "").lower()
        if (found := _HOST.fullmatch(given)) is None:
            raise ApiError(400, "invalid_host", "the Host of the request is not a name and a port")
        name = found["name"].strip("[]")
        if self._allowed is not None and not (
            _is_address(name) or _is_localhost(name) or name in self._allowed
        ):
            raise ApiError(
                403, "forbidden", f"this platform does not go by the name {name!r}; --allow-host lets it"
            )
        origin = request.headers.get("origin")
        elsewhere = origin is not None and origin.partition("://")[2].lower() != given
        # Newer browsers say it of what they only embed too. Following a link to here is no harm.
        if request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            follows = (
                request.method in ("GET", "HEAD") and request.headers.get("sec-fetch-dest") == "document"
            )
            elsewhere = elsewhere or not follows
        if elsewhere:
            raise ApiError(403, "forbidden", "a page of another origin may not use this platform")


class Access:
    """Tells who may ask a platform, with a key and without.

    With a key, the API takes it as the exporter sends it. A browser can't send it: it gets in by a link with a
    token, which a cookie carries from then on.

    Args:
        key: The key that requests must carry; None lets all in that come by a name of this platform.
        allowed_hosts: Names that this platform goes by where there is no key.

    Attributes:
        browsers: Keeps the pages of other sites out.
        page_query: What leads a browser in, behind the address; empty without a key.

    Raises:
        ValueError: The key is empty.
    """

    def __init__(self, key: str | None = None, allowed_hosts: Iterable[str] = ()) -> None:
        if key is not None and not key.strip():
            raise ValueError("the key is empty; leave it out to let all in")
        self._key = None if key is None else key.strip().encode("utf-8")
        # Not the key: a link is kept in histories and seen over shoulders.
        self._token = secrets.token_urlsafe(24)
        self.browsers = BrowserGuard(allowed_hosts if key is None else None)
        self.page_query = "" if key is None else f"/?{_TOKEN}={self._token}"

    def check_key(self, request: Request) -> None:
        """Lets a request with the key pass.

        Raises:
            ApiError: 401, it is another one, or missing.
        """
        if self._key is not None and not carries(request, self._key):
            raise ApiError(401, "unauthorized", "this API key is not accepted")

    def check_person(self, request: Request) -> None:
        """Lets a request pass that has the key, or comes from a browser that was let in.

        Raises:
            ApiError: 401, neither is so.
        """
        if not self._is_token(request.cookies.get(_cookie(request), "")):
            self.check_key(request)

    def gate(self, app: ASGIApp) -> ASGIApp:
        """Puts an application behind the token, its pages, and what they are drawn with."""

        async def gated(scope: Scope, receive: Receive, send: Send) -> None:
            await (self._turn_away(Request(scope)) or app)(scope, receive, send)

        return gated

    def _turn_away(self, request: Request) -> Response | None:
        if self._key is None:
            return None
        query = parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if any(name == _TOKEN and self._is_token(value) for name, value in query):
            # Not shown any longer than it takes: an address is copied, and kept in a history.
            rest = urlencode([pair for pair in query if pair[0] != _TOKEN])
            path = "/" + request.scope["path"].lstrip("/")
            response = RedirectResponse(path + ("?" + rest if rest else ""), 303, _SHOWN_TO_NOBODY)
            response.set_cookie(_cookie(request), self._token, httponly=True, samesite="strict")
            return response
        try:
            self.check_person(request)
        except ApiError:
            return Response(_SENT_AWAY, 401, {**_SHOWN_TO_NOBODY, "WWW-Authenticate": "Bearer"}, "text/html")
        return None

    def _is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode("utf-8", "replace"), self._token.encode("ascii"))


def carries(request: Request, secret: bytes, schemes: Sequence[str] = SCHEMES) -> bool:
    """Whether a request's Authorization is this secret, under one of these schemes."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    # Compared in constant time, and whatever the scheme is.
    same = hmac.compare_digest(given.strip().encode("latin-1", "replace"), secret)
    return same and scheme.lower() in schemes


def is_loopback(host: str) -> bool:
    """Whether a host name or address leads to this host only."""
    return _is_localhost(host) or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _cookie(request: Request) -> str:
    # Cookies don't know ports: another platform on this host has another cookie.
    found = _HOST.fullmatch(request.headers.get("host", ""))
    return f"versori-flow-{(found and found['port']) or 80}"


def _is_localhost(host: str) -> bool:
    return host == "localhost" or host.endswith(".localhost")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
