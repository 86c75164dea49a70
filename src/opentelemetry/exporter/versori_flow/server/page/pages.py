"""The pages of the local platform: rendered here, whole without scripts, and better with the one beside them.

Nothing is taken from anywhere else, and the policy that is sent with a page allows neither scripts nor styles
inside of it: bars are SVG, whose places are attributes.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable
from importlib import resources
from urllib.parse import parse_qs

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from ..replies import ApiError
from ..request_body import read_body
from ..saved_flows import FlowAddress, SavedFlow, SavedFlows
from .flow_list import FlowList, moment_of
from .flow_screen import FlowScreens, NoSuchTraceError, row_anchor, started
from .links import Links, find_address
from .live import Changes, Stream
from .text import ago, bytes_size, count, length, line, token

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    # To other sites nothing; within this one the form that deletes has to say where it comes from.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_STATIC = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
_Answer = Callable[[Request], Response]


class Pages:
    """The pages of one platform.

    Args:
        flows: The flows to show.
        changes: Told of each change of a flow.
        has_key: The platform takes a key, which who sends it spans is told.
    """

    def __init__(self, flows: SavedFlows, changes: Changes, *, has_key: bool) -> None:
        self._flows = flows
        self._changes = changes
        self._has_key = has_key
        self._list = FlowList()
        self._screens = FlowScreens()
        # One page is drawn at a time: more threads would only take the interpreter from those who answer PUTs.
        self._turn = threading.Lock()
        statics = resources.files(__package__).joinpath("static")
        self._static = {name: statics.joinpath(name).read_bytes() for name in _STATIC}
        self._templates = _templates({name: _digest(content) for name, content in self._static.items()})

    def routes(self) -> list[Route]:
        """The routes of the pages, and of what they are drawn with."""
        packed = [Middleware(GZipMiddleware, minimum_size=1000, compresslevel=5)]
        pages: dict[str, _Answer] = {
            "/": self._show_list,
            "/flow": self._show_flow,
            "/flow/span": self._show_span,
            "/flow/download": self._download,
            "/flow/delete": self._ask,
            "/find": self._find,
        }
        return [
            *(Route(path, self._drawn(answer), middleware=packed) for path, answer in pages.items()),
            Route("/flow/delete", self._delete, methods=["POST"]),
            Route("/live", self._live),
            *(Route(f"/{name}", self._send_static, middleware=packed) for name in _STATIC),
        ]

    def failure(self, error: ApiError) -> Response:
        """An error as a page."""
        titles = {400: "Not understood", 403: "Not allowed", 404: "Nothing here", 405: "Not like this"}
        title = titles.get(error.status, "That failed")
        return self._page(
            "failure.html", error.status, title=title, text=line(error.message, 500), code=error.status
        )

    def _drawn(self, answer: _Answer) -> _Answer:
        # Plain functions: Starlette runs them beside its loop, which goes on answering exporters.
        def drawn(request: Request) -> Response:
            with self._turn:
                return answer(request)

        return drawn

    def _show_list(self, request: Request) -> Response:
        # Before the flows: what changes meanwhile is then told as a change.
        version = self._changes.version
        values = self._list.screen(self._flows.all(), request.query_params)
        return self._page(
            "list.html",
            **values,
            live=f"/live?v={version}",
            version=version,
            address=f"http://{request.headers.get('host', '')}",
            needs_key=self._has_key,
        )

    def _show_flow(self, request: Request) -> Response:
        flow = self._wanted(request)
        if flow is None:
            return self._missing(request)
        try:
            template, values = self._screens.screen(flow, request.query_params)
        except NoSuchTraceError:
            return self._missing(request, flow)
        links: Links = values["links"]
        version = _version(flow)
        return self._page(
            template,
            **values,
            counts=self._list.counts(flow),
            size=bytes_size(len(flow.raw)),
            changed=moment_of(flow),
            live=links.bare("/live"),
            version=version,
        )

    def _show_span(self, request: Request) -> Response:
        """The details alone, for a page that is there already."""
        flow = self._wanted(request)
        if flow is None:
            return self._missing(request)
        return self._page("panel.html", **self._screens.panel(flow, request.query_params))

    def _download(self, request: Request) -> Response:
        flow = self._wanted(request)
        if flow is None:
            return self._missing(request)
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", flow.address.name)[:80].strip(".-") or "flow"
        return Response(
            flow.raw,
            200,
            {**_HEADERS, "Content-Disposition": f'attachment; filename="{name}.json"'},
            "application/json",
        )

    def _find(self, request: Request) -> Response:
        """Leads to a trace or a span by its ids, in whichever flow it is."""
        wanted = request.query_params.get("trace", ""), request.query_params.get("span", "")
        for flow in self._flows.all():
            if any(wanted) and all(part.encode("utf-8", "replace") in flow.raw for part in wanted):
                address = self._screens.find(flow, *wanted)
                if address is not None:
                    return RedirectResponse(address, 303, _HEADERS)
        return self._missing(request)

    def _ask(self, request: Request) -> Response:
        flow = self._wanted(request)
        return self._missing(request) if flow is None else self._question(flow)

    async def _delete(self, request: Request) -> Response:
        form = parse_qs((await read_body(request)).decode("utf-8", "replace"), keep_blank_values=True)
        return await run_in_threadpool(
            self._carry_out, {name: values[-1] for name, values in form.items()}, request
        )

    def _carry_out(self, form: dict[str, str], request: Request) -> Response:
        address = FlowAddress(form.get("o", ""), form.get("p", ""), form.get("name", ""))
        flow = self._flows.get(address)
        if flow is None:
            return self._missing(request)
        self._flows.delete(address)
        return RedirectResponse("/", 303, _HEADERS)

    def _question(self, flow: SavedFlow) -> Response:
        return self._page(
            "delete.html",
            links=Links(flow.address, {}),
            name=line(flow.address.name) or "(no name)",
            counts=self._list.counts(flow),
        )

    async def _live(self, request: Request) -> Response:
        address = _address(request)

        def version() -> str:
            if "name" not in request.query_params:
                return self._changes.version
            return _version(self._flows.get(address))

        if request.method == "HEAD":
            return Response(
                b"", 200, _HEADERS, "text/event-stream"
            )  # a stream without a body would never end
        return Stream(self._changes, version, _HEADERS)

    async def _send_static(self, request: Request) -> Response:
        name = request.url.path.strip("/")
        # Asked for by its digest it is the same for ever.
        lasting = "max-age=31536000, immutable" if "v" in request.query_params else "no-cache"
        return Response(self._static[name], 200, {**_HEADERS, "Cache-Control": lasting}, _STATIC[name])

    def _wanted(self, request: Request) -> SavedFlow | None:
        return self._flows.get(_address(request))

    def _missing(self, request: Request, flow: SavedFlow | None = None) -> Response:
        name = request.query_params.get("name")
        # It may come yet, or come back: the page is told.
        live = (
            {}
            if name is None
            else {"live": Links(_address(request), {}).bare("/live"), "version": _version(flow)}
        )
        return self._page(
            "missing.html",
            404,
            **live,
            name=None if name is None else line(name),
            flow_link=None if flow is None else Links(flow.address, {})(),
        )

    def _page(self, template: str, status: int = 200, **values: object) -> Response:
        html = self._templates.get_template(template).render(**values)
        # JSON can carry half a character, which no encoding can.
        return Response(html.encode("utf-8", "replace"), status, _HEADERS, "text/html; charset=utf-8")


def wants_page(request: Request) -> bool:
    """Whether a browser asks, which can show a page."""
    return request.method == "GET" and "text/html" in request.headers.get("accept", "")


def _address(request: Request) -> FlowAddress:
    wanted = request.query_params
    return FlowAddress(wanted.get("o", ""), wanted.get("p", ""), wanted.get("name", ""))


def _version(flow: SavedFlow | None) -> str:
    return "gone" if flow is None else f"{flow.changed_at!r}-{len(flow.raw)}"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


def _templates(digests: dict[str, str]) -> Environment:
    made = Environment(
        loader=PackageLoader(__package__ or "", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        lasting=length,
        count=count,
        ago=ago,
        started=started,
        token=token,
        line=line,
        json=json.dumps,
        thousands="{:,}".format,
    )
    made.globals.update(digests=digests, find_address=find_address, row_anchor=row_anchor)
    return made
