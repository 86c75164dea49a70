"""The gateway's ASGI application: OTLP in, and how it does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import NamedTuple

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..native import monotonic
from ..otlp.admission import AdmittingExporter
from ..otlp.endpoint import PATH, TracesEndpoint
from ..otlp.replies import JSON, Refusal, refused
from ..server.access import BrowserGuard, carries
from ..server.replies import ApiError

_logger = logging.getLogger(__name__)


class Door(NamedTuple):
    """Who may send.

    Attributes:
        token: What senders carry as a bearer token; None: nobody needs one.
        allowed_hosts: Names that the gateway goes by, besides localhost and any IP address.
    """

    token: str | None
    allowed_hosts: tuple[str, ...]

    def check(self, request: Request) -> None:
        """Lets a request pass.

        Raises:
            Refusal: 401, the token is another one, or missing; 400 or 403, it was not meant for this gateway.
        """
        try:
            # Where there is a token, a page of another site does not have it.
            BrowserGuard(self.allowed_hosts if self.token is None else None).check(request)
        except ApiError as error:
            raise Refusal(error.status, error.message.replace("this platform", "this gateway")) from None
        if self.token is not None and not carries(request, self.token.encode(), ("bearer",)):
            raise Refusal(401, "this token is not accepted")


class Gateway:
    """What one worker of a gateway does."""

    def __init__(self, exporter: AdmittingExporter, door: Door) -> None:
        self._exporter = exporter
        self._door = door
        self._traces = TracesEndpoint(exporter.admit, door.check)
        self._ending = False

    def app(self) -> Starlette:
        """The application."""

        async def traces(request: Request) -> Response:
            return await self._traces(request)

        routes = [
            Route(PATH, traces, methods=["POST"]),
            *(
                Route(path, endpoint, methods=["GET"])
                for path, endpoint in (("/status", self._status), ("/ready", self._ready), ("/live", _live))
            ),
        ]
        # Without redirects: a sender would leave its token out, or its body.
        app = Starlette(routes=routes, lifespan=self._lifespan, exception_handlers={HTTPException: _not_here})
        app.router.redirect_slashes = False
        return app

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        yield
        # The server has answered all that was under way, and takes no more.
        self._ending = True
        await asyncio.to_thread(self._exporter.shutdown)
        self._traces.close()

    async def _status(self, request: Request) -> Response:
        """Counts by flow: they are the worker's that answers, and name customers' flows."""
        try:
            self._door.check(request)
        except Refusal as refusal:
            return refused(refusal, JSON)
        status = await asyncio.to_thread(self._exporter.status)
        flows = {name: flow._asdict() for name, flow in status.items()}
        return JSONResponse({"requests": self._traces.under_way, "flows": flows})

    async def _ready(self, request: Request) -> Response:
        """Whether the exporter answers, and spans are taken."""
        begun = monotonic()
        if not self._ending:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.to_thread(self._exporter.status), 2.0)
                return JSONResponse({"ready": True})
        _logger.debug("not ready after %.1f s", monotonic() - begun)
        return JSONResponse({"ready": False}, 503)


async def _live(request: Request) -> Response:
    """Whether the event loop turns."""
    return JSONResponse({"live": True})


async def _not_here(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    message = f"there is nothing for {request.method} at this path; spans go to POST {PATH}"
    return refused(Refusal(status, message), content_type)


class Application(NamedTuple):
    """Makes a worker's application: a value, which a worker's process is started with."""

    door: Door

    def __call__(self) -> Starlette:
        """The application, with an exporter of its own."""
        return Gateway(AdmittingExporter(), self.door).app()
