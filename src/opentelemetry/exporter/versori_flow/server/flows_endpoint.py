"""The four endpoints of the API, and what an ordered fault makes of their answers."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from functools import partial
from typing import TypeVar
from urllib.parse import unquote_to_bytes

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from ulid import ULID

from . import request_log, responses
from .access import SCHEMES, Access
from .active_faults import ActiveFaults, Strike
from .json_text import JsonText
from .replies import ApiError, Reply
from .request_body import decoded, read_body
from .saved_flows import FlowAddress, SavedFlows
from .validation import FlowValidator

# What is larger, or unpacks to who knows what, takes its time, and waits for one of the server's few threads.
_MOST_AT_ONCE = 64 * 1024
_T = TypeVar("_T")


class FlowsEndpoint:
    """The four endpoints.

    Args:
        flows: Where flows are stored.
        faults: The faults that stand.
        log: Where requests are recorded.
        validator: Checks bodies; None takes any JSON object.
        access: Tells who may ask.
    """

    def __init__(
        self,
        flows: SavedFlows,
        faults: ActiveFaults,
        log: request_log.RequestLog,
        validator: FlowValidator | None,
        access: Access,
    ) -> None:
        self._flows = flows
        self._faults = faults
        self._log = log
        self._validator = validator
        self._access = access

    async def __call__(self, request: Request) -> Response:
        """Answers one request, or spoils it as ordered."""
        record = self._log.begin(
            request.method, request.scope["path"], _shown_name(request), _headers(request)
        )
        try:
            response, status = await self._answer(request, record)
        except ClientDisconnect:
            response, status = responses.silence(), None
        if status is None:
            return _UntilOver(response, lambda: self._log.end(record, None))
        # Before it is sent: whoever has the answer finds it recorded.
        self._log.end(record, status)
        return response

    async def _answer(self, request: Request, record: request_log.Request) -> tuple[Response, int | None]:
        try:
            self._access.check_key(request)
        except ApiError:
            # Not read; said where the request is carried out, which a fault may keep it from.
            body = b""
        else:
            try:
                body = await read_body(request)
            except ApiError as refused:
                return responses.as_response(refused.answer()), refused.status
        self._log.note(record, lambda noted: setattr(noted, "size", len(body)))
        find = partial(self._faults.strike, request.method, record.flow, body)
        strike = await self._beside(request, body, find)
        if strike is None:
            answer = await self._carry_out(request, body)
            return responses.as_response(answer), answer.status
        self._log.note(record, lambda noted: setattr(noted, "fault", strike.fault.text))
        return await self._spoil(request, body, strike)

    async def _spoil(self, request: Request, body: bytes, strike: Strike) -> tuple[Response, int | None]:
        fault = strike.fault
        truly = fault.kind in ("drip", "cut") or bool(fault.part)
        answer = await self._carry_out(request, body) if fault.apply or truly else Reply(200)
        if fault.delay and await _gone_within(request, fault.delay):
            return responses.silence(), None
        if fault.kind == "slow":
            answer = answer if fault.apply else await self._carry_out(request, body)
            return responses.as_response(answer), answer.status
        if fault.kind in ("status", "max-body", "poison"):
            answer = fault.answer(strike.fields)
            return responses.as_response(answer), answer.status
        if fault.kind == "drip":
            return responses.drip(answer, fault), answer.status
        if fault.kind == "cut":
            return responses.cut(answer), answer.status
        if fault.kind == "reset":
            return responses.reset(answer, fault.part), answer.status if fault.part else None
        if fault.kind == "flood":
            return responses.flood(compressed=fault.gzip), 200
        return responses.silence(), None

    async def _beside(self, request: Request, body: bytes, work: Callable[[], _T]) -> _T:
        """Does what takes its time beside the loop, which goes on answering."""
        waits_for_disk = self._flows.on_disk and request.method in ("PUT", "DELETE")
        if len(body) <= _MOST_AT_ONCE and "content-encoding" not in request.headers and not waits_for_disk:
            return work()
        # The context says that nothing in here is traced.
        work = partial(contextvars.copy_context().run, work)
        return await asyncio.get_running_loop().run_in_executor(None, work)

    async def _carry_out(self, request: Request, body: bytes) -> Reply:
        try:
            return await self._beside(request, body, partial(self._endpoint, request, body))
        except ApiError as refused:
            return refused.answer({"WWW-Authenticate": "Bearer"} if refused.status == 401 else None)

    def _endpoint(self, request: Request, body: bytes) -> Reply:
        self._access.check_key(request)
        organisation_id = _ulid(request, "organisation_id")
        project_id = _ulid(request, "project_id")
        if "flow_name" not in request.path_params:
            mine = [flow for flow in self._flows.all() if flow.address[:2] == (organisation_id, project_id)]
            return Reply(200, b'{"flows":[' + b",".join(flow.raw for flow in mine) + b"]}")
        address = FlowAddress(organisation_id, project_id, _name(request))
        if request.method == "PUT":
            return self._put(address, body, request.headers.get("content-encoding", "identity"))
        if request.method == "DELETE":
            if not self._flows.delete(address):
                raise _no_flow(address)
            return Reply(204)
        flow = self._flows.get(address)
        if flow is None:
            raise _no_flow(address)
        return Reply(200, flow.raw)

    def _put(self, address: FlowAddress, raw: bytes, encoding: str) -> Reply:
        body = JsonText.read(decoded(raw, encoding))
        if self._validator is not None:
            self._validator.check(body)
        elif not isinstance(body.document, dict):
            raise ApiError(422, "validation_failed", "the body is not an object")
        return Reply(200, self._flows.put(address, body).raw)


class _UntilOver(Response):
    """Plays a response, and says so when it is over."""

    def __init__(self, response: Response, over: Callable[[], None]) -> None:
        super().__init__()
        self._response = response
        self._over = over

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._response(scope, receive, send)
        finally:
            self._over()


async def _gone_within(request: Request, seconds: float) -> bool:
    """Waits; True as soon as the client has gone."""
    gone = asyncio.ensure_future(request.receive())
    try:
        return bool((await asyncio.wait({gone}, timeout=seconds))[0])
    finally:
        gone.cancel()


def _headers(request: Request) -> dict[str, str]:
    headers = dict(request.headers)
    if "cookie" in headers:
        headers["cookie"] = "***"
    if "authorization" in headers:
        # Only what is known to be no key: without a scheme in front, the key is the first word.
        scheme = headers["authorization"].partition(" ")[0]
        headers["authorization"] = f"{scheme} ***" if scheme.lower() in SCHEMES else "***"
    return headers


def _ulid(request: Request, name: str) -> str:
    text = _segment(request, name)
    try:
        # Upper case is the canonical one; older versions of the library know no other.
        return str(ULID.from_str(text.upper() if text.isascii() else text))
    except ValueError as error:
        raise ApiError(400, "invalid_id", f"{name} {text!r} is not a ULID: {error}") from None


def _segment(request: Request, name: str) -> str:
    try:
        return unquote_to_bytes(request.path_params[name].encode("latin-1")).decode("utf-8")
    except UnicodeDecodeError:
        raise ApiError(400, "invalid_path", f"{name} is not percent-encoded UTF-8") from None


def _name(request: Request) -> str:
    return _segment(request, "flow_name")


def _shown_name(request: Request) -> str | None:
    if "flow_name" not in request.path_params:
        return None
    try:
        return _name(request)
    except ApiError:
        return str(request.path_params["flow_name"])


def _no_flow(address: FlowAddress) -> ApiError:
    return ApiError(404, "not_found", f"there is no flow {address.name!r} in project {address.project_id}")
