"""`versori-flow gateway`: what it takes is delivered, whatever comes later; and who may send."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import threading
import time
from contextlib import ExitStack, suppress

import httpx
import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from benchmarks.spans import make_spans
from tests.gateway.conftest import command, environment


def body(spans: int, seed: int) -> bytes:
    return encode_spans(make_spans(spans, seed=seed)).SerializeToString()


def test_what_was_answered_200_is_delivered(gateway, platform):
    """With the platform down, a full window takes no more (429, `Retry-After`), and loses nothing of what it has."""
    running = gateway(VERSORI_FLOW_MAX_SPANS="100", VERSORI_FLOW_MIN_INTERVAL="0")
    assert running.post(body(50, 0)).status_code == 200
    platform.wait_for(lambda p: len(p.spans("orders")) == 50)
    platform.stop()
    taken = 50
    for seed in range(1, 20):
        answer = running.post(body(30, seed))
        if answer.status_code == 429:
            break
        taken += 30
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.headers["Content-Type"] == "application/x-protobuf"
    assert running.http.get("/ready").status_code == 200  # it answers, and may have room for other flows
    orders = running.status()["orders"]
    assert (orders["handed_over"], orders["pending"], orders["dropped"]) == (taken, taken - 50, {})
    platform.start()
    platform.wait_for(lambda p: running.status()["orders"]["delivered"] == taken)
    # What was refused comes again, and is taken now; a request larger than a window comes in portions.
    assert running.post(body(30, 1)).status_code == 200
    assert running.post(body(130, 2)).status_code == 200
    platform.wait_for(lambda p: running.status()["orders"]["pending"] == 0)
    # SIGTERM delivers what was taken, and is a good end.
    last = make_spans(20)
    assert running.post(encode_spans(last).SerializeToString()).status_code == 200
    assert running.end() == 0
    shown = {one["spanContext"]["spanId"] for one in platform.spans("orders")}
    assert shown >= {format(one.context.span_id, "016x") for one in last}
    assert len(shown) == 100


def test_flows_by_resource_and_by_name(gateway, platform, make_provider):
    """The template is read for each resource; `versori.flow.name` wins, for a span and its descendants."""
    running = gateway(VERSORI_FLOW_NAME="{service.name}-{tier}", VERSORI_FLOW_MIN_INTERVAL="0")
    exporter = OTLPSpanExporter(endpoint=f"{running.http.base_url}/v1/traces".replace("//v1", "/v1"))
    for service in ("one", "two"):
        provider = make_provider(service, tier="web")
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        tracer = provider.get_tracer("t")
        tracer.start_span("plain").end()
        with tracer.start_as_current_span("named", attributes={"versori.flow.name": "mine"}):
            tracer.start_span("child").end()
    platform.wait_for(lambda p: len(p.spans("mine")) == 4 and p.spans("one-web") and p.spans("two-web"))
    platform.wait_for(lambda p: len(p.spans("one-web")) == 1)  # the child has moved


def test_what_learns_its_flow_late_moves_without_another_offer(gateway, platform, make_provider):
    """A move that found a full window is made once that one is delivered, though nobody sends any more."""
    running = gateway(VERSORI_FLOW_MAX_SPANS="1", VERSORI_FLOW_MIN_INTERVAL="0")
    kept = InMemorySpanExporter()
    provider = make_provider("svc")
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracer = provider.get_tracer("t")
    tracer.start_span("full", attributes={"versori.flow.name": "mine"}).end()
    with tracer.start_as_current_span("parent", attributes={"versori.flow.name": "mine"}):
        tracer.start_span("child").end()
    full, child, parent = kept.get_finished_spans()
    platform.stop()
    for span, status in ((full, 200), (child, 200), (parent, 429)):
        assert running.post(encode_spans([span]).SerializeToString()).status_code == status
    platform.start()
    platform.wait_for(lambda p: "child" in {one["name"] for one in p.spans("mine")})


def test_who_may_send(gateway, platform):
    """A token is asked for where there is one; the platform's key is no token, and appears nowhere."""
    running = gateway(VERSORI_FLOW_GATEWAY_TOKEN="t0ken")
    assert running.post(b"").status_code == 401
    assert running.post(b"", Authorization="Bearer local-platform-key-4711").status_code == 401
    assert running.post(b"", Authorization="Bearer t0ken").status_code == 200
    assert running.post(b"", Authorization="Bearer t0ken", Host="gateway.example").status_code == 200
    assert running.http.get("/status").status_code == 401
    assert running.http.get("/live").json() == {"live": True}
    open_to_all = gateway()
    foreign = open_to_all.post(b"", Host="rebound.example")
    assert (foreign.status_code, foreign.content[:2]) == (403, b"\x08\x07")
    assert open_to_all.post(b"", Origin="https://elsewhere.example").status_code == 403
    assert open_to_all.http.put("/v1/traces").status_code == 405
    assert open_to_all.http.get("/nothing").json()["code"] == 5
    assert open_to_all.end(signal.SIGINT) == 0


def test_workers_over_one_store(gateway, platform, tmp_path):
    """Several workers share one port and one store: nothing is lost when one is killed, nothing comes twice."""
    running = gateway(
        *("--workers", "2"),
        VERSORI_FLOW_STORE=f"sqlite://{tmp_path}/store",
        VERSORI_FLOW_MIN_INTERVAL="0",
    )
    children = f"/proc/{running.process.pid}/task/{running.process.pid}/children"
    platform.stop()
    for seed in range(10):
        with httpx.Client(base_url=running.http.base_url, trust_env=False, timeout=20) as client:
            headers = {"Content-Type": "application/x-protobuf"}
            assert client.post("/v1/traces", content=body(20, seed), headers=headers).status_code == 200
    with open(children) as listed:
        workers = [int(pid) for pid in listed.read().split()]
    for pid in workers:
        with open(f"/proc/{pid}/cmdline") as command:
            if "spawn_main" in command.read():
                os.kill(pid, signal.SIGKILL)
                break
    platform.start()
    platform.wait_for(lambda p: len(p.spans("orders")) == 200, timeout=30)
    assert running.end() == 0
    assert len(platform.spans("orders")) == 200


def test_a_store_that_is_full(gateway, platform, tmp_path):
    """Where the durable store can't keep spans, they are not answered 200."""
    running = gateway(
        VERSORI_FLOW_STORE=f"sqlite://{tmp_path}/store",
        VERSORI_FLOW_MAX_STORE_BYTES="1048576",
        VERSORI_FLOW_MAX_SPANS="10000",
    )
    platform.stop()
    assert running.post(body(100, 0)).status_code == 200
    assert running.post(body(2000, 1)).status_code == 429
    platform.start()


def test_a_thousand_connections_that_drip(gateway, platform):
    """They end within their bounds, and no other sender waits for them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    running = gateway(VERSORI_FLOW_MIN_INTERVAL="0")
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        dripping = [
            stack.enter_context(socket.create_connection(("127.0.0.1", running.port))) for _ in range(1000)
        ]
        head = (
            b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: 100000\r\n"
        )
        for number, connection in enumerate(dripping):
            connection.sendall(head if number % 2 else head + b"\r\n{")
        over = threading.Event()
        stack.callback(over.set)

        def drip() -> None:
            while not over.wait(1.0):
                for connection in dripping:
                    with suppress(OSError):
                        connection.send(b" ")

        threading.Thread(target=drip, daemon=True).start()
        until, slowest, sent = time.monotonic() + 3, 0.0, 0
        while time.monotonic() < until:
            begun = time.monotonic()
            assert running.post(body(10, sent)).status_code == 200
            slowest, sent = max(slowest, time.monotonic() - begun), sent + 10
        assert slowest < 2
        platform.wait_for(lambda p: running.status()["orders"]["delivered"] == sent)


@pytest.mark.parametrize(
    ("options", "variables", "said"),
    [
        ((), {"VERSORI_API_KEY": ""}, "VERSORI_API_KEY"),
        (("--host", "0.0.0.0"), {}, "--token"),
        (("--host", "192.0.2.1", "--token", "t"), {}, "can't listen on 192.0.2.1"),
        (("--token", " "), {}, "--token is empty"),
        (("--token", "gef\u00e4lscht"), {}, "printable ASCII"),
    ],
)
def test_what_is_wrong_is_a_line(options, variables, said):
    """Missing settings, an address that can't be had, another host without a token: one line that says what to do."""
    ulid = "01H0000000000000000000000R"
    environ = environment("k", ulid, ulid, **variables)
    done = subprocess.run(command(*options), env=environ, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
