"""The local platform keeps to the API description, whatever is made from it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from opentelemetry.exporter.versori_flow.server import LocalPlatform
from tests.server.test_server import SPEC

KEY = "secret-key"
# Few, so that a flow that was written is read and deleted too.
IDS = ["01ARZ3NDEKTSV4RRFFQ69G5FAV", "7ZZZZZZZZZZZZZZZZZZZZZZZZZ"]
schemathesis.openapi.format("ulid", st.sampled_from(IDS))
schema = schemathesis.openapi.from_path(SPEC)


@pytest.fixture(scope="module")
def locked() -> Iterator[LocalPlatform]:
    with LocalPlatform(key=KEY) as platform:
        yield platform
        # Both what is right and what is wrong was among it.
        statuses = {status for method, status in platform.counts() if method == "PUT"}
        assert not statuses or (statuses & {200} and statuses & {400, 422})


@schema.parametrize()
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
def test_answers_are_as_described(case: schemathesis.Case, locked: LocalPlatform) -> None:
    """What is valid is taken, what is not is refused, and every answer has the form that the description gives it."""
    case.call_and_validate(base_url=locked.url, headers={"Authorization": f"Bearer {KEY}"})
