"""What of a trace is on the screen, and where."""

from __future__ import annotations

from opentelemetry.exporter.versori_flow.server.page.calls import CallGraph, differences
from opentelemetry.exporter.versori_flow.server.page.model import read_traces
from opentelemetry.exporter.versori_flow.server.page.search import Search
from opentelemetry.exporter.versori_flow.server.page.waterfall import Shape, Waterfall, Zoom, lay_out
from tests.server.page.reading import at, placed

SPANS = [
    placed("root", 1, 0, 8),
    placed("left", 2, 1, 3, parent=1),
    placed("leaf", 3, 1, 2, parent=2),
    placed("right", 4, 4, 8, parent=1, status={"code": 1}),
    placed("late", 5, 6, 7, parent=4, events=[{"name": "retry", "timestamp": at(6.5)}, "odd"]),
]
(TRACE,) = read_traces(SPANS)
KEYS = {span.name: span.key for span in TRACE.spans}
WHOLE = Zoom(0, TRACE.length)


def shown(**shape: object) -> Waterfall:
    return lay_out(TRACE, Shape(**shape), WHOLE)  # type: ignore[arg-type]


def names(waterfall: Waterfall) -> list[str]:
    return [row.span.name for row in waterfall.rows]


def test_bars_stand_where_their_spans_are() -> None:
    """Each bar is its share of the trace, and an event's mark is where the event was."""
    bars = {row.span.name: (row.left, row.width) for row in shown().rows}
    assert bars["root"] == ("0.00", "100.00")
    assert bars["right"] == ("50.00", "50.00")
    assert [row.marks for row in shown().rows][-1] == [("81.2", "retry +500 ms")]
    assert shown().ticks == [(0, "0 ms"), (25, "2 s"), (50, "4 s"), (75, "6 s")]


def test_zoom() -> None:
    """A part of the time has bars of what is in it, cut at its ends; the others keep their rows."""
    zoom = Zoom.read({"from": "2000", "to": "4000"}, TRACE.length)
    bars = {row.span.name: (row.left, row.width) for row in lay_out(TRACE, Shape(), zoom).rows}
    assert bars["root"] == ("0.00", "100.00")
    assert bars["left"] == ("0.00", "50.00")
    assert bars["late"] == ("", "")
    assert zoom.part(0.5, 1) == {"from": "3000", "to": "4000"}
    for odd in ({"from": "x"}, {"to": "9e9"}, {"from": "5000", "to": "4000"}, {"to": "-1"}):
        assert Zoom.read(odd, TRACE.length) == WHOLE


def test_folding() -> None:
    """What is folded away, or deeper than the levels that are shown, has no row; a named span is opened again."""
    assert names(shown(folded=frozenset([KEYS["left"]]))) == ["root", "left", "right", "late"]
    assert names(shown(folded=frozenset([KEYS["root"]]))) == ["root"]
    assert names(shown(levels=2)) == ["root", "left", "right"]
    assert names(shown(levels=2, folded=frozenset([KEYS["right"]]))) == ["root", "left", "right", "late"]
    assert [(row.below, row.folded) for row in shown(levels=2).rows] == [(4, False), (1, True), (1, True)]
    assert shown(levels=1).hidden == 4


def test_what_was_found_stands_under_its_callers() -> None:
    """A search shows what it found and what that hangs on, and tells one from the other."""
    waterfall = shown(search=Search.read({"q": "leaf"}))
    assert [(row.span.name, row.found) for row in waterfall.rows] == [
        ("root", False),
        ("left", False),
        ("leaf", True),
    ]


def test_no_more_rows_than_wanted() -> None:
    """Rows end where they are to, and what is beyond is counted, with its errors."""
    waterfall = shown(most=2)
    assert names(waterfall) == ["root", "left"]
    assert (waterfall.more, waterfall.more_errors, waterfall.deepest) == (3, 1, 3)


def test_calls() -> None:
    """Every pair of caller and called has its count, its errors and what it took."""
    graph = CallGraph(read_traces([*SPANS, *(placed("root", n, 0, n, trace=n) for n in range(2, 21))]))
    table = {
        (caller and caller.name, called.name): (calls.count, calls.errors)
        for caller, called, calls in graph.table()
    }
    assert table == {
        (None, "root"): (20, 0),
        ("root", "left"): (1, 0),
        ("left", "leaf"): (1, 0),
        ("root", "right"): (1, 1),
        ("right", "late"): (1, 0),
    }
    roots = graph.edges[None, graph.table()[0][1]]
    assert [roots.percentile(share) / 1e9 for share in (50, 95, 100)] == [10, 19, 20]


def test_the_picture_of_calls() -> None:
    """Each kind of span has a box of its own, callers to the left, whatever calls itself or runs in a circle."""
    circle = [placed("a", 1, 0, 1), placed("b", 2, 0, 1, parent=1), placed("a", 3, 0, 1, parent=2)]
    circle += [placed("b", 4, 0, 1, parent=3), placed("b", 5, 0, 1, parent=4)]
    picture = CallGraph(read_traces(circle)).picture()
    assert [(box.name.name, box.x < 200) for box in picture.boxes] == [("a", True), ("b", False)]
    assert sorted((edge.caller.name, edge.called.name) for edge in picture.lines) == [
        ("a", "b"),
        ("b", "a"),
        ("b", "b"),
    ]
    many = CallGraph(read_traces([placed(f"{n}", n, 0, 1, trace=n) for n in range(1, 60)])).picture()
    assert len({(box.x, box.y) for box in many.boxes}) == 40
    assert many.left_out == 19


def test_differences() -> None:
    """Two traces differ in what they spend their time in, the most first."""
    other = read_traces([placed("root", 1, 0, 5), placed("left", 2, 1, 2, parent=1), placed("new", 3, 0, 4)])
    found = [(each.name.name, each.longer / 1e9) for each in differences(TRACE, other[0])]
    assert found[:3] == [("right", -4), ("new", 4), ("root", -3)]
