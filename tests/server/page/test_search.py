"""A search finds what it says: names, attributes, errors, least durations."""

from __future__ import annotations

import pytest

from opentelemetry.exporter.versori_flow.server.page.search import Search
from tests.server.page.reading import placed

EVENT = {"name": "exception", "attributes": {"exception.type": "KeyError"}}
SPANS = [
    placed("GET /orders", 1, 0, 0.2, attributes={"http.route": "/orders", "n": 1, "ok": True}),
    placed("GET /stock", 2, 0, 0.05, status={"code": 1}, attributes={"text": "a b=c"}, events=[EVENT]),
    placed("charge [card]?", 3, 0, 2, trace=2, status={"code": 1}, attributes={"Route": "/x"}),
    "no span at all",
]


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ({}, "1234"),
        ({"q": "get"}, "12"),
        ({"q": "get stock"}, "2"),
        ({"q": '"get /"'}, "12"),
        ({"q": '"get stock"'}, ""),
        ({"q": "http.route=/orders"}, "1"),
        ({"q": "http.route=/order"}, ""),
        ({"q": "http.route=/o*"}, "1"),
        ({"q": "route=*"}, ""),
        ({"q": "n=1 ok=TRUE"}, "1"),
        ({"q": 'text="a b=c"'}, "2"),
        ({"q": "exception.type=keyerror"}, "2"),
        ({"q": "name=*[card]?"}, "3"),
        ({"q": f"trace={2:032x}"}, "3"),
        ({"q": f"span={2:016x}"}, "2"),
        ({"q": "=x"}, ""),
        ({"error": "1"}, "23"),
        ({"least": "100ms"}, "13"),
        ({"least": "1.5 s"}, "3"),
        ({"least": "50"}, "123"),
        ({"least": "200000us"}, "13"),
        ({"q": "get", "error": "1", "least": "1ns"}, "2"),
        ({"least": "soon"}, "1234"),
        ({"q": "no span"}, "4"),
    ],
)
def test_search(parameters: dict[str, str], found: str) -> None:
    """Words are in the name, pairs among the attributes of the span or of an event, all of them in one span."""
    search = Search.read(parameters)
    assert "".join(str(number) for number, span in enumerate(SPANS, 1) if search.finds(span)) == found
    assert search.parameters() == parameters
    assert bool(search.problem) is (parameters.get("least") == "soon")
