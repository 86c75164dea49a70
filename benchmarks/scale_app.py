"""One measurement of `benchmarks.scale`, in a process of its own, which can be ended when it takes too long.

    python -m benchmarks.scale_app KIND URL ARGUMENTS...

Prints one line of JSON. `writer` prints "ready" first, and begins when a line is given to it.
"""

from __future__ import annotations

import json
import logging
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable

import httpx
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import set_span_in_context

from benchmarks.report import DOWN, ULID, exporter
from benchmarks.spans import make_spans
from opentelemetry.exporter.versori_flow import VersoriFlowSpanProcessor

ROOMY = {"max_spans": 20_000, "max_bytes": 10**9, "max_flows": 20_000, "timeout": 60}
FOREVER_MILLIS = 600_000
"""Whoever starts this program ends it."""

Figures = dict[str, float]


def provider_of(processor: SpanProcessor, service: str = "scale") -> TracerProvider:
    """A provider with one processor."""
    made = TracerProvider(resource=Resource.create({"service.name": service}), shutdown_on_exit=False)
    made.add_span_processor(processor)
    return made


def flush_ours(url: str, flows: int, prefix: str) -> Figures:
    """Three spans for each of many flows: from the first span's end to the end of the flush."""
    kept = InMemorySpanExporter()
    source = provider_of(SimpleSpanProcessor(kept))
    tracer = source.get_tracer("bench")
    attributes = dict(make_spans(1)[0].attributes or {})
    for number in range(flows):
        named = {**attributes, "versori.flow.name": f"{prefix}-{number:05}"}
        root = tracer.start_span("GET /orders/{id}", attributes=named)
        for _ in range(2):
            tracer.start_span("SELECT", set_span_in_context(root), attributes=attributes).end()
        root.end()
    made = exporter(url, **ROOMY)
    processor = VersoriFlowSpanProcessor(made)
    _first_span(processor, source)
    wall, cpu = time.perf_counter(), time.process_time()
    for span in kept.get_finished_spans():
        processor.on_end(span)
    flushed = processor.force_flush(FOREVER_MILLIS)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    delivered = sum(flow.delivered for flow in made.status().values()) - 1
    return {"wall": wall, "cpu": cpu, "lost": 3 * flows - delivered, "whole": float(flushed)}


def _first_span(processor: SpanProcessor, source: TracerProvider) -> None:
    """What is imported and started with the first span is measured elsewhere."""
    kept = InMemorySpanExporter()
    source.add_span_processor(SimpleSpanProcessor(kept))
    source.get_tracer("bench").start_span("first").end()
    processor.on_end(kept.get_finished_spans()[-1])
    processor.force_flush()


def loop(url: str, requests: int, prefix: str, of: str) -> Figures:
    """The peer: GET and PUT, one after the other, on one thread.

    Of as many flows as ours wrote, each with the body that ours wrote to `of`; where `prefix` is `of` itself,
    that flow is read and written again and again.
    """
    base = f"{url}/o/{ULID}/projects/{ULID}/workflows"
    headers = {"Authorization": "Bearer k", "Content-Type": "application/json"}
    with httpx.Client(headers=headers) as client:
        body = client.get(f"{base}/{of}").raise_for_status().content
        names = [of if prefix == of else f"{prefix}-{number:05}" for number in range(requests)]
        wall, cpu = time.perf_counter(), time.process_time()
        for name in names:
            client.get(f"{base}/{name}")
            client.put(f"{base}/{name}", content=body).raise_for_status()
        return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "bytes": len(body)}


def window(url: str, spans: int, flow: str) -> Figures:
    """A flow that is full, to which one trace is added, again and again."""
    made = exporter(url, **{**ROOMY, "max_spans": spans, "min_interval": 3600})
    provider = provider_of(VersoriFlowSpanProcessor(made), flow)
    tracer = provider.get_tracer("bench")
    attributes = dict(make_spans(1)[0].attributes or {})

    def trace(size: int = 10) -> None:
        root = tracer.start_span("GET /orders/{id}", attributes=attributes)
        for _ in range(size - 1):
            tracer.start_span("SELECT", set_span_in_context(root), attributes=attributes).end()
        root.end()

    for _ in range(spans // 10):
        trace()
    made.force_flush(FOREVER_MILLIS)
    walls, cpus = [], []
    for _ in range(12):
        wall, cpu = time.perf_counter(), time.process_time()
        trace()
        made.force_flush(FOREVER_MILLIS)
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return {"wall": statistics.median(walls[2:]), "cpu": statistics.median(cpus[2:])}


def threads(url: str, count: int, flow: str) -> Figures:
    """Threads that end 2,000 spans a second between them."""
    made = exporter(url, **ROOMY)
    provider = provider_of(VersoriFlowSpanProcessor(made), flow)
    end_paced(provider, 100, 1000, [flow])
    made.force_flush(FOREVER_MILLIS)
    each = 4000 // count
    results: list[tuple[list[float], float]] = []
    running = [
        threading.Thread(target=lambda: results.append(end_paced(provider, each, 2000 / count, [flow])))
        for _ in range(count)
    ]
    cpu = time.process_time()
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    made.force_flush(FOREVER_MILLIS)
    cpu = time.process_time() - cpu
    took = [one for times, _ in results for one in times]
    lost = 4100 - sum(flow.delivered for flow in made.status().values())
    thread_time = sum(own for _, own in results) / len(took)
    return {"median": statistics.median(took), "thread": thread_time, "cpu": cpu / len(took), "lost": lost}


def end_paced(
    provider: TracerProvider, count: int, per_second: float, flows: list[str]
) -> tuple[list[float], float]:
    """Ends spans, flow by flow in turn; what each `end` took, and the thread's processor time in all of them."""
    tracer = provider.get_tracer("bench")
    attributes = dict(make_spans(1)[0].attributes or {})
    took, own = [], 0.0
    due = time.perf_counter()
    for number in range(count):
        named = {**attributes, "versori.flow.name": flows[number % len(flows)]}
        span = tracer.start_span("GET /orders/{id}", attributes=named)
        cpu, begin = time.thread_time(), time.perf_counter()
        span.end()
        took.append(time.perf_counter() - begin)
        own += time.thread_time() - cpu
        due += 1 / per_second
        time.sleep(max(0.0, due - time.perf_counter()))
    return took, own


def many(url: str, flows: int, prefix: str, settle: int, seconds: int) -> Figures:
    """Spans of ten flows, while `flows` are held: delivered ones, or with the platform down pending ones.

    The process is watched for as long before and after, doing nothing: what that takes is its own figure, and is
    not counted as the spans' cost.
    """
    made = exporter(url, **{**ROOMY, "max_spans": 5000})
    provider = provider_of(VersoriFlowSpanProcessor(made), prefix)
    names = [f"{prefix}-{number:05}" for number in range(flows)]
    end_paced(provider, flows, 1e9, names)
    if url != DOWN:
        made.force_flush(FOREVER_MILLIS)
        end_paced(provider, 500, 1000, names[:10])
        made.force_flush(FOREVER_MILLIS)
    time.sleep(settle)
    count = 800 * seconds
    idle = _used(lambda: time.sleep(seconds))
    results: list[tuple[list[float], float]] = []

    def busy() -> None:
        until = time.monotonic() + seconds
        results.append(end_paced(provider, count, 1000, names[:10]))
        time.sleep(max(0.0, until - time.monotonic()))

    used = _used(busy)
    idle = (idle + _used(lambda: time.sleep(seconds))) / 2
    took, own = results[0]
    return {
        "median": statistics.median(took),
        "thread": own / count,
        "cpu": (used - idle) / count,
        "idle": idle / seconds,
    }


def _used(work: Callable[[], object]) -> float:
    cpu = time.process_time()
    work()
    return time.process_time() - cpu


def writer(url: str, spans: int, flow: str) -> Figures:
    """One of several processes that write one flow, and end."""
    made = exporter(url, **ROOMY)
    processor = VersoriFlowSpanProcessor(made)
    provider = provider_of(processor, flow)
    _first_span(processor, provider_of(SpanProcessor(), f"first-{os.getpid()}"))
    print("ready", flush=True)
    sys.stdin.readline()
    cpu = time.process_time()
    end_paced(provider, spans, 1e9, [flow])
    flushed = provider.force_flush(FOREVER_MILLIS)
    provider.shutdown()
    return {"cpu": time.process_time() - cpu, "whole": float(flushed)}


KINDS: dict[str, Callable[..., Figures]] = {
    "flush": flush_ours,
    "loop": loop,
    "window": window,
    "threads": threads,
    "many": many,
    "writer": writer,
}


def main(kind: str, url: str, *arguments: str) -> None:
    """Measures, and prints the figures."""
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # an outage is part of what is measured
    numbers = [int(one) if one.isdigit() else one for one in arguments]
    print(json.dumps(KINDS[kind](url, *numbers)), flush=True)
    os._exit(0)  # what the end of a process takes is not what is measured, and may be long


if __name__ == "__main__":
    main(*sys.argv[1:])
