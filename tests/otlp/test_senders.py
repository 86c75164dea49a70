"""Real senders in other languages arrive, with all that they say."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode

from opentelemetry.exporter.versori_flow.server import LocalPlatform

PROGRAM = Path(__file__).parent / "programs" / "sender.cjs"
PACKAGES = [
    "@opentelemetry/api@1",
    "@opentelemetry/sdk-trace-base@2",
    "@opentelemetry/resources@2",
    "@opentelemetry/exporter-trace-otlp-proto@0",
    "@opentelemetry/exporter-trace-otlp-http@0",
]


@pytest.fixture(scope="module")
def platform() -> Iterator[LocalPlatform]:
    with LocalPlatform() as running:
        yield running


@pytest.fixture(scope="module")
def node_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program beside OpenTelemetry's packages from npm."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not here: no Node program is tried")
    folder = tmp_path_factory.mktemp("node")
    command = [npm, "install", "--no-audit", "--no-fund", "--prefer-offline", *PACKAGES]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    if done.returncode and not os.environ.get("CI"):
        pytest.skip(f"npm can't install OpenTelemetry's packages: {done.stderr.strip().splitlines()[-1:]}")
    assert done.returncode == 0, done.stderr
    return Path(shutil.copy(PROGRAM, folder))


def spans(platform: LocalPlatform, flow: str, count: int) -> dict[str, dict[str, Any]]:
    """The flow's spans by name, once they are all there."""
    platform.wait_for(lambda p: len(p.spans(flow)) == count)
    return {span["name"]: span for span in platform.spans(flow)}


@pytest.mark.parametrize("encoding", ["proto", "http"])
def test_a_node_program(platform, node_program, encoding):
    """OpenTelemetry's SDK for Node, in protobuf and in JSON, gzipped: parents, events, links, status, values."""
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": platform.url, "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"}
    done = subprocess.run(
        ["node", str(node_program), encoding],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    trace_id, child_id = done.stdout.split()
    shown = spans(platform, f"node-{encoding}", 2)
    root, child = shown["POST /orders"], shown["charge"]
    assert root["spanContext"]["traceId"] == trace_id
    assert child["spanContext"] == {"traceId": trace_id, "spanId": child_id, "traceFlags": 1}
    assert child["parentSpanContext"]["spanId"] == root["spanContext"]["spanId"]
    assert root["ended"] is True
    assert root["attributes"] == {
        "http.status": 500,
        "big": 2**53 - 1,
        "ratio": 0.5,
        "ok": False,
        "tags": '["a","b"]',
        "ü": "✓",
        "service.name": f"node-{encoding}",
        "service.version": "1.2",
        "span.kind": "server",
        "otel.scope.name": "checkout",
        "otel.scope.version": "0.9",
        "otel.status_code": "OK",
        "otel.links": root["attributes"]["otel.links"],
    }
    [link] = json.loads(root["attributes"]["otel.links"])
    assert link == {"trace_id": "1" * 32, "span_id": "2" * 16, "attributes": {"why": "batch"}}
    assert child["status"] == {"code": 1}
    assert child["attributes"]["otel.status_description"] == "declined"
    assert [event["name"] for event in child["events"]] == ["retry", "exception"]
    assert child["events"][0]["attributes"] == {"attempt": 2}
    assert child["events"][1]["attributes"]["exception.message"] == "card declined"


def test_a_python_program(platform, make_provider):
    """Python's OTLP/HTTP exporter: 64-bit integers, bytes and nested values as the exporter itself writes them."""
    provider = make_provider("python-otlp")
    exporter = OTLPSpanExporter(f"{platform.url}/v1/traces", compression=Compression.Gzip)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    linked = SpanContext(1, 2, False)
    with provider.get_tracer("t").start_as_current_span(
        "root",
        kind=SpanKind.PRODUCER,
        links=[Link(linked)],
        attributes={"most": 2**63 - 1, "raw": b"\xff\x00"},
    ) as root:
        root.set_attribute("items", [1, 2])
        root.add_event("e", {"n": -(2**53)})
        root.set_status(Status(StatusCode.ERROR, "no"))
    [shown] = spans(platform, "python-otlp", 1).values()
    attributes = shown["attributes"]
    assert (attributes["most"], attributes["raw"], attributes["items"]) == (str(2**63 - 1), "/wA=", "[1,2]")
    assert shown["events"][0]["attributes"] == {"n": str(-(2**53))}
    assert json.loads(attributes["otel.links"])[0]["span_id"] == "0" * 15 + "2"
    assert attributes["otel.status_description"] == "no"


def test_curl(platform, tmp_path):
    """A few lines of JSON by hand, as the documentation shows them."""
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not here")
    value = {"kvlistValue": {"values": [{"key": "k", "value": {"arrayValue": {"values": [{}]}}}]}}
    one = {
        "traceId": "5B8EFFF798038103D269B633813FC60C",
        "spanId": "EEE19B7EC3C1B174",
        "name": "by hand",
        "kind": 2,
        "startTimeUnixNano": "1544712660000000000",
        "endTimeUnixNano": "1544712661000000000",
        "attributes": [
            {"key": "nested", "value": value},
            {"key": "most", "value": {"intValue": "-9223372036854775808"}},
            {"key": "versori.flow.name", "value": {"stringValue": "by curl"}},
        ],
    }
    body = tmp_path / "spans.json"
    body.write_text(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [one]}]}]}))
    done = subprocess.run(
        [curl, "-sS", "-H", "Content-Type: application/json", f"{platform.url}/v1/traces", "-d", f"@{body}"],
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert (done.stdout, done.stderr) == ("{}", "")
    [shown] = spans(platform, "by curl", 1).values()
    assert shown["attributes"]["nested"] == '{"k":[null]}'
    assert shown["attributes"]["most"] == str(-(2**63))
    assert shown["duration"] == 1000.0
    assert shown["spanContext"]["traceId"] == "5b8efff798038103d269b633813fc60c"
