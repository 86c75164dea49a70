"""What is kept for one flow, and what leaves when it is too full."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opentelemetry.exporter.versori_flow.flow.entry import Entry, Origin
from opentelemetry.exporter.versori_flow.flow.window import Window
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
    entry = Entry(key(trace, span), times[0], root, b'{"foreign":%d}' % span, False, Origin.FOREIGN)
    target.adopt(entry, times[1], LATER, True)


def test_a_span_is_pending_until_it_is_delivered() -> None:
    """A span that is added is pending; delivering it says so once."""
    held = window(make_span(0, 0))
    entry = held.get(key(0, 0))
    assert entry is not None
    assert (held.spans, held.pending, held.pending_size) == (1, 1, len(entry.body) + 1)
    assert (entry.pending, entry.origin, entry.is_root, entry.start) == (True, Origin.OWN, True, NOW_NS)
    assert held.deliver([entry]) == 1
    assert (held.spans, held.pending, held.pending_size, entry.pending) == (1, 0, 0, False)
    assert held.deliver([entry]) == 0
    assert held.pending == 0


def test_the_same_span_twice_is_one_span() -> None:
    """The same text again counts as nothing, pending or delivered."""
    held = Window(100, 100_000)
    assert held.add(make_span(0, 0), LATER) is True
    assert held.add(make_span(0, 0), LATER) is False
    held.deliver(list(held))
    assert held.add(make_span(0, 0), LATER) is False
    assert (held.spans, held.pending) == (1, 0)


def test_a_newer_text_takes_the_place_of_a_pending_one() -> None:
    """A pending span that comes again with another text is still one hand-over, and the newer text stays."""
    held = window(make_span(0, 0, text="early"))
    assert held.add(make_span(0, 0, text="ended"), LATER) is False
    (entry,) = held
    assert entry.body == make_span(0, 0, text="ended").body
    assert (held.spans, held.pending, held.size) == (1, 1, len(entry.body) + 1)


def test_a_newer_text_of_a_delivered_span_is_handed_over_anew() -> None:
    """A delivered span that comes again with another text is pending again, and counts."""
    held = window(make_span(0, 0, text="early"), delivered=True)
    assert held.add(make_span(0, 0, text="ended"), LATER) is True
    assert (held.spans, held.pending) == (1, 1)


def test_an_own_span_takes_the_place_of_a_foreign_one() -> None:
    """What an earlier run wrote under the same ids gives way, and the span counts, even with equal bytes."""
    held = Window(100, 100_000)
    span = make_span(0, 0)
    theirs = Entry(key(0, 0), span.start, True, span.body, False, Origin.FOREIGN)
    held.adopt(theirs, span.end, LATER, True)
    assert held.foreign == 1
    assert held.add(span, LATER) is True
    (entry,) = held
    assert (entry.origin, entry.pending, held.spans, held.foreign) == (Origin.OWN, True, 1, 0)


def test_a_foreign_span_counts_as_delivered() -> None:
    """What is adopted is never pending."""
    held = Window(100, 100_000)
    adopt(held, 0, 1, start=3, root=True)
    (entry,) = held
    assert (entry.origin, entry.pending, entry.is_root, entry.start) == (
        Origin.FOREIGN,
        False,
        True,
        NOW_NS + 3 * SECOND,
    )
    assert (held.pending, held.size) == (0, len(b'{"foreign":1}') + 1)


def test_the_size_counts_commas_and_the_other_members() -> None:
    """`size` is the body's: every span with a comma, and the overhead."""
    held = window(make_span(0, 0), make_span(0, 1))
    assert held.size == 2 * (len(make_span(0, 0).body) + 1)
    held.overhead = 500
    assert held.size == 2 * (len(make_span(0, 0).body) + 1) + 500


def test_the_body_goes_by_trace_then_start() -> None:
    """The trace that began first stands first; in it, spans stand by start, then by id."""
    held = window(
        make_span(1, 0, start=5),
        make_span(0, 3, start=9),
        make_span(0, 2, start=6),
        make_span(1, 1, start=7),
        make_span(0, 1, start=6),
        make_span(2, 0, start=5),
    )
    assert keys(held.in_order()) == [key(1, 0), key(1, 1), key(2, 0), key(0, 1), key(0, 2), key(0, 3)]
    held.add(make_span(0, 9, start=1), LATER)
    assert keys(held.in_order())[:2] == [key(0, 9), key(0, 1)]
    held.remove(held.get(key(0, 9)))  # type: ignore[arg-type]
    assert keys(held.in_order())[0] == key(1, 0)


def test_the_trace_that_was_quiet_for_longest_leaves_whole() -> None:
    """By the latest end in the trace: not by start, not by arrival."""
    held = window(
        make_span(0, 0, start=0, end=59),
        make_span(1, 0, start=20, end=30),
        make_span(1, 1, start=1, end=2),
        make_span(2, 0, start=50, end=58),
        max_spans=3,
        delivered=True,
    )
    assert held.trim() == []
    assert sorted(keys(held)) == [key(0, 0), key(2, 0)]


def test_a_late_span_keeps_its_trace() -> None:
    """A trace that stirs again is not the one that was quiet for longest any more."""
    held = window(make_span(0, 0, end=1), make_span(1, 0, end=2), make_span(0, 1, end=3), max_spans=2)
    lost = held.trim()
    assert keys(lost) == [key(1, 0)]
    assert held.latest_end(trace_id(0)) == NOW_NS + 3 * SECOND


def test_delivered_traces_leave_before_pending_ones() -> None:
    """However old the pending one is."""
    held = window(make_span(0, 0, end=50), make_span(1, 0, end=60), delivered=True)
    held.add(make_span(2, 0, end=1), LATER)
    held.max_spans = 1
    assert held.trim() == []
    assert keys(held) == [key(2, 0)]


def test_a_trace_that_is_too_large_alone_is_cut_oldest_first() -> None:
    """The last trace loses its oldest spans, and never its root."""
    held = window(
        make_span(0, 0, start=0), *(make_span(0, n, start=n, parent=0) for n in (3, 1, 4, 2)), max_spans=3
    )
    assert keys(held.trim()) == [key(0, 1), key(0, 2)]
    assert sorted(keys(held)) == [key(0, 0), key(0, 3), key(0, 4)]


def test_the_last_span_stays() -> None:
    """One span that is too large alone is left to the caller, which knows the reason to give."""
    held = window(make_span(0, 0, size=500), max_bytes=10)
    assert held.trim() == []
    assert held.spans == 1
    held = window(*(make_span(0, n, start=n, parent=9, size=500) for n in range(3)), max_bytes=10)
    assert keys(held.trim()) == [key(0, 0), key(0, 1)]


def test_what_another_window_gave_up_is_pending_here() -> None:
    """A moved span is pending, with the latest end of its trace."""
    source, target = window(make_span(0, 0, end=7), delivered=True), Window(100, 100_000)
    (entry,) = source
    end = source.latest_end(trace_id(0))
    source.remove(entry)
    target.restore(entry, end)
    assert target.get(key(0, 0)) is entry
    assert (entry.pending, target.pending, target.latest_end(trace_id(0))) == (True, 1, end)


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
    """It may have been there for long; what a later read shows has just come."""
    held = Window(100, 100_000)
    for number, is_news in enumerate((False, True)):
        entry = Entry(key(number, 0), NOW_NS, True, b"{}", False, Origin.FOREIGN)
        held.adopt(entry, NOW_NS - 5000 * SECOND, NOW_NS, is_news)
    assert [held.latest_end(trace_id(n)) - NOW_NS for n in (0, 1)] == [-5000 * SECOND, -60 * SECOND]


def test_equal_ends_leave_in_order_of_arrival() -> None:
    """A trace arrives with its last span."""
    held = window(make_span(2, 0), make_span(0, 0), make_span(1, 0), make_span(2, 1), max_spans=2)
    assert keys(held.trim()) == [key(0, 0), key(1, 0)]


@pytest.mark.parametrize("back", [61, 3600])
def test_a_clock_that_is_set_back_pins_nothing(back: int) -> None:
    """What came while it was ahead leaves first, and no batch is erased by the next."""
    held = Window(60, 100_000)
    fill(held, range(50), back, back)
    for batch in range(5):
        fill(held, range(50 + 10 * batch, 60 + 10 * batch), batch, batch)
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
            entry = Entry((span.trace_id, span.span_id), span.start, True, span.body, False, Origin.FOREIGN)
            held.adopt(entry, span.end, LATER + SECOND, True)
        held.deliver(list(held))
        held.trim()
        kept.append(held_in(held))
    assert kept[0] == kept[1] == list(range(10, 20))


def test_a_trace_that_grows_for_long_costs_no_memory_for_its_past() -> None:
    """The order of traces holds no more than a few entries for each span, and stays right."""
    held, longest = Window(10, 100_000), 0
    held.add(make_span(9, 0, end=0), LATER)
    for number in range(2000):
        held.add(make_span(0, number % 3, end=number % 50, text=str(number)), LATER)
        held.add(make_span(1, 0, end=1, text=str(number)), LATER)
        if number % 2:
            held.deliver(list(held))
        longest = max(longest, len(held._order))
    assert longest <= 2 * (64 + 4 * held.spans)
    held.deliver(list(held))
    held.max_spans = 3
    held.trim()
    assert {entry.key[0] for entry in held} == {trace_id(0)}


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
            foreign = Entry(key(trace, number), times[0], False, body, False, Origin.FOREIGN)
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


def test_a_cut_takes_no_more_than_it_must() -> None:
    """Bytes are counted while cutting."""
    spans = [make_span(0, n, start=n, parent=9, size=500) for n in range(4)]
    held = window(*spans, max_bytes=3 * 501)
    assert keys(held.trim()) == [key(0, 0)]
    held = window(*spans, max_bytes=3 * 501 - 1)
    assert keys(held.trim()) == [key(0, 0), key(0, 1)]
    held = window(*spans, max_spans=2)
    assert keys(held.trim()) == [key(0, 0), key(0, 1)]
