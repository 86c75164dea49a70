"""OTLP for the local platform: a program in any language shows on the page, by the exporter's own way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from ..otlp.endpoint import TracesEndpoint
from ..otlp.replies import Refusal
from .access import Access
from .replies import ApiError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from ..otlp.admission import AdmittingExporter, Offer

_LAST_WORDS = 2000
"""Milliseconds for what is pending when the platform ends."""


class Receiver:
    """Takes OTLP, and delivers it to the platform that it belongs to, windows, merges and all.

    Args:
        access: Who may send.
        make_exporter: Makes what delivers; called for the first span.
    """

    def __init__(self, access: Access, make_exporter: Callable[[], AdmittingExporter]) -> None:
        self._access = access
        self._make_exporter = make_exporter
        self._making = threading.Lock()
        self._exporter: AdmittingExporter | None = None
        self._endpoint: tuple[asyncio.AbstractEventLoop, TracesEndpoint] | None = None

    async def __call__(self, request: Request) -> Response:
        """Answers one request."""
        loop = asyncio.get_running_loop()
        # A platform that was stopped goes on with another loop.
        if self._endpoint is None or self._endpoint[0] is not loop:
            self._end_threads()
            self._endpoint = loop, TracesEndpoint(self._take, self._check)
        return await self._endpoint[1](request)

    def close(self) -> None:
        """Delivers what is pending, if that is possible at once, and ends."""
        self._end_threads()
        if self._exporter is not None:
            self._exporter.shutdown(_LAST_WORDS)

    def _end_threads(self) -> None:
        if self._endpoint is not None:
            self._endpoint[1].close(wait=False)  # they may wait for this very platform

    def _take(self, spans: Sequence[ReadableSpan]) -> Offer:
        with self._making:
            if self._exporter is None:
                self._exporter = self._make_exporter()
        return self._exporter.admit(spans)

    def _check(self, request: Request) -> None:
        try:
            self._access.check_key(request)
        except ApiError as error:
            raise Refusal(error.status, error.message) from None
