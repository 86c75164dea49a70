"""What the platform has of one flow, as far as this side knows, and joining it with the window."""

from __future__ import annotations

from typing import Any

import pytest

from opentelemetry.exporter.versori_flow.flow.remote import KnownFlow
from opentelemetry.exporter.versori_flow.flow.stored import StoredFlow, read
from opentelemetry.exporter.versori_flow.flow.window import Entry, Origin, Window
from tests.flow.model import NOW_NS, SECOND, key, make_span


def known(*spans: Any, description: str | None = None) -> tuple[KnownFlow, Window]:
    """A flow that nothing is known of, beside a window with these spans pending."""
    window = Window(100, 100_000)
    for span in spans:
        window.add(span, NOW_NS + 1000 * SECOND)
    return KnownFlow("a", description, window), window


def stored(*spans: Any, members: bytes = b"") -> StoredFlow:
    body = b",".join(span.body for span in spans)
    return read(b'{"description":"d"' + members + b',"spans":[' + body + b"]}", b"digest")


def own(window: Window) -> list[Entry]:
    return [entry for entry in window if entry.origin is Origin.OWN]


def keys(window: Window) -> list[tuple[str, str]]:
    return sorted(entry.key for entry in window)


def test_nothing_is_known_at_first() -> None:
    """The head has the name and an empty description; its bytes are the window's overhead."""
    flow, window = known()
    assert (flow.exists, flow.keys, flow.digest, flow.missing, flow.others_seen) == (
        False,
        set(),
        None,
        False,
        False,
    )
    assert flow.head == b'{"name":"a","description":"","spans":['
    assert window.overhead == len(flow.head) + 2


def test_a_read_adopts_what_is_new() -> None:
    """With its members and its description, and remembers what was shown."""
    flow, window = known(make_span(0, 0))
    flow.read(stored(make_span(0, 0), make_span(1, 0), members=b',"id" : 1'), NOW_NS)
    assert keys(window) == [key(0, 0), key(1, 0)]
    assert (flow.exists, flow.keys, flow.digest) == (True, {key(0, 0), key(1, 0)}, b"digest")
    assert flow.head == b'{"name":"a","description":"d","id" : 1,"spans":['
    assert window.overhead == len(flow.head) + 2
    assert [entry.key for entry in own(window)] == [key(0, 0)]


@pytest.mark.parametrize(("description", "text"), [("", b'""'), ('"ü"', '"\\"ü\\""'.encode())])
def test_a_description_of_ours_wins(description: str, text: bytes) -> None:
    """Whatever is stored; empty is not unset."""
    flow, _ = known(description=description)
    flow.read(stored(), NOW_NS)
    assert flow.head == b'{"name":"a","description":' + text + b',"spans":['


def test_what_was_shown_or_written_before_is_nothing_new() -> None:
    """It aged out of the window, or was never let in."""
    flow, window = known(make_span(0, 0))
    flow.wrote(own(window), b"d")
    assert (flow.keys, flow.digest, flow.exists) == ({key(0, 0)}, b"d", True)
    window.remove(own(window)[0])
    flow.read(stored(make_span(0, 0), make_span(1, 0)), NOW_NS)
    assert keys(window) == [key(1, 0)]
    window.remove(next(iter(window)))
    flow.read(stored(make_span(1, 0)), NOW_NS)
    assert keys(window) == []
    flow.read(stored(make_span(0, 0)), NOW_NS)
    assert keys(window) == [key(0, 0)], "it was gone from there, and somebody put it back"


def test_what_may_have_been_written_is_nothing_new() -> None:
    """It adds to what is known; the digest of the last answer is worth nothing then."""
    flow, window = known(make_span(0, 0), make_span(1, 0))
    first, second = own(window)
    flow.wrote([first], b"d")
    flow.may_have_written([second], True)
    assert (flow.keys, flow.digest) == ({key(0, 0), key(1, 0)}, None)


@pytest.mark.parametrize("is_read", [True, False])
def test_memory_is_bounded_where_no_read_does_it(is_read: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has left the window can't move any more; where reads tell, nothing is forgotten before."""
    monkeypatch.setattr("opentelemetry.exporter.versori_flow.flow.remote.REMEMBERED_KEYS", 1)
    flow, window = known(make_span(0, 0), make_span(1, 0))
    entries = own(window)
    window.remove(entries[0])
    flow.may_have_written(entries, is_read)
    assert flow.keys == ({key(0, 0), key(1, 0)} if is_read else {key(1, 0)})


def test_what_is_banished_is_not_adopted() -> None:
    """Until it is pardoned."""
    flow, window = known()
    flow.banish(key(0, 0))
    flow.read(stored(make_span(0, 0)), NOW_NS)
    assert keys(window) == []
    flow.read(stored(), NOW_NS)
    flow.pardon(key(0, 0))
    flow.pardon(key(9, 9))
    flow.read(stored(make_span(0, 0)), NOW_NS)
    assert keys(window) == [key(0, 0)]


def test_another_writer_is_seen_by_what_is_new() -> None:
    """What the first read shows was there before."""
    flow, _ = known()
    flow.read(stored(make_span(0, 0)), NOW_NS)
    assert flow.others_seen is False
    flow.read(stored(make_span(0, 0)), NOW_NS)
    assert flow.others_seen is False
    flow.read(stored(make_span(0, 0), make_span(1, 0)), NOW_NS)
    assert flow.others_seen is True


def test_another_writer_is_seen_by_what_is_missing() -> None:
    """A delivered span of this side that a read does not show; not a pending one, nor a foreign one."""
    flow, window = known(make_span(0, 0), make_span(1, 0))
    flow.read(stored(make_span(5, 0)), NOW_NS)
    window.deliver(own(window)[:1])
    flow.read(stored(make_span(0, 0)), NOW_NS)
    flow.look_for_missing()
    assert (flow.missing, flow.others_seen) == (False, False)
    flow.read(stored(), NOW_NS)
    flow.look_for_missing()
    assert (flow.missing, flow.others_seen) == (True, True)
    flow.read(stored(make_span(0, 0)), NOW_NS)
    flow.look_for_missing()
    assert (flow.missing, flow.others_seen) == (False, True)


def test_a_flow_that_is_gone_takes_its_delivered_spans_along() -> None:
    """Pending ones stay; members and description are forgotten. It was never there: nothing is."""
    flow, window = known(make_span(0, 0), make_span(1, 0))
    window.deliver(own(window)[:1])
    flow.may_have_written(own(window), True)
    assert flow.absent() is None
    assert (keys(window), flow.keys) == ([key(0, 0), key(1, 0)], set())
    flow.read(stored(make_span(5, 0), members=b',"id":1'), NOW_NS)
    flow.look_for_missing()
    assert flow.absent() == 2
    assert keys(window) == [key(1, 0)]
    assert (flow.exists, flow.keys, flow.digest, flow.missing) == (False, set(), None, False)
    assert flow.head == b'{"name":"a","description":"","spans":['
    assert flow.absent() is None
