"""What the tests of the pure rooms share."""

from __future__ import annotations

import pytest

from tests.flow.model import Platform


@pytest.fixture
def platform() -> Platform:
    """The platform, in memory."""
    return Platform()
