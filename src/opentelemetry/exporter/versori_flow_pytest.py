"""A fixture for pytest: a local platform for each test that asks for one.

It stands beside the package: pytest loads it in every run, and a run that uses no platform imports nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .versori_flow.server import LocalPlatform


@pytest.fixture
def versori_flow_platform() -> Iterator[LocalPlatform]:
    """A ``LocalPlatform`` on a free port, empty, without a key; it ends with the test."""
    try:
        from .versori_flow.server import LocalPlatform
    except ImportError as error:
        pytest.fail(f"{error}: pip install 'opentelemetry-exporter-versori-flow[server]'", pytrace=False)
    with LocalPlatform() as platform:
        yield platform
