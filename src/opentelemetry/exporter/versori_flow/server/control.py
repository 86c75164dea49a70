"""Faults ordered over HTTP, at ``/_faults``."""

from __future__ import annotations

import json

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from . import playing
from .access import is_loopback, only_here
from .answers import Answer, RefusedError
from .bodies import read_body
from .faults import FaultError, parse_fault
from .orders import FaultHandle, Faults
from .reading import Body


class Control:
    """The endpoint ``/_faults``: faults ordered over HTTP, from this host only."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    async def __call__(self, request: Request) -> Response:
        """Lists faults, orders one, or takes back one or all of them."""
        try:
            return playing.true_response(await self._answer(request))
        except RefusedError as refused:
            return playing.true_response(refused.answer())
        except ClientDisconnect:
            return playing.silence()

    async def _answer(self, request: Request) -> Answer:
        _only_from_here(request)
        if request.method == "POST":
            return Answer(201, _json(_described(self._order(await read_body(request), request))))
        id_ = request.path_params.get("id")
        if request.method == "DELETE":
            if id_ is None:
                self._faults.clear()
            elif not id_.isdecimal() or not self._faults.remove(int(id_)):
                raise RefusedError(404, "not_found", f"there is no fault {id_}")
            return Answer(204)
        return Answer(200, _json({"faults": [_described(handle) for handle in self._faults.all()]}))

    def _order(self, body: bytes, request: Request) -> FaultHandle:
        # No page of another site can send this type without asking first, and it would be told no.
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise RefusedError(415, "unsupported_type", 'send application/json: {"fault": "status=503"}')
        document = Body.read(body).document
        text = document.get("fault") if isinstance(document, dict) else None
        if not isinstance(text, str):
            raise RefusedError(422, "validation_failed", 'the body should be {"fault": "status=503,times=5"}')
        try:
            return self._faults.add(parse_fault(text))
        except FaultError as error:
            raise RefusedError(422, "invalid_fault", str(error)) from None


def _only_from_here(request: Request) -> None:
    if request.client is None or not is_loopback(request.client.host):
        raise RefusedError(403, "forbidden", "faults are ordered from this host only")
    only_here(request)


def _described(handle: FaultHandle) -> dict[str, object]:
    return {"id": handle.id, "fault": handle.fault.text, "struck": handle.struck, "over": handle.over}


def _json(document: object) -> bytes:
    return json.dumps(document).encode("ascii")
