"""The page: the list of flows, and one flow as waterfalls of its traces.

It is rendered here, works without scripts, and takes nothing from anywhere else. Bars are SVG, whose places
are attributes: the policy that is sent with the page allows neither scripts nor styles inside of it.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from importlib import resources
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .access import BrowserGuard
from .saved_flows import FlowAddress, SavedFlow, SavedFlows
from .waterfall import is_error, shown, trace_id, traces

_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-FaultsEndpoint": "no-store",
}
_STATIC = {"page.css": "text/css", "icon.svg": "image/svg+xml"}
# Spans shown at once: older traces are there, closed.
_OPEN_ROWS = 40
_MOST_RAW = 4_000


class Pages:
    """The pages of one platform.

    Args:
        flows: The flows to show.
        guard: Knows which requests are let in.
    """

    def __init__(self, flows: SavedFlows, guard: BrowserGuard) -> None:
        self._flows = flows
        self._guard = guard
        self._templates = Environment(
            loader=PackageLoader(__package__ or "", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def routes(self) -> list[Route]:
        """The routes of the pages, and of what they are drawn with."""
        return [
            Route("/", self._list),
            Route("/flow", self._flow),
            *(Route(f"/{name}", _static(name, kind)) for name, kind in _STATIC.items()),
        ]

    # Plain functions: Starlette runs them beside its loop, which goes on answering exporters.
    def _list(self, request: Request) -> Response:
        rows = sorted((_Line(flow) for flow in self._flows.all()), key=lambda line: -line.flow.changed_at)
        address = f"http://{request.headers.get('host', '')}"
        return self._page(request, "list.html", lines=rows, address=address)

    def _flow(self, request: Request) -> Response:
        wanted = request.query_params
        flow = self._flows.get(FlowAddress(wanted.get("o", ""), wanted.get("p", ""), wanted.get("name", "")))
        if flow is None:
            return self._page(request, "missing.html", status=404, name=wanted.get("name", ""))
        found = traces(flow.spans)
        opened = 0
        while opened < len(found) and sum(len(trace.rows) for trace in found[: opened + 1]) <= _OPEN_ROWS:
            opened += 1
        return self._page(
            request,
            "flow.html",
            line=_Line(flow),
            description=shown((flow.document or {}).get("description") or ""),
            raw="" if flow.document else shown(flow.raw.decode("utf-8", "replace"), _MOST_RAW),
            traces=found,
            opened=max(opened, 1),
        )

    def _page(self, request: Request, template: str, status: int = 200, **values: object) -> Response:
        self._guard.check(request)
        html = self._templates.get_template(template).render(**values)
        # JSON can carry half a character, which no encoding can.
        body = html.encode("utf-8", "replace")
        return Response(body, status, _HEADERS, "text/html; charset=utf-8")


class _Line:
    """What the list says of a flow."""

    def __init__(self, flow: SavedFlow) -> None:
        self.flow = flow
        organisation_id, project_id, self.name = flow.address
        self.organisation_id = organisation_id
        self.project_id = project_id
        self.link = "/flow?" + urlencode(
            {"o": organisation_id, "p": project_id, "name": self.name}, errors="replace"
        )
        self.spans = len(flow.spans)
        self.traces = len({trace_id(span) for span in flow.spans})
        self.errors = sum(map(is_error, flow.spans))
        self.size = _size(len(flow.raw))
        self.changed = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(flow.changed_at))
        self.ago = _ago(time.time() - flow.changed_at)


def _static(name: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
    content = resources.files(__package__).joinpath("templates", name).read_bytes()

    async def static(request: Request) -> Response:
        return Response(content, 200, {**_HEADERS, "Cache-FaultsEndpoint": "no-cache"}, kind)

    return static


def _size(size: int) -> str:
    if size < 1000:
        return f"{size} B"
    return f"{size / 1000:.3g} kB" if size < 999_500 else f"{size / 1e6:.3g} MB"


def _ago(seconds: float) -> str:
    if seconds < 2:
        return "just now"
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"
