"""A flow as a tree: every span once, whatever the flow holds."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from opentelemetry.exporter.versori_flow.command.tree import flow_trees, span_count
from tests.server.platform_client import make_span

TRACE = "0af7651916cd43dd8448eb211c80319c"


def span(name: str, span_id: str, parent: str = "", *, at: int = 0, **members: Any) -> dict[str, Any]:
    """A span of the API description; `at` is its start in seconds."""
    context = {"traceId": TRACE, "spanId": span_id, "traceFlags": 1}
    if parent:
        members["parentSpanContenxt"] = {**context, "spanId": parent}
    start = f"2026-03-01T10:00:{at:02d}.000000000Z"
    return make_span(name, **{"startTime": start, "duration": 12.345678, "spanContext": context, **members})


def printed(flow: dict[str, Any], newest: int | None = None, **console: Any) -> str:
    out = io.StringIO()
    for tree in flow_trees(flow, newest=newest)[0]:
        Console(file=out, width=120, **console).print(tree)
    return out.getvalue()


def test_children_stand_under_their_parent_by_start_time() -> None:
    """A trace is drawn as its spans were nested, in the order in which they began, with durations."""
    spans = [span("b", "3" * 16, "1" * 16, at=3), span("a", "2" * 16, "1" * 16, at=2), span("root", "1" * 16)]
    lines = [line.rstrip() for line in printed({"spans": spans}).splitlines()]
    assert lines == [
        f"trace {TRACE}  2026-03-01 10:00:00.000  3 spans",
        "└── root  12.35 ms",
        "    ├── a  12.35 ms",
        "    └── b  12.35 ms",
    ]


def test_errors_are_red_with_their_message_and_events_are_listed() -> None:
    """What failed stands out, says why, and shows what it recorded on its way."""
    failed = span(
        "pay",
        "1" * 16,
        duration=2500,
        status={"code": 1},
        attributes={"otel.status_description": "declined"},
        events=[
            {"name": "asked", "timestamp": "", "attributes": {"bank": "b1"}},
            {"name": "exception", "attributes": {"exception.type": "E", "exception.message": "no"}},
        ],
    )
    text = printed({"spans": [failed]})
    assert "pay  2.50 s  ERROR declined" in text
    assert "* asked  bank=b1" in text
    assert "! E: no" in text
    assert "\x1b[1;31mpay" in printed({"spans": [failed]}, force_terminal=True, color_system="standard")


def test_the_newest_traces_come_last_and_older_ones_are_counted() -> None:
    """Only as many traces as asked for are drawn: the newest, the newest of all at the end."""
    spans = []
    for at in (5, 1, 3):
        one = span(f"at {at}", str(at) * 16, at=at)
        one["spanContext"]["traceId"] = str(at) * 32
        spans.append(one)
    trees, left_out = flow_trees({"spans": spans}, newest=2)
    assert left_out == 1
    text = printed({"spans": spans}, newest=2)
    assert text.index("at 3") < text.index("at 5")
    assert "at 1" not in text
    assert len(flow_trees({"spans": spans})[0]) == 3
    assert len(trees) == 2


def test_every_span_is_shown_once_whatever_its_parents_are() -> None:
    """Orphans, circles, a span that is its own parent, equal ids: nothing is lost, nothing shown twice."""
    spans = [
        span("orphan", "a" * 16, "f" * 16),
        span("itself", "b" * 16, "b" * 16),
        span("one", "c" * 16, "d" * 16, at=1),
        span("two", "d" * 16, "c" * 16, at=2),
        span("deepest", "e" * 16, "d" * 16, at=3),
        span("first twin", "9" * 16),
        span("second twin", "9" * 16),
    ]
    text = printed({"spans": spans})
    for one in spans:
        assert text.count(f"{one['name']}  12.35 ms") == 1, text
    assert "orphan  12.35 ms  (its parent is not in the flow)" in text
    assert "itself  12.35 ms  (its parent is itself)" in text
    assert "one  12.35 ms  (its parents form a circle)" in text


def test_odd_spans_do_not_break_the_tree() -> None:
    """Other writers' spans may lack anything, or be no spans at all."""
    odd = [None, 3, "text", [], {}, {"name": None, "duration": True, "events": [7, {}], "spanContext": 5}]
    odd += [span("x", "1" * 16, attributes=[], events=None, status=None, duration="long", ended=False)]
    text = printed({"spans": odd})
    assert text.count("(not a span)") == 4
    assert "x  not ended" in text
    for spans in (None, {}, "no"):
        assert printed({"spans": spans}) == ""
        assert span_count({"spans": spans}) == 0


def test_a_chain_of_a_thousand_spans_is_drawn() -> None:
    """Depth is bounded in the drawing, not in the flow."""
    spans = [span(f"level {n}.", f"{n + 1:016x}", f"{n:016x}" if n else "") for n in range(1000)]
    text = printed({"spans": spans})
    assert all(text.count(f"level {n}.") == 1 for n in range(1000))


def test_names_are_neither_markup_nor_control_sequences() -> None:
    """A span's text can't colour, clear or garble the terminal, nor stop the program by a surrogate."""
    text = printed({"spans": [span("[red]x[/red] [/nope] :smile: \x1b[2J\r\n\ud800 größe", "1" * 16)]})
    assert r"[red]x[/red] [/nope] :smile: \x1b[2J\r\n\ud800 größe" in text


def test_two_services_in_one_trace_are_named() -> None:
    """Where a trace runs through several services, each span says whose it is."""
    spans = [
        span("a", "1" * 16, attributes={"service.name": "shop"}),
        span("b", "2" * 16, "1" * 16, attributes={"service.name": "warehouse"}),
    ]
    text = printed({"spans": spans})
    assert "a  12.35 ms  shop" in text
    assert "b  12.35 ms  warehouse" in text
    assert "shop" not in printed({"spans": spans[:1]})
