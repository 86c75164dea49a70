"""Realistic spans for the benchmarks, made by a real SDK TracerProvider.

`make_spans(1000)` gives what a web service with a database and an outgoing call would hand to its exporter:
traces of ten spans, 10 to 14 attributes of mixed types on each, and one event with a stack trace on each.
"""

from __future__ import annotations

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.util.types import AttributeValue

SPANS_PER_TRACE = 10
_KINDS = (SpanKind.SERVER, SpanKind.INTERNAL, SpanKind.CLIENT, SpanKind.PRODUCER, SpanKind.CONSUMER)
_NAMES = ("GET /orders/{id}", "validate order", "SELECT shop.orders", "order publish", "order process")
_STACK = "Traceback (most recent call last):\n" + "".join(
    f'  File "/srv/shop/{module}.py", line {line}, in {function}\n    return {function}(order, retries=3)\n'
    for module, line, function in (
        ("http", 214, "handle"),
        ("orders", 88, "load_order"),
        ("pricing", 131, "price"),
        ("stock", 57, "reserve"),
    )
)


def make_spans(count: int, *, unique: bool = False, seed: int = 0) -> list[ReadableSpan]:
    """Make `count` ended spans, children before their parents, as an exporter gets them.

    Args:
        count: How many spans.
        unique: Names, attribute keys and texts never repeat: the worst case for anything that is cached.
        seed: Keeps the texts of two calls apart when `unique`.
    """
    exporter = InMemorySpanExporter()
    resource = Resource.create(
        {
            "service.name": "orders",
            "service.version": "2.14.0",
            "service.instance.id": "orders-7c9d4-x2x",
            "deployment.environment.name": "production",
            "host.name": "ip-10-0-3-17",
        }
    )
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("shop.orders", "1.4.2")
    for first in range(0, count, SPANS_PER_TRACE):
        _make_trace(tracer, first, min(SPANS_PER_TRACE, count - first), f"{seed}-" if unique else "")
    return list(exporter.get_finished_spans())


def _make_trace(tracer: Tracer, first: int, size: int, prefix: str) -> None:
    root = tracer.start_span(
        _name(first, prefix), kind=SpanKind.SERVER, attributes=_attributes(first, prefix)
    )
    for number in range(first + 1, first + size):
        child = tracer.start_span(
            _name(number, prefix),
            context=set_span_in_context(root),
            kind=_KINDS[number % len(_KINDS)],
            attributes=_attributes(number, prefix),
        )
        _fail(child, number, prefix)
        child.end()
    _fail(root, first, prefix)
    root.end()


def _name(number: int, prefix: str) -> str:
    return f"{prefix}{number}" if prefix else _NAMES[number % len(_NAMES)]


def _attributes(number: int, prefix: str) -> dict[str, AttributeValue]:
    unique = f"{prefix}{number}." if prefix else ""
    attributes: dict[str, AttributeValue] = {
        f"{unique}http.request.method": "GET",
        f"{unique}http.response.status_code": 200 + number % 5,
        f"{unique}http.route": f"{unique}/orders/{{id}}",
        f"{unique}url.full": f"https://shop.example.com/orders/{number}?expand=lines&currency=EUR",
        f"{unique}server.address": f"{unique}shop.example.com",
        f"{unique}server.port": 443,
        f"{unique}network.protocol.version": "1.1",
        f"{unique}user_agent.original": f"{unique}Mozilla/5.0 (X11; Linux x86_64) shop-app/3.2",
        f"{unique}order.total": 12.5 + number,
        f"{unique}order.cached": number % 3 == 0,
    }
    extra: list[tuple[str, AttributeValue]] = [
        ("order.tags", ("new", "gift", f"{unique}priority")),
        ("db.query.text", f'{unique}SELECT "id", "total" FROM orders WHERE id = $1'),
        ("enduser.id", f"user-{number}"),
        ("thread.id", 139_872_113 + number),
    ]
    attributes.update({f"{unique}{key}": value for key, value in extra[: number % (len(extra) + 1)]})
    return attributes


def _fail(span: Span, number: int, prefix: str) -> None:
    span.add_event(
        "exception",
        {
            "exception.type": "TimeoutError",
            "exception.message": f"{prefix}{number}: stock did not answer in 2 s"
            if prefix
            else "stock did not answer",
            "exception.stacktrace": _STACK,
            "exception.escaped": "False",
        },
    )
    if number % 4 == 0:
        span.set_status(Status(StatusCode.ERROR, "stock did not answer"))
