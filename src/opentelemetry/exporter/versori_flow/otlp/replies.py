"""What OTLP/HTTP is answered: in the request's own encoding, `google.rpc.Status` for what went wrong."""

from __future__ import annotations

from http import HTTPStatus

from starlette.responses import Response

from . import json_text

PROTOBUF = "application/x-protobuf"
JSON = "application/json"

RETRY_AFTER = 1
"""Seconds. Who sends again grows its own wait; all of them together must not come in the same moment."""

# google.rpc.Code, for each HTTP status that is answered here.
_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 405: 12, 413: 8, 415: 3, 429: 8, 500: 13, 503: 14}


class Refusal(Exception):  # noqa: N818 - no fault of this side
    """A request that is not carried out.

    Args:
        status: The HTTP status.
        message: The reason, for people.
        again: Whether the same request may be sent again later.
    """

    def __init__(self, status: int, message: str, again: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.again = again


def refused(refusal: Refusal, content_type: str) -> Response:
    """The answer to a request that was not carried out."""
    code = _CODES.get(refusal.status, 2)
    if content_type == PROTOBUF:
        from . import protobuf

        body = protobuf.status(code, refusal.message)
    else:
        content_type, body = JSON, json_text.status(code, refusal.message)
    headers = {"Retry-After": str(RETRY_AFTER)} if refusal.again else {}
    if refusal.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if refusal.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        headers["Connection"] = "close"  # the rest of the body is not read
    return Response(body, refusal.status, headers, content_type)


def taken(rejected: int, reason: str, content_type: str) -> Response:
    """The answer to a request of which at most some spans were rejected."""
    if content_type == PROTOBUF:
        from . import protobuf

        return Response(protobuf.answer(rejected, reason), media_type=PROTOBUF)
    return Response(json_text.answer(rejected, reason), media_type=JSON)
