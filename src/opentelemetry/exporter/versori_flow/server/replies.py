"""What an endpoint answers, and the API's ``Error`` as one such answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

JSON = "application/json"


@dataclass(frozen=True)
class Reply:
    """One HTTP answer, before anything is done to it on its way to the client.

    Attributes:
        status: The HTTP status.
        body: The body, as bytes.
        headers: Further headers; the length is added where the answer is written.
        content_type: The type of the body; not sent with an empty body.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = JSON

    def all_headers(self) -> dict[str, str]:
        """The headers to send, without the length."""
        return {**({"Content-Type": self.content_type} if self.body else {}), **self.headers}


class ApiError(Exception):
    """A request that the API answers with an ``Error``.

    Args:
        status: The HTTP status to answer with.
        code: The machine-readable reason.
        message: The reason for people.
        fields: Pairs of a path in the body and what is wrong there.
    """

    def __init__(self, status: int, code: str, message: str, fields: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.fields = tuple(fields)

    def answer(self, headers: Mapping[str, str] | None = None) -> Reply:
        """The ``Error`` document as an answer."""
        document: dict[str, object] = {"code": self.code, "message": self.message}
        if self.fields:
            document["fields"] = [{"field": path, "message": text} for path, text in self.fields]
        return Reply(self.status, json.dumps(document).encode("ascii"), headers or {})
