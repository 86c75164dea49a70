"""Speed and memory beside OpenTelemetry's OTLP/HTTP protobuf and Zipkin JSON exporters, in one run.

    python -m benchmarks.compare [--short]

Rounds are interleaved, so that a machine whose speed drifts drifts for all. Figures are medians with the
smallest and the largest round; ratios are medians of the ratios round by round.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.zipkin.json import ZipkinExporter
from opentelemetry.exporter.zipkin.json.v2 import JsonV2Encoder
from opentelemetry.exporter.zipkin.node_endpoint import NodeEndpoint
from opentelemetry.sdk.trace import ReadableSpan

from benchmarks.ending import ending
from benchmarks.redis_faults import running_redis
from benchmarks.report import DOWN, NO_GOAL, ULID, Report, exporter, interleaved, must
from benchmarks.sink import sink
from benchmarks.spans import make_spans
from benchmarks.startup import startup
from opentelemetry.exporter.versori_flow import VersoriFlowSpanExporter
from opentelemetry.exporter.versori_flow.encoded_span import EncodedSpan
from opentelemetry.exporter.versori_flow.encoding.span import SpanEncoder
from opentelemetry.exporter.versori_flow.flow.body import Body, head
from opentelemetry.exporter.versori_flow.flow.stored import read
from opentelemetry.exporter.versori_flow.http.answers import Found
from opentelemetry.exporter.versori_flow.http.api import FlowsApi
from opentelemetry.exporter.versori_flow.http.credentials import Credentials
from opentelemetry.exporter.versori_flow.settings.load import load_settings
from tests.stores.fleet.redis_server import RedisServer

BATCH = 512
_CARRIERS = ("_transport", "_client", "_session", "session")
"""Where exporters of different versions keep the client: requests in some, urllib3 itself in others."""


def transport(made: object) -> str:
    """What carries a peer's requests, by the module and class that its private attributes lead to."""
    while (used := next(filter(None, (getattr(made, name, None) for name in _CARRIERS)), None)) is not None:
        made = used
    return f"{type(made).__module__.split('.')[-1]}.{type(made).__name__}"


def peers(report: Report) -> None:
    """Which versions stand beside ours, and what carries their requests."""
    for package, made in (
        ("opentelemetry-exporter-otlp-proto-http", OTLPSpanExporter(endpoint=DOWN)),
        ("opentelemetry-exporter-zipkin-json", ZipkinExporter(endpoint=DOWN)),
    ):
        report.fact(package, f"{version(package)}, {transport(made)}")
    report.fact("httpx, in ours", version("httpx"))


def encoded_spans(spans: Sequence[ReadableSpan]) -> list[EncodedSpan]:
    """The spans, encoded: the encoder gives one list, or (0.1) the good ones and the others."""
    encoded: Any = SpanEncoder(RESOURCE_ATTRIBUTES).encode(spans)
    return [one for one in (encoded[0] if isinstance(encoded, tuple) else encoded) if hasattr(one, "body")]


RESOURCE_ATTRIBUTES = (
    "service.name",
    "service.version",
    "service.instance.id",
    "deployment.environment.name",
)
"""The default of the setting."""


def only_stores(store_url: str) -> VersoriFlowSpanExporter:
    """Ours, with a window that takes all and a platform that is away: what storing costs, and nothing else."""
    roomy = {"max_spans": 10**6, "max_bytes": 10**9, "max_store_bytes": 10**9}
    store = exporter(DOWN, store=store_url, export_wait=0, min_interval=3600, **roomy)
    store.export(make_spans(1))
    while not any(flow.last_error for flow in store.status().values()):
        time.sleep(0.01)
    return store


def encoding(report: Report, rounds: int) -> None:
    """Encoding alone, and `export` that only stores, beside OTLP's and Zipkin's encoders."""
    batch = make_spans(BATCH)
    encoder = SpanEncoder(RESOURCE_ATTRIBUTES)
    zipkin, node = JsonV2Encoder(), NodeEndpoint()
    batches = iter([make_spans(BATCH, seed=seed) for seed in range(3 * (rounds + 2))])
    contestants: dict[str, Callable[[], object]] = {
        "ours": lambda: encoder.encode(batch),
        "otlp": lambda: encode_spans(batch).SerializeToString(),
        "zipkin": lambda: zipkin.serialize(batch, node),
    }
    with contextlib.ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory()))
        stores = {"store": "memory:", "durable": f"sqlite://{folder / 'store'}"}
        redis = held.enter_context(running_redis(folder, wanted=True))
        if isinstance(redis, RedisServer):
            stores["fleet"] = f"redis://127.0.0.1:{redis.port}/0"
        else:
            report.fact("export() that only stores into Redis", f"not measured: {redis}")
        for name, url in stores.items():
            keeping = only_stores(url)
            held.callback(keeping.shutdown, 1000)
            contestants[name] = lambda keeping=keeping: keeping.export(next(batches))
        runs = interleaved(rounds, contestants)
    for name, what in (
        ("ours", "encoding, ours"),
        ("otlp", "encoding, OTLP protobuf"),
        ("zipkin", "encoding, Zipkin JSON"),
        ("store", "export() that only stores, ours"),
        ("durable", "the same into sqlite:///folder"),
        ("fleet", "the same into redis://127.0.0.1"),
    ):
        if name not in runs:
            continue
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
    for name, url in (("durable", "sqlite"), ("fleet", "redis")):
        if name in runs:
            what = f"export() that only stores, {url} / memory"
            report.ratio(f"{what}: processor", runs[name].cpu, runs["store"].cpu, 2.0, False)
            report.ratio(f"{what}: wall", runs[name].wall, runs["store"].wall, NO_GOAL, False)


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


def one_put(report: Report, rounds: int) -> None:
    """One PUT of a full window, split: joining, sending and draining; and reading a full foreign window."""
    body = Body(head("orders", b'""', ()), [span.body for span in encoded_spans(make_spans(1000))])
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
            ("platform down", DOWN, "alike"),
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
    parser.add_argument("--short", action="store_true", help="fewer rounds, for a minute or two")
    short = parser.parse_args().short
    # An outage is part of what is measured here; its lines are not.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    report = Report()
    peers(report)
    encoding(report, 9 if short else 31)
    steady_stream(report, 7 if short else 31)
    paced_stream(report, 20 if short else 60)
    ending(report, short)
    startup(report, 5 if short else 21)
    one_put(report, 9 if short else 31)
    memory(report, 20_000 if short else 200_000)
    report.print()


if __name__ == "__main__":
    main()
