"""The ASGI application: the API under its own paths, the orders for faults, and the page.

A flow's name is one percent-encoded segment of the path and may hold ``/`` and anything else. Requests are
therefore routed by the path as it was sent, and a segment is decoded where it is used.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import zlib
from collections.abc import Sequence
from urllib.parse import unquote_to_bytes, urlsplit

from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send
from ulid import ULID

from opentelemetry.exporter.versori_flow.server import journal, playing
from opentelemetry.exporter.versori_flow.server.answers import Answer, RefusedError
from opentelemetry.exporter.versori_flow.server.faults import FaultError, parse_fault
from opentelemetry.exporter.versori_flow.server.flows import Flows, Key
from opentelemetry.exporter.versori_flow.server.orders import FaultHandle, Faults, Strike
from opentelemetry.exporter.versori_flow.server.reading import Body
from opentelemetry.exporter.versori_flow.server.validation import FlowValidator

# Sixteen times what the exporter sends by default; more than that is a mistake, not a flow.
MOST_BODY = 64 * 1024 * 1024
_FLOWS = "/o/{organisation_id}/projects/{project_id}/workflows"
_SECRET = ("authorization", "cookie")


class Api:
    """The four endpoints.

    Args:
        flows: Where flows are stored.
        faults: The faults that stand.
        log: Where requests are recorded.
        key: The key that requests must carry; None lets all in.
        validator: Checks bodies; None takes any JSON object.
    """

    def __init__(
        self, flows: Flows, faults: Faults, log: journal.Journal, key: str | None, validator: FlowValidator | None
    ) -> None:
        self._flows = flows
        self._faults = faults
        self._log = log
        self._key = key
        self._validator = validator

    async def __call__(self, request: Request) -> Response:
        """Answers one request, or spoils it as ordered."""
        flow = _shown_name(request)
        record = self._log.begin(request.method, request.url.path, flow, _headers(request))
        try:
            response, status = await self._answer(request, record)
        except ClientDisconnect:
            response, status = playing.silence(), None
        return _Recorded(response, lambda: self._log.end(record, status))

    async def _answer(self, request: Request, record: journal.Request) -> tuple[Response, int | None]:
        try:
            body = await _body(request)
        except RefusedError as refused:
            return playing.true_response(refused.answer()), refused.status
        self._log.note(record, lambda noted: setattr(noted, "size", len(body)))
        strike = self._faults.strike(request.method, record.flow, body)
        if strike is None:
            answer = self._carry_out(request, body)
            return playing.true_response(answer), answer.status
        self._log.note(record, lambda noted: setattr(noted, "fault", strike.fault.text))
        return await self._spoil(request, body, strike)

    async def _spoil(self, request: Request, body: bytes, strike: Strike) -> tuple[Response, int | None]:
        fault = strike.fault
        truly = fault.kind in ("drip", "cut") or bool(fault.part)
        answer = self._carry_out(request, body) if fault.apply or truly else Answer(200)
        if fault.delay and await _gone_within(request, fault.delay):
            return playing.silence(), None
        if fault.kind == "slow":
            answer = answer if fault.apply else self._carry_out(request, body)
            return playing.true_response(answer), answer.status
        if fault.kind in ("status", "max-body", "poison"):
            answer = fault.answer(strike.fields)
            return playing.true_response(answer), answer.status
        if fault.kind == "drip":
            return playing.drip(answer, fault), answer.status
        if fault.kind == "cut":
            return playing.cut(answer), answer.status
        if fault.kind == "reset":
            return playing.reset(answer, fault.part), answer.status if fault.part else None
        if fault.kind == "flood":
            return playing.flood(compressed=fault.gzip), 200
        return playing.silence(), None

    def _carry_out(self, request: Request, body: bytes) -> Answer:
        try:
            return self._endpoint(request, body)
        except RefusedError as refused:
            return refused.answer({"WWW-Authenticate": "Bearer"} if refused.status == 401 else None)

    def _endpoint(self, request: Request, body: bytes) -> Answer:
        self._let_in(request)
        organisation_id = _ulid(request, "organisation_id")
        project_id = _ulid(request, "project_id")
        if "flow_name" not in request.path_params:
            mine = [flow for flow in self._flows.all() if flow.key[:2] == (organisation_id, project_id)]
            return Answer(200, b'{"flows":[' + b",".join(flow.raw for flow in mine) + b"]}")
        key = Key(organisation_id, project_id, _name(request))
        if request.method == "PUT":
            return self._put(key, body, request.headers.get("content-encoding", "identity"))
        if request.method == "DELETE":
            if not self._flows.delete(key):
                raise _no_flow(key)
            return Answer(204)
        flow = self._flows.get(key)
        if flow is None:
            raise _no_flow(key)
        return Answer(200, flow.raw)

    def _put(self, key: Key, raw: bytes, encoding: str) -> Answer:
        body = Body.read(_decoded(raw, encoding.strip().lower()))
        if self._validator is not None:
            self._validator.check(body)
        elif not isinstance(body.document, dict):
            raise RefusedError(422, "validation_failed", "the body is not an object")
        return Answer(200, self._flows.put(key, body).raw)

    def _let_in(self, request: Request) -> None:
        if self._key is None:
            return
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        given = key.strip().encode("latin-1", "replace")
        # Compared in constant time, and whatever the scheme is.
        same = hmac.compare_digest(given, self._key.encode("utf-8"))
        if not same or scheme.lower() not in ("bearer", "jwt"):
            raise RefusedError(401, "unauthorized", "this API key is not accepted")


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

    async def _answer(self, request: Request) -> Answer:
        _only_from_here(request)
        if request.method == "POST":
            return Answer(201, _json(_described(self._order(await _body(request), request))))
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
            raise RefusedError(415, "unsupported_type", "send application/json: {\"fault\": \"status=503\"}")
        document = Body.read(body).document
        text = document.get("fault") if isinstance(document, dict) else None
        if not isinstance(text, str):
            raise RefusedError(422, "validation_failed", 'the body should be {"fault": "status=503,times=5"}')
        try:
            return self._faults.add(parse_fault(text))
        except FaultError as error:
            raise RefusedError(422, "invalid_fault", str(error)) from None


class _Recorded(Response):
    """Sends a response, and records the answer when it is sent or withheld."""


def _json(document: object) -> bytes:
    return json.dumps(document).encode("ascii")
