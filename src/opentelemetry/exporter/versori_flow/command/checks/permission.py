"""Whether the key lets flows be read, and on request written: by the exporter's own client."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import secrets
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from ...http.answers import (
    Absent,
    Answer,
    BrokenError,
    Denied,
    Found,
    Misconfigured,
    Stored,
    Unavailable,
    Unreadable,
)
from ...http.api import FlowsApi
from ...http.credentials import Credentials
from ...native import monotonic
from ...settings.readers import Secret
from ...settings.table import Settings
from . import network
from .finding import Finding, ok, skipped, warning, wrong

_JWT = re.compile(r"eyJ[A-Za-z0-9_-]*\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+")
_IDENTITY = Secret("identity")
_ADDRESS = "check the path in VERSORI_API_BASE_URL, as in https://platform.versori.com/api/v2"


class Permission:
    """Asks the platform with the key.

    Args:
        settings: Where it is, and with which key.
        key_source: Where the key is from.
    """

    def __init__(self, settings: Settings, key_source: str) -> None:
        self._settings = settings
        self._source = key_source
        self._credentials = Credentials(settings)
        self._api = FlowsApi(settings, self._credentials)

    def look(self, flow: str | None, *, write: bool) -> Iterator[Finding]:
        """Reads a flow; on request writes one of its own, and removes it."""
        with contextlib.closing(self._api):
            answer = self._api.get(flow or "versori-flow-doctor", self._deadline())
            finding = self._read(answer)
            yield finding
            if finding.state == "wrong":
                if write:
                    yield skipped("write", "reading comes first")
            elif write:
                yield from self._write()

    def _deadline(self) -> float:
        return monotonic() + self._settings.timeout

    def _read(self, answer: Answer) -> Finding:
        match answer:
            case Found() | Unreadable():
                return ok("read", "the key may read flows")
            case Absent(own_form=False):
                text = f"{self._settings.base_url} is not the API: it answers 404 in another form ({answer.message})"
                return wrong("read", "address", text, _ADDRESS)
            case Absent():
                return self._of_project()
        return self._refused("read", answer)

    def _of_project(self) -> Finding:
        """Tells a flow that isn't there yet from a project that isn't."""
        try:
            reply = self._ask("GET", "")
        except BrokenError as error:
            return wrong("read", "unavailable", error.message, "try again")
        if reply.status == 404:
            return wrong(
                "read",
                "organisation-or-project",
                "the platform has no such project in that organisation",
                "check VERSORI_ORGANISATION_ID and VERSORI_PROJECT_ID: both are in the project's address",
            )
        if reply.status in (401, 403):
            return self._refused("read", Denied(reply.status, "", None))
        return ok("read", "the key may read flows; the flow is not there yet")

    def _refused(self, check: str, answer: Answer) -> Finding:
        message = getattr(answer, "message", "")
        match answer:
            case Denied(status=401):
                return self._unknown_key(check, message)
            case Denied():
                return wrong(
                    check,
                    "permission",
                    f"the key is known, and may not {check} flows of this project ({message or answer.status})",
                    "check VERSORI_ORGANISATION_ID and VERSORI_PROJECT_ID, or give the key that permission",
                )
            case Misconfigured(status=status):
                change = _ADDRESS if status else "change what it names"
                return wrong(check, "address", message, change)
            case Unavailable():
                text = f"the platform can't be asked now: {message}"
                return wrong(
                    check, "unavailable", text, "try again; if it stays, ask whoever runs the platform"
                )
        return wrong(
            check, "refused", f"the platform refuses it: {message}", "tell whoever runs the platform"
        )

    def _unknown_key(self, check: str, message: str) -> Finding:
        settings = self._settings
        names = {"variable": "VERSORI_API_KEY", "argument": "the argument api_key"}
        named = f"VERSORI_API_KEY_FILE ({settings.api_key_file})" if settings.api_key_file else self._source
        named = names.get(named, named)
        expired = _expiry(self._credentials.authorization().reveal())
        if expired is not None and expired < time.time():
            when = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(expired))
            return wrong(check, "key-expired", f"the key expired at {when}", f"put a new key into {named}")
        if settings.auth_scheme not in (None, "JWT") and expired is not None:
            text = f"the platform refuses the key (401): it is a JWT, sent as {settings.auth_scheme}"
            return wrong(check, "auth-scheme", text, "unset VERSORI_AUTH_SCHEME")
        return wrong(
            check,
            "key",
            f"the platform refuses the key (401): {message}",
            f"put a key of this organisation into {named}",
        )

    def _write(self) -> Iterator[Finding]:
        name = f"versori-flow-doctor-{secrets.token_hex(8)}"
        written = True  # also where the answer never came
        try:
            answer = self._api.put(name, _body(name), self._deadline())
            written = isinstance(answer, Stored | Unavailable)
            if not isinstance(answer, Stored):
                yield self._refused("write", answer)
            elif not isinstance(self._api.get(name, self._deadline()), Found):
                text = "what was written is not there when it is read back"
                yield wrong("write", "not-stored", text, "check what stands between here and the platform")
            else:
                yield ok("write", "the key may write flows")
        finally:
            removed = not written or self._removed(name)
        if not removed:
            yield warning(
                "write", "not-removed", f"the flow {name} is left behind", f"delete the flow {name}"
            )

    def _removed(self, name: str) -> bool:
        """Whether the flow of that name is gone."""
        with contextlib.suppress(BrokenError):
            return self._ask("DELETE", f"/{name}").status in (200, 202, 204, 404)
        return False

    def _ask(self, method: str, path: str) -> network.Reply:
        settings = self._settings
        ids = quote(settings.organisation_id, safe=""), quote(settings.project_id, safe="")
        url = f"{settings.base_url}/o/{ids[0]}/projects/{ids[1]}/workflows{path}"
        head = [(b"Authorization", self._credentials.authorization()), (b"Accept-Encoding", _IDENTITY)]
        head += [(name.encode(), value) for name, value in settings.headers.items()]
        return network.ask(settings, method, url, head)


def _expiry(authorization: str) -> float | None:
    """When a JWT expires, in seconds since the epoch: 0 where it doesn't say; None where the key is no JWT."""
    match = _JWT.fullmatch(authorization.partition(" ")[2])
    if match is None:
        return None
    with contextlib.suppress(ValueError):
        claims: Any = json.loads(base64.urlsafe_b64decode(match[1] + "==="))
        expires = claims.get("exp") if isinstance(claims, dict) else None
        return float(expires) if isinstance(expires, (int, float)) else float("inf")
    return float("inf")


def _body(name: str) -> bytes:
    """A flow with one span."""
    now = time.strftime("%Y-%m-%dT%H:%M:%S.000000000Z", time.gmtime())
    span = {
        "name": "versori-flow doctor",
        "startTime": now,
        "endTime": now,
        "duration": 0,
        "attributes": {},
        "status": {"code": 0},
        "ended": True,
        "events": [],
        "spanContext": {"traceId": secrets.token_hex(16), "spanId": secrets.token_hex(8), "traceFlags": 1},
    }
    return json.dumps({"name": name, "description": "A trial; it may be deleted.", "spans": [span]}).encode()
