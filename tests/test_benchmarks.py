"""The instruments of the benchmarks measure what they say."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.zipkin.json import ZipkinExporter

from benchmarks import scale
from benchmarks.fault_rows import CONTESTANTS, Outcome, Row, StoreFault, broken, stays
from benchmarks.faulty_server import FINE, Fault, FaultyServer
from benchmarks.sink import sink
from benchmarks.spans import make_spans
from benchmarks.store_faults import flip_a_byte, tear_the_log
from benchmarks.taken import FLOW, ULID, Taken
from opentelemetry.exporter.versori_flow import VersoriFlowSpanExporter
from opentelemetry.exporter.versori_flow.flow.journal import Change, Kept
from opentelemetry.exporter.versori_flow.stores.folder import Folder
from opentelemetry.exporter.versori_flow.stores.spool import Spool
from opentelemetry.exporter.versori_flow.stores.spool_file import Target

EXPORTERS = {
    "ours": lambda url: VersoriFlowSpanExporter(
        api_key="k", organisation_id=ULID, project_id=ULID, base_url=url, min_interval=0
    ),
    "otlp": lambda url: OTLPSpanExporter(endpoint=f"{url}/v1/traces", timeout=1),
    "zipkin": lambda url: ZipkinExporter(endpoint=f"{url}/api/v2/spans", timeout=1),
}


@pytest.mark.parametrize("contestant", EXPORTERS)
def test_the_server_counts_all_alike(contestant: str) -> None:
    """Spans are counted by their ids, whoever sends them; what a fault refuses is not, and the fault was met."""
    server = FaultyServer()
    exporter: Any = EXPORTERS[contestant](server.url)
    assert exporter.export(make_spans(20)).name == "SUCCESS"
    assert (len(server.taken.counts()), server.taken.counts().total()) == (20, 20)
    server.order(Fault("status"))
    assert server.unplayed == {"status"}
    exporter.export(make_spans(1))
    assert (len(server.taken.counts()), server.unplayed) == (20, set())
    server.order(FINE)
    exporter.export(make_spans(5))
    exporter.shutdown()
    assert len(server.taken.counts()) in (25, 26)  # ours delivers what was refused, if it can
    server.stop()


def test_what_is_sent_again_counts_twice() -> None:
    """A peer that sends a batch twice is seen to."""
    server = FaultyServer()
    exporter = EXPORTERS["otlp"](server.url)
    spans = make_spans(10)
    exporter.export(spans)
    exporter.export(spans)
    exporter.shutdown()
    assert server.taken.counts().total() == 20
    server.stop()


def test_a_promise_that_is_broken_is_seen() -> None:
    """Lost beyond what is allowed, unsaid or uncounted, twice, erased, back, too long: each breaks a promise."""
    ours, durable = CONTESTANTS["processor"], CONTESTANTS["processor, sqlite"]
    row = Row("", 1, stays, stays, may_be_lost=lambda outcome: outcome.bad)
    assert broken(row, ours, Outcome(made=10, in_flow=9, bad=1, lost=1, said_lost=1, counted=1)) == []
    bad = Outcome(lost=2, bad=1, twice=1, erased=1, came_back=1, longest_export=9, longest_shutdown=20)
    bad.trouble.append("it hangs")
    assert len(broken(row, ours, bad)) == 9
    kills = replace(row, store=StoreFault(kept=True, kills=1, bites=True))
    killed = Outcome(lost=1, bad=1)
    assert broken(kills, ours, killed) == []
    assert len(broken(kills, ours, Outcome())) == 1  # the kill has met nothing
    assert len(broken(kills, durable, killed)) == 3
    full = replace(row, store=StoreFault(once="full", most_puts=2))
    assert broken(full, durable, Outcome(lines=["it is full"], puts=2)) == []
    assert len(broken(full, durable, Outcome(lines=["it is full"] * 2, puts=3, left=1))) == 3


@pytest.mark.parametrize(("damage", "lost"), [(flip_a_byte, range(1, 2)), (tear_the_log, range(1, 60))])
def test_damage_costs_what_it_hits(tmp_path: Path, damage: Callable[[Path], None], lost: range) -> None:
    """A flipped byte costs one span, a torn log the last transaction; the others are read."""
    target = Target("http://127.0.0.1:1", ULID, ULID)
    folder = Folder(str(tmp_path), False, 1 << 28)
    kept = [
        Kept((f"{n:032x}", f"{n:016x}"), n, n, True, b'{"spanContext":{}}' + b" " * 600) for n in range(300)
    ]
    if not (child := os.fork()):
        spool = Spool(folder, target, True, 1000)
        for at in range(0, 300, 50):
            spool.apply([Change("shop", kept[at : at + 50], [], [])])
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    damage(tmp_path)
    heir = Spool(folder, target, True, 1000)
    assert 300 - sum(len(left.spans) for left in heir.inherit(0.0)) in lost
    assert heir.take_unreadable() in lost


def test_what_is_erased_is_counted() -> None:
    """A flow that is replaced lacks what others wrote; what they take away themselves is not erased."""
    taken = Taken()
    taken.write(1, "in the way")
    _, before = taken.take("GET", FLOW, b"")
    assert (taken.erased(), taken.came_back()) == (0, 0)
    taken.remove("in the way")
    assert (taken.erased(), taken.came_back()) == (0, 0)
    taken.take("PUT", FLOW, before)
    assert (taken.erased(), taken.came_back()) == (0, 1)
    taken.take("PUT", FLOW, b'{"name":"shop","description":"","spans":[]}')
    assert (taken.erased(), taken.erased(may_age=True), taken.came_back()) == (22, 2, 0)
    taken.forget()
    assert (taken.erased(), taken.came_back()) == (0, 0)


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
