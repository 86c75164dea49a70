"""`span.end()` of `VersoriFlowSpanProcessor` beside `BatchSpanProcessor`, and a span's cost from start to delivery.

    python -m benchmarks.ending [--short]

Three arrivals: paced (1,500 spans a second), a burst that a queue of 2,048 holds, and a burst of 10,000, which it
does not hold. Contestants take turns; each round has a provider of its own, whose first span is not measured.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from benchmarks.report import NO_GOAL, Report, exporter
from benchmarks.sink import sink
from benchmarks.spans import make_spans
from opentelemetry.exporter.versori_flow import VersoriFlowSpanExporter, VersoriFlowSpanProcessor

OURS, BATCHED, OTLP, NONE = (
    "VersoriFlowSpanProcessor",
    "BatchSpanProcessor(ours)",
    "BatchSpanProcessor(OTLP)",
    "none",
)
PER_SECOND = 1500
BURST, FLOOD = 2_000, 10_000

BEFORE = {"burst": 0.88}
BEFORE_BEYOND = {"paced": 1.46, "burst": 0.83}
"""Processor time of a span from start to delivery, `VersoriFlowSpanProcessor` / `BatchSpanProcessor(OTLP)`, while the
thread that ended a span encoded it and handed it over (version 0.1): what the goal of 0.7 is of. In all, and beyond
what the span takes without a processor; where arrival is paced, most of that is the program's own waiting.
Medians of three runs on two busy cores: 98 us beside 111 (burst), 126 beside 92 (paced, beyond none), 67 beside 79
(burst, beyond none)."""


@dataclass
class Ended:
    """What one contestant took, round by round, in seconds; the percentiles are those of a round."""

    median: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    p999: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    dropped: int = 0

    def add(self, took: list[float], cpu: float) -> None:
        took = sorted(took)
        for values, share in ((self.median, 0.5), (self.p99, 0.99), (self.p999, 0.999)):
            values.append(took[min(len(took) - 1, int(len(took) * share))])
        self.cpu.append(cpu)


def contestants(url: str) -> dict[str, Callable[[], tuple[SpanProcessor, VersoriFlowSpanExporter | None]]]:
    """Makes each processor, with the exporter that can say what became of the spans."""
    roomy = {"max_spans": 4 * FLOOD, "max_bytes": 10**9}

    def ours() -> tuple[SpanProcessor, VersoriFlowSpanExporter]:
        made = exporter(url, **roomy)
        return VersoriFlowSpanProcessor(made), made

    def batched() -> tuple[SpanProcessor, VersoriFlowSpanExporter]:
        made = exporter(url, **roomy)
        return BatchSpanProcessor(made), made

    return {
        OURS: ours,
        BATCHED: batched,
        OTLP: lambda: (BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{url}/v1/traces")), None),
        NONE: lambda: (SpanProcessor(), None),
    }


def one_round(
    made: tuple[SpanProcessor, VersoriFlowSpanExporter | None],
    flow: str,
    count: int,
    pause: float,
    into: Ended,
) -> None:
    """Ends `count` spans, and flushes; the time of `end` alone, and the processor time of it all."""
    processor, ours = made
    resource = Resource.create({"service.name": flow})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("bench")
    attributes = dict(make_spans(1)[0].attributes or {})
    tracer.start_span("first").end()
    provider.force_flush()
    took: list[float] = []
    clock = time.perf_counter
    cpu, due = time.process_time(), clock()
    for _ in range(count):
        span = tracer.start_span("GET /orders/{id}", attributes=attributes)
        begin = clock()
        span.end()
        took.append(clock() - begin)
        if pause:
            due += pause
            time.sleep(max(0.0, due - clock()))
    provider.force_flush()
    if ours is not None:
        ours.force_flush(30_000)  # a provider's stops at the exporter's pacing
    into.add(took, time.process_time() - cpu)
    if ours is not None:
        into.dropped += count + 1 - sum(flow.delivered for flow in ours.status().values())
    provider.shutdown()


def ending(report: Report, short: bool) -> None:
    """All arrivals, and the rows of the report."""
    paced = PER_SECOND if short else 4 * PER_SECOND
    plan = [
        ("paced", f"paced, {PER_SECOND:,}/s", paced, 1 / PER_SECOND, 3 if short else 9),
        ("burst", f"burst of {BURST:,}", BURST, 0.0, 9 if short else 31),
    ]
    if not short:
        plan.append(("flood", f"burst of {FLOOD:,}", FLOOD, 0.0, 9))
    for arrival, what, count, pause, rounds in plan:
        ended = {name: Ended() for name in (OURS, BATCHED, OTLP, NONE)}
        with sink() as url:
            for number in range(rounds):
                for name, make in contestants(url).items():
                    one_round(make(), f"{name}-{arrival}-{number}", count, pause, ended[name])
        _rows(report, arrival, what, count, ended)


def _rows(report: Report, arrival: str, what: str, count: int, ended: dict[str, Ended]) -> None:
    for name in (OURS, BATCHED, OTLP):
        of = ended[name]
        cells = [f"{statistics.median(values) * 1e6:.1f}" for values in (of.median, of.p99, of.p999)]
        report.fact(f"span.end(), {what}, {name}: median, p99, p99.9", " / ".join(cells) + " us")
        report.times(f"  a span from start to delivery, {name}: processor time", of.cpu, count, "us")
    report.times("  a span that no processor takes: processor time", ended[NONE].cpu, count, "us")
    for name in (OURS, BATCHED):
        lost = f"{ended[name].dropped:,} of {count * len(ended[name].cpu):,}"
        report.fact(f"  spans that never arrived, {what}, {name}", lost)
    goal = 1.10 if arrival != "flood" else NO_GOAL
    for field_name, words in (("median", "median"), ("p999", "p99.9")):
        ours, theirs = (getattr(ended[name], field_name) for name in (OURS, BATCHED))
        report.medians(f"span.end(), {what}, {words}: ours / BatchSpanProcessor(ours)", ours, theirs, goal)
        theirs = getattr(ended[OTLP], field_name)
        report.medians(f"span.end(), {what}, {words}: ours / BatchSpanProcessor(OTLP)", ours, theirs, NO_GOAL)
    words = f"processor time of a span, {what}"
    report.medians(
        f"{words}: ours / BatchSpanProcessor(OTLP)",
        ended[OURS].cpu,
        ended[OTLP].cpu,
        0.7 * BEFORE.get(arrival, NO_GOAL),
    )
    alone = statistics.median(ended[NONE].cpu)
    report.medians(
        f"{words}, beyond none: ours / BatchSpanProcessor(OTLP)",
        [cpu - alone for cpu in ended[OURS].cpu],
        [cpu - alone for cpu in ended[OTLP].cpu],
        0.7 * BEFORE_BEYOND.get(arrival, NO_GOAL),
    )


def main() -> None:
    """These rows alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="fewer and shorter rounds, no burst of 10,000")
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # a full queue says so at length
    report = Report()
    ending(report, parser.parse_args().short)
    report.print()


if __name__ == "__main__":
    main()
