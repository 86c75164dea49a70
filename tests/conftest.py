"""What the tests share: a clean environment, the local platform, and a traced application on it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider

from opentelemetry.exporter.versori_flow import VersoriFlowSpanExporter
from opentelemetry.exporter.versori_flow.server import LocalPlatform
from tests import profiles  # noqa: F401 - it chooses one
from tests.ports import free_port as find_port

KEY = "local-platform-key-4711"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


def leave(exporter: VersoriFlowSpanExporter, spans: Iterable[ReadableSpan]) -> None:
    """What the exporter's own processor does with ended spans."""
    for span in spans:
        exporter.leave(span)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("VERSORI_", "OTEL_")) or name.upper() in PROXIES:
            monkeypatch.delenv(name)


@pytest.fixture
def free_port() -> int:
    return find_port()


@pytest.fixture
def platform() -> Iterator[LocalPlatform]:
    with LocalPlatform(key=KEY) as running:
        yield running


@pytest.fixture
def make_exporter(platform: LocalPlatform) -> Iterator[Callable[..., VersoriFlowSpanExporter]]:
    """Makes exporters for the platform; shuts down what the test left open, without waiting for long."""
    made: list[VersoriFlowSpanExporter] = []

    def make(**keywords: Any) -> VersoriFlowSpanExporter:
        keywords = {
            "api_key": KEY,
            "organisation_id": platform.organisation_id,
            "project_id": platform.project_id,
            "base_url": platform.url,
            **keywords,
        }
        made.append(VersoriFlowSpanExporter(**keywords))
        return made[-1]

    yield make
    platform.clear_faults()
    for exporter in made:
        exporter.shutdown(timeout_millis=500)


@pytest.fixture
def make_provider() -> Iterator[Callable[..., TracerProvider]]:
    """Makes tracer providers of a service."""
    made: list[TracerProvider] = []

    def make(service: str = "shop", **attributes: str) -> TracerProvider:
        resource = Resource.create({"service.name": service, **attributes})
        made.append(TracerProvider(resource=resource, shutdown_on_exit=False))
        return made[-1]

    yield make
    for provider in made:
        provider.shutdown()
