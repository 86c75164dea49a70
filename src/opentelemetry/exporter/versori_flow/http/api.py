"""The platform's two endpoints: one request, one deadline, one typed answer.

    FlowsApi ---- transport ---- deadline ---- the platform
     |   |        pool, TLS,     sockets
     |   |        proxy, quiet
     |   +------- payload: a body, under a bound
     +----------- refusal: what an error says

httpx and httpcore are imported with `transport`, when the first request is due.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from ..version import __version__
from . import body as payload
from . import error_document as refusal
from .answers import (
    Absent,
    Answer,
    Conflict,
    Denied,
    Found,
    Misconfigured,
    Rejected,
    Stored,
    TooLarge,
    Unavailable,
    Unreadable,
)

if TYPE_CHECKING:
    from ..settings.load import Settings
    from .connection import Reply, Transport
    from .credentials import Credentials


_TRY_AGAIN = (408, 425, 429, 500, 502, 503, 504)
_LONGEST_ERROR = 64 * 1024


class FlowsApi:
    """GET and PUT of one project's flows. Any thread may call any method; none raises.

    Nothing is imported and nothing is built before `open` or the first request.

    Args:
        settings: Where the platform is, and how to reach it.
        credentials: The key in use.
    """

    def __init__(self, settings: Settings, credentials: Credentials) -> None:
        self._settings = settings
        self._credentials = credentials
        self._lock = threading.Lock()
        self._transport: Transport | None = None
        self._closed = False
        ids = _segment(settings.organisation_id), _segment(settings.project_id)
        self._path = f"{urlsplit(settings.base_url).path}/o/{ids[0]}/projects/{ids[1]}/workflows/"
        self._headers = _headers(settings)

    def open(self) -> None:
        """Makes the client: the part that takes 50 to 150 ms the first time.

        What is wrong with certificates or proxies becomes the answer to the next request, which tries again.
        """
        with contextlib.suppress(Exception):
            self._open()

    def get(self, flow_name: str, deadline: float, *, own_connection: bool = False) -> Answer:
        """Reads one flow.

        Args:
            flow_name: Its name, as people read it.
            deadline: The `time.monotonic()` by which the answer is there, whatever the platform does.
            own_connection: A new connection is made for it, and closed after it.
        """
        return self._request("GET", flow_name, None, deadline, self._read)

    def put(self, flow_name: str, body: Sequence[bytes] | bytes, deadline: float) -> Answer:
        """Creates or replaces one flow.

        Args:
            flow_name: Its name, as people read it.
            body: The flow as JSON, whole or in parts.
            deadline: The `time.monotonic()` by which the answer is there, whatever the platform does.
        """
        return self._request("PUT", flow_name, body, deadline, self._written)

    def close(self) -> None:
        """Ends all connections without waiting; requests under way return `Unavailable` at once."""
        # Not under the lock: a thread that makes the client holds it for as long as that takes.
        self._closed = True
        transport = self._transport
        if transport is not None:
            transport.close()

    def _open(self) -> Transport:
        with self._lock:
            if self._transport is None:
                from .connection import Transport

                self._transport = Transport(self._settings)
            transport = self._transport
        if self._closed:
            transport.close()
        return transport

    def _request(
        self,
        method: str,
        flow_name: str,
        body: Sequence[bytes] | bytes | None,
        deadline: float,
        read: Callable[[Reply], Answer],
    ) -> Answer:
        try:
            target = (self._path + _segment(flow_name)).encode("ascii")
            headers, content = self._content(body)
            for _ in range(2):
                authorization = self._credentials.authorization()
                headers[0] = (b"Authorization", authorization.encode("latin-1"))
                answer = self._exchange(method, target, headers, content, deadline, read)
                if not isinstance(answer, Denied) or not self._credentials.reread(authorization):
                    break
        except Exception as error:  # noqa: BLE001 - what keeps the promise that nothing is raised
            return Unavailable("error", type(error).__name__, None, answered=False)
        return answer

    def _content(
        self, body: Sequence[bytes] | bytes | None
    ) -> tuple[list[tuple[bytes, bytes]], bytes | None]:
        headers = [(b"Authorization", b""), *self._headers]
        if body is None:
            return headers, None
        content = body if isinstance(body, bytes) else b"".join(body)
        if self._settings.compression == "gzip":
            import zlib

            gzip = zlib.compressobj(1, wbits=16 + zlib.MAX_WBITS)
            content = gzip.compress(content) + gzip.flush()
            headers.append((b"Content-Encoding", b"gzip"))
        headers += [(b"Content-Type", b"application/json"), (b"Content-Length", b"%d" % len(content))]
        return headers, content

    def _exchange(
        self,
        method: str,
        target: bytes,
        headers: list[tuple[bytes, bytes]],
        content: bytes | None,
        deadline: float,
        read: Callable[[Reply], Answer],
    ) -> Answer:
        from .connection import BrokenError, CannotOpenError

        try:
            return self._open().exchange(method, target, headers, content, deadline, read)
        except CannotOpenError as error:
            return Misconfigured(0, self._shown(str(error)), None)
        except BrokenError as error:
            if error.kind == "request":
                return Misconfigured(
                    0, "a header can't be sent: check VERSORI_FLOW_HEADERS and the key", None
                )
            return Unavailable(error.kind, self._shown(error.message), None, error.answered)

    def _read(self, reply: Reply) -> Answer:
        if reply.status == 404:
            return Absent()
        if not 200 <= reply.status < 300:
            return self._refused(reply)
        if reply.status in (204, 205, 206):
            return Unreadable(
                f"the platform answered {refusal.status_text(reply.status)}, not the whole flow"
            )
        bound = 4 * self._settings.max_bytes + 65536
        try:
            body, digest = payload.taken(reply.chunks(), reply.header(b"content-encoding"), bound)
        except payload.BodyError as error:
            return Unreadable(str(error))
        return Found(body, digest, reply.status)

    def _written(self, reply: Reply) -> Answer:
        if not 200 <= reply.status < 300:
            return self._refused(reply, putting=True)
        bound = 8 * self._settings.max_bytes + (1 << 20)
        return Stored(reply.status, payload.drained(reply.chunks(), reply.header(b"content-encoding"), bound))

    def _refused(self, reply: Reply, *, putting: bool = False) -> Answer:
        """Says what a status other than 2xx means; only a PUT's body can be what is wrong."""
        status, error = reply.status, refusal.error_document(reply.status, _error_body(reply))
        message = self._shown(error.message)
        wait = refusal.retry_after(reply.header(b"retry-after"), time.time())
        if status in _TRY_AGAIN:
            return Unavailable(str(status), message, wait, answered=True)
        if status in (401, 403):
            return Denied(status, message, wait)
        if putting and status in (400, 422):
            return Rejected(status, self._shown(error.code), message, error.spans)
        if putting and status == 409:
            return Conflict(message)
        if putting and status == 413:
            return TooLarge(message)
        if 300 <= status < 400:
            where = refusal.destination(reply.header(b"location"))
            message = f"the platform redirects to {where}, which is not followed: check VERSORI_API_BASE_URL"
        elif status == 404:
            message = f"check VERSORI_API_BASE_URL, VERSORI_ORGANISATION_ID, VERSORI_PROJECT_ID: {message}"
        return Misconfigured(status, self._shown(message), wait)

    def _shown(self, text: str) -> str:
        return refusal.shown(text, self._credentials.redact)


def _error_body(reply: Reply) -> bytes:
    # The status stands, whatever becomes of the body.
    try:
        return payload.taken(reply.chunks(), reply.header(b"content-encoding"), _LONGEST_ERROR)[0]
    except Exception:  # noqa: BLE001
        return b""


def _headers(settings: Settings) -> list[tuple[bytes, bytes]]:
    ours = {
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": f"opentelemetry-exporter-versori-flow/{__version__}",
    }
    names = {name.lower() for name in settings.headers}
    kept = {name: value for name, value in ours.items() if name.lower() not in names}
    return [(name.encode(), value.encode("latin-1")) for name, value in {**kept, **settings.headers}.items()]


def _segment(text: str) -> str:
    """Returns a text as one segment of a path."""
    if text in (".", ".."):  # as they are, they would be steps in the path
        return text.replace(".", "%2E")
    return quote(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"), safe="")
