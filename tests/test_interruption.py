"""What a signal handler raises into the middle of our work reaches the program; a span's own fault never does."""

from __future__ import annotations

import functools
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

from opentelemetry.exporter.versori_flow import VersoriFlowSpanExporter
from opentelemetry.exporter.versori_flow.delivery import courier, crew
from opentelemetry.exporter.versori_flow.encoded_span import EncodedSpan, Unencodable
from opentelemetry.exporter.versori_flow.encoding.span import SpanEncoder
from opentelemetry.exporter.versori_flow.http import watchdog
from opentelemetry.exporter.versori_flow.intake import FULL, Intake
from opentelemetry.exporter.versori_flow.interruption import at_work, is_from_a_handler
from opentelemetry.exporter.versori_flow.routing.default_flow import DefaultFlow
from opentelemetry.exporter.versori_flow.routing.router import Router
from opentelemetry.exporter.versori_flow.server import LocalPlatform


class Hit(Exception):
    """A time limit, say."""


def strike() -> None:
    signal.raise_signal(signal.SIGUSR1)


class Handler:
    """One that is a method."""

    def handle(self, _signum: int, _frame: object) -> None:
        raise Hit


def plain(_signum: int, _frame: object) -> None:
    raise Hit


def variadic(*_: object) -> None:
    raise Hit


def tidy(signum: int, frame: object) -> None:
    del signum, frame
    raise Hit


def once(_signum: int, _frame: object) -> None:
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    raise Hit


def deep(_signum: int, _frame: object) -> None:
    variadic()


def with_more(_limit: float, _signum: int, _frame: object) -> None:
    raise Hit


HANDLERS: dict[str, Callable[[int, Any], object]] = {
    "plain": plain,
    "method": Handler().handle,
    "variadic": variadic,
    "deletes its arguments": tidy,
    "puts itself back": once,
    "deep": deep,
    "partial": functools.partial(with_more, 1.5),
}


@pytest.fixture(autouse=True)
def handler(request: pytest.FixtureRequest) -> Iterator[None]:
    before = signal.signal(signal.SIGUSR1, HANDLERS[getattr(request, "param", "plain")])
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("handler", HANDLERS, indirect=True)
def test_whatever_the_handler_is() -> None:
    """It is known by the arguments that it was given, or as one that is installed."""
    with pytest.raises(Hit) as caught:
        strike()
    assert is_from_a_handler(caught.value)


def test_who_looks_at_frames() -> None:
    """A function that is given a frame, or that raises while a handler is installed, is no handler for that."""

    def helped(frame: object) -> None:
        raise Hit(frame)

    def asks() -> None:
        helped(None)

    with pytest.raises(Hit) as caught:
        asks()
    assert not is_from_a_handler(caught.value)


class Striking:
    """Whatever is asked of it, a signal comes in the middle."""

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("__"):
            strike()
        return object.__getattribute__(self, name)

    def __str__(self) -> str:
        strike()
        return "never"

    def __int__(self) -> int:
        strike()
        return 1

    def __index__(self) -> int:
        strike()
        return 1

    def __iter__(self) -> Iterator[object]:
        strike()
        return iter(())


class StrikingMap(dict[str, object]):
    def items(self) -> Any:
        strike()
        return super().items()


class StrikingList(list[object]):
    def __iter__(self) -> Iterator[object]:
        strike()
        return super().__iter__()


CONTEXT = SpanContext(1, 2, is_remote=False, trace_flags=TraceFlags(1))


def span(**parts: Any) -> ReadableSpan:
    given: dict[str, Any] = {
        "name": "s", "context": CONTEXT, "resource": Resource.create({"service.name": "shop"}),
        "start_time": 1, "end_time": 2, "attributes": {}, "events": (), "links": (), "status": Status(StatusCode.OK),
    }  # fmt: skip
    return ReadableSpan(**(given | parts))


PLACES: dict[str, ReadableSpan] = {
    "a name": span(name=Striking()),
    "a value": span(attributes={"a": Striking()}),
    "a nested value": span(attributes={"a": [[Striking()]]}),
    "a nested map": span(attributes={"a": StrikingMap(b=1)}),
    "a nested list": span(attributes={"a": StrikingList([1])}),
    "attributes": span(attributes=StrikingMap(b=1)),
    "events": span(events=StrikingList()),
    "links": span(links=Striking()),
    "a resource": span(resource=Striking()),
    "its attribute": span(resource=SimpleNamespace(attributes={"host.name": Striking()})),
    "the start": span(start_time=Striking()),
    "an id": span(context=SimpleNamespace(trace_id=Striking(), span_id=2, trace_flags=1)),
    "a trace state": span(
        context=SimpleNamespace(trace_id=1, span_id=2, trace_flags=1, trace_state=Striking())
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_encoding_bears_it_nowhere(place: str) -> None:
    """Wherever in a span it comes, it reaches the program."""
    with pytest.raises(Hit):
        SpanEncoder(["host.name"]).encode([PLACES[place]])


@pytest.mark.parametrize("place", PLACES)
def test_what_a_span_raises_is_borne(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same from the span itself is no reason to raise: what can't be read is left out."""

    def fail() -> None:
        raise Hit

    monkeypatch.setitem(globals(), "strike", fail)
    (made,) = SpanEncoder(["host.name"]).encode([PLACES[place]])
    assert isinstance(made, EncodedSpan | Unencodable)


def test_the_flow_s_name() -> None:
    """A callable that names flows is interrupted, as anything else is."""

    def name(_: ReadableSpan) -> str:
        strike()
        return "never"

    with pytest.raises(Hit):
        DefaultFlow(name)(span())


class Full(Intake):
    """One that nobody takes from, and that wants help with each span."""

    def fill(self, spans: Sequence[ReadableSpan]) -> None:
        for one in spans:
            self._left.append(one)


@pytest.mark.parametrize("place", ["a value", "a nested value", "its attribute"])
def test_a_full_intake_loses_nothing(place: str) -> None:
    """Who ends a span where too many wait encodes the oldest: interrupted there, it leaves that one where it was."""
    provider = TracerProvider(shutdown_on_exit=False)
    others = [provider.get_tracer("t").start_span(f"s{n}") for n in range(FULL)]
    intake = Full(SpanEncoder(["host.name"]), DefaultFlow("x"), Router(10_000))
    intake.fill([PLACES[place], *(other._readable_span() for other in others)])
    with pytest.raises(Hit):
        intake.leave(span())
    assert len(intake) == FULL + 2


def test_the_courier_s_own_thread() -> None:
    """No handler runs there: what looks like one is a fault like any other, and does not end a batch."""
    made: list[bool] = []

    def run() -> None:
        at_work.add(threading.get_ident())
        try:
            plain(signal.SIGUSR1, None)
        except Hit as error:
            made.append(is_from_a_handler(error))
        finally:
            at_work.discard(threading.get_ident())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert made == [False]


def test_where_no_thread_can_be_had(
    platform: LocalPlatform,
    make_exporter: Callable[..., VersoriFlowSpanExporter],
    make_provider: Callable[..., TracerProvider],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The program's own thread does the courier's work: a handler ends the wait, and costs none of the spans."""
    for user in (courier, crew, watchdog):
        monkeypatch.setattr(user, "start_thread", lambda *_: False)
    exporter = make_exporter(flow_name="shop")
    tracer = make_provider().get_tracer("t")
    signal.signal(signal.SIGALRM, plain)
    with platform.fault("slow=1"):
        spans = [tracer.start_span(f"s{number}") for number in range(3)]
        for one in spans:
            one.end()
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(Hit):
            exporter.export([one._readable_span() for one in spans])
    assert exporter.force_flush()
    assert len(platform.spans("shop")) == 3
    assert exporter.status()["shop"].delivered == 3
