"""`POST /v1/traces`: what is answered, in which encoding, and what hostile senders get."""

from __future__ import annotations

import gzip
import json
import os
import select
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from starlette.requests import Request

from benchmarks.spans import make_spans
from opentelemetry.exporter.versori_flow.otlp.body import MOST_BYTES, unpacked
from opentelemetry.exporter.versori_flow.otlp.endpoint import TracesEndpoint
from opentelemetry.exporter.versori_flow.server import LocalPlatform
from opentelemetry.exporter.versori_flow.server.http_server import HttpServer
from tests.otlp.test_mapping import span
from tests.processes.running import PATIENCE

PROTOBUF, JSON = "application/x-protobuf", "application/json"
FEW = encode_spans(make_spans(3)).SerializeToString()
ONE = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span(name="curl")]}]}]}).encode()


def deep(depth: int) -> bytes:
    """A value within so many lists."""
    value = '{"arrayValue":{"values":[' * depth + "]}}" * depth
    start = '{"resourceSpans":[{"resource":{"attributes":[{"key":"k","value":'
    return (start + value + "}]}}]}").encode()


def deep_protobuf(depth: int) -> bytes:
    request = ExportTraceServiceRequest()
    value = request.resource_spans.add().resource.attributes.add(key="k").value
    for _ in range(depth):
        value = value.array_value.values.add()
    return request.SerializeToString()


@pytest.fixture(scope="module")
def platform() -> Iterator[LocalPlatform]:
    with LocalPlatform() as running:
        yield running


@pytest.fixture
def post(platform: LocalPlatform) -> Iterator[Any]:
    with httpx.Client(base_url=platform.url, trust_env=False, timeout=PATIENCE) as client:

        def send(body: bytes, content_type: str = JSON, encoding: str = "", **headers: str) -> httpx.Response:
            headers = {"Content-Type": content_type, **headers}
            if encoding:
                headers["Content-Encoding"] = encoding
            return client.post("/v1/traces", content=body, headers=headers)

        yield send


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(FEW, PROTOBUF), (ONE, JSON), (b"", PROTOBUF), (b"{}", JSON), (ONE, "Application/JSON; charset=utf-8")],
)
@pytest.mark.parametrize("encoding", ["", "gzip", "identity"])
def test_what_is_taken(post, body, content_type, encoding):
    """200 in the request's encoding, with `partial_success` unset."""
    answer = post(gzip.compress(body) if encoding == "gzip" else body, content_type, encoding)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == content_type.partition(";")[0].lower()
    assert answer.content == (b"{}" if content_type != PROTOBUF else b"")


def test_what_is_taken_shows(post, platform):
    """Spans of both encodings stand in their flows."""
    assert post(FEW, PROTOBUF).status_code == post(ONE).status_code == 200
    platform.wait_for(lambda p: len(p.spans("orders")) == 3 and p.spans("unknown"))


def test_what_is_rejected_in_part(post):
    """200 with the number of rejected spans and the reason, in both encodings."""
    bad = json.loads(ONE)
    bad["resourceSpans"][0]["scopeSpans"][0]["spans"] += [span(traceId="11"), span(spanId="")]
    partial = post(json.dumps(bad).encode()).json()["partialSuccess"]
    assert partial["rejectedSpans"] == "2"
    assert "traceId" in partial["errorMessage"]
    request = ExportTraceServiceRequest.FromString(FEW)
    request.resource_spans[0].scope_spans[0].spans[1].span_id = b"four"
    response = ExportTraceServiceResponse.FromString(post(request.SerializeToString(), PROTOBUF).content)
    assert response.partial_success.rejected_spans == 1
    assert "4 bytes" in response.partial_success.error_message


HOSTILE = {
    "truncated": (FEW[:-5], PROTOBUF, "", 400),
    "noise": (os.urandom(5000), PROTOBUF, "", 400),
    "truncated gzip": (gzip.compress(FEW)[:-9], PROTOBUF, "gzip", 400),
    "no gzip": (FEW, PROTOBUF, "gzip", 400),
    "an empty gzip": (b"", JSON, "gzip", 400),
    "truncated JSON": (ONE[:-1], JSON, "", 400),
    "not UTF-8": (b'{"resourceSpans":"\xff"}', JSON, "", 400),
    "no object": (b"[]", JSON, "", 400),
    "NaN": (b'{"a":NaN}', JSON, "", 400),
    "text that is no UTF-8": (FEW.replace(b"GET", b"G\xff\xfe"), PROTOBUF, "", 400),
    "deep JSON": (b"[" * 100_000, JSON, "", 400),
    "deep values": (deep(300), JSON, "", 400),
    "deep protobuf": (deep_protobuf(200), PROTOBUF, "", 400),
    "a bomb": (gzip.compress(bytes(200 << 20), 1), PROTOBUF, "gzip", 413),
    "a bomb of bombs": (gzip.compress(bytes(15 << 20), 1) * 9, JSON, "gzip", 413),
    "many members": (gzip.compress(b"", 1) * 400_000, JSON, "gzip", 400),
    "empty members": (b"\x0a\x00" * (10 << 20), PROTOBUF, "", 400),
    "empty lists": (b'{"x":[' + b"[]," * (5 << 20) + b"[]]}", JSON, "", 400),
    "another encoding": (FEW, PROTOBUF, "br", 415),
    "another type": (FEW, "text/plain", "", 415),
    "no type": (FEW, "", "", 415),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_bodies(post, case):
    """Each is answered before its sender leaves, for good and in its own encoding, and the next one is taken."""
    body, content_type, encoding, status = HOSTILE[case]
    answer = post(body, content_type, encoding)
    assert answer.status_code == status
    assert "retry-after" not in answer.headers
    assert answer.headers["content-type"] == (PROTOBUF if content_type == PROTOBUF else JSON)
    if content_type == PROTOBUF:
        # Field 1 is a number, field 2 a text of its length: google.rpc.Status.
        assert (answer.content[0], answer.content[2]) == (0x08, 0x12)
        assert answer.content[4:].decode()
    else:
        assert answer.json()["code"] in (3, 8)
        assert answer.json()["message"]
    assert post(ONE).status_code == 200


@given(st.lists(st.sampled_from([b"", b"{}", bytes(9000), os.urandom(1010), os.urandom(9000)]), max_size=9))
def test_members_of_a_gzip_are_one_body(parts):
    """However many they are, and whatever their sizes."""
    assert unpacked(b"".join(map(gzip.compress, parts)), "gzip") == b"".join(parts)


@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_that_is_too_large(post, platform, chunked):
    """413, announced or not, without all of it being read."""
    with socket.create_connection(("127.0.0.1", platform.port), timeout=10) as connection:
        length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {MOST_BYTES + 1}"
        head = f"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: {JSON}\r\n{length}\r\n\r\n"
        connection.sendall(head.encode())
        if chunked:
            part = b"%x\r\n%s\r\n" % (1 << 20, bytes(1 << 20))
            for _ in range(21):
                connection.sendall(part)
        assert connection.recv(12) == b"HTTP/1.1 413"


def test_a_key_is_asked_for():
    """A platform with a key takes spans with it, and no others."""
    with LocalPlatform(key="k") as platform:
        headers = {"Content-Type": JSON}
        url = f"{platform.url}/v1/traces"
        refused = httpx.post(url, content=ONE, headers=headers, trust_env=False)
        assert (refused.status_code, refused.json()["code"]) == (401, 16)
        headers["Authorization"] = "Bearer k"
        assert httpx.post(url, content=ONE, headers=headers, trust_env=False).status_code == 200
        platform.wait_for(lambda p: p.spans("unknown"))


def test_an_outage_is_no_end():
    """A platform that was stopped and started again receives as before."""
    with LocalPlatform() as platform:
        for _ in range(2):
            answer = httpx.post(f"{platform.url}/v1/traces", json=json.loads(ONE), trust_env=False)
            assert answer.status_code == 200
            platform.stop()
            platform.start()
        platform.wait_for(lambda p: p.spans("unknown"))


def test_bodies_that_drip_or_break_off():
    """A body that takes too long has its answer (503, which is sent again); one that breaks off disturbs nobody."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await (await endpoint(Request(scope, receive)))(scope, receive, send)

    taken: list[Any] = []
    endpoint = TracesEndpoint(lambda spans: taken.append(spans) or Done(), lambda request: None, 0.3)
    server = HttpServer(app, "127.0.0.1", 0)
    server.start()
    try:
        head = f"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: {JSON}\r\nContent-Length: 99\r\n\r\n"
        with (
            socket.create_connection(("127.0.0.1", server.port), timeout=10) as dripping,
            socket.create_connection(("127.0.0.1", server.port), timeout=10) as broken,
        ):
            broken.sendall(head.encode() + b"{")
            broken.close()
            dripping.sendall(head.encode())
            ready: list[Any] = []
            while not ready:
                dripping.sendall(b" ")
                ready = select.select([dripping], [], [], 0.05)[0]
            answer = dripping.recv(4096)
            assert answer.startswith(b"HTTP/1.1 503")
            assert b"retry-after: 1" in answer.lower()
        answer = httpx.post(
            f"http://127.0.0.1:{server.port}/v1/traces", content=ONE, headers={"Content-Type": JSON}
        )
        assert (answer.status_code, len(taken)) == (200, 1)
        assert endpoint.under_way == 0
    finally:
        server.close()
        endpoint.close()


class Done:
    """An offer that was taken at once."""

    left = ()
    lost = 0
