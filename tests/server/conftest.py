"""What the tests of the local platform share: one platform, emptied for each test, and its flows over HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from opentelemetry.exporter.versori_flow.server import LocalPlatform
from tests.server.platform_client import Project


@pytest.fixture(scope="module")
def running() -> Iterator[LocalPlatform]:
    with LocalPlatform() as made:
        yield made


@pytest.fixture
def shared(running: LocalPlatform) -> LocalPlatform:
    running.clear_faults()
    running.forget()
    running.clear_requests()
    return running


@pytest.fixture
def project(shared: LocalPlatform) -> Iterator[Project]:
    with Project(shared) as made:
        yield made
