"""What is kept for one flow, and what leaves when it is too full."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opentelemetry.exporter.versori_flow.flow.ranking import Ranking
from opentelemetry.exporter.versori_flow.flow.window import Entry, Window
from tests.flow.model import NOW_NS, SECOND, key, make_span, trace_id

LATER = NOW_NS + 60 * SECOND


def window(*spans: Any, max_spans: int = 100, max_bytes: int = 100_000, delivered: bool = False) -> Window:
    made = Window(max_spans, max_bytes)
    for span in spans:
        made.add(span, LATER)
    if delivered:
        made.deliver(list(made))
    return made


def keys(entries: Any) -> list[tuple[str, str]]:
    return [entry.key for entry in entries]


def adopt(target: Window, trace: int, span: int, start: int = 0, end: int = 0, root: bool = False) -> None:
    times = NOW_NS + start * SECOND, NOW_NS + end * SECOND
    entry = Entry(key(trace, span), times[0], root, b'{"foreign":%d}' % span, False, False)
    target.adopt(entry, times[1], LATER, True)


def test_an_own_span_takes_the_place_of_a_foreign_one() -> None:
    """What an earlier run wrote under the same ids gives way, and the span counts, even with equal bytes."""
    held = Window(100, 100_000)
    span = make_span(0, 0)
    theirs = Entry(key(0, 0), span.start, True, span.body, False, False)
    held.adopt(theirs, span.end, LATER, True)
    assert held.foreign == 1
    assert held.add(span, LATER) is True
    (entry,) = held
    assert (entry.is_own, entry.pending, held.spans, held.foreign) == (True, True, 1, 0)


def test_nothing_that_is_pending_ages_out() -> None:
    """Delivered traces leave first, oldest first; then the delivered spans of those with pending ones, a root last."""
    held = window(
        *(make_span(0, n, start=n, end=50, parent=0 if n else None) for n in range(3)),
        make_span(1, 0, end=1),
        make_span(2, 0, end=2),
        delivered=True,
    )
    held.add(make_span(0, 3, start=3, end=50, parent=0), LATER)
    left = [key(0, 0), key(0, 1), key(0, 2), key(1, 0), key(2, 0), key(0, 3)]
    for gone in (key(1, 0), key(2, 0), key(0, 1), key(0, 2), key(0, 0)):
        held.max_spans = len(left) - 1
        held.age_out()
        left.remove(gone)
        assert sorted(keys(held)) == sorted(left)
    held.max_spans = 0
    held.age_out()
    assert keys(held) == [key(0, 3)]
    assert (held.spans, held.pending) == (1, 1)


# -- clocks ------------------------------------------------------------------------------------------------


def held_in(window: Window) -> list[int]:
    return sorted(int(entry.key[0], 16) - 1 for entry in window)


def fill(held: Window, numbers: range, now: int, end: int) -> None:
    """Delivered traces of one span that arrive at `now` and say that they ended at `end`, in seconds."""
    for number in numbers:
        held.add(make_span(number, 0, start=end), NOW_NS + now * SECOND)
        held.deliver(list(held))
        held.trim()


def test_an_end_lies_within_a_minute_before_its_arrival() -> None:
    """Whatever it says: a clock that is ahead pins nothing, one that is behind costs nothing its place."""
    held = Window(100, 100_000)
    for number, end in enumerate((-5000, -60, -59, 0, 1, 5000)):
        fill(held, range(number, number + 1), 0, end)
    assert [held.latest_end(trace_id(n)) - NOW_NS for n in range(6)] == [
        n * SECOND for n in (-60, -60, -59, 0, 0, 0)
    ]


def test_what_a_first_read_shows_is_as_old_as_it_says() -> None:
    """It may have been there for long, also where its clock is ahead; what a later read shows has just come."""
    held = Window(100, 100_000)
    said = [(False, -5000), (True, -5000), (False, 60), (False, 3600), (True, 3600)]
    for number, (is_news, end) in enumerate(said):
        entry = Entry(key(number, 0), NOW_NS, True, b"{}", False, False)
        held.adopt(entry, NOW_NS + end * SECOND, NOW_NS, is_news)
    ends = [(held.latest_end(trace_id(number)) - NOW_NS) // SECOND for number in range(len(said))]
    assert ends == [-5000, -60, 0, -60, 0]


def test_equal_ends_leave_in_order_of_arrival() -> None:
    """A trace arrives with its last span."""
    held = window(make_span(2, 0), make_span(1, 0), make_span(0, 0), make_span(2, 1), max_spans=2)
    assert keys(held.trim()) == [key(1, 0), key(0, 0)]


@pytest.mark.parametrize("back", [61, 3600])
def test_a_clock_that_is_set_back_pins_nothing(back: int) -> None:
    """What came while it was ahead leaves first, and no batch is erased by the next."""
    held = Window(60, 100_000)
    fill(held, range(50), back, back)
    for batch in range(5):
        fill(held, range(50 + 10 * batch, 60 + 10 * batch), batch, batch - 1)
    assert held_in(held) == list(range(40, 100))


def test_clocks_that_differ_by_less_than_a_minute_are_believed() -> None:
    """Then the end decides, so that two writers agree."""
    held = Window(2, 100_000)
    fill(held, range(1), 60, 60)
    fill(held, range(1, 4), 0, 0)
    assert held_in(held) == [0, 3]


def test_two_writers_agree_whoever_reads_the_other_s() -> None:
    """The same spans are kept by both, though each got its own first."""
    spans = [make_span(n, 0, start=n) for n in range(20)]
    kept = []
    for own in (0, 1):
        held = Window(10, 100_000)
        for span in spans[own::2]:
            held.add(span, LATER)
        for span in spans[1 - own :: 2]:
            entry = Entry((span.trace_id, span.span_id), span.start, True, span.body, False, False)
            held.adopt(entry, span.end, LATER + SECOND, True)
        held.deliver(list(held))
        held.trim()
        kept.append(held_in(held))
    assert kept[0] == kept[1] == list(range(10, 20))


def test_a_trace_that_is_too_large_for_its_window_costs_what_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each cut looks at what is new, not at all that is there."""
    held, looks = window(*(make_span(0, n, start=n, parent=9) for n in range(200)), max_spans=100), []
    held.trim()
    rank = Ranking.put
    monkeypatch.setattr(Ranking, "put", lambda *given: (looks.append(given), rank(*given))[1])
    for number in range(200, 310):
        held.add(make_span(0, number, start=number, parent=9), LATER)
        assert keys(held.trim()) == [key(0, number - 100)]
    assert len(looks) <= 110 * 4
    held.deliver([held.get(key(0, 250))])  # type: ignore[list-item]
    held.add(make_span(0, 400, parent=9), LATER)
    assert (held.trim(), key(0, 250) in held) == ([], False), "what is delivered leaves first, as ever"


def test_who_leaves_is_found_by_what_came_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a full window nor many spans of a trace between two looks make it rank more than what came and left."""
    held, ranked = window(*(make_span(n, 1, end=n) for n in range(100)), max_spans=100), []
    rank = Window._rank
    monkeypatch.setattr(Window, "_rank", lambda *given: (ranked.append(given[1]), rank(*given))[1])
    for number in range(100, 200):
        for span in range(5):
            held.add(make_span(number, span, end=number), LATER)
        held.trim()
    assert len(ranked) <= 100 + 100 + 200, "each at first, then who came, and each that left"


# -- against a plain model ---------------------------------------------------------------------------------

Additions = st.tuples(
    st.just("add"),
    st.sampled_from([0, 0, 0, 1, 2]),
    st.integers(0, 3),
    st.integers(0, 9),
    st.sampled_from(["", "b"]),
)
Operations = st.lists(
    st.one_of(
        Additions,
        Additions,
        st.tuples(st.just("adopt"), st.integers(0, 3), st.integers(4, 6), st.integers(0, 9)),
        st.tuples(st.just("deliver"), st.sets(st.integers(0, 9))),
        st.tuples(st.just("remove"), st.integers(0, 9)),
        st.tuples(st.just("trim"), st.integers(1, 8), st.sampled_from([640, 1290, 100_000])),
    ),
    max_size=30,
)


class Model:
    """The same promises, with a list and no cleverness."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self.ends: dict[str, int] = {}
        self.arrivals: dict[str, int] = {}

    def find(self, wanted: tuple[str, str]) -> dict[str, Any] | None:
        return next((entry for entry in self.entries if entry["key"] == wanted), None)

    def put(self, entry: dict[str, Any], end: int) -> None:
        self.entries = [other for other in self.entries if other["key"] != entry["key"]] + [entry]
        trace = entry["key"][0]
        self.ends[trace] = max(self.ends.get(trace, end), end)
        self.arrivals[trace] = max(self.arrivals.values(), default=0) + 1

    def drop(self, leaving: list[dict[str, Any]]) -> None:
        self.entries = [entry for entry in self.entries if entry not in leaving]
        left = {entry["key"][0] for entry in self.entries}
        self.ends = {trace: end for trace, end in self.ends.items() if trace in left}

    def size(self) -> int:
        return sum(len(entry["body"]) + 1 for entry in self.entries)

    def trim(self, max_spans: int, max_bytes: int) -> list[dict[str, Any]]:
        lost = []
        while len(self.entries) > 1 and (len(self.entries) > max_spans or self.size() > max_bytes):
            traces = {entry["key"][0] for entry in self.entries}
            if len(traces) > 1:
                pending = {entry["key"][0] for entry in self.entries if entry["pending"]}
                first = min(
                    traces, key=lambda trace: (trace in pending, self.ends[trace], self.arrivals[trace])
                )
                leaving = [entry for entry in self.entries if entry["key"][0] == first]
            else:
                leaving = [
                    min(self.entries, key=lambda e: (e["root"], e["pending"], e["start"], e["key"])),
                ]
            self.drop(leaving)
            lost += [entry for entry in leaving if entry["pending"]]
        return lost


@settings(max_examples=200)
@given(Operations)
def test_a_window_does_what_a_plain_model_does(operations: list[Any]) -> None:
    """Any sequence of operations: the same spans, pending ones, order, size and losses."""
    held, model = Window(1000, 1_000_000), Model()
    for kind, *arguments in operations:
        if kind == "add":
            trace, number, end, text = arguments
            span = make_span(
                trace, number, start=number, end=end, parent=0 if number else None, text=text, size=320
            )
            before = model.find(key(trace, number))
            same = before is not None and before["body"] == span.body
            expected = before is None or not (same or before["pending"])
            assert held.add(span, LATER) is expected
            if not same:
                fields = {"key": key(trace, number), "start": span.start, "root": span.is_root}
                model.put({**fields, "body": span.body, "pending": True}, span.end)
        elif kind == "adopt":
            trace, number, end = arguments
            body = make_span(trace, number, size=320).body
            times = NOW_NS + number * SECOND, NOW_NS + end * SECOND
            foreign = Entry(key(trace, number), times[0], False, body, False, False)
            held.adopt(foreign, times[1], LATER, True)
            fields = {"key": key(trace, number), "start": times[0], "root": False}
            model.put({**fields, "body": body, "pending": False}, times[1])
        elif kind == "deliver":
            chosen = [entry for index, entry in enumerate(held.in_order()) if index in arguments[0]]
            assert held.deliver(chosen) == sum(model.find(entry.key)["pending"] for entry in chosen)  # type: ignore[index]
            for entry in chosen:
                model.find(entry.key)["pending"] = False  # type: ignore[index]
        elif kind == "remove":
            for entry in held.in_order()[arguments[0] : arguments[0] + 1]:
                model.drop([model.find(entry.key)])  # type: ignore[list-item]
                held.remove(entry)
        else:
            held.max_spans, held.max_bytes = arguments
            assert sorted(keys(held.trim())) == sorted(e["key"] for e in model.trim(*arguments))
            held.max_spans, held.max_bytes = 1000, 1_000_000
        assert sorted((e.key, e.body, e.pending) for e in held) == sorted(
            (e["key"], e["body"], e["pending"]) for e in model.entries
        )
        began = {e["key"][0]: [] for e in model.entries}  # type: ignore[var-annotated]
        for e in model.entries:
            began[e["key"][0]].append((e["start"], e["key"]))
        assert keys(held.in_order()) == [
            key for run in sorted(sorted(run) for run in began.values()) for _, key in run
        ]
        assert (held.spans, held.pending, held.size) == (
            len(model.entries),
            sum(e["pending"] for e in model.entries),
            model.size(),
        )
        assert held.pending_size == sum(len(e["body"]) + 1 for e in model.entries if e["pending"])
