"""`POST /v1/traces`: OTLP/HTTP, as an ASGI endpoint.

    the event loop      reads bodies, within bounds, and answers
    threads of its own  unpack, decode, and hand the spans over: what takes long holds up nobody's reading

Large bodies are decoded one at a time, small ones beside them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from . import body, json_text
from .replies import JSON, PROTOBUF, Refusal, refused, taken
from .spans import Malformed, Received

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from .admission import Offer

PATH = "/v1/traces"
_THREADS = 8
_SMALL = 64 * 1024
"""Bytes on the wire, from which on a body may be a large one."""

_SMALL_AT_ONCE = 4

_PATIENCE = 1.0
"""Seconds that spans wait for room, so that one burst costs its sender no repetition."""

_FIRST_WAIT = 0.05
_MOST_WAITING = 32
"""Requests that wait for room at once; each looks for it a few times, which costs."""

Take = Callable[[Sequence["ReadableSpan"]], "Offer"]
"""Takes spans as far as there is room, on any thread."""

Check = Callable[[Request], None]
"""Lets a request pass, or raises `Refusal`."""

_logger = logging.getLogger(__name__)


class TracesEndpoint:
    """Receives spans; one for each event loop.

    Args:
        take: What to do with them.
        check: Who may send.
        read_within: Seconds for a whole body.

    Attributes:
        under_way: Requests that are not answered yet.
    """

    def __init__(self, take: Take, check: Check, read_within: float = body.READ_WITHIN) -> None:
        self._take = take
        self._check = check
        self._read_within = read_within
        self._held = body.Held()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="versori-flow-otlp")
        self._large = asyncio.Semaphore(1)
        self._small = asyncio.Semaphore(_SMALL_AT_ONCE)
        self._waiting = 0
        self.under_way = 0

    async def __call__(self, request: Request) -> Response:
        """Answers one request."""
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        self.under_way += 1
        try:
            return await self._answer(request, content_type)
        except Refusal as refusal:
            return refused(refusal, content_type)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        except Exception as error:
            _logger.error("a request failed: %s", type(error).__name__, exc_info=error)
            return refused(Refusal(500, "this request failed here; see the log"), content_type)
        finally:
            self.under_way -= 1

    async def _answer(self, request: Request, content_type: str) -> Response:
        self._check(request)
        if request.method != "POST":
            raise Refusal(405, f"{PATH} takes POST")
        if content_type not in (PROTOBUF, JSON):
            raise Refusal(415, f"content type {content_type[:80]!r}; {PROTOBUF} and {JSON} are known")
        raw = await body.read(request, self._held, self._read_within)
        size = len(raw)
        try:
            encoding = request.headers.get("content-encoding", "")
            loop = asyncio.get_running_loop()
            async with self._small if size <= _SMALL else self._large:
                received, unpacked = await loop.run_in_executor(
                    self._threads, _decode, raw, encoding, content_type
                )
            # What is packed well waits as what it is.
            self._held.take(unpacked - size)
            size = unpacked
            lost = 0
            if received.spans:
                offer = await loop.run_in_executor(self._threads, self._take, received.spans)
                await self._until_taken(offer)
                lost = offer.lost
        finally:
            self._held.give_back(size)
        reason = received.reason or ("too large for a flow, or not to be encoded" if lost else "")
        return taken(received.rejected + lost, reason, content_type)

    async def _until_taken(self, offer: Offer) -> None:
        """Waits a moment for room; anew for each portion of a large request."""
        loop = asyncio.get_running_loop()
        left, until, wait = len(offer.left), loop.time() + _PATIENCE, _FIRST_WAIT
        while offer.left:
            if self._waiting >= _MOST_WAITING or loop.time() >= until:
                raise Refusal(429, "there is no room for these spans now: send them again", again=True)
            self._waiting += 1
            try:
                await asyncio.sleep(wait)
            finally:
                self._waiting -= 1
            await loop.run_in_executor(self._threads, offer.go_on)
            wait = min(2 * wait, _PATIENCE)
            if len(offer.left) < left:
                left, until, wait = len(offer.left), loop.time() + _PATIENCE, _FIRST_WAIT

    def close(self, wait: bool = True) -> None:
        """Ends its threads once they have done what they are at."""
        self._threads.shutdown(wait=wait)


def _decode(raw: bytes | bytearray, encoding: str, content_type: str) -> tuple[Received, int]:
    text = body.unpacked(raw, encoding)
    try:
        if content_type == JSON:
            return json_text.read(text), len(text)
        from . import protobuf  # not for those who send JSON: half a second on a cold start

        return protobuf.read(text), len(text)
    except Malformed as error:
        raise Refusal(400, str(error)) from None
