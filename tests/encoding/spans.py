"""Spans to encode, odd values for them, whatever else could stand in them, and how what came out is read."""

from __future__ import annotations

import enum
import json
import uuid
from collections import deque, namedtuple
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from functools import cache
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
import yaml
from hypothesis import strategies as st
from openapi_schema_validator import OAS30Validator, oas30_format_checker
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from opentelemetry.exporter import versori_flow
from opentelemetry.exporter.versori_flow.encoded_span import EncodedSpan, Unencodable
from opentelemetry.exporter.versori_flow.encoding.span import FLOW_NAME_ATTRIBUTE, SpanEncoder
from tests.encoding.reference import RESOURCE_ATTRIBUTES

TRACE_ID = 0x0AF7651916CD43DD8448EB211C80319C
SPAN_ID = 0x00F067AA0BA902B7
CONTEXT = SpanContext(TRACE_ID, SPAN_ID, is_remote=False, trace_flags=TraceFlags(1))
PARENT = SpanContext(TRACE_ID, 0x00000000000000AB, is_remote=False, trace_flags=TraceFlags(1))
START = 1_700_000_000_000_000_001
END = START + 1_500_000
RESOURCE = Resource({"service.name": "orders", "service.version": "1.2", "host.name": "here"})
PROPERTIES = [name for name in vars(ReadableSpan) if isinstance(vars(ReadableSpan)[name], property)]
PROPERTIES.remove("instrumentation_info")  # its deprecated twin


class ByProperties(ReadableSpan):
    """A span that must be read by its properties, as its private fields are not what it wants to show."""


def make(**parts: Any) -> ReadableSpan:
    """A span; parts are set behind the SDK's back, which would refuse or clean some of them."""
    span = ReadableSpan(
        "GET /", context=CONTEXT, resource=RESOURCE, attributes={}, start_time=START, end_time=END
    )
    for name, part in parts.items():
        setattr(span, f"_{name}", part)
    return span


def by_properties(span: ReadableSpan) -> ByProperties:
    twin = ByProperties.__new__(ByProperties)
    twin.__dict__.update(span.__dict__)
    return twin


def duck(span: ReadableSpan) -> Any:
    """Something that has a span's public properties and nothing else."""
    found = {}
    for name in PROPERTIES:
        with suppress(Exception):
            found[name] = getattr(span, name)
    return SimpleNamespace(**found)


def loads(body: bytes | str) -> Any:
    """Parse JSON as strictly as it gets: no key twice, no NaN."""

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs), f"a key twice: {pairs}"
        return dict(pairs)

    def constant(name: str) -> None:
        raise AssertionError(name)

    return json.loads(body, object_pairs_hook=members, parse_constant=constant)


@cache
def validator() -> OAS30Validator:
    # Not through the server's module: mutation testing has not installed what that imports.
    document = Path(versori_flow.__file__).parent / "server" / "versori-flows.openapi.yaml"
    components = yaml.safe_load(document.read_text(encoding="utf-8"))["components"]
    schema = {**components["schemas"]["OTelSpan"], "components": components}
    return OAS30Validator(schema, format_checker=oas30_format_checker)


def new_encoder() -> SpanEncoder:
    return SpanEncoder(RESOURCE_ATTRIBUTES)


def encode(span: Any, resource_attributes: Sequence[str] = RESOURCE_ATTRIBUTES) -> EncodedSpan:
    """Encode a span that can be encoded, and check what holds for every one."""
    [encoded] = SpanEncoder(resource_attributes).encode([span])
    assert type(encoded) is EncodedSpan
    assert {type(part) for part in encoded} <= {str, type(None), bool, int, bytes}
    validator().validate(loads(encoded.body))
    return encoded


def body(span: Any, **keywords: Any) -> dict[str, Any]:
    """The span's JSON, the same in both ways to read it."""
    read = loads(encode(span, **keywords).body)
    if type(span) is ReadableSpan:
        for twin in (by_properties(span), duck(span)):
            assert loads(encode(twin, **keywords).body) == read
    return read


def refused(span: Any) -> Unencodable:
    """What is said of a span that can't be encoded."""
    [notice] = new_encoder().encode([span])
    assert type(notice) is Unencodable
    return notice


def attributes(span: Any, **keywords: Any) -> dict[str, Any]:
    found = body(span, **keywords)["attributes"]
    assert isinstance(found, dict)
    return found


def type_name(value: object) -> str:
    return type(value).__name__


def written(value: Any) -> str:
    """The exact JSON of an attribute's value, the same in both ways to read a span."""
    span = make(attributes={"k": value}, resource=None)
    texts = set()
    for one in (span, by_properties(span)):
        texts.add(encode(one).body.decode().partition('"attributes":{"k":')[2].partition(',"span.kind"')[0])
    [text] = texts
    return text


def sdk_spans(limits: SpanLimits | None = None) -> list[Any]:
    """Spans as an application makes them: a root with a link, a child that fails."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=RESOURCE, span_limits=limits, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("shop", "0.9")
    links = [Link(PARENT, {"why": "batch", "n": (1, 2)}), Link(CONTEXT)]
    with tracer.start_as_current_span("root", kind=SpanKind.SERVER, links=links) as root:
        root.set_attributes({"a": 1, "b": "x", "c": (1.5, 2.5), "d": True})
        for number in range(3):
            root.add_event(f"e{number}", {"n": number, "m": number})
        with pytest.raises(KeyError), tracer.start_as_current_span("child"):
            raise KeyError("nothing")
        open_span = tracer.start_span("open", attributes={"k": "v"})
    return [*exporter.get_finished_spans(), open_span]


def meaning(encoded: EncodedSpan) -> dict[str, Any]:
    return {**encoded._asdict(), "body": loads(encoded.body)}


class Colour(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    HIGH = 2


class Word(str, enum.Enum):
    YES = "yes"


class Ratio(float):
    def __str__(self) -> str:
        return "a ratio"


class Loud(str):
    def __str__(self) -> str:
        return "LOUD"


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("secret")


class Meta(type):
    def __eq__(cls, other: object) -> bool:
        return cls is other

    __hash__ = None  # type: ignore[assignment]


class Unhashable(metaclass=Meta):
    """An instance of a type that no table can hold."""

    def __str__(self) -> str:
        return "odd"


class Endless(Sequence[Any]):
    def __init__(self, item: Any = 0) -> None:
        self.item = item

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: Any) -> Any:
        return self.item

    def __iter__(self) -> Iterator[Any]:
        while True:
            yield self.item


class EndlessMap(Mapping[Any, Any]):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, key: Any) -> Any:
        return key

    def __iter__(self) -> Iterator[Any]:
        number = 0
        while True:
            yield number % 3
            number += 1


class Broken(Sequence[Any]):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: Any) -> Any:
        raise RuntimeError("secret")


class Liar:
    """Says that it is text, as mocks and proxies do."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return str

    def __str__(self) -> str:
        return "liar"


Point = namedtuple("Point", "x y")
RELEASED = memoryview(b"gone")
RELEASED.release()
IDENTITY = uuid.UUID(int=5)
LOOP: list[Any] = [1]
LOOP.append(LOOP)
MAP_LOOP: dict[str, Any] = {}
MAP_LOOP["again"] = MAP_LOOP

# -- strategies: whatever can stand where a part of a span should --------------------------------------------

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=8)
ODD_VALUES: list[Any] = [
    *(Colour.RED, Level.HIGH, Word.YES, Ratio("inf"), Ratio(0.1), Loud("q"), Unprintable(), Unhashable()),
    *(Liar(), Broken(), Point(1, "\ud800"), LOOP, MAP_LOOP, RELEASED, memoryview(b"abc"), bytearray(b"\xff")),
    *(Decimal("NaN"), IDENTITY, range(5), deque([None]), 16**5000, 2**53, -(2**53), Exception("x"), int),
    MappingProxyType({"a": (1,)}),
]
# Not sampled_from: that makes hashes and texts of what it is given, and some of these refuse.
ODD = st.integers(0, len(ODD_VALUES) - 1).map(lambda number: ODD_VALUES[number])
SCALARS = st.one_of(
    ANY_TEXT, st.none(), st.booleans(), st.integers(), st.floats(), st.binary(max_size=4), ODD
)
KEYS = st.one_of(
    ANY_TEXT,
    st.sampled_from(
        ["a", "1", "span.kind", "service.name", "otel.links", "otel.status_code", FLOW_NAME_ATTRIBUTE, "..."]
    ),
    st.integers(-2, 2),
    st.none(),
    st.booleans(),
    st.binary(max_size=2),
    st.tuples(st.integers(0, 1)),
    st.sampled_from([Word.YES, Level.HIGH, Loud("a"), Colour.RED]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(KEYS, inner, max_size=4),
    ),
    max_leaves=12,
)
MAPS = st.one_of(
    st.dictionaries(KEYS, VALUES, max_size=6),
    st.dictionaries(ANY_TEXT, st.one_of(st.integers(), ANY_TEXT), max_size=6),
)


@st.composite
def kept_maps(draw: Any) -> Any:
    """What can stand where attributes should."""
    entries = draw(MAPS)
    form = draw(st.integers(0, 5))
    if form == 0:
        return draw(st.sampled_from([None, 5, "x", [("a", 1)]]))
    if form <= 2:
        kept = BoundedAttributes()
        kept._dict = entries
        kept.dropped = draw(st.integers(0, 3))
        return kept
    return MappingProxyType(entries) if form == 3 else entries


@st.composite
def kept_lists(draw: Any, entries: Any) -> Any:
    """What can stand where events or links should."""
    found = draw(st.lists(entries, max_size=3))
    form = draw(st.integers(0, 4))
    if form == 0:
        return draw(st.sampled_from([None, 5, "x", {}, Broken()]))
    if form <= 2:
        kept = BoundedList.from_seq(5, found)
        kept.dropped = draw(st.integers(0, 3))
        return kept
    return tuple(found) if form == 3 else found


TIMES = st.one_of(
    st.integers(0, 2**63),
    st.integers(),
    st.integers(0, 2 * 10**9),
    st.sampled_from([None, 1.5, float("nan"), True, "x", "7", Decimal(3), 253_402_300_800 * 10**9]),
    st.just(5000).map(lambda digits: 10**digits),
)
STATES = st.one_of(
    st.none(),
    st.just(TraceState([("a", "1"), ("b", "2")])),
    st.dictionaries(KEYS, SCALARS, max_size=2),
    ANY_TEXT,
    st.just(5),
)
IDS = st.one_of(st.integers(1, 2**64 - 1), st.integers(1, 2**128 - 1), st.integers(-1, 2))
CONTEXTS = st.one_of(
    st.builds(
        SpanContext,
        trace_id=IDS,
        span_id=IDS,
        is_remote=st.one_of(st.booleans(), st.none()),
        trace_flags=st.one_of(st.integers(-1, 300).map(TraceFlags), st.just("x")),
        trace_state=STATES,
    ),
    st.builds(
        SimpleNamespace, trace_id=IDS, span_id=IDS, is_remote=st.booleans(), trace_flags=st.integers(0, 9)
    ),
    st.just(CONTEXT),
    st.sampled_from([None, "x"]),
)


def event_of(name: Any, kept: Any, timestamp: Any) -> Event:
    event = Event("e")
    event._name, event._attributes, event._timestamp = name, kept, timestamp
    return event


def status_of(code: Any, description: Any) -> Status:
    status = Status()
    status._status_code, status._description = code, description
    return status


def resource_of(entries: Any) -> Resource:
    resource = Resource({})
    resource._attributes = entries
    return resource


NAMES = st.one_of(ANY_TEXT, SCALARS)
EVENTS = st.one_of(st.builds(event_of, NAMES, kept_maps(), TIMES), st.sampled_from([None, 5]))
LINKS = st.one_of(st.builds(Link, CONTEXTS, kept_maps()), st.sampled_from([None, 5]))
SCOPES = st.one_of(
    st.none(),
    st.builds(InstrumentationScope, NAMES, NAMES),
    st.just(InstrumentationScope("a", "1")),
    st.just("x"),
)
STATUSES = st.one_of(
    st.builds(status_of, st.sampled_from([*StatusCode, None, "ERROR", SpanKind.SERVER]), NAMES), st.none()
)
RESOURCES = st.one_of(
    st.builds(resource_of, st.dictionaries(st.sampled_from(["service.name", "odd\ud800", "x"]), VALUES)),
    st.sampled_from([RESOURCE, None, object(), 5]),
)
SPANS = st.builds(
    make,
    name=NAMES,
    context=CONTEXTS,
    parent=CONTEXTS,
    attributes=kept_maps(),
    events=kept_lists(EVENTS),
    links=kept_lists(LINKS),
    kind=st.sampled_from([*SpanKind, None, StatusCode.OK]),
    status=STATUSES,
    start_time=TIMES,
    end_time=TIMES,
    resource=RESOURCES,
    instrumentation_scope=SCOPES,
)
