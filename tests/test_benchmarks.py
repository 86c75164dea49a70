"""The instruments of the benchmarks measure what they say."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.zipkin.json import ZipkinExporter

from benchmarks import faults, scale
from benchmarks.faults import Outcome, Row, broken
from benchmarks.faults_app import ULID
from benchmarks.faulty_server import Fault, FaultyServer
from benchmarks.sink import sink
from benchmarks.spans import make_spans
from opentelemetry.exporter.versori_flow import VersoriFlowSpanExporter

CONTESTANTS = {
    "ours": lambda url: VersoriFlowSpanExporter(
        api_key="k", organisation_id=ULID, project_id=ULID, base_url=url, min_interval=0
    ),
    "otlp": lambda url: OTLPSpanExporter(endpoint=f"{url}/v1/traces", timeout=1),
    "zipkin": lambda url: ZipkinExporter(endpoint=f"{url}/api/v2/spans", timeout=1),
}


@pytest.mark.parametrize("contestant", CONTESTANTS)
def test_the_server_counts_all_alike(contestant: str) -> None:
    """Spans are counted by their ids, whoever sends them; what a fault refuses is not counted."""
    server = FaultyServer()
    exporter: Any = CONTESTANTS[contestant](server.url)
    assert exporter.export(make_spans(20)).name == "SUCCESS"
    assert (len(server.result()), server.result().total()) == (20, 20)
    server.order(Fault("status"))
    exporter.export(make_spans(1))
    assert len(server.result()) == 20
    server.order(None)
    exporter.export(make_spans(5))
    exporter.shutdown()
    assert len(server.result()) in (25, 26)  # ours delivers what was refused, if it can
    server.stop()


def test_what_is_sent_again_counts_twice() -> None:
    """A peer that sends a batch twice is seen to."""
    server = FaultyServer()
    exporter = CONTESTANTS["otlp"](server.url)
    spans = make_spans(10)
    exporter.export(spans)
    exporter.export(spans)
    exporter.shutdown()
    assert server.result().total() == 20
    server.stop()


def test_a_promise_that_is_broken_is_seen() -> None:
    """Lost beyond what is allowed, lost without a word, twice, and too long are each a broken promise."""
    row = Row("", 1, faults.stays, faults.stays, may_be_lost=lambda outcome: outcome.bad)
    assert broken(row, "processor", Outcome(made=10, in_flow=9, bad=1, lost=1, said_lost=1)) == []
    bad = Outcome(lost=2, bad=1, twice=1, longest_export=9, longest_shutdown=20, trouble=["it hangs"])
    assert len(broken(row, "processor", bad)) == 6


def test_the_loop_makes_the_same_requests() -> None:
    """Ours and the loop write the same bytes; what takes too long is ended, and is a goal missed."""
    with sink() as url:
        ours = scale.measure(60, "flush", url, 3, "ours")
        loop = scale.measure(60, "loop", url, 3, "loop", "ours-00000")
        assert ours is not None
        assert loop is not None
        assert ours["lost"] == 0
        assert loop["bytes"] > 3 * 500
        assert scale.measure(0.01, "flush", url, 3, "late") is None
    table = scale.Scale(limit=10)
    table.row("reached", [{"wall": 1.0}], [{"wall": 1.0}], "wall", 1.3)
    table.row("not over", [None], [{"wall": 1.0}], "wall", 1.3)
    assert table.missed == ["not over"]
