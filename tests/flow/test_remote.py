"""What the platform has of one flow, as far as this side knows, and joining it with the window."""

from __future__ import annotations

from typing import Any

import pytest

from opentelemetry.exporter.versori_flow.flow import remote
from opentelemetry.exporter.versori_flow.flow.remote import KnownFlow
from opentelemetry.exporter.versori_flow.flow.stored import StoredFlow, read
from opentelemetry.exporter.versori_flow.flow.window import Entry, Window
from tests.flow.model import NOW_NS, SECOND, key, make_span


def known(*spans: Any, description: str | None = None) -> tuple[KnownFlow, Window]:
    """A flow that nothing is known of, beside a window with these spans pending."""
    window = Window(100, 100_000)
    for span in spans:
        window.add(span, NOW_NS + 1000 * SECOND)
    return KnownFlow("a", description, window), window


def stored(*spans: Any, members: bytes = b"") -> StoredFlow:
    body = b",".join(span.body for span in spans)
    return read(b'{"name":"a","description":"d"' + members + b',"spans":[' + body + b"]}", b"digest")


def own(window: Window) -> list[Entry]:
    return [entry for entry in window if entry.is_own]


def keys(window: Window) -> list[tuple[str, str]]:
    return sorted(entry.key for entry in window)


@pytest.mark.parametrize(("description", "text"), [("", b'""'), ('"ü"', '"\\"ü\\""'.encode())])
def test_a_description_of_ours_wins(description: str, text: bytes) -> None:
    """Whatever is stored; empty is not unset."""
    flow, _ = known(description=description)
    flow.read(stored(), NOW_NS, False)
    assert flow.head == b'{"name":"a","description":' + text + b',"spans":['


def test_what_was_shown_or_written_before_is_nothing_new() -> None:
    """It aged out of the window, or was never let in."""
    flow, window = known(make_span(0, 0))
    flow.wrote(own(window), b"d")
    assert (flow.keys, flow.digest, flow.exists) == ({key(0, 0)}, b"d", True)
    window.remove(own(window)[0])
    flow.read(stored(make_span(0, 0), make_span(1, 0)), NOW_NS, False)
    assert keys(window) == [key(1, 0)]
    window.remove(next(iter(window)))
    flow.read(stored(make_span(1, 0)), NOW_NS, False)
    assert keys(window) == []
    flow.read(stored(make_span(0, 0)), NOW_NS, False)
    assert keys(window) == [key(0, 0)], "it was gone from there, and somebody put it back"


@pytest.mark.parametrize("is_read", [True, False])
def test_memory_is_bounded_where_no_read_does_it(is_read: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has left the window can't move any more; where reads tell, nothing is forgotten before."""
    monkeypatch.setattr(remote, "REMEMBERED_KEYS", 1)
    flow, window = known(make_span(0, 0), make_span(1, 0))
    entries = own(window)
    window.remove(entries[0])
    flow.may_have_written(entries, is_read)
    assert flow.keys == ({key(0, 0), key(1, 0)} if is_read else {key(1, 0)})


def test_another_writer_is_seen_by_what_is_missing() -> None:
    """A delivered span of this side that a read does not show; not a pending one, nor a foreign one."""
    flow, window = known(make_span(0, 0), make_span(1, 0))
    flow.read(stored(make_span(5, 0)), NOW_NS, False)
    window.deliver(own(window)[:1])
    assert (flow.is_wrong(stored(make_span(0, 0))), flow.others_seen) == (False, False)
    assert (flow.is_wrong(stored()), flow.others_seen) == (True, True)
    assert (flow.is_wrong(stored(make_span(0, 0))), flow.others_seen) == (False, True)
    flow.absent()
    assert flow.exists is False
    flow.read(stored(make_span(6, 0)), NOW_NS, False)
    assert flow.others_seen, "it may come again, though the flow was deleted"


def test_what_counts_as_delivered_and_is_not_there_is_missing() -> None:
    """Neither what is there, nor what is pending, nor what others wrote."""
    flow, window = known(*(make_span(number, 0) for number in range(3)))
    flow.read(stored(make_span(1, 0), make_span(5, 0)), NOW_NS, False)
    window.deliver(own(window)[:2])
    flow.keys.discard(key(5, 0))
    assert [entry.key for entry in flow.missing(window)] == [key(0, 0)]


def test_an_older_text_is_not_the_span() -> None:
    """Nor is it taken where one stands that this side has replaced; a text of the platform's own making may be it."""
    texts = [make_span(0, 0, text=str(number)) for number in range(20)]
    flow, window = known(*texts)
    assert flow.is_wrong(stored(texts[0])) is False, "pending"
    window.deliver(own(window))
    shown = [flow.is_wrong(stored(span)) for span in (*texts[-9:], make_span(0, 0, text="normalised"))]
    assert shown == [True] * 8 + [False, False]
    window.add(texts[18], NOW_NS)
    window.deliver(own(window))
    assert [flow.is_wrong(stored(text)) for text in texts[-2:]] == [False, True]
    flow.digest = b"before"
    flow.may_have_written(window, True, own(window))
    assert flow.proven(stored(texts[19])) == []


@pytest.mark.parametrize(("is_read_back", "ours"), [(True, False), (True, True), (False, False)])
def test_a_body_that_was_overwritten_is_restored_whole(is_read_back: bool, ours: bool) -> None:
    """Only where a read right after its PUT lacks spans of this side too: another writer had read before."""
    flow, window = known(make_span(0, 0))
    flow.read(stored(make_span(1, 0)), NOW_NS, False)
    window.deliver(own(window))
    flow.wrote(window, b"d")
    flow.read(stored(*([make_span(0, 0)] if ours else [])), NOW_NS, is_read_back)
    restored = is_read_back and not ours
    assert keys(window) == ([key(0, 0), key(1, 0)] if restored else [key(0, 0)])


def test_what_somebody_else_changes_is_counted() -> None:
    """Evidence against a span holds for one state of the flow: spans, members, whether it is there."""
    flow, window = known(make_span(0, 0))
    steps = [
        stored(make_span(1, 0)),
        stored(make_span(1, 0)),
        stored(make_span(1, 0, text="new")),
        stored(make_span(1, 0, text="new"), members=b',"x":1'),
        stored(members=b',"x":1'),
    ]
    seen = []
    for step in steps:
        flow.read(step, NOW_NS, False)
        seen.append(flow.changes)
    flow.wrote(window, b"d")
    flow.may_have_written(window, True)
    seen.append(flow.changes)
    flow.absent()
    assert [later > before for before, later in zip(seen, [*seen[1:], flow.changes], strict=True)] == [
        False,
        True,
        True,
        True,
        False,
        True,
    ]


def test_what_a_read_proves() -> None:
    """It shows what a PUT has carried, and is another than before that PUT. Once."""
    flow, window = known(make_span(0, 0), make_span(1, 0))
    entries = own(window)
    for before, shown in ((b"old", entries[:1]), (b"digest", None), (None, entries[:1])):
        flow.digest = before
        flow.may_have_written(entries, True, entries)
        assert flow.proven(stored(make_span(0, 0))) == shown
    assert flow.proven(stored(make_span(0, 0))) == []
