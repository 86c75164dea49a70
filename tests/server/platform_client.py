"""What the tests of the local platform share: an HTTP client for one project, and spans to send."""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import quote

import httpx

from opentelemetry.exporter.versori_flow.server import LocalPlatform
from tests.processes.running import PATIENCE

CONTEXT = {"traceId": "0" * 31 + "1", "spanId": "0" * 15 + "1", "traceFlags": 1}


def make_span(name: str | None = "GET /", **members: Any) -> dict[str, Any]:
    """A span that the API takes, with some of its members replaced."""
    return {
        "name": name,
        "startTime": "2026-01-02T03:04:05.123456789Z",
        "endTime": "2026-01-02T03:04:06.123456789Z",
        "duration": 1000.0,
        "attributes": {},
        "status": {"code": 0},
        "ended": True,
        "events": [],
        "spanContext": CONTEXT,
        **members,
    }


def make_flow(*spans: Any, **members: Any) -> dict[str, Any]:
    """A flow that the API takes."""
    return {"name": "shop", "description": "", "spans": list(spans), **members}


class Project:
    """The flows of one project of a platform, over HTTP."""

    def __init__(self, platform: LocalPlatform, key: str | None = None, prefix: str = "") -> None:
        self.path = f"{prefix}/o/{platform.organisation_id}/projects/{platform.project_id}/workflows"
        self.address = ("127.0.0.1", platform.port)
        self.http = httpx.Client(base_url=platform.url, trust_env=False, timeout=PATIENCE)
        if key is not None:
            self.http.headers["Authorization"] = f"Bearer {key}"

    def __enter__(self) -> Project:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def at(self, name: str) -> str:
        """The path of a flow."""
        # Dots are encoded too: `..` as it is would be taken for a way up.
        return f"{self.path}/{quote(name, safe='').replace('.', '%2E')}"

    def list(self) -> httpx.Response:
        return self.http.get(self.path)

    def get(self, name: str, **keywords: Any) -> httpx.Response:
        return self.http.get(self.at(name), **keywords)

    def put(self, name: str, flow: Any, **keywords: Any) -> httpx.Response:
        body = {"content": flow} if isinstance(flow, bytes) else {"json": flow}
        return self.http.put(self.at(name), **body, **keywords)

    def delete(self, name: str) -> httpx.Response:
        return self.http.delete(self.at(name))

    def connect(self, request: str, body: bytes = b"") -> socket.socket:
        """Sends a request by hand, e.g. ``"GET /"``, and returns the connection."""
        connection = socket.create_connection(self.address, timeout=PATIENCE)
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        connection.sendall(f"{request} HTTP/1.1\r\nHost: localhost\r\n{length}\r\n".encode() + body)
        return connection


def read_all(connection: socket.socket) -> bytes:
    """All bytes until the other side ends the connection; a reset is raised."""
    with connection:
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
        return b"".join(parts)
