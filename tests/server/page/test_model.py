"""Spans of any shape become traces: trees of spans, each once, with what held its trace up."""

from __future__ import annotations

import json

import pytest

from opentelemetry.exporter.versori_flow.server.page.model import Trace, read_traces
from opentelemetry.exporter.versori_flow.server.page.text import length, line, moment, token, visible
from tests.server.page.reading import context, placed
from tests.server.platform_client import make_span

SECOND = 1_000_000_000


def only(spans: list[object]) -> Trace:
    (trace,) = read_traces(spans)
    return trace


def test_spans_are_a_tree() -> None:
    """Parents, under either spelling, come before their children, siblings by start, each a step further in."""
    leaf = placed("leaf", 3, 1, 2, parentSpanContenxt=context(1, 2))
    late, early = placed("late", 4, 3, 4, parent=1), placed("early", 2, 1, 2, parent=1)
    trace = only([late, leaf, early, placed("root", 1, 0, 4)])
    assert [(span.name, span.depth) for span in trace.spans] == [
        ("root", 0),
        ("early", 1),
        ("leaf", 2),
        ("late", 1),
    ]


def test_newest_traces_first() -> None:
    """Traces are ordered by their start, newest first; those without a time come last."""
    spans = [placed("b", 1, 1, 2, trace=2), make_span("none", startTime="?"), placed("c", 1, 3, 4, trace=3)]
    spans.append(placed("a", 1, 0, 9, trace=4))
    assert [trace.name for trace in read_traces(spans)] == ["c", "b", "a", "none"]


def test_nothing_is_left_out() -> None:
    """Spans in circles, or whose parent is missing or twice there, are there once each, under keys of their own."""
    spans = [
        placed("self", 1, 0, 1, parent=1),
        placed("a", 2, 0, 1, parent=3),
        placed("b", 3, 0, 1, parent=2),
        placed("below", 4, 0, 1, parent=3),
        placed("orphan", 5, 0, 1, parent=99),
        placed("twin", 5, 0, 1),
        placed("under twins", 6, 0, 1, parent=5),
        make_span("no id", spanContext={"traceId": f"{1:032x}"}),
        make_span("no id", spanContext={"traceId": f"{1:032x}"}),
    ]
    trace = only(spans)
    assert sorted(span.name for span in trace.spans) == sorted(span["name"] for span in spans)
    assert len({span.key for span in trace.spans}) == len(spans)


def test_depth_has_no_bound() -> None:
    """A chain of a thousand spans is a thousand levels, all of them on the critical path."""
    spans = [placed(f"{number}", number, 0, 1, parent=number - 1 or None) for number in range(1, 1001)]
    trace = only(spans)
    assert [span.depth for span in trace.spans] == list(range(1000))
    assert all(span.critical for span in trace.spans)


def test_critical_path() -> None:
    """It goes back from the end by whoever ended last: what ran beside that, or beyond its caller, held nothing up."""
    trace = only(
        [
            placed("root", 1, 0, 10),
            placed("first", 2, 0, 4, parent=1),
            placed("beside", 3, 1, 3, parent=1),
            placed("second", 4, 4, 9, parent=1),
            placed("in second", 5, 5, 8, parent=4),
            placed("beyond", 6, 2, 12, parent=1),
        ]
    )
    assert {span.name for span in trace.spans if span.critical} == {"root", "first", "second", "in second"}


def test_an_error_says_why() -> None:
    """Its message is that of its status, else its last exception's; a span that did not fail has none."""
    exception = {
        "name": "exception",
        "attributes": {"exception.type": "KeyError", "exception.message": "'a'"},
    }
    failed = {"code": 1}
    spans = [
        placed("said", 1, 0, 1, status=failed, attributes={"otel.status_description": "no money"}),
        placed("raised", 2, 1, 2, status=failed, events=[exception]),
        placed("silent", 3, 2, 3, status=failed),
        placed("caught", 4, 3, 4, events=[exception]),
    ]
    assert [span.message for span in only(spans).spans] == ["no money", "KeyError: 'a'", "", ""]


def test_links() -> None:
    """Links are read from the attribute that carries them, in the spellings of its writers; other text is none."""
    ours = json.dumps([{"trace_id": "1", "span_id": "2", "attributes": {}}])
    others = json.dumps([{"context": {"traceId": "3", "spanId": "4"}}, {"traceId": "5"}, 6])
    for text, found in ((ours, [("1", "2")]), (others, [("3", "4"), ("5", "")]), ("[" * 9999, []), ("7", [])):
        span = only([make_span(attributes={"otel.links": text})]).spans[0]
        assert [tuple(link) for link in span.links()] == found


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0 ms"),
        (999, "999 ns"),
        (1500, "1.5 \N{MICRO SIGN}s"),
        (999_999, "1000 \N{MICRO SIGN}s"),
        (12_345_678, "12.3 ms"),
        (SECOND, "1 s"),
        (59.9 * SECOND, "59.9 s"),
        (125 * SECOND, "2 min 05 s"),
        (3_600_000 * SECOND, "1e+03 h"),
    ],
)
def test_lengths_of_time(nanoseconds: float, text: str) -> None:
    """Lengths of time have three digits and a unit that fits."""
    assert length(nanoseconds) == text


def test_moments() -> None:
    """Moments are told in UTC to the millisecond, whatever the offset they were written with."""
    trace = only([make_span(startTime="2026-01-02T03:04:05.987654321+02:30")])
    assert moment(trace.start) == "2026-01-02 00:34:05.987 UTC"
    assert moment(None) == "at an unknown time"


def test_what_hides_is_shown() -> None:
    """Control characters, marks of direction and halves of characters stand as escapes; other scripts as they are."""
    assert visible("a\u202eb\x00\x1b[0m\u2066\ud800\ufeff\U000e0041") == (
        "a\\u202eb\\x00\\x1b[0m\\u2066\\ud800\\ufeff\\U000e0041"
    )
    assert visible("שלום, سلام, \N{FAMILY} e\u0301\n\t") == "שלום, سلام, \N{FAMILY} e\u0301\n\t"
    assert line("two\nlines\tand more", 12) == "two\\nlines\\tan\N{HORIZONTAL ELLIPSIS}"


def test_tokens_are_fit_for_addresses() -> None:
    """An id of letters and digits is its own token; any other text has one of its own."""
    assert token("4bf92f3577b34da6") == "4bf92f3577b34da6"
    others = [token(text) for text in ("", "a b", "a/b", "<", "é", "\ud800", "x" * 65)]
    assert len(set(others)) == len(others)
    assert all(other.replace("_", "").isalnum() and other.isascii() for other in others)
