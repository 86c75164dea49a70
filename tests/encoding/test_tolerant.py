"""Spans that the fast way can't write: read by their properties, and written all the same."""

from __future__ import annotations

from decimal import Decimal
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given, settings
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link, SpanContext

from opentelemetry.exporter.versori_flow.encoded_span import EncodedSpan, Unencodable
from opentelemetry.exporter.versori_flow.encoding import span as encoding
from opentelemetry.exporter.versori_flow.encoding.span import SpanEncoder
from tests.encoding.reference import reference
from tests.encoding.spans import (
    CONTEXT,
    END,
    PARENT,
    SPANS,
    START,
    EndlessMap,
    Loud,
    Unprintable,
    Word,
    attributes,
    body,
    by_properties,
    duck,
    encode,
    loads,
    make,
    meaning,
    new_encoder,
    refused,
    type_name,
    validator,
)


@pytest.mark.parametrize(
    ("given", "nanos"),
    [
        (-1, 0),
        (-(10**30), 0),
        (253_402_300_800_000_000_000, 253_402_300_799_999_999_999),
        (10**5000, 253_402_300_799_999_999_999),
        (True, 1),
        (1.5e9, 1_500_000_000),
        (Decimal(7), 7),
        ("12", 12),
    ],
    ids=type_name,
)
def test_times_out_of_range_are_clamped(given, nanos):
    """What RFC 3339 can't write becomes the nearest that it can, and other numbers whole ones."""
    encoded = encode(make(start_time=given, end_time=given))
    assert (encoded.start, encoded.end) == (nanos, nanos)
    assert type(encoded.start) is type(encoded.end) is int
    assert body(make(start_time=given, end_time=given))["duration"] == 0


@pytest.mark.parametrize("nothing", [None, "soon", float("nan"), float("inf"), object()])
def test_a_missing_time(nothing):
    """A span without a usable start began when it ended, without either in 1970; an event, with its span."""
    assert encode(make(start_time=nothing))[4:6] == (END, END)
    neither = encode(make(start_time=nothing, end_time=nothing))
    assert neither[4:6] == (0, 0)
    assert loads(neither.body)["ended"] is False
    event = Event("e")
    event._timestamp = nothing
    assert body(make(events=(event,)))["events"][0]["timestamp"] == "2023-11-14T22:13:20.000000001Z"


@pytest.mark.parametrize("flags", [-1, 256, 10**5000, "1"], ids=type_name)
def test_impossible_flags_are_none(flags):
    """What is no byte is 0."""
    assert body(make(context=SpanContext(1, 2, False, flags)))["spanContext"]["traceFlags"] == 0


@pytest.mark.parametrize(
    ("lost", "said"), [(-1, None), (2**63 - 1, str(2**63 - 1)), (2**63, None), ("3", None)]
)
def test_a_count_that_is_none_is_not_said(lost, said):
    """Whatever an object that looks like a span has where a count should be."""
    span = duck(make())
    span.dropped_events = lost
    assert attributes(span).get("otel.dropped_events_count") == said


def test_keys_become_text():
    """Keys are written as values are; of those that become equal one is left, with the last one's value."""
    wild = {1: "a", "1": "b", None: "c", Word.YES: "d", b"ab": "e", (1, "x"): "f", Loud("q"): "g", 2.5: "h"}
    wild |= dict(zip(("\ud800", "\udfff", "\ufffd", "\ud83d\ude00"), (1, 2, 3, 4), strict=True))
    found = {
        "1": "b",
        "": "c",
        "yes": "d",
        "YWI=": "e",
        '[1,"x"]': "f",
        "q": "g",
        "2.5": "h",
        "\ufffd": 3,
        "😀": 4,
    }
    mine = {Loud("span.kind"): "mine"}  # text is compared, not the objects
    event = Event("e", wild, timestamp=START)
    event._attributes = wild
    read = body(make(attributes={**wild, **mine}, resource=None, events=(event,)))
    assert read["attributes"] == {**found, "span.kind": "mine"}
    assert read["events"][0]["attributes"] == found


def test_attributes_that_are_no_map():
    """They are none; the span goes on."""
    for wrong in (None, 5, "text", [("a", 1)], object()):
        assert attributes(make(attributes=wrong, resource=None)) == {"span.kind": "internal"}


def test_attributes_without_end_are_cut():
    """A map that never ends does not hold up the application, and one that breaks off gives what it had."""

    class Growing(dict[str, int]):
        def items(self) -> Any:
            return ((str(number), 1) for number in count() if number != self["end"] or 1 / 0)

    assert len(attributes(make(attributes=Growing(end=None), resource=None))) == 10_001
    endless = SpanContext(1, 2, False, trace_state=EndlessMap())
    assert attributes(make(context=endless))["otel.trace_state"].count("=") == 10_000
    assert attributes(make(attributes=Growing(end=2), resource=None)) == {
        "0": 1,
        "1": 1,
        "span.kind": "internal",
    }


def test_attributes_that_change_meanwhile():
    """A map that another thread changes is read again, and the span arrives."""

    class Grows:
        def __str__(self) -> str:
            shared[f"new {len(shared)}"] = 1
            return "grown"

    shared: dict[str, Any] = {"a": Grows()}
    assert loads(encode(make(attributes=shared)).body)["attributes"]["a"] == "grown"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("", ""),
        ("a\ud800", "a\ufffd"),
        (None, ""),
        (5, "5"),
        (Unprintable(), "<Unprintable>"),
        (Loud("q"), "q"),
    ],
)
def test_names_are_text(name, text):
    """Of spans and of events, and in the notice of one that is left out."""
    event = Event("e", timestamp=START)
    event._name = name
    found = body(make(name=name, events=(event,)))
    assert (found["name"], found["events"][0]["name"]) == (text, text)
    assert refused(make(name=name, context=None)).name == text


def test_odd_events_and_links():
    """What is no event or link is one without anything; containers that are none are empty."""
    found = body(make(events=[None], links=[None]))
    assert found["events"] == [{"name": "", "timestamp": "2023-11-14T22:13:20.000000001Z", "attributes": {}}]
    nothing = f'[{{"trace_id":"{"0" * 32}","span_id":"{"0" * 16}","attributes":{{}}}}]'
    assert found["attributes"]["otel.links"] == nothing
    for wrong in (None, 5, object()):
        assert body(make(events=wrong, links=wrong))["events"] == []
    linked = Link(SimpleNamespace(trace_id=1, span_id=2), {"\ud800": 1})
    assert "0000000000000002" in attributes(make(links=[linked]))["otel.links"]


def test_what_hides_something_is_read_by_its_properties():
    """A subclass of span, event or link that redacts its attributes keeps them redacted."""
    shown, secret = {"password": "***"}, {"password": "hunter2"}
    span_kind, event_kind, link_kind = (
        type("Redacted", (kind,), {"attributes": property(lambda _: shown)})
        for kind in (ReadableSpan, Event, Link)
    )
    parts = {"events": (event_kind("e", secret, timestamp=START),), "links": (link_kind(PARENT, secret),)}
    whole = span_kind("login", context=CONTEXT, attributes=secret, **parts)
    for span in (make(**parts), whole):
        found = body(span)
        assert found["events"][0]["attributes"] == shown
        assert "hunter2" not in str(found)
    assert attributes(whole)["password"] == "***"


def test_private_fields_that_are_gone_do_no_harm():
    """An SDK that renames its private fields is read by its properties."""
    span = make(attributes={"a": 1})
    # Stands for what BoundedAttributes may become.
    renamed = SimpleNamespace(items=lambda: {"a": 1}.items())
    assert attributes(duck(SimpleNamespace(**{**duck(span).__dict__, "attributes": renamed})))["a"] == 1
    del span._context
    assert refused(span).reason == "InvalidSpanError: no span context"


def test_nothing_is_raised():
    """Whatever is in the batch, and whatever its properties raise, it is a notice."""

    class Hostile:
        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError("secret")

    *notices, last = new_encoder().encode([None, 5, Hostile(), make()])  # type: ignore[list-item]
    assert notices == [Unencodable("", "InvalidSpanError: no span context")] * 3
    assert type(last) is EncodedSpan


@pytest.mark.parametrize("kind", [ValueError, type("_XmlError", (ValueError,), {})])
def test_a_reason_has_no_value_of_the_span(monkeypatch, kind):
    """The text of an exception that is not ours stays out; it is its type that is named."""

    def fail(value: object) -> str:
        raise kind("hunter2")

    monkeypatch.setattr(encoding, "time_text", fail)
    assert refused(make()) == ("GET /", f"{kind.__name__.strip('_')} while it was encoded")


@pytest.mark.parametrize("signal", [KeyboardInterrupt, SystemExit])
def test_signals_pass(signal):
    """The one who presses Ctrl-C is heard."""

    class Stops:
        def __str__(self) -> str:
            raise signal

    with pytest.raises(signal):
        new_encoder().encode([make(attributes={"a": Stops()})])


ASKED = ("service.name", "odd\ud800")
ENCODER = SpanEncoder(ASKED)


@settings(max_examples=250, deadline=None)
@given(SPANS)
@example(make())
def test_anything_means_what_the_reference_says(span):
    """Whatever is in a span, however it is read: valid JSON, valid by the schema, as the reference has it."""
    expected = reference(span, ASKED)
    for one in (span, by_properties(span), duck(span)):
        [encoded] = ENCODER.encode([one])
        if expected is None:
            assert type(encoded) is Unencodable
            continue
        assert meaning(encoded) == expected
        validator().validate(expected["body"])
