"""Faults ordered over HTTP, at ``/_faults``."""

from __future__ import annotations

import json
import re

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from . import responses
from .access import Access, is_loopback
from .active_faults import ActiveFaults, FaultHandle
from .faults import FaultError, parse_fault
from .json_text import JsonText
from .replies import ApiError, Reply
from .request_body import read_body

_NUMBER = re.compile("[0-9]{1,18}")
# What no order needs more of: they stay in memory, and are looked through at each request.
_MOST_BODY = 64 * 1024
_MOST_FAULTS = 1000


class FaultsEndpoint:
    """The endpoint ``/_faults``: faults ordered over HTTP, from this host only."""

    def __init__(self, faults: ActiveFaults, access: Access) -> None:
        self._faults = faults
        self._access = access

    async def __call__(self, request: Request) -> Response:
        """Lists faults, orders one, or takes back one or all of them."""
        try:
            return responses.as_response(await self._answer(request))
        except ApiError as refused:
            return responses.as_response(refused.answer())
        except ClientDisconnect:
            return responses.silence()

    async def _answer(self, request: Request) -> Reply:
        if request.client is None or not is_loopback(request.client.host):
            raise ApiError(403, "forbidden", "faults are ordered from this host only")
        self._access.check_person(request)
        if request.method == "POST":
            return Reply(201, _json(_described(self._order(await read_body(request, _MOST_BODY), request))))
        id_ = request.path_params.get("id")
        if request.method == "DELETE":
            if id_ is None:
                self._faults.clear()
            elif not _NUMBER.fullmatch(id_):
                raise ApiError(400, "invalid_id", "a fault is named by its number")
            elif not self._faults.remove(int(id_)):
                raise ApiError(404, "not_found", f"there is no fault {id_}")
            return Reply(204)
        return Reply(200, _json({"faults": [_described(handle) for handle in self._faults.all()]}))

    def _order(self, body: bytes, request: Request) -> FaultHandle:
        # No page of another site can send this type without asking first, and it would be told no.
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise ApiError(415, "unsupported_type", 'send application/json: {"fault": "status=503"}')
        document = JsonText.read(body).document
        text = document.get("fault") if isinstance(document, dict) else None
        if not isinstance(text, str):
            raise ApiError(422, "validation_failed", 'the body should be {"fault": "status=503,times=5"}')
        if len(self._faults.all()) >= _MOST_FAULTS:
            raise ApiError(409, "too_many", f"{_MOST_FAULTS} faults stand; take some back first")
        try:
            return self._faults.add(parse_fault(text))
        except FaultError as error:
            raise ApiError(422, "invalid_fault", str(error)) from None


def _described(handle: FaultHandle) -> dict[str, object]:
    return {"id": handle.id, "fault": handle.fault.text, "struck": handle.struck, "over": handle.over}


def _json(document: object) -> bytes:
    return json.dumps(document).encode("ascii")
