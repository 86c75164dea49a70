"""Speed and memory beside OpenTelemetry's OTLP/HTTP protobuf and Zipkin JSON exporters, in one run.

    python -m benchmarks.compare [--short]

Rounds are interleaved, so that a machine whose speed drifts drifts for all. Figures are medians with the
smallest and the largest round; ratios are medians of the ratios round by round.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.zipkin.json import ZipkinExporter
from opentelemetry.exporter.zipkin.json.v2 import JsonV2Encoder
from opentelemetry.exporter.zipkin.node_endpoint import NodeEndpoint
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from rich.console import Console
from rich.table import Table

from benchmarks.sink import sink
from benchmarks.spans import make_spans
from opentelemetry.exporter.versori_flow import VersoriFlowSpanExporter, VersoriFlowSpanProcessor
from opentelemetry.exporter.versori_flow.encoding.span import SpanEncoder
from opentelemetry.exporter.versori_flow.flow.body import Body, head
from opentelemetry.exporter.versori_flow.flow.stored import read
from opentelemetry.exporter.versori_flow.http.answers import Found
from opentelemetry.exporter.versori_flow.http.api import FlowsApi
from opentelemetry.exporter.versori_flow.http.credentials import Credentials
from opentelemetry.exporter.versori_flow.settings.load import load_settings

ULID = "01J9ZQ3V5T7XKM2C8WBYH4RDNE"
BATCH = 512
NO_GOAL = float("nan")


@dataclass
class Run:
    """What one contestant took in each round, in seconds."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def interleaved(
    rounds: int, contestants: dict[str, Callable[[], object]], warm_up: int = 2
) -> dict[str, Run]:
    """Runs all in turn, round by round."""
    runs = {name: Run() for name in contestants}
    for number in range(warm_up + rounds):
        for name, contest in contestants.items():
            gc.collect()
            gc.disable()
            wall, cpu = time.perf_counter(), time.process_time()
            contest()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            gc.enable()
            if number >= warm_up:
                runs[name].wall.append(wall)
                runs[name].cpu.append(cpu)
    return runs


class Report:
    """Collects rows, prints the table."""

    def __init__(self) -> None:
        self.table = Table(title="Beside the peers", title_justify="left")
        for column in ("measured", "median", "smallest", "largest"):
            self.table.add_column(column, justify="left" if column == "measured" else "right")
        self.ratios = Table(title="Ratios", title_justify="left")
        for column in ("measured", "ratio", "to reach", ""):
            self.ratios.add_column(column, justify="left" if column == "measured" else "right")

    def times(self, what: str, values: Sequence[float], per: int, unit: str) -> None:
        scale = {"us": 1e6, "ms": 1e3}[unit] / per
        cells = (statistics.median(values), min(values), max(values))
        self.table.add_row(what, *(f"{value * scale:,.2f} {unit}" for value in cells))

    def fact(self, what: str, value: str) -> None:
        self.table.add_row(what, value, "", "")

    def ratio(
        self, what: str, ours: Sequence[float], theirs: Sequence[float], goal: float, at_least: bool
    ) -> None:
        """`at_least`: theirs/ours, as high as possible; else ours/theirs, as low as possible."""
        pairs = zip(ours, theirs, strict=True)
        value = statistics.median(b / a if at_least else a / b for a, b in pairs)
        if goal != goal:
            self.ratios.add_row(what, f"{value:.2f}", "", "")
            return
        reached = value >= goal if at_least else value <= goal
        sign = ">=" if at_least else "<="
        self.ratios.add_row(what, f"{value:.2f}", f"{sign} {goal:.2f}", "yes" if reached else "NO")

    def figure(self, what: str, value: float, unit: str, goal: float) -> None:
        self.ratios.add_row(
            what, f"{value:.1f} {unit}", f"<= {goal:.1f} {unit}", "yes" if value <= goal else "NO"
        )

    def print(self) -> None:
        console = Console(width=118)
        console.print(self.table)
        console.print(self.ratios)


def exporter(url: str, **keywords: object) -> VersoriFlowSpanExporter:
    """Ours, against the sink."""
    options: dict[str, object] = {
        "api_key": "k",
        "organisation_id": ULID,
        "project_id": ULID,
        "base_url": url,
    }
    return VersoriFlowSpanExporter(**{**options, **keywords})  # type: ignore[arg-type]


def must(result: SpanExportResult) -> None:
    """A figure of an export that fails would be no figure."""
    if result is not SpanExportResult.SUCCESS:
        raise RuntimeError("an export failed")


def encoding(report: Report, rounds: int) -> None:
    """Encoding alone, and `export` that only stores, beside OTLP's and Zipkin's encoders."""
    batch = make_spans(BATCH)
    encoder = SpanEncoder()
    zipkin, node = JsonV2Encoder(), NodeEndpoint()
    batches = iter([make_spans(BATCH, seed=seed) for seed in range(rounds + 2)])
    # A window that takes all, and a courier that is never woken: what storing costs, and nothing else.
    store = exporter("http://127.0.0.1:9", export_wait=0, min_interval=3600, max_spans=10**6, max_bytes=10**9)
    store._courier._wakes_at = float("-inf")
    runs = interleaved(
        rounds,
        {
            "ours": lambda: encoder.encode(batch),
            "store": lambda: store.hand_over(next(batches)),
            "otlp": lambda: encode_spans(batch).SerializeToString(),
            "zipkin": lambda: zipkin.serialize(batch, node),
        },
    )
    for name, what in (
        ("ours", "encoding, ours"),
        ("otlp", "encoding, OTLP protobuf"),
        ("zipkin", "encoding, Zipkin JSON"),
        ("store", "export() that only stores, ours"),
    ):
        report.times(f"{what}: processor time of a span", runs[name].cpu, BATCH, "us")
    report.ratio("encoding: OTLP protobuf / ours", runs["ours"].cpu, runs["otlp"].cpu, 6.0, at_least=True)
    report.ratio("encoding: Zipkin JSON / ours", runs["ours"].cpu, runs["zipkin"].cpu, NO_GOAL, at_least=True)
    report.ratio(
        "OTLP protobuf encoder / export() that only stores",
        runs["store"].cpu,
        runs["otlp"].cpu,
        4.5,
        at_least=True,
    )


def steady_stream(report: Report, rounds: int) -> None:
    """`export` of batch after batch into a full window of 1000 spans, in both modes, beside the peers."""
    with sink() as url, sink() as peers:
        contestants = {
            "replace": exporter(url, write_mode="replace", min_interval=0, flow_name="replace"),
            "merge": exporter(url, min_interval=0, flow_name="merge"),
            "otlp": OTLPSpanExporter(endpoint=f"{peers}/v1/traces"),
            "zipkin": ZipkinExporter(endpoint=f"{peers}/api/v2/spans"),
        }
        # The window of 1000 such spans must fit, or its bytes would be the bound that is measured.
        batches = [make_spans(BATCH, seed=seed) for seed in range(4 * (rounds + 4))]
        stream = iter(batches)
        runs = interleaved(
            rounds,
            {name: lambda c=c: must(c.export(next(stream))) for name, c in contestants.items()},
            warm_up=4,
        )
        for contestant in contestants.values():
            contestant.shutdown()
    names = {"replace": "ours, replace", "merge": "ours, merge", "otlp": "OTLP/HTTP", "zipkin": "Zipkin"}
    for key, name in names.items():
        report.times(f"export() of 512 spans, {name}: wall", runs[key].wall, 1, "ms")
        report.times(f"export() of 512 spans, {name}: processor", runs[key].cpu, 1, "ms")
    for mode, wall, cpu in (("replace", 0.40, 0.36), ("merge", 0.60, 0.55)):
        report.ratio(f"export(), {mode} / OTLP/HTTP: wall", runs[mode].wall, runs["otlp"].wall, wall, False)
        report.ratio(f"export(), {mode} / OTLP/HTTP: processor", runs[mode].cpu, runs["otlp"].cpu, cpu, False)
    report.ratio("export(), replace / Zipkin: wall", runs["replace"].wall, runs["zipkin"].wall, 0.70, False)
    report.ratio(
        "export(), replace / Zipkin: processor", runs["replace"].cpu, runs["zipkin"].cpu, 0.70, False
    )
    report.ratio("export(), merge / Zipkin: wall", runs["merge"].wall, runs["zipkin"].wall, NO_GOAL, False)


def paced_stream(report: Report, rounds: int) -> None:
    """Batches of 50 spans, with pacing as it is by default: what the call costs its caller."""
    with sink() as url, sink() as peers:
        ours = exporter(url)
        otlp = OTLPSpanExporter(endpoint=f"{peers}/v1/traces")
        stream = iter([make_spans(50, seed=seed) for seed in range(2 * (rounds + 2))])
        runs = interleaved(
            rounds,
            {
                "ours": lambda: must(ours.export(next(stream))),
                "otlp": lambda: must(otlp.export(next(stream))),
            },
        )
        ours.shutdown()
        otlp.shutdown()
    report.times("export() of 50 spans, ours, paced: wall", runs["ours"].wall, 1, "ms")
    report.times("export() of 50 spans, OTLP/HTTP: wall", runs["otlp"].wall, 1, "ms")
    report.ratio(
        "export(), paced, 50 spans / OTLP/HTTP: wall", runs["ours"].wall, runs["otlp"].wall, 0.40, False
    )


def application_thread(report: Report, rounds: int) -> None:
    """What ending a span costs the thread that ends it."""

    def provider(processor: object) -> TracerProvider:
        made = TracerProvider(resource=Resource.create({"service.name": "orders"}), shutdown_on_exit=False)
        made.add_span_processor(processor)  # type: ignore[arg-type]
        return made

    def thousand(made: TracerProvider) -> Callable[[], None]:
        tracer = made.get_tracer("bench")

        def end() -> float:
            spans = [tracer.start_span("GET /orders/{id}", attributes=attributes) for _ in range(1000)]
            begin = time.thread_time()
            for span in spans:
                span.end()
            return time.thread_time() - begin

        return end

    attributes = dict(make_spans(1)[0].attributes or {})
    with sink() as url:
        queue = {"max_queue_size": 100_000, "schedule_delay_millis": 1000}
        providers = {
            "VersoriFlowSpanProcessor": provider(VersoriFlowSpanProcessor(exporter(url))),
            "BatchSpanProcessor(ours)": provider(BatchSpanProcessor(exporter(url), **queue)),
            "BatchSpanProcessor(OTLP/HTTP)": provider(
                BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{url}/v1/traces"), **queue)
            ),
        }
        ends = {name: thousand(made) for name, made in providers.items()}
        times: dict[str, list[float]] = {name: [] for name in providers}
        for _ in range(rounds):
            for name, end in ends.items():
                times[name].append(end())
        for made in providers.values():
            made.shutdown()
    for name, values in times.items():
        report.times(f"span.end() through {name}: the thread's processor time", values, 1000, "us")


def start(report: Report, rounds: int) -> None:
    """Import and construction, in processes of their own, beside the SDK alone."""
    sdk = "import opentelemetry.sdk.trace.export, opentelemetry.sdk.resources"
    programs = {
        "sdk": f"{sdk}",
        "ours": f"{sdk}; import opentelemetry.exporter.versori_flow as v; v.VersoriFlowSpanExporter("
        f"api_key='k', organisation_id='{ULID}', project_id='{ULID}')",
        "otlp": f"{sdk}; from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter; "
        "OTLPSpanExporter()",
    }
    times: dict[str, list[float]] = {name: [] for name in programs}
    # With compiled files, as an installed package has them; the first round writes what is missing.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for number in range(rounds + 1):
        for name, program in programs.items():
            code = f"{program}; import time; print(time.process_time())"
            done = subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
            )
            if number:
                times[name].append(float(done.stdout))
    for name, what in (("ours", "ours"), ("otlp", "OTLP/HTTP")):
        over = [own - alone for own, alone in zip(times[name], times["sdk"], strict=True)]
        report.times(f"import and construction over the SDK alone, {what}: processor", over, 1, "ms")
        if name == "ours":
            report.figure(
                "import and construction over the SDK alone", statistics.median(over) * 1e3, "ms", 10.0
            )


def one_put(report: Report, rounds: int) -> None:
    """One PUT of a full window, split: joining, sending and draining; and reading a full foreign window."""
    encoded, _ = SpanEncoder().encode(make_spans(1000))
    body = Body(head("orders", b'""', ()), [span.body for span in encoded])
    joined = body.join()
    with sink() as url:
        settings = load_settings(api_key="k", organisation_id=ULID, project_id=ULID, base_url=url)
        api = FlowsApi(settings, Credentials(settings))
        whole = [interleaved(1, {"put": lambda: api.put("orders", joined, time.monotonic() + 10)})["put"]]
        runs = interleaved(
            rounds,
            {
                "join": body.join,
                "put": lambda: api.put("orders", joined, time.monotonic() + 10),
                "get": lambda: api.get("orders", time.monotonic() + 10),
                "read": lambda: read(joined, b""),
            },
        )
        found = api.get("orders", time.monotonic() + 10)
        api.close()
    if not isinstance(found, Found) or len(found.body) != len(joined) or not whole:
        raise RuntimeError("the sink does not give back what it was given")
    report.fact("a full window of 1000 spans", f"{len(joined) / 1e6:.2f} MB")
    report.times("  joining its body: wall", runs["join"].wall, 1, "ms")
    report.times("  PUT, and draining the answer: wall", runs["put"].wall, 1, "ms")
    report.times("  PUT, and draining the answer: processor", runs["put"].cpu, 1, "ms")
    report.times("  GET: wall", runs["get"].wall, 1, "ms")
    report.times("  reading it as a foreign window: processor", runs["read"].cpu, 1, "ms")


def memory(report: Report, spans: int) -> None:
    """Growth of resident memory after warm-up, with the platform up and down, and with nothing that repeats."""
    with sink() as url:
        for name, target, kind in (
            ("platform up", url, "alike"),
            ("platform down", "http://127.0.0.1:9", "alike"),
            ("platform up, names, keys and values that never repeat", url, "unique"),
        ):
            arguments = [sys.executable, "-m", "benchmarks.soak", target, str(spans), kind]
            done = subprocess.run(arguments, capture_output=True, text=True, check=True)
            grown, counted = map(int, done.stdout.split())
            report.figure(
                f"memory grown over {counted:,} spans, {name}", grown / 2**20, "MiB", 4 + 20 * counted / 2**20
            )


def main() -> None:
    """Runs everything and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="the same tables in under a minute")
    short = parser.parse_args().short
    # An outage is part of what is measured here; its lines are not.
    logging.getLogger("opentelemetry.exporter.versori_flow").setLevel(logging.CRITICAL)
    report = Report()
    encoding(report, 9 if short else 31)
    steady_stream(report, 7 if short else 31)
    paced_stream(report, 20 if short else 60)
    application_thread(report, 5 if short else 15)
    start(report, 5 if short else 15)
    one_put(report, 9 if short else 31)
    memory(report, 20_000 if short else 200_000)
    report.print()


if __name__ == "__main__":
    main()
