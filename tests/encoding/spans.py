"""Spans to encode, odd values for them, and how what came out is read."""

from __future__ import annotations

import enum
import json
import uuid
from collections import namedtuple
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from openapi_schema_validator import OAS30Validator, oas30_format_checker
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags

from opentelemetry.exporter import versori_flow
from opentelemetry.exporter.versori_flow.encoded_span import EncodedSpan, Unencodable
from opentelemetry.exporter.versori_flow.encoding.span import SpanEncoder
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
