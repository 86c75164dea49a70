"""The courier: who does the work, who waits for it, and what ends a step but never the courier."""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest
from opentelemetry.trace import Tracer

from opentelemetry.exporter.versori_flow import (
    VersoriFlowSpanExporter,
    VersoriFlowSpanProcessor,
    native,
    wiring,
)
from opentelemetry.exporter.versori_flow.delivery.courier import Courier
from opentelemetry.exporter.versori_flow.delivery.crew import Crew
from opentelemetry.exporter.versori_flow.delivery.keeper import Keeper
from opentelemetry.exporter.versori_flow.delivery.question import OpenQuestions
from opentelemetry.exporter.versori_flow.delivery.turn_queue import TurnQueue
from opentelemetry.exporter.versori_flow.flow.due import Due
from opentelemetry.exporter.versori_flow.flow.flow import Flow
from opentelemetry.exporter.versori_flow.flow.flows import Flows
from opentelemetry.exporter.versori_flow.flow.memory import Memory
from opentelemetry.exporter.versori_flow.flow.ranking import Ranking
from opentelemetry.exporter.versori_flow.flow.window import Window
from opentelemetry.exporter.versori_flow.http.api import FlowsApi
from opentelemetry.exporter.versori_flow.intake import Intake
from opentelemetry.exporter.versori_flow.server import LocalPlatform
from opentelemetry.exporter.versori_flow.stores.spool import Spool
from tests.conftest import KEY

LOGGER = "opentelemetry.exporter.versori_flow"
DOWN = "status=503"


def threads() -> int:
    """All threads of this process, also those that Python does not know."""
    return len(os.listdir("/proc/self/task"))


def refuse(*_: object) -> None:
    raise RuntimeError("can't create new thread at interpreter shutdown")


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """As at interpreter exit."""
    monkeypatch.setattr(native, "_start_new_thread", refuse)


@pytest.fixture
def traced(
    make_exporter: Any, make_provider: Any
) -> Iterator[Callable[..., tuple[VersoriFlowSpanExporter, Tracer]]]:
    """Makes exporters behind the processor of their own, and tracers for them."""

    def make(**keywords: Any) -> tuple[VersoriFlowSpanExporter, Tracer]:
        exporter, provider = make_exporter(min_interval=0, **keywords), make_provider()
        provider.add_span_processor(VersoriFlowSpanProcessor(exporter))
        return exporter, provider.get_tracer("test")

    return make


def once(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, error: BaseException) -> None:
    """Makes a method raise the first time it is called."""
    method, left = getattr(owner, name), [error]

    def call(*arguments: Any, **keywords: Any) -> Any:
        if left:
            raise left.pop()
        return method(*arguments, **keywords)

    monkeypatch.setattr(owner, name, call)


def test_flush_and_shutdown_without_threads(no_threads, platform: LocalPlatform, traced):
    """Where no thread can be had, whoever asks does the work: flush, status, shutdown."""
    before = threads()
    exporter, tracer = traced()
    tracer.start_span("one").end()
    assert exporter.status()["shop"].handed_over == 1
    assert exporter.force_flush(5000)
    tracer.start_span("two").end()
    exporter.shutdown(5000)
    assert [span["name"] for span in platform.spans("shop")] == ["one", "two"]
    assert exporter.status()["shop"].delivered == 2
    assert threads() == before


def test_export_without_threads(no_threads, platform: LocalPlatform, make_exporter, make_provider):
    """An export at interpreter exit, the batch processor's last, delivers on its own thread."""
    exporter = make_exporter()
    assert (
        exporter.export([make_provider().get_tracer("t").start_span("one")._readable_span()]).name
        == "SUCCESS"
    )
    assert len(platform.spans("shop")) == 1


def test_a_late_thread_takes_over(platform: LocalPlatform, traced, monkeypatch: pytest.MonkeyPatch):
    """Where a thread could not be had at first, the next call starts it."""
    with monkeypatch.context() as patched:
        patched.setattr(native, "_start_new_thread", lambda *_: exec("raise RuntimeError"))
        exporter, tracer = traced()
        tracer.start_span("one").end()
    assert exporter.force_flush(5000)
    before = threads()
    tracer.start_span("two").end()
    platform.wait_for(lambda p: len(p.spans("shop")) == 2, 10)
    assert threads() >= before


def test_subinterpreters_get_no_thread(traced, monkeypatch: pytest.MonkeyPatch):
    """Where the interpreter refuses daemon threads, none is started: it would abort the process at its end."""
    monkeypatch.setattr(native._thread, "daemon_threads_allowed", lambda: False, raising=False)
    before = threads()
    exporter, tracer = traced()
    tracer.start_span("one").end()
    assert exporter.force_flush(5000)
    assert threads() == before


def test_ctrl_c_on_the_thread_that_does_the_work(no_threads, platform, traced, monkeypatch):
    """It reaches the program, and neither the flow nor the courier looks busy for ever."""
    exporter, tracer = traced()
    tracer.start_span("one").end()
    once(monkeypatch, FlowsApi, "put", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        exporter.force_flush(5000)
    assert exporter.status()["shop"].state != "busy"
    assert exporter.force_flush(5000)
    assert len(platform.spans("shop")) == 1


def test_one_thread_at_a_time_without_threads(no_threads, platform: LocalPlatform, traced):
    """Threads that ask at once take turns, and each gets its answer."""
    exporter, tracer = traced()
    answers: list[bool] = []

    def ask() -> None:
        tracer.start_span("s").end()
        answers.append(exporter.force_flush(10_000))

    asking = [threading.Thread(target=ask) for _ in range(8)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(20)
    assert answers == [True] * 8
    assert len(platform.spans("shop")) == 8


@pytest.mark.parametrize("error", [MemoryError(), OSError(24, "Too many open files"), SystemExit()])
def test_a_fault_in_a_step_is_a_failed_attempt(platform: LocalPlatform, traced, monkeypatch, caplog, error):
    """What is raised while a step is performed is the flow's last error and a line; then delivery goes on."""
    once(monkeypatch, FlowsApi, "get", error)
    exporter, tracer = traced()
    tracer.start_span("one").end()
    platform.wait_for(lambda p: len(p.spans("shop")) == 1, 10)
    said = type(error).__name__ if isinstance(error, Exception) else "interrupted"
    assert said in (exporter.status()["shop"].last_error or "")
    assert len([record for record in caplog.records if said in record.message]) == 1


FAULTS = [
    *((Flows, method) for method in ("hand_over", "begin_next", "feed", "notices", "changes")),
    *((Ranking, method) for method in ("put", "moved", "_catch_up")),
    *((Flow, method) for method in ("hand_over", "begin", "feed")),
    *((Window, method) for method in ("add", "deliver", "trim")),
    *((Memory, method) for method in ("get", "measure")),
    *((Due, method) for method in ("put", "begun")),
    *((Intake, method) for method in ("take", "route")),
    *((TurnQueue, method) for method in ("enter", "leave")),
    *((Keeper, method) for method in ("begin_turn", "end_turn", "keep", "inherit")),
    (Crew, "give"),
    (Crew, "make"),
    (OpenQuestions, "add"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("owner", "method"), FAULTS)
def test_a_fault_of_ours_costs_a_round(platform: LocalPlatform, traced, monkeypatch, caplog, owner, method):
    """Memory that runs out anywhere in the courier's own work loses no span and no flush, and is said."""
    exporter, tracer = traced()
    for count in (2, 4):
        once(monkeypatch, owner, method, MemoryError())
        with tracer.start_as_current_span("one"):
            tracer.start_span("part").end()
        if count == 4:
            assert exporter.force_flush(5000)
        platform.wait_for(lambda p, count=count: len(p.spans("shop")) == count, 10)
        assert exporter.force_flush(5000)
        status = exporter.status()["shop"]
        assert (status.handed_over, status.delivered, status.pending) == (count, count, 0)
    assert any("MemoryError" in record.message for record in caplog.records)


def test_one_cause_is_one_line(platform: LocalPlatform, traced, monkeypatch, caplog):
    """What keeps the work from beginning, and then hits it once it has begun, is said once."""
    exhausted = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    once(monkeypatch, wiring, "wired", exhausted)
    once(monkeypatch, Flows, "begin_next", exhausted)
    exporter, tracer = traced()
    tracer.start_span("one").end()
    assert exporter.force_flush(5000)
    platform.wait_for(lambda p: len(p.spans("shop")) == 1, 10)
    said = "the exporter met OSError (Too many open files) in its own work, and goes on"
    assert [record.getMessage() for record in caplog.records] == [said]


def test_a_courier_that_has_ended_is_replaced(platform: LocalPlatform, traced, monkeypatch):
    """Whatever ends its thread, in a place where nothing bears it: who leaves a span next starts another one."""
    exporter, tracer = traced()
    ended = threading.Event()
    monkeypatch.setattr(sys, "unraisablehook", lambda _: ended.set())
    once(monkeypatch, Courier, "_go_round", MemoryError())
    tracer.start_span("one").end()
    exporter.status()
    assert ended.wait(10)
    tracer.start_span("two").end()
    platform.wait_for(lambda p: len(p.spans("shop")) == 2, 10)


def test_what_could_not_be_handed_over_is_handed_over_first(platform: LocalPlatform, traced, monkeypatch):
    """Memory that runs out there, for however long: a flush then delivers that, and all that was left since."""
    fails = threading.Event()
    fails.set()
    method = Flows.hand_over

    def hand_over(*arguments: Any) -> Any:
        if fails.is_set():
            raise MemoryError
        return method(*arguments)

    monkeypatch.setattr(Flows, "hand_over", hand_over)
    exporter, tracer = traced()
    tracer.start_span("one").end()
    assert not exporter.force_flush(300)
    exporter.export([tracer.start_span("two")._readable_span()])
    tracer.start_span("three").end()
    fails.clear()
    assert exporter.force_flush(5000)
    assert {span["name"] for span in platform.spans("shop")} == {"one", "two", "three"}


def test_what_could_not_be_handed_over_is_counted(platform: LocalPlatform, traced, monkeypatch):
    """At the end it is lost, and not without a word."""
    exporter, tracer = traced(timeout=1)
    tracer.start_span("one").end()
    assert exporter.force_flush(5000)

    def hand_over(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Flows, "hand_over", hand_over)
    tracer.start_span("two").end()
    exporter.export([tracer.start_span("three")._readable_span()])
    exporter.shutdown()
    assert exporter._courier.over
    counts = exporter._courier.totals()
    assert (counts.delivered, counts.dropped) == (1, {"shutdown": 2})


def test_work_that_never_begins_is_said_at_the_end(traced, monkeypatch, caplog):
    """Where what delivers can't be made, as in a child that has half of a module, what is lost is counted and said."""

    def fails(*_: object, **__: object) -> None:
        raise ImportError("half a module")

    monkeypatch.setattr("opentelemetry.exporter.versori_flow.wiring.wired", fails)
    exporter, tracer = traced(timeout=1, export_wait=0)
    tracer.start_span("one").end()
    exporter.export([tracer.start_span("two")._readable_span()])
    assert exporter.status()[""].last_error == "ImportError"
    begun = time.monotonic()
    exporter.shutdown(500)
    assert time.monotonic() - begun < 5
    totals = exporter._courier.totals()
    assert (totals.handed_over, totals.pending, totals.dropped) == (2, 0, {"shutdown": 2})
    assert exporter.status()[""].dropped == {"shutdown": 2}
    said = [record.getMessage() for record in caplog.records]
    assert said[-1] == "2 spans are lost: the exporter could not begin its work, it met ImportError each time"
    exporter.shutdown()
    assert [record.getMessage() for record in caplog.records] == said


KEEPING = [
    *((Keeper, method) for method in ("inherit", "keep", "gone")),
    *((Spool, method) for method in ("apply", "leave", "remarks")),
]


@pytest.mark.slow
@pytest.mark.parametrize(("owner", "method"), KEEPING)
def test_what_never_works_again_is_not_waited_for(traced, monkeypatch, tmp_path, caplog, owner, method):
    """Where keeping spans fails whenever it is tried, shutdown ends in time, and every span is accounted for."""
    exporter, tracer = traced(timeout=1, store=f"sqlite://{tmp_path}")
    tracer.start_span("one").end()
    assert exporter.force_flush(5000)

    def fails(*_: object, **__: object) -> None:
        raise ImportError("half a module")

    monkeypatch.setattr(owner, method, fails)
    tracer.start_span("two").end()
    begun = time.monotonic()
    exporter.shutdown(500)
    assert time.monotonic() - begun < 5
    assert exporter._courier.over
    status = exporter.status()["shop"]
    assert (status.handed_over, status.delivered + status.pending + sum(status.dropped.values())) == (2, 2)
    if not (status.delivered == 2 or status.pending):
        assert any("is lost" in record.message for record in caplog.records)


@pytest.mark.parametrize("where", ["os.getuid", "os.open"])
def test_a_turn_that_can_not_be_taken(platform: LocalPlatform, traced, monkeypatch, where):
    """Where something is raised that the system raises nowhere (no memory, a test's own function), it goes without, and
    takes turns again afterwards."""
    with monkeypatch.context() as refusing:
        refusing.setattr(where, refuse)
        exporter, tracer = traced()
        tracer.start_span("one").end()
        assert exporter.force_flush(5000)
    tracer.start_span("two").end()
    begun = time.monotonic()
    assert exporter.force_flush(5000)
    assert time.monotonic() - begun < 2
    assert len(platform.spans("shop")) == 2


class Leaves:
    """Text whose code ends the program."""

    def __str__(self) -> str:
        raise SystemExit


def test_what_raises_no_ordinary_exception(platform: LocalPlatform, traced):
    """A flow's name or an attribute that would end the program costs what it is, and no other span."""

    def flow_name(span: Any) -> str:
        if span.name == "leaves":
            raise SystemExit
        return "named"

    exporter, tracer = traced(flow_name=flow_name)
    for name in ("one", "leaves", Leaves(), "two"):
        tracer.start_span(name).end()
    assert exporter.force_flush(5000)
    assert [span["name"] for span in platform.spans("named")] == ["one", "<Leaves>", "two"]
    assert [span["name"] for span in platform.spans("shop")] == ["leaves"]


@pytest.mark.slow
def test_delivery_goes_on_while_spans_never_pause(platform: LocalPlatform, traced):
    """Where spans come faster than one thread takes them, those that were taken are delivered all the same."""
    _, tracer = traced(max_spans=1000)
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            tracer.start_span("one").end()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        platform.wait_for(lambda p: p.counts().get(("PUT", 200), 0) >= 3, 30)
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_a_start_that_fails_is_made_again(platform: LocalPlatform, traced, monkeypatch, error):
    """Memory that runs out there, or what a signal handler raises, costs the thread one start, and no span."""
    with monkeypatch.context() as none:
        none.setattr(native, "_start_new_thread", refuse)
        _, tracer = traced()
    once(monkeypatch, native, "_start_new_thread", error())
    with contextlib.suppress(KeyboardInterrupt):
        tracer.start_span("one").end()
    tracer.start_span("two").end()
    platform.wait_for(lambda p: len(p.spans("shop")) == 2)


def test_a_log_handler_that_raises(platform: LocalPlatform, traced, monkeypatch: pytest.MonkeyPatch):
    """It ends no delivery."""

    class Raises(logging.Handler):
        def handle(self, record: logging.LogRecord) -> Any:
            raise SystemExit if record.levelno >= logging.WARNING else RuntimeError

    handler = Raises()
    logging.getLogger(LOGGER).addHandler(handler)
    try:
        platform.fault("status=503,times=2")
        exporter, tracer = traced()
        tracer.start_span("one").end()
        platform.wait_for(lambda p: len(p.spans("shop")) == 1, 10)
        assert exporter.force_flush(5000)
    finally:
        logging.getLogger(LOGGER).removeHandler(handler)


def test_a_log_stream_that_was_closed(platform: LocalPlatform, traced, capsys: pytest.CaptureFixture[str]):
    """It costs no traceback of `logging`, as at exit under a test runner; other handlers get the lines."""
    closed, still_open = io.StringIO(), io.StringIO()
    handlers = [logging.StreamHandler(closed), logging.StreamHandler(still_open)]
    for handler in handlers:
        logging.getLogger(LOGGER).addHandler(handler)
    try:
        platform.fault("status=503")
        exporter, tracer = traced(export_wait=0)
        tracer.start_span("one").end()
        closed.close()
        exporter.shutdown(500)
        exporter.export([])
        exporter.leave(None)
        exporter._say_late()
    finally:
        for handler in handlers:
            logging.getLogger(LOGGER).removeHandler(handler)
    assert "1 span is lost" in still_open.getvalue()
    assert "1 span came after shutdown and is lost" in still_open.getvalue()
    assert capsys.readouterr().err == ""


def test_calls_on_its_own_thread_do_not_wait(platform: LocalPlatform, traced):
    """What a finalizer or a log handler asks there is answered at once: it would wait for itself."""
    exporter, tracer = traced()
    asked: list[Any] = []

    class Asks(logging.Handler):
        def handle(self, record: logging.LogRecord) -> Any:
            if not asked:
                began = time.monotonic()
                tracer.start_span("in the handler").end()
                asked.extend([exporter.force_flush(60_000), exporter.export([]), exporter.status()])
                asked.append(time.monotonic() - began)
            return True

    handler = Asks()
    logging.getLogger(LOGGER).addHandler(handler)
    try:
        platform.fault("status=503,times=1")
        tracer.start_span("one").end()
        platform.wait_for(lambda p: len(p.spans("shop")) == 2, 10)
    finally:
        logging.getLogger(LOGGER).removeHandler(handler)
    flushed, _, status, took = asked
    assert flushed is False
    assert status["shop"].handed_over >= 1
    assert took < 5


def test_flush_gives_up_where_nothing_can_change(platform: LocalPlatform, traced):
    """A key that is refused stays refused: it does not sit out its time."""
    exporter, tracer = traced(api_key="another")
    tracer.start_span("one").end()
    began = time.monotonic()
    assert exporter.force_flush(60_000) is False
    assert time.monotonic() - began < 20


def test_threads_go_when_it_is_over(platform: LocalPlatform, traced):
    """After shutdown no thread of the courier's is left."""
    before = threads()
    exporter, tracer = traced()
    for number in range(20):
        tracer.start_span("s", attributes={"versori.flow.name": f"f{number}"}).end()
    assert exporter.force_flush(10_000)
    assert threads() > before
    exporter.shutdown(5000)
    until = time.monotonic() + 10
    while threads() > before and time.monotonic() < until:
        threading.Event().wait(0.01)
    assert threads() <= before


def shutting_down(exporter) -> threading.Thread:
    """A thread in the midst of the exporter's shutdown."""
    thread = threading.Thread(target=exporter.shutdown)
    thread.start()
    while not exporter._courier.closing:
        time.sleep(0)
    return thread


def test_a_second_shutdown_waits_for_the_first(platform: LocalPlatform, traced):
    """Whoever shuts down while another thread does returns when all is delivered, not before."""
    platform.fault("slow=0.3")
    exporter, tracer = traced()
    tracer.start_span("one").end()
    first = shutting_down(exporter)
    exporter.shutdown(10_000)
    assert len(platform.spans("shop")) == 1
    first.join(10)


def test_a_second_shutdown_with_less_time_cuts_nothing(platform: LocalPlatform, traced):
    """It returns when its own time is up; the first goes on."""
    platform.fault("slow=0.5")
    exporter, tracer = traced()
    tracer.start_span("one").end()
    first = shutting_down(exporter)
    began = time.monotonic()
    exporter.shutdown(100)
    assert time.monotonic() - began < 0.4
    assert first.is_alive()
    first.join(10)
    assert (len(platform.spans("shop")), exporter.status()["shop"].delivered) == (1, 1)


def test_what_comes_late_is_counted_and_said_once(platform: LocalPlatform, traced, make_provider, caplog):
    """After shutdown, a second one included, an export is FAILURE, a span is counted, and one line says so."""
    exporter, tracer = traced()
    exporter.shutdown()
    exporter.shutdown()
    tracer.start_span("late").end()
    span = make_provider().get_tracer("t").start_span("later")._readable_span()
    assert exporter.export([span]).name == exporter.export([span, span]).name == "FAILURE"
    assert [record.message for record in caplog.records] == [
        "2 spans came after shutdown and are lost, as all that follow"
    ]
    assert exporter._totals().dropped == {"shutdown": 4}
    assert platform.requests == []


def test_a_span_that_is_left_while_a_handler_shuts_down(platform: LocalPlatform, traced):
    """Shut down in the middle of a span's end, which nobody takes any more: it is counted as lost."""
    exporter, tracer = traced()
    span = tracer.start_span("one")

    def shut_down(frame: FrameType, *_: object) -> None:
        if frame.f_code is Intake.leave.__code__:
            sys.settrace(None)
            exporter.shutdown()

    sys.settrace(shut_down)
    try:
        span.end()
    finally:
        sys.settrace(None)
    totals = exporter._totals()
    assert (totals.handed_over, totals.dropped) == (1, {"shutdown": 1})


def test_a_key_file_that_can_not_be_read_is_said(platform: LocalPlatform, traced, tmp_path, caplog):
    """The last good key stays in use, and one line says what is wrong with the file."""
    file = tmp_path / "key"
    file.write_text(KEY)
    exporter, tracer = traced(api_key=None, api_key_file=str(file))
    file.unlink()
    for _ in range(2):
        tracer.start_span("s").end()
        assert exporter.force_flush(5000)
    assert len([record for record in caplog.records if "VERSORI_API_KEY_FILE" in record.message]) == 1


def test_flows_that_leave_memory_leave_nothing(platform: LocalPlatform, traced):
    """Where no store asks which windows are gone, their names do not pile up."""
    exporter, tracer = traced(max_flows=1)
    for number in range(5):
        tracer.start_span("s", attributes={"versori.flow.name": f"f{number}"}).end()
        assert exporter.force_flush(5000)
    assert len(exporter.status()) == 5
    assert exporter._courier.wire().flows.parted == set()


def test_the_last_line_stays_one_that_is_read(platform: LocalPlatform, traced, tmp_path, caplog):
    """A flow's name is cut there as in all other lines."""
    platform.fault(DOWN)
    exporter, tracer = traced(store=f"sqlite://{tmp_path}")
    tracer.start_span("s", attributes={"versori.flow.name": "x" * 300}).end()
    exporter.shutdown(500)
    said = [record.message for record in caplog.records if "1 span not delivered: kept in" in record.message]
    assert [line.partition(":")[0] for line in said] == [f"flow '{'x' * 199}…'"]
