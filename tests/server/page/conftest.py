"""What the tests of the page share: a client beside the platform."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from opentelemetry.exporter.versori_flow.server import LocalPlatform


@pytest.fixture
def platform(shared: LocalPlatform) -> LocalPlatform:
    return shared


@pytest.fixture(scope="module")
def http(running: LocalPlatform) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.url, trust_env=False, timeout=20) as client:
        yield client
