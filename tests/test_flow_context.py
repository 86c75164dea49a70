"""`flow("name")`: what is begun below it belongs to that flow, wherever OpenTelemetry's context goes."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import inspect
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.sdk.trace import Span, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from opentelemetry import baggage, trace
from opentelemetry.exporter.versori_flow import (
    FlowNameProcessor,
    VersoriFlowSpanExporter,
    VersoriFlowSpanProcessor,
    flow,
)
from opentelemetry.exporter.versori_flow.server import LocalPlatform
from tests.conftest import KEY

NAME = "versori.flow.name"


@pytest.fixture
def seen() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(seen: InMemorySpanExporter) -> Iterator[trace.Tracer]:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(FlowNameProcessor())
    provider.add_span_processor(SimpleSpanProcessor(seen))
    yield provider.get_tracer("test")
    provider.shutdown()


def flows(seen: InMemorySpanExporter) -> dict[str, Any]:
    """The flow's name on each span, by the span's name."""
    return {span.name: (span.attributes or {}).get(NAME) for span in seen.get_finished_spans()}


def test_what_is_begun_below_it_belongs_to_it(
    make_exporter: Callable[..., VersoriFlowSpanExporter],
    make_provider: Callable[..., TracerProvider],
    platform: LocalPlatform,
):
    """Spans arrive in the flow that they were begun in, and others in their service's; ended outside it or not."""
    provider = make_provider("shop")
    provider.add_span_processor(VersoriFlowSpanProcessor(make_exporter()))
    tracer = provider.get_tracer("test")
    with flow("orders"), tracer.start_as_current_span("outer"):
        tracer.start_span("inner").end()
        late = tracer.start_span("late")
    late.end()
    tracer.start_span("other").end()
    assert provider.force_flush(10_000)
    assert sorted(span["name"] for span in platform.spans("orders")) == ["inner", "late", "outer"]
    assert [span["name"] for span in platform.spans("shop")] == ["other"]


def test_the_innermost_wins_and_the_outer_one_comes_back(tracer, seen):
    """Nested, entered again in itself, left by an exception: each span has the flow of the place it was begun at."""
    orders = flow("orders")
    with orders:
        with flow("refunds"), orders:
            tracer.start_span("again").end()
        with contextlib.suppress(KeyError), flow("refunds"):
            tracer.start_span("refund").end()
            raise KeyError
        tracer.start_span("order").end()
        with flow(""):
            tracer.start_span("empty").end()
    tracer.start_span("none").end()
    assert flows(seen) == {
        "again": "orders",
        "refund": "refunds",
        "order": "orders",
        "empty": None,
        "none": None,
    }


def test_a_spans_own_name_wins(tracer, seen):
    """What a span sets itself stays, when it is begun and later."""
    with flow("orders"):
        tracer.start_span("begun", attributes={NAME: "own"}).end()
        with tracer.start_as_current_span("later") as later:
            later.set_attribute(NAME, "own")
    assert flows(seen) == {"begun": "own", "later": "own"}


def test_an_explicit_context_counts(tracer, seen):
    """The context that a span is begun with decides, not the one that happens to be current."""
    with flow("orders"):
        inside = get_current()
        tracer.start_span("outside", context=Context()).end()
    tracer.start_span("inside", context=inside).end()
    assert flows(seen) == {"outside": None, "inside": "orders"}


def test_as_a_decorator(tracer, seen):
    """Functions, methods and coroutine functions keep their name, their result and their exception."""

    @flow("orders")
    def synchronous(fail: bool = False) -> str:
        """Its own words."""
        tracer.start_span("synchronous").end()
        if fail:
            raise KeyError
        return "done"

    @flow("refunds")
    async def asynchronous() -> str:
        await asyncio.sleep(0)
        tracer.start_span("asynchronous").end()
        return "awaited"

    class Worker:
        @flow("work")
        def method(self) -> Worker:
            tracer.start_span("method").end()
            return self

    async def both() -> str:
        task = asyncio.create_task(asynchronous())
        await asyncio.sleep(0)
        tracer.start_span("beside").end()
        return await task

    assert (synchronous(), synchronous.__name__, synchronous.__doc__) == (
        "done",
        "synchronous",
        "Its own words.",
    )
    with pytest.raises(KeyError):
        synchronous(fail=True)
    assert inspect.iscoroutinefunction(asynchronous)
    assert asyncio.run(both()) == "awaited"
    worker = Worker()
    assert worker.method() is worker
    tracer.start_span("after").end()
    assert flows(seen) == {
        "synchronous": "orders",
        "asynchronous": "refunds",
        "beside": None,
        "method": "work",
        "after": None,
    }


def test_a_recursive_function_and_one_scope_in_many_threads_and_tasks(tracer, seen, caplog):
    """One scope serves calls that overlap, in threads, in tasks and in itself; no token is given back twice."""
    scope, start = flow("orders"), threading.Barrier(4)

    @scope
    def deep(levels: int) -> None:
        start.wait(10) if levels == 3 else None
        if levels:
            deep(levels - 1)
        tracer.start_span(f"{threading.current_thread().name}-{levels}").end()

    @scope
    async def waiting(number: int) -> None:
        await asyncio.sleep(0)
        tracer.start_span(f"task-{number}").end()

    async def tasks() -> None:
        await asyncio.gather(*map(waiting, range(4)))

    threads = [threading.Thread(target=deep, args=(3,), name=f"t{number}") for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asyncio.run(tasks())
    assert len(flows(seen)) == 20
    assert set(flows(seen).values()) == {"orders"}
    assert caplog.records == []


def dependency(name: str) -> Iterator[None]:
    """What frameworks enter in one context and leave in another."""
    with flow(name):
        yield


def test_left_in_another_context_than_it_was_entered_in(tracer, seen, caplog):
    """As FastAPI does with a generator in its thread pool: nothing is raised, and others' flows stay."""
    entered = contextlib.contextmanager(dependency)("orders")
    contextvars.copy_context().run(entered.__enter__)
    with flow("refunds"):
        entered.__exit__(None, None, None)
        tracer.start_span("refund").end()
    tracer.start_span("none").end()
    assert flows(seen) == {"refund": "refunds", "none": None}
    assert caplog.records == []


def test_left_in_a_copy_of_the_context_that_it_was_entered_in(tracer, seen, caplog):
    """It ends there, and stays where it was entered; the log has no failed detach."""
    with flow("refunds"):
        entered = dependency("orders")
        next(entered)
        copied = contextvars.copy_context()
        copied.run(entered.close)
        copied.run(tracer.start_span, "copied").end()
        tracer.start_span("entered").end()
    tracer.start_span("none").end()
    assert flows(seen) == {"copied": "refunds", "entered": "orders", "none": None}
    assert caplog.records == []


def test_left_in_another_order_than_they_were_entered_in(tracer, seen, caplog):
    """Generators that take turns: each ends its own flow, and the span that was begun between them stays current."""
    first, second = dependency("orders"), dependency("refunds")

    def turns() -> None:
        next(first)
        with tracer.start_as_current_span("outer"):
            next(second)
            first.close()
            tracer.start_span("refund").end()
            second.close()
            tracer.start_span("none").end()

    contextvars.copy_context().run(turns)
    spans = {span.name: span for span in seen.get_finished_spans()}
    assert flows(seen) == {"outer": "orders", "refund": "refunds", "none": None}
    assert spans["none"].parent == spans["outer"].context
    assert caplog.records == []


def test_an_asynchronous_generator_that_each_task_steps_once(tracer, seen, caplog):
    """As pytest-asyncio's fixtures: set up in one task, torn down in another."""

    async def fixture() -> AsyncIterator[None]:
        with flow("tests"):
            tracer.start_span("fixture").end()
            yield

    async def steps() -> None:
        stepped = fixture()
        await asyncio.create_task(stepped.__anext__())
        with pytest.raises(StopAsyncIteration):
            await asyncio.create_task(stepped.__anext__())
        tracer.start_span("none").end()

    asyncio.run(steps())
    assert flows(seen) == {"fixture": "tests", "none": None}
    assert caplog.records == []


def test_it_goes_into_threads_with_the_context_and_into_no_baggage(tracer, seen):
    """A thread has the flow where it has the context; nothing of it would leave the process with a request."""

    def work(name: str, context: Context | None = None) -> None:
        token = attach(context) if context is not None else None
        tracer.start_span(name).end()
        if token is not None:
            detach(token)

    with flow("orders"):
        copied = contextvars.copy_context()
        threads = [
            threading.Thread(target=work, args=("bare",)),
            threading.Thread(target=copied.run, args=(work, "copied")),
            threading.Thread(target=work, args=("attached", get_current())),
        ]
        assert baggage.get_all() == {}
    for thread in threads:
        thread.start()
        thread.join()
    assert flows(seen) == {"bare": None, "copied": "orders", "attached": "orders"}


@pytest.mark.parametrize("kind", ["generator", "asynchronous generator", "no name", "a number"])
def test_what_can_not_work_is_refused_with_what_to_write(kind):
    """A generator, `@flow` without a name and a name that is no text are refused where they are written."""

    def generator():
        yield

    async def asynchronous():
        yield

    with pytest.raises(TypeError, match=r"write .*flow\("):
        {
            "generator": lambda: flow("orders")(generator),
            "asynchronous generator": lambda: flow("orders")(asynchronous),
            "no name": lambda: flow(generator),
            "a number": lambda: flow(7),
        }[kind]()


PROGRAM = """
from opentelemetry import trace
from opentelemetry.exporter.versori_flow import flow
{setup}
tracer = trace.get_tracer("test")
for number in range(3):
    with flow("orders"), tracer.start_as_current_span("work"): pass
tracer.start_span("other").end()
print(len(trace.get_tracer_provider()._active_span_processor._span_processors))
"""
BATCH = """
from opentelemetry.exporter.versori_flow import VersoriFlowSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
with flow("too early"): pass
trace.set_tracer_provider(TracerProvider())
trace.get_tracer_provider().add_span_processor(BatchSpanProcessor(VersoriFlowSpanExporter()))
"""


@pytest.mark.parametrize("way", ["in code", "auto-instrumentation"])
def test_the_global_provider_needs_nothing(platform, way):
    """Behind the SDK's batch processor, which auto-instrumentation takes, the first use adds what it needs, once."""
    environ = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "VERSORI_"))},
        "VERSORI_API_KEY": KEY,
        "VERSORI_ORGANISATION_ID": platform.organisation_id,
        "VERSORI_PROJECT_ID": platform.project_id,
        "VERSORI_API_BASE_URL": platform.url,
        "OTEL_SERVICE_NAME": "shop",
        "OTEL_TRACES_EXPORTER": "versori_flow",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
    }
    setup = BATCH if way == "in code" else ""
    launcher = (
        [] if setup else ["-c", "from opentelemetry.instrumentation.auto_instrumentation import run; run()"]
    )
    python = [sys.executable, *launcher, *([sys.executable] if launcher else [])]
    done = subprocess.run(
        [*python, "-c", PROGRAM.format(setup=setup)],
        env=environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
    assert [span["name"] for span in platform.spans("orders")] == ["work"] * 3
    assert [span["name"] for span in platform.spans("shop")] == ["other"]


AT_ONCE = """
import signal, threading
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.exporter.versori_flow import flow

def work(*_):
    with flow("orders"), trace.get_tracer("test").start_as_current_span("work") as span:
        if threading.current_thread() is not threading.main_thread():
            seen.append(span.attributes.get("versori.flow.name"))

class Slow(TracerProvider):
    def add_span_processor(self, processor):
        with lock:
            started.set()
            signal.raise_signal(signal.SIGUSR1) if threading.current_thread() is threading.main_thread() else None
            there.wait(0.2)
            super().add_span_processor(processor)

lock, started, there, seen = threading.Lock(), threading.Event(), threading.Event(), []
signal.signal(signal.SIGUSR1, work)
trace.set_tracer_provider(Slow())
threads = [threading.Thread(target=lambda: (started.wait(), work())) for _ in range(4)]
for thread in threads: thread.start()
work()
for thread in threads: thread.join()
print(*seen)
"""


def test_the_first_use_may_come_from_many_threads_and_again_in_itself():
    """While the global provider is equipped no other span slips through, and a signal handler doesn't hang."""
    done = subprocess.run(
        [sys.executable, "-c", AT_ONCE], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout.split()) == (0, ["orders"] * 4), done.stderr


def test_on_start_may_be_entered_again_anywhere(make_exporter, tracer):
    """A finalizer that begins and ends a span amid another's begin neither hangs nor raises; nobody waits."""
    exporter = make_exporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(VersoriFlowSpanProcessor(exporter))
    inner = provider.get_tracer("inner")
    ended: list[Span] = []

    class Finalized:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            with flow("finalizers"), inner.start_as_current_span("finalizer") as span:
                ended.append(span)

    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        with flow("orders"):
            for _ in range(300):
                Finalized()
                inner.start_span("work").end()
    finally:
        gc.set_threshold(*before)
    # A collection that another thread is in the middle of leaves this one nothing to do.
    deadline = time.monotonic() + 20
    while len(ended) < 300 and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.01)
    assert len(ended) == 300
    assert {span.attributes[NAME] for span in ended} == {"finalizers"}
    assert exporter.force_flush(20_000)
    status = exporter.status()
    assert status["orders"].delivered + status["finalizers"].delivered == 600


def test_processors_of_others_are_left_alone(seen):
    """A provider that isn't the global one keeps its processors; with none of ours its spans have no flow."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(seen))
    with flow("orders"):
        provider.get_tracer("test").start_span("work").end()
    provider.shutdown()
    assert flows(seen) == {"work": None}
