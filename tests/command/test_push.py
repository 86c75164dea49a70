"""`versori-flow push`: each kind of file arrives as what it says, resumes, and needs no memory of its size."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from benchmarks.sink import sink
from opentelemetry.exporter.versori_flow.command.cli import app
from opentelemetry.exporter.versori_flow.server import LocalPlatform
from tests.conftest import KEY
from tests.processes.running import PATIENCE

Push = Callable[..., Result]
OURS = {"VERSORI_FLOW_MIN_INTERVAL": "0"}
TRACE = "5b8efff798038103d269b633813fc60c"


@pytest.fixture
def push(platform: LocalPlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Push:
    settings = {
        "VERSORI_API_KEY": KEY,
        "VERSORI_ORGANISATION_ID": platform.organisation_id,
        "VERSORI_PROJECT_ID": platform.project_id,
        "VERSORI_API_BASE_URL": platform.url,
    }
    for name, value in {**settings, **OURS, "XDG_STATE_HOME": str(tmp_path / "state")}.items():
        monkeypatch.setenv(name, value)
    return lambda *arguments: CliRunner().invoke(app, ["push", *map(str, arguments)])


def otlp(service: str, *numbers: int) -> dict[str, Any]:
    """What a Collector's file exporter writes as a line."""
    spans = [
        {
            "traceId": f"{number + 1:032x}",
            "spanId": f"{number + 1:016x}",
            "name": f"span {number}",
            "startTimeUnixNano": str(1_764_000_000_000_000_000 + number),
            "endTimeUnixNano": str(1_764_000_000_000_001_000 + number),
        }
        for number in numbers
    ]
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}


def lines(path: Path, *documents: object) -> Path:
    path.write_text("".join(json.dumps(document) + "\n" for document in documents))
    return path


JAEGER = {
    "data": [
        {
            "traceID": TRACE,
            "processes": {
                "p1": {"serviceName": "jaeger", "tags": [{"key": "service.version", "value": "1.2"}]}
            },
            "spans": [
                {
                    "traceID": TRACE,
                    "spanID": "a1",
                    "operationName": "GET /",
                    "references": [],
                    "startTime": 1764000000000000,
                    "duration": 1500,
                    "tags": [
                        {"key": "span.kind", "type": "string", "value": "server"},
                        {"key": "n", "type": "int64", "value": 7},
                        {"key": "otel.scope.name", "type": "string", "value": "lib"},
                    ],
                    "logs": [
                        {
                            "timestamp": 1764000000000100,
                            "fields": [{"key": "event", "value": "e"}, {"key": "k", "value": 1}],
                        }
                    ],
                    "processID": "p1",
                },
                {
                    "traceID": TRACE,
                    "spanID": "b2",
                    "operationName": "SELECT",
                    "references": [
                        {"refType": "CHILD_OF", "traceID": TRACE, "spanID": "a1"},
                        {"refType": "FOLLOWS_FROM", "traceID": "1" * 32, "spanID": "2"},
                    ],
                    "startTime": 1764000000000200,
                    "duration": 300,
                    "tags": [{"key": "error", "type": "bool", "value": True}],
                    "processID": "p1",
                },
            ],
        }
    ]
}
ZIPKIN = [
    {
        "traceId": "3269b633813fc60c",
        "id": "00000000000000a1",
        "name": "get /",
        "kind": "CLIENT",
        "timestamp": 1764000000000000,
        "duration": 1500,
        "localEndpoint": {"serviceName": "zipkin"},
        "remoteEndpoint": {"serviceName": "db", "port": 5432},
        "annotations": [{"timestamp": 1764000000000100, "value": "retry"}],
        "tags": {"error": "timeout", "http.status_code": "500"},
    },
    {
        "traceId": "3269b633813fc60c",
        "id": "00000000000000a1",
        "name": "serve",
        "kind": "SERVER",
        "shared": True,
        "timestamp": 1764000000000200,
        "duration": 100,
        "localEndpoint": {"serviceName": "zipkin"},
    },
]


def saved_span(number: int, name: str, **attributes: object) -> dict[str, Any]:
    """A span as a flow of the platform has it."""
    moment = f"2026-03-01T10:00:00.{number:09d}Z"
    return {
        "name": name,
        "startTime": moment,
        "endTime": moment,
        "attributes": attributes,
        "spanContext": {"traceId": TRACE, "spanId": f"{number:016x}", "traceFlags": 1},
    }


def by_name(platform: LocalPlatform, flow: str) -> dict[str, dict[str, Any]]:
    return {span["name"]: span for span in platform.spans(flow)}


def test_each_kind_of_file(push, platform, tmp_path):
    """OTLP lines, Jaeger, Zipkin v2, gzipped or not, in one call: parents, kinds, errors, events and links arrive."""
    collector = tmp_path / "collector.json.gz"
    collector.write_bytes(
        gzip.compress(
            lines(tmp_path / "plain", otlp("otlp", 0, 1), {"resourceLogs": []}, otlp("otlp", 2)).read_bytes()
        )
    )
    done = push(collector, lines(tmp_path / "jaeger.json", JAEGER), lines(tmp_path / "zipkin.json", ZIPKIN))
    assert (done.exit_code, done.stdout) == (0, "7 spans delivered, 0 dropped\n")
    assert by_name(platform, "otlp").keys() == {"span 0", "span 1", "span 2"}

    jaeger = by_name(platform, "jaeger")
    root, child = jaeger["GET /"], jaeger["SELECT"]
    assert root["attributes"] == {
        "n": 7,
        "span.kind": "server",
        "service.name": "jaeger",
        "service.version": "1.2",
        "otel.scope.name": "lib",
    }
    assert (root["duration"], root["startTime"]) == (1.5, "2025-11-24T16:00:00.000000000Z")
    assert root["events"] == [
        {"name": "e", "timestamp": "2025-11-24T16:00:00.000100000Z", "attributes": {"k": 1}}
    ]
    assert child["parentSpanContext"]["spanId"] == "00000000000000a1"
    assert child["status"] == {"code": 1}
    assert json.loads(child["attributes"]["otel.links"])[0]["trace_id"] == "1" * 32

    zipkin = by_name(platform, "zipkin")
    client, server = zipkin["get /"], zipkin["serve"]
    assert client["spanContext"]["traceId"] == "0" * 16 + "3269b633813fc60c"
    assert client["attributes"]["otel.status_description"] == "timeout"
    assert (client["attributes"]["peer.service"], client["attributes"]["network.peer.port"]) == ("db", 5432)
    assert [event["name"] for event in client["events"]] == ["retry"]
    assert server["parentSpanContext"]["spanId"] == client["spanContext"]["spanId"]
    assert server["spanContext"]["spanId"] != client["spanContext"]["spanId"]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_the_mark_that_editors_on_windows_put_first(push, platform, tmp_path, pack):
    """Each kind is read behind it, gzipped or not, and goes on where it stopped."""
    saved = {"name": "saved", "description": "", "spans": [saved_span(1, "x")]}
    files = [tmp_path / f"{number}.json" for number in range(4)]
    for file, document in zip(files, (otlp("otlp", 0), JAEGER, ZIPKIN, saved), strict=True):
        file.write_bytes(pack(json.dumps(document).encode("utf-8-sig")))
    done = push(*files)
    assert done.exit_code == 0, done.output
    assert {"otlp", "jaeger", "zipkin", "saved"} <= set(platform.names())
    assert push(*files).stdout == "0 spans delivered, 0 dropped\n"


def test_a_saved_flow_comes_back_as_it_was(push, platform, tmp_path, caplog):
    """What the platform stored is stored again, span for span the same; a template that does not fit is no matter."""
    push(lines(tmp_path / "jaeger.json", JAEGER), lines(tmp_path / "zipkin.json", ZIPKIN))
    for flow in ("jaeger", "zipkin"):
        saved = tmp_path / f"{flow}.flow.json"
        saved.write_bytes(platform.raw(flow) or b"")
        before = platform.spans(flow)
        platform.delete(flow)
        assert push(saved).exit_code == 0
        assert platform.spans(flow) == before
    assert caplog.messages == []


def test_a_flow_that_was_exported_as_otlp_comes_back_into_it(push, platform, tmp_path):
    """Its name stands in the resource, and counts for more than the template; the spans are what they were."""
    push(lines(tmp_path / "jaeger.json", JAEGER))
    spans, file = platform.spans("jaeger"), tmp_path / "orders.json"
    platform.put("orders", {"name": "orders", "spans": spans})
    platform.delete("jaeger")
    exported = CliRunner().invoke(app, ["export", "orders", "--format", "otlp", "-o", str(file)])
    assert exported.exit_code == 0
    platform.delete("orders")
    assert push(file).exit_code == 0
    assert platform.names() == ["orders"]
    assert platform.spans("orders") == spans


def test_each_flow_of_a_file_is_one(push, platform, tmp_path):
    """Also where its name follows more spans than are looked at to know the file; one without a name is left out."""
    many = [saved_span(n, f"late {n}", **{f"k{i}": i for i in range(2000)}) for n in range(1, 60)]
    file = lines(
        tmp_path / "flows.json",
        {"spans": many, "name": "late"},
        {"name": "orders", "spans": [saved_span(60, "o")]},
        {"spans": [saved_span(61, "nobody's")]},
        {"name": "returns", "spans": [saved_span(62, "r")]},
    )
    done = push(file)
    assert "1 span left out: its flow has no name" in done.stderr
    assert sorted(platform.names()) == ["late", "orders", "returns"]
    assert len(platform.spans("late")) == len(many)
    assert (by_name(platform, "orders").keys(), by_name(platform, "returns").keys()) == ({"o"}, {"r"})


def test_it_goes_on_where_it_stopped(push, platform, tmp_path):
    """What was pushed is not pushed again; a file that has grown goes on; --again begins anew."""
    file = lines(tmp_path / "spans.json", *(otlp("shop", number) for number in range(5)))
    with file.open("a") as growing:
        growing.write(json.dumps(otlp("shop", 5))[:100])
    first = push(file)
    assert (first.exit_code, first.stdout) == (1, "5 spans delivered, 0 dropped\n")
    assert "can't be read behind piece 5" in first.stderr
    lines(file, *(otlp("shop", number) for number in range(7)))
    second = push(file)
    assert (second.exit_code, second.stdout) == (0, "2 spans delivered, 0 dropped\n")
    assert "5 pieces of it were pushed before" in second.stderr
    assert push(file).stdout == "0 spans delivered, 0 dropped\n"
    assert push("--again", file).stdout.endswith(" dropped\n")
    assert len(platform.spans("shop")) == 7
    # Another file under that name begins anew.
    assert push(lines(file, otlp("shop", 9))).stdout == "1 span delivered, 0 dropped\n"


def test_a_file_that_has_changed_is_pushed_anew(push, platform, tmp_path):
    """Wherever the change is: what was pushed is known by all of it, not by its beginning and a number of pieces."""
    file, text = tmp_path / "flow.json", "x" * 600
    first = [saved_span(number, f"first {number}", text=text) for number in range(1, 11)]
    second = [saved_span(number, f"second {number}", text=text) for number in range(20, 30)]
    assert push(lines(file, {"name": "shop", "spans": first + second})).exit_code == 0
    added = [*first, saved_span(15, "added", text=text), *second]
    assert push(lines(file, {"name": "shop", "spans": added})).stdout == "21 spans delivered, 0 dropped\n"
    assert "added" in by_name(platform, "shop")
    assert push(lines(file, {"spans": added, "name": "shop"})).stdout == "21 spans delivered, 0 dropped\n"
    assert push(lines(file, {"spans": added, "name": "another"})).stdout == "21 spans delivered, 0 dropped\n"
    assert platform.spans("another") == platform.spans("shop")


def test_what_was_not_delivered_is_pushed_again(push, platform, tmp_path):
    """What was refused, and what could not be read, fails for the next push too, until it can be delivered."""
    refused = lines(tmp_path / "refused.json", otlp("shop", 0), otlp("shop", 1), otlp("shop", 2))
    fault = platform.fault("poison=span 1")
    for _ in range(2):
        done = push(refused)
        assert (done.exit_code, done.stdout) == (1, "2 spans delivered, 1 dropped\n")
    fault.clear()
    assert push(refused).exit_code == 0
    assert by_name(platform, "shop").keys() == {"span 0", "span 1", "span 2"}
    assert push(refused).stdout == "0 spans delivered, 0 dropped\n"

    unreadable = lines(tmp_path / "unreadable.json", otlp("shop", 3), {"resourceSpans": [5]}, otlp("shop", 4))
    first, second = push(unreadable), push(unreadable)
    assert (first.exit_code, first.stdout) == (1, "2 spans delivered, 0 dropped\n")
    assert (second.exit_code, second.stdout) == (1, "1 span delivered, 0 dropped\n")
    assert "1 span left out" in second.stderr


def test_another_template_is_another_target(push, platform, tmp_path, monkeypatch):
    """What was pushed into one flow was not pushed into another."""
    file = lines(tmp_path / "spans.json", otlp("shop", 0))
    for flow in ("one", "two"):
        monkeypatch.setenv("VERSORI_FLOW_NAME", flow)
        assert push(file).stdout == "1 span delivered, 0 dropped\n"
    assert sorted(platform.names()) == ["one", "two"]


def test_a_standard_error_that_takes_nothing(push, platform, tmp_path):
    """What is pushed is pushed, and the status says so."""
    file = lines(tmp_path / "spans.json", otlp("shop", 1))
    command = [sys.executable, "-m", "opentelemetry.exporter.versori_flow", "push", str(file)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=full, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout) == (0, b"1 span delivered, 0 dropped\n")


def test_without_a_home(push, platform, tmp_path, monkeypatch):
    """A user whom the system doesn't know pushes all the same; how far is not kept, and said."""
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    done = push(lines(tmp_path / "spans.json", otlp("shop", 0)))
    assert (done.exit_code, done.stdout) == (0, "1 span delivered, 0 dropped\n")
    assert "can't be kept" in done.stderr
    assert len(platform.spans("shop")) == 1


def test_a_damaged_archive(push, platform, tmp_path):
    """What comes before the damage is pushed, and one line says the rest; damage at the beginning is no such file."""
    file, packer = tmp_path / "spans.json.gz", zlib.compressobj(wbits=31)
    whole = lines(tmp_path / "plain", *(otlp("shop", number) for number in range(1500))).read_bytes()
    sound, damage = packer.compress(whole) + packer.flush(zlib.Z_SYNC_FLUSH), b"\xff" * 40
    file.write_bytes(sound + damage)
    done = push(file)
    assert (done.exit_code, type(done.exception)) == (1, SystemExit)
    assert "can't be read behind piece" in done.stderr
    assert platform.spans("shop")
    file.write_bytes(sound[:10] + damage)
    done = push(file)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "is no JSON of spans" in done.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "can't be read: No such file"),
        ("", "is no JSON of spans"),
        ("no json", "is no JSON of spans"),
        ('{"name": "x"}', "is none of"),
        (json.dumps({"spans": []}), "is none of"),
        ('{"n": ' + "9" * 5000 + "}", "is no JSON of spans"),
    ],
)
def test_what_is_no_such_file(push, tmp_path, content, said):
    """One line says what it is not, and nothing is pushed."""
    file = tmp_path / "file"
    if content is not None:
        file.write_text(content)
    done = push(file)
    assert (done.exit_code, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert said in line


def test_a_span_that_is_wrong_is_left_out(push, platform, tmp_path):
    """The others of its file are pushed; it is counted, and the reason is said."""
    bad = otlp("shop", 0, 1)
    bad["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["traceId"] = "11"
    done = push(lines(tmp_path / "spans.json", bad, {"resourceSpans": [5]}, otlp("shop", 2)))
    assert done.exit_code == 1
    assert "2 spans left out: traceId is not 32 hex digits" in done.stderr
    assert by_name(platform, "shop").keys() == {"span 1", "span 2"}


def test_memory_is_flat(tmp_path):
    """Four times the spans take no more memory, and each is delivered."""
    program = (
        "import re, sys; from opentelemetry.exporter.versori_flow.command.cli import app\n"
        "try: app(['push', sys.argv[1]])\n"
        # What `getrusage` says begins with what the process was that forked this one.
        "except SystemExit: print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
    )
    ulid = "01H0000000000000000000000R"
    most = []
    with sink() as url:
        settings = {
            "VERSORI_API_KEY": "k",
            "VERSORI_ORGANISATION_ID": ulid,
            "VERSORI_PROJECT_ID": ulid,
            "VERSORI_API_BASE_URL": url,
            "VERSORI_FLOW_WRITE_MODE": "replace",
            "VERSORI_FLOW_MAX_SPANS": "200",
            "XDG_STATE_HOME": str(tmp_path / "state"),
        }
        for spans in (2_000, 8_000):
            batches = [otlp("shop", *range(first, first + 100)) for first in range(0, spans, 100)]
            file = lines(tmp_path / f"{spans}.json", *batches)
            done = subprocess.run(
                [sys.executable, "-c", program, str(file)],
                env={**os.environ, **settings, **OURS},
                capture_output=True,
                text=True,
                timeout=60,
            )
            said, peak = done.stdout.splitlines()
            assert said == f"{spans} spans delivered, 0 dropped", done.stderr
            most.append(int(peak) / 1024)
    print("MiB at most, 2,000 and 8,000 spans:", most)
    assert most[1] - most[0] < 8
