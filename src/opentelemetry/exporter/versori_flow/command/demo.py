"""`versori-flow demo`: traffic of a made-up shop on a local platform."""

from __future__ import annotations

import random
import time
import webbrowser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import launch
from .local import start_platform
from .platform_api import Project
from .terminal import fail, path, say

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Link, Tracer
    from opentelemetry.util.types import AttributeValue

FLOW = "demo shop"
_DEPTH = 12  # of an order that needs approval: more than a terminal indents


def demo(
    orders: Annotated[int, typer.Option(min=1, help="How many orders to send at once, to begin with.")] = 20,
    once: Annotated[bool, typer.Option("--once", help="End after those.")] = False,
    data: Annotated[
        Path | None, typer.Option(parser=path, help="Start a platform that keeps the flows here.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Start a platform on this port; 0 takes any.")
    ] = None,
    show_page: Annotated[bool, typer.Option("--open", help="Open the platform's page in a browser.")] = False,
) -> None:
    """Send traces of a made-up shop to a local platform: errors, events, depth, and links.

    It takes the platform that runs on port 8901, else it starts one. Then an order comes each second, until Ctrl-C.
    """
    with _platform(data, port) as (url, page), _providers(url) as (shop, warehouse):
        say(f"{orders} orders go to the flow {FLOW!r}; the page is at {page}")
        if show_page:
            webbrowser.open(page)
        traffic = _Shop(shop.get_tracer("demo"), warehouse.get_tracer("demo"))
        for number in range(orders):
            traffic.order(number)
        if not (shop.force_flush() and warehouse.force_flush()):
            fail(f"not all spans have arrived at {url}")
        say(f"see them: versori-flow show {FLOW!r} --base-url {url}")
        number = orders
        while not once:
            time.sleep(1.0)
            traffic.order(number)
            number += 1


class _Shop:
    """Takes orders; each is a trace through both services."""

    def __init__(self, shop: Tracer, warehouse: Tracer) -> None:
        self._shop = shop
        self._warehouse = warehouse
        self._chance = random.Random(8901)  # noqa: S311 - the same orders each time
        self._paid: list[Link] = []

    def order(self, number: int) -> None:
        """One order: each fifth is declined, each seventh needs approval, each tenth ships those before it."""
        from opentelemetry.trace import Link, SpanKind, StatusCode

        attributes: dict[str, AttributeValue]
        attributes = {"order.number": number, "order.articles": ["apple", "pear"]}
        with self._shop.start_as_current_span("POST /orders", None, SpanKind.SERVER, attributes) as root:
            self._reserve(number)
            if number % 7 == 6:
                self._approve(_DEPTH)
            try:
                self._pay(number)
            except ValueError as refusal:
                root.set_status(StatusCode.ERROR, str(refusal))
                return
            root.add_event("order accepted", {"order.number": number})
            self._paid.append(Link(root.get_span_context(), {"order.number": number}))
        if number % 10 == 7:
            self._ship()

    def _reserve(self, number: int) -> None:
        from opentelemetry.trace import SpanKind, StatusCode

        with (
            self._shop.start_as_current_span("POST /reservations", None, SpanKind.CLIENT),
            self._warehouse.start_as_current_span("POST /reservations", None, SpanKind.SERVER),
            self._warehouse.start_as_current_span("look in the shelf") as look,
        ):
            self._work(2)
            if number % 6 == 5:
                look.add_event("out of stock", {"article": "pear"})
                look.set_status(StatusCode.ERROR, "there is no pear left")

    def _approve(self, levels: int) -> None:
        with self._shop.start_as_current_span(f"approval, level {_DEPTH - levels + 1}"):
            self._work(0.2)
            if levels > 1:
                self._approve(levels - 1)

    def _pay(self, number: int) -> None:
        with self._shop.start_as_current_span("pay", attributes={"total": 12.5}):
            self._work(1)
            if number % 5 == 4:
                raise ValueError("900.20 is over the card's limit of 500.00")

    def _ship(self) -> None:
        with self._warehouse.start_as_current_span("ship the parcels of the day", links=self._paid):
            self._work(3)
        self._paid = []

    def _work(self, milliseconds: float) -> None:
        time.sleep(milliseconds * self._chance.uniform(0.5, 1.5) / 1000)


@contextmanager
def _providers(url: str) -> Iterator[tuple[TracerProvider, TracerProvider]]:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    from ..exporter import VersoriFlowSpanExporter
    from ..processor import VersoriFlowSpanProcessor

    with ExitStack() as ending:
        made = []
        for service in ("shop", "warehouse"):
            exporter = VersoriFlowSpanExporter(flow_name=FLOW, **launch.local_settings(url))  # type: ignore[arg-type]
            provider = TracerProvider(
                resource=Resource.create({"service.name": service}), shutdown_on_exit=False
            )
            provider.add_span_processor(VersoriFlowSpanProcessor(exporter))
            ending.callback(provider.shutdown)
            made.append(provider)
        yield made[0], made[1]


@contextmanager
def _platform(data: Path | None, port: int | None) -> Iterator[tuple[str, str]]:
    """The address of the local platform, and that of its page."""
    running = Project.running(launch.LOCAL_URL) if data is None and port is None else None
    if running is not None:
        running[0].close()
        yield launch.LOCAL_URL, launch.LOCAL_URL
        return
    with start_platform(data, port) as platform:
        yield platform.url, platform.page_url
