"""The platform's two endpoints: one request, one deadline, one typed answer.

    FlowsApi ---- connection ---- line          httpx, quiet; the deadline
     |   |             +---------- trust: TLS; broken: whose fault it is
     |   +------- body: an answer's, under a bound
     +----------- error_document: what a refusal says

httpx is imported with `connection`, when the first request is due.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import quote

from ..interruption import let_through
from ..native import allocate_lock, get_ident
from ..settings.readers import Secret
from ..surrogates import clean
from ..version import __version__
from . import body as bodies
from . import error_document as errors
from .answers import (
    Absent,
    Answer,
    BrokenError,
    Conflict,
    Denied,
    Found,
    Misconfigured,
    Rejected,
    Stored,
    TooLarge,
    Unavailable,
    Unreadable,
    failed_by,
)

if TYPE_CHECKING:
    from ..settings.table import Settings
    from .connection import Connections
    from .credentials import Credentials
    from .line import Exchange, Head

_TRY_AGAIN = (408, 425, 429, 500, 502, 503, 504)
_LONGEST_ERROR = 64 * 1024
_LONGEST_URL = 65_536  # httpx raises for a longer one


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
        self._lock = allocate_lock()
        self._opening: int | None = None
        self._connections: Connections | None = None
        self._closed = False
        ids = _segment(settings.organisation_id), _segment(settings.project_id)
        self._url = f"{settings.base_url}/o/{ids[0]}/projects/{ids[1]}/workflows"
        self._head = _head(settings)
        self._reads = settings.write_mode == "merge"  # what it has written, and knows it by its digest

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
            deadline: The `native.monotonic()` by which the answer is there, whatever the platform does.
            own_connection: A new connection is made for it, and closed after it.
        """
        return self._request("GET", flow_name, deadline, self._read, own_connection=own_connection)

    def put(
        self, flow_name: str, body: bytes, deadline: float, fresh: Callable[[], bool] | None = None
    ) -> Answer:
        """Creates or replaces one flow.

        Args:
            flow_name: Its name, as people read it.
            body: The flow as JSON.
            deadline: The `native.monotonic()` by which the answer is there, whatever the platform does. After
                it nothing more of the request is sent, wherever the process was stopped meanwhile.
            fresh: Whether what the body rests on still holds; once it does not, nothing more is sent either.
        """
        return self._request("PUT", flow_name, deadline, self._written, body, fresh=fresh)

    def take_problem(self) -> str | None:
        """What is wrong with the key file now, while the last good key is in use; each trouble once."""
        return self._credentials.take_problem()

    def close(self) -> None:
        """Ends all connections without waiting; requests under way return `Unavailable` at once."""
        # Not under the lock: a thread that makes the client holds it for as long as that takes.
        self._closed = True
        connections = self._connections
        if connections is not None:
            connections.close()

    def _open(self) -> Connections:
        if self._opening == get_ident():
            # A signal handler, in the middle of what this very thread does below.
            raise RuntimeError("the client is being made")
        if self._connections is None:
            with self._lock:
                try:
                    self._opening = get_ident()
                    if self._connections is None:
                        from .connection import Connections

                        self._connections = Connections(self._settings)
                finally:
                    self._opening = None
        if self._closed:
            self._connections.close()
        return self._connections

    def _request(
        self,
        method: str,
        flow_name: str | None,
        deadline: float,
        read: Callable[[Exchange], Answer],
        body: bytes | None = None,
        *,
        own_connection: bool = False,
        fresh: Callable[[], bool] | None = None,
    ) -> Answer:
        """Sends one request, and again where the key is another one by now; returns what `read` makes of the answer.

        `flow_name`: None for all flows of the project.
        """
        try:
            url = self._url if flow_name is None else f"{self._url}/{_segment(flow_name)}"
            if len(url) > _LONGEST_URL:
                return Misconfigured(414, f"its address has more than {_LONGEST_URL} characters", None)
            head, content = self._content(body)
            for _ in range(2):
                authorization = self._credentials.authorization()
                whole = [(b"Authorization", authorization), *head]
                answer = self._open().exchange(
                    method, url, whole, content, deadline, read, own_connection, fresh
                )
                if not isinstance(answer, Denied) or not self._credentials.reread(authorization):
                    break
        except BrokenError as error:
            if error.kind == "setting":
                return Misconfigured(0, error.message, None)
            return Unavailable(error.kind, self._shown(error.message), None, error.answered)
        except Exception as error:  # noqa: BLE001 - what keeps the promise that nothing is raised
            let_through(error)
            return failed_by(error)
        return answer

    def _content(self, body: bytes | None) -> tuple[Head, bytes | None]:
        if body is None:
            return self._head, None
        head = [*self._head, (b"Content-Type", Secret("application/json"))]
        if self._settings.compression == "gzip":
            import zlib

            gzip = zlib.compressobj(1, wbits=16 + zlib.MAX_WBITS)
            body = gzip.compress(body) + gzip.flush()
            head.append((b"Content-Encoding", Secret("gzip")))
        head.append((b"Content-Length", Secret(str(len(body)))))
        return head, body

    def _read(self, reply: Exchange) -> Answer:
        if reply.status == 404:
            error = errors.error_document(404, _error_body(reply))
            return Absent(error.own_form, self._shown(error.message) + _way(reply, error))
        if not 200 <= reply.status < 300:
            return self._refused(reply)
        if reply.status in (204, 205, 206):
            return Unreadable(f"the platform answered {errors.status_text(reply.status)}, not the whole flow")
        bound = 4 * self._settings.max_bytes + 65536
        try:
            body, digest = bodies.taken(reply.chunks(), reply.header("content-encoding"), bound)
        except bodies.BodyError as error:
            return Unreadable(str(error))
        return Found(body, digest, reply.status)

    def _written(self, reply: Exchange) -> Answer:
        if not 200 <= reply.status < 300:
            return self._refused(reply, putting=True)
        bound = 8 * self._settings.max_bytes + (1 << 20)
        digest, believed = bodies.drained(
            reply.chunks(), reply.header("content-encoding"), bound, digested=self._reads
        )
        return Stored(reply.status, digest, believed)

    def _refused(self, reply: Exchange, *, putting: bool = False) -> Answer:
        """Says what a status other than 2xx means; only a PUT's body can be what is wrong."""
        status = reply.status
        error = errors.error_document(status, _error_body(reply))
        # The words of others; ours hold no secret, and no word of them is taken for one.
        message = self._shown(error.message) + ("" if status == 407 else _way(reply, error))
        wait = errors.retry_after(reply.header("retry-after"), reply.header("date"), time.time())
        if status in _TRY_AGAIN:
            return Unavailable(str(status), message, wait, answered=True)
        if status in (401, 403):
            return Denied(status, message, wait)
        if putting and status in (400, 422):
            return Rejected(status, self._shown(error.code), message, error.spans)
        if putting and status == 409:
            return Conflict(message)
        if putting and status == 413:
            return TooLarge(message, wait)
        if 300 <= status < 400 and status != 304:  # a cache's mistake, which points nowhere
            where = self._shown(errors.destination(reply.header("location")))
            message = (
                f"{errors.status_text(status)}: the platform redirects to {where}, which is not followed"
            )
        elif status == 407 and reply.proxy:
            message = f"{reply.proxy} asks for credentials: {message}"
        elif not message.startswith(str(status)):
            message = f"{errors.status_text(status)}: {message}"
        return Misconfigured(status, message, wait)

    def _shown(self, text: str) -> str:
        return errors.shown(text, self._credentials.redact)


def _way(reply: Exchange, error: errors.ErrorDocument) -> str:
    # Without TLS the proxy may have answered itself; with it, what is said comes from the platform.
    mine = error.own_form or not reply.proxy or reply.line.origin.scheme == "https"
    return "" if mine else f" (by way of {reply.proxy})"


def _error_body(reply: Exchange) -> bytes:
    # The status stands, whatever becomes of the body.
    return bodies.beginning(reply.chunks(), reply.header("content-encoding"), _LONGEST_ERROR)


def _head(settings: Settings) -> Head:
    ours = {
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": f"opentelemetry-exporter-versori-flow/{__version__}",
    }
    given = {name.lower() for name in settings.headers}
    kept = {name: value for name, value in ours.items() if name.lower() not in given}
    return [(name.encode(), Secret(value)) for name, value in {**kept, **settings.headers}.items()]


def _segment(text: str) -> str:
    """Returns a text as one segment of a path."""
    if text in (".", ".."):  # as they are, they would be steps in the path
        return text.replace(".", "%2E")
    return quote(clean(text), safe="")
