"""The ASGI application: the API under its own paths, the orders for faults, and the page.

A flow's name is one percent-encoded segment of the path and may hold ``/`` and anything else. Requests are
therefore routed by the path as it was sent, and a segment is decoded where it is used.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable

from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from ..otlp.endpoint import PATH
from . import responses
from .access import Access
from .faults_endpoint import FaultsEndpoint
from .flows_endpoint import FlowsEndpoint
from .page.pages import Pages, wants_page
from .receiver import Receiver
from .replies import ApiError

_logger = logging.getLogger(__name__)
_FLOWS = "/o/{organisation_id}/projects/{project_id}/workflows"


def build(
    access: Access, api: FlowsEndpoint, control: FaultsEndpoint, receiver: Receiver, pages: Pages
) -> ASGIApp:
    """Puts the application together: what the API has not is the page's, behind its gate."""
    methods = ["GET", "PUT", "DELETE"]
    routes = [
        Route(f"{prefix}{path}", _shown(_endpoint(api), pages), methods=allowed)
        for prefix in ("", "/api/v2")
        for path, allowed in ((_FLOWS, ["GET"]), (_FLOWS + "/{flow_name}", methods))
    ]
    routes += [
        Route(PATH, _endpoint(receiver), methods=["POST"]),
        Route("/_faults", _endpoint(control), methods=["GET", "POST", "DELETE"]),
        Route("/_faults/{id}", _endpoint(control), methods=["DELETE"]),
    ]
    gated = access.gate(Router(pages.routes(), redirect_slashes=False))
    door = _Door(access, Router(routes, redirect_slashes=False, default=gated))

    async def failed(request: Request, error: Exception) -> Response:
        refused = _refused(request, error)
        if wants_page(request):
            return pages.failure(refused)
        return responses.as_response(refused.answer(getattr(error, "headers", None)))

    return ExceptionMiddleware(door, dict.fromkeys((HTTPException, ApiError, Exception), failed))


class _Door:
    """What every request passes first.

    It is routed by the path as it was sent: a ``%2F`` in a flow's name is no slash.
    """

    def __init__(self, access: Access, app: ASGIApp) -> None:
        self._access = access
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            # With an application in the scope, what is not found is an exception and becomes an Error.
            scope = {**scope, "path": scope["raw_path"].decode("latin-1"), "app": self}
            self._access.browsers.check(Request(scope))
        # The server is at its end, and the connection gone: there is nobody to tell.
        with contextlib.suppress(asyncio.CancelledError):
            await self._app(scope, receive, send)


def _endpoint(called: FlowsEndpoint | FaultsEndpoint | Receiver) -> Callable[[Request], Awaitable[Response]]:
    # Starlette takes a plain function for an endpoint, and anything else for an ASGI application.
    async def endpoint(request: Request) -> Response:
        return await called(request)

    return endpoint


def _shown(
    answer: Callable[[Request], Awaitable[Response]], pages: Pages
) -> Callable[[Request], Awaitable[Response]]:
    """An answer of the API, where it refuses a browser as a page: exporters don't ask for text/html."""

    async def shown(request: Request) -> Response:
        response = await answer(request)
        # Without the key the page's own style is behind the gate too.
        if not wants_page(request) or not 400 <= response.status_code < 500 or response.status_code == 401:
            return response
        try:
            said = json.loads(bytes(response.body))
            error = ApiError(response.status_code, str(said["code"]), str(said["message"]))
        except (ValueError, LookupError, TypeError):
            return response  # what a fault was ordered to say
        return pages.failure(error)

    return shown


def _refused(request: Request, error: Exception) -> ApiError:
    if isinstance(error, ApiError):
        return error
    asked = f"{request.method} {request.scope['raw_path'].decode('latin-1')}"
    if isinstance(error, HTTPException):
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "failed")
        return ApiError(error.status_code, code, f"{error.detail}: {asked}")
    # What the system has no more of is nobody's mistake here: a traceback would say nothing more.
    _logger.error(
        "a request failed: %s: %s", asked, error, exc_info=None if isinstance(error, OSError) else error
    )
    return ApiError(500, "internal", "the local platform failed; see its log")
