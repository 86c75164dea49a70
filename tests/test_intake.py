"""The intake: what application threads leave, and what becomes of it."""

from __future__ import annotations

import dis
import sys
import threading
from _queue import Empty
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from opentelemetry.exporter.versori_flow import intake as intake_module
from opentelemetry.exporter.versori_flow.encoding.span import SpanEncoder
from opentelemetry.exporter.versori_flow.intake import BATCH, FULL, Intake
from opentelemetry.exporter.versori_flow.routing.default_flow import DefaultFlow
from opentelemetry.exporter.versori_flow.routing.router import Router

RETURNS = {code for name, code in dis.opmap.items() if name.startswith("RETURN_")}


class Interrupted(BaseException):
    """What a signal handler raises."""


def make_intake(encoder: Any = None) -> Intake:
    return Intake(encoder or SpanEncoder(()), DefaultFlow("{service.name}"), Router(100_000))


@pytest.fixture(scope="module")
def spans() -> list[ReadableSpan]:
    """More than the intake wants to hold."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource.create({"service.name": "shop"}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("test")
    for number in range(FULL + 100):
        tracer.start_span(f"s{number}").end()
    return list(memory.get_finished_spans())


def taken(intake: Intake) -> Iterator[str]:
    """The ids of all spans that are taken, in their order."""
    while (batch := intake.take()) is not None:
        for flow, span in batch.routed:
            assert flow == "shop"
            yield span.span_id


def ids(spans: list[ReadableSpan]) -> list[str]:
    return [f"{span.context.span_id:016x}" for span in spans]


def messages(intake: Intake) -> int:
    count = 0
    try:
        while True:
            intake.messages.get_nowait()
            count += 1
    except Empty:
        return count


def test_what_is_left_is_taken_in_order(spans):
    """Spans come out encoded and with their flow, in the order in which they were left, a batch at a time."""
    intake = make_intake()
    for span in spans[:600]:
        intake.leave(span)
    assert len(intake) == 600
    first = intake.take()
    assert first is not None
    assert len(first.routed) == BATCH
    assert [span.span_id for _, span in first.routed] + list(taken(intake)) == ids(spans[:600])
    assert intake.take() is None


def test_one_message_until_they_are_taken(spans):
    """Who waits is woken by the first span only, and again by the first one after he has looked in vain."""
    intake = make_intake()
    for span in spans[:10]:
        intake.leave(span)
    assert messages(intake) == 1
    assert intake.take() is not None
    intake.leave(spans[10])
    assert messages(intake) == 0
    list(taken(intake))
    intake.leave(spans[11])
    assert messages(intake) == 1


def test_who_helps_wakes_whoever_has_found_nothing_meanwhile(spans):
    """The span that is being encoded by whoever has left one is in neither line for so long."""

    class Slow(SpanEncoder):
        def encode(self, spans):
            if len(spans) == 1:
                list(taken(intake))
                assert messages(intake) == 1
            return super().encode(spans)

    intake = make_intake(Slow(()))
    for span in spans[: FULL + 1]:
        intake.leave(span)
    assert messages(intake) == 1
    assert len(list(taken(intake))) == 1


def test_a_full_intake_drops_nothing(spans):
    """Whoever leaves one more encodes one of the oldest, and all are there in the end."""
    intake = make_intake()
    for span in spans:
        intake.leave(span)
    assert len(intake._left) == FULL
    assert sorted(taken(intake)) == sorted(ids(spans))


def test_every_thread_pays(spans):
    """A thread that leaves one more encodes one, also while another thread does so."""

    class Encoder(SpanEncoder):
        def encode(self, batch: Any) -> Any:
            if others:
                other = threading.Thread(target=intake.leave, args=(others.pop(),))
                other.start()
                other.join()
            return super().encode(batch)

    others = [spans[FULL + 1]]
    intake = make_intake(Encoder(()))
    for span in spans[: FULL + 1]:
        intake.leave(span)
    assert others == []
    assert len(intake._left) == FULL
    assert sorted(taken(intake)) == sorted(ids(spans[: FULL + 2]))


def test_many_threads(spans):
    """Threads that leave, and help, beside one that takes: each span comes out once."""
    intake, found, over = make_intake(), [], threading.Event()

    def take() -> None:
        while not over.is_set() or len(intake):
            found.extend(taken(intake))

    taker = threading.Thread(target=take)
    leavers = [
        threading.Thread(target=lambda n=n: [intake.leave(span) for span in spans[n::4]]) for n in range(4)
    ]
    for thread in (*leavers, taker):
        thread.start()
    for thread in leavers:
        thread.join()
    over.set()
    taker.join()
    assert sorted(found) == sorted(ids(spans))


def test_an_exception_in_the_middle_costs_nothing(spans):
    """What a signal handler raises while a span is encoded reaches the caller, and the span is still there."""

    class Encoder(SpanEncoder):
        interrupted = False

        def encode(self, batch: Any) -> Any:
            if not self.interrupted:
                self.interrupted = True
                raise Interrupted
            return super().encode(batch)

    intake = make_intake(Encoder(()))
    intake.leave(spans[0])
    with pytest.raises(Interrupted):
        intake.take()
    assert list(taken(intake)) == ids(spans[:1])

    intake = make_intake(Encoder(()))
    for span in spans[:FULL]:
        intake.leave(span)
    with pytest.raises(Interrupted):
        intake.leave(spans[FULL])
    assert list(taken(intake)) == ids(spans[: FULL + 1])


def test_a_span_that_ends_while_another_is_encoded(spans):
    """An attribute's own code, or a finalizer, may leave a span in the middle: it is taken too, without a circle."""
    intake = make_intake()

    class Encoder(SpanEncoder):
        def encode(self, batch: Any) -> Any:
            if more:
                intake.leave(more.pop())
            return super().encode(batch)

    more = [spans[FULL + 1]]
    intake._encoder = Encoder(())
    for span in spans[: FULL + 1]:
        intake.leave(span)
    assert more == []
    assert sorted(taken(intake)) == sorted(ids(spans[: FULL + 2]))


def test_what_cannot_be_encoded_is_not_lost_from_sight(spans):
    """It comes out as what could not be encoded, with the flow where it is counted."""
    broken = ReadableSpan("broken", context=None, resource=spans[0].resource)
    batch = make_intake().encode([spans[0], broken])
    assert [span.span_id for _, span in batch.routed] == ids(spans[:1])
    assert [(lost.name, flow) for lost, flow in batch.unencodable] == [("broken", "shop")]


@pytest.mark.parametrize("who", ["leave first", "leave", "take"])
def test_what_a_handler_raises_costs_no_span_that_was_left_before(spans, who):
    """At whichever instruction of who leaves one, helps, or takes in place of the courier: all others are there in
    the end, and whoever comes next wakes the courier if nobody has."""
    left = {"leave first": [], "leave": spans[: FULL + 1], "take": spans[:3]}[who]
    steps = instructions = 0
    while instructions == steps:
        steps += 1
        instructions = 0
        intake = make_intake()
        for span in left:
            intake.leave(span)

        def trace(frame, event, _arg, counted=steps):
            nonlocal instructions
            if frame.f_code.co_filename != intake_module.__file__:
                return None
            frame.f_trace_opcodes = True
            # Between a result and whoever gets it Python runs no handler.
            if event == "opcode" and frame.f_code.co_code[frame.f_lasti] not in RETURNS:
                instructions += 1
                if instructions == counted:
                    raise Interrupted
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            intake.take() if who == "take" else intake.leave(spans[FULL + 1])
        except Interrupted:
            sys.settrace(before)
            intake.leave(spans[FULL + 2])
            assert messages(intake), f"interrupted at instruction {steps}"
            assert set(ids(left)) <= set(taken(intake)), f"interrupted at instruction {steps}"
        finally:
            sys.settrace(before)
    assert steps > (10 if who == "leave first" else 50)
