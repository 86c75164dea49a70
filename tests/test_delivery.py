"""Spans stand in their flows, whole, once, and stay there: a real SDK pipeline on the local platform."""

from __future__ import annotations

import json
import logging
import math
import sys
import threading
import time
from collections import Counter
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.trace import Tracer

from opentelemetry.exporter.versori_flow import VersoriFlowSpanProcessor
from tests.conftest import leave


def trace_of(tracer: Tracer, name: str = "order", children: int = 2) -> None:
    with tracer.start_as_current_span(name):
        for number in range(children):
            with tracer.start_as_current_span(f"{name}-step-{number}"):
                pass


def ended_spans(tracer: Tracer, count: int) -> list[Any]:
    spans = [tracer.start_span(f"span-{number}") for number in range(count)]
    for span in spans:
        span.end()
    return [span._readable_span() for span in spans]


def ids(spans: list[dict[str, Any]]) -> list[str]:
    return [span["spanContext"]["spanId"] for span in spans]


def assert_whole_and_once(spans: list[dict[str, Any]]) -> None:
    seen = ids(spans)
    assert len(seen) == len(set(seen)), "a span stands in the flow twice"
    parents = {span["parentSpanContext"]["spanId"] for span in spans if "parentSpanContext" in span}
    assert parents <= set(seen), "a span's parent is missing"


def test_a_batch_adds_to_the_batch_before(platform, make_exporter, make_provider):
    """One PUT replaces the whole flow, and yet each batch's spans stay."""
    exporter = make_exporter(min_interval=0)
    tracer = make_provider().get_tracer("test")
    for _ in range(4):
        assert exporter.export(ended_spans(tracer, 5)) is SpanExportResult.SUCCESS
    assert len(platform.spans("shop")) == 20
    assert_whole_and_once(platform.spans("shop"))


def test_a_second_run_adds_to_the_first(platform, make_exporter, make_provider):
    """What the last run of a program left in its flow is still there after the next."""
    for _ in range(3):
        exporter = make_exporter()
        provider = make_provider()
        provider.add_span_processor(BatchSpanProcessor(exporter))
        trace_of(provider.get_tracer("test"))
        provider.shutdown()
    assert len(platform.spans("shop")) == 9
    assert_whole_and_once(platform.spans("shop"))


def test_what_others_wrote_survives_byte_for_byte(platform, make_exporter, make_provider):
    """A person's description, unknown members and foreign spans with unknown fields are kept as they are."""
    digits = "1" * 5000
    foreign = (
        '{"name":"theirs", "startTime":"2026-01-01T00:00:00Z","endTime":"2026-01-01T00:00:01.5Z","duration":1.50,'
        '"attributes":{"n":1.10,"big":' + digits + '},"status":{"code":0},"ended":true,"events":[ ],'
        '"spanContext":{"traceId":"' + "a" * 32 + '","spanId":"' + "b" * 16 + '","traceFlags":1},'
        '"unknown":{"\\u00e9":[1,2.500,null]}}'
    )
    stored = (
        f'{{"name":"shop","description":"written by \\u0041nna","spans":[{foreign}],"colour":{{"r": 1.0}}}}'
    )
    platform.put("shop", stored.encode())

    exporter = make_exporter()
    assert exporter.export(ended_spans(make_provider().get_tracer("test"), 3)) is SpanExportResult.SUCCESS

    raw = platform.raw("shop").decode()
    assert foreign in raw
    assert '"description":"written by \\u0041nna"' in raw
    assert '"colour":{"r": 1.0}' in raw
    assert raw.count('"spanContext"') == 4


def test_a_description_of_ours_replaces_the_stored_one(platform, make_exporter, make_provider):
    """With flow_description set, it is the flow's description."""
    platform.put("shop", {"name": "shop", "description": "old", "spans": []})
    make_exporter(flow_description="new").export(ended_spans(make_provider().get_tracer("test"), 1))
    assert platform.flow("shop")["description"] == "new"


def test_replace_never_reads(platform, make_exporter, make_provider):
    """In replace mode the window alone is the flow, and no GET is made."""
    platform.put("shop", {"name": "shop", "description": "old", "spans": []})
    exporter = make_exporter(write_mode="replace", min_interval=0)
    tracer = make_provider().get_tracer("test")
    exporter.export(ended_spans(tracer, 2))
    exporter.export(ended_spans(tracer, 2))
    exporter.shutdown()
    assert len(platform.spans("shop")) == 4
    assert {request.method for request in platform.requests} == {"PUT"}


def test_every_put_is_preceded_by_a_read(platform, make_exporter, make_provider):
    """In merge mode no PUT goes out without a GET just before it."""
    exporter = make_exporter(min_interval=0)
    tracer = make_provider().get_tracer("test")
    for _ in range(5):
        exporter.export(ended_spans(tracer, 2))
    methods = [request.method for request in platform.requests]
    assert methods.count("PUT") == 5
    assert all(methods[at - 1] == "GET" for at, method in enumerate(methods) if method == "PUT")


def test_a_late_name_moves_the_whole_trace(platform, make_exporter, make_provider):
    """A root that names its flow at its end takes its children along, and the first flow lets them go."""
    exporter = make_exporter(min_interval=0)
    provider = make_provider()
    provider.add_span_processor(VersoriFlowSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span("root") as root:
        with tracer.start_as_current_span("child"), tracer.start_as_current_span("grandchild"):
            pass
        assert provider.force_flush(5000)
        assert len(platform.spans("shop")) == 2
        root.set_attribute("versori.flow.name", "orders")
    assert provider.force_flush(5000)
    assert {span["name"] for span in platform.spans("orders")} == {"root", "child", "grandchild"}
    assert platform.spans("shop") == []


@pytest.mark.parametrize("name", ["a/b?c#d", "..", ".", "über uns", "100%", "a\\b", "%2F"])
def test_flow_names_are_one_path_segment(platform, make_exporter, make_provider, name):
    """Whatever is in a flow's name, it is the flow of that name that is written."""
    exporter = make_exporter(flow_name=lambda span: name)
    assert exporter.export(ended_spans(make_provider().get_tracer("test"), 1)) is SpanExportResult.SUCCESS
    assert platform.names() == [name]
    assert platform.flow(name)["name"] == name


def test_faults_on_a_third_of_all_requests(platform, make_exporter, make_provider):
    """503, resets (before and after the PUT was applied) and slow answers: every span arrives, once."""
    platform.fault("status=503", share=0.12, seed=1)
    platform.fault("reset", share=0.12, seed=2)
    platform.fault("reset", share=0.1, seed=3, method="PUT", apply=True)
    platform.fault("slow", delay=0.2, share=0.1, seed=4)
    exporter = make_exporter(min_interval=0.05)
    provider = make_provider()
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=50))
    tracer = provider.get_tracer("test")
    for _ in range(100):
        trace_of(tracer)
        time.sleep(0.01)  # the application's own work
    provider.force_flush()
    platform.wait_for(lambda _: exporter.status()["shop"].pending == 0, timeout=60)
    assert len(platform.spans("shop")) == 300
    assert_whole_and_once(platform.spans("shop"))
    assert exporter.status()["shop"].dropped == {}


def test_a_read_that_took_long_is_not_the_base_of_a_write(platform, make_exporter, make_provider):
    """Stopped or slow, nobody knows: it is read again, and where that takes as long, the platform is slow."""
    exporter = make_exporter(export_wait=8)
    with platform.fault("slow=1.2,method=GET"):
        spans = ended_spans(make_provider().get_tracer("test"), 1)
        assert exporter.export(spans) is SpanExportResult.SUCCESS
    assert [request.method for request in platform.requests] == ["GET", "GET", "PUT"]


@pytest.mark.slow
def test_an_outage_ends_without_new_traffic(platform, make_exporter, make_provider, caplog):
    """3 s down under 400 spans a second: none lost, nothing raised, few lines, delivered by itself."""
    caplog.set_level(logging.INFO)
    exporter = make_exporter(max_spans=20_000, max_bytes=64 * 1024 * 1024)
    provider = make_provider()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    trace_of(tracer)
    provider.force_flush()
    platform.wait_for(lambda running: len(running.spans("shop")) == 3)

    platform.stop()
    made = 3
    ends = time.monotonic() + 3
    while time.monotonic() < ends:
        trace_of(tracer, children=3)
        made += 4
        time.sleep(0.01)  # 400 spans a second
    provider.force_flush()
    platform.start()

    # The platform has them a moment before the exporter has its answer.
    platform.wait_for(lambda _: exporter.status()["shop"].pending == 0, timeout=90)
    assert len(platform.spans("shop")) == made
    assert_whole_and_once(platform.spans("shop"))
    status = exporter.status()["shop"]
    assert (status.handed_over, status.dropped, status.pending) == (made, {}, 0)
    assert made > 600
    lines = [record for record in caplog.records if record.name.startswith("opentelemetry")]
    assert 2 <= len(lines) <= 6, [record.getMessage() for record in lines]
    assert "is delivered again" in lines[-1].getMessage()


@pytest.mark.parametrize("fault", ["blackhole", "drip,part=headers", "drip,part=body", "slow,delay=30"])
def test_export_is_bounded(platform, make_exporter, make_provider, fault):
    """`export` takes no longer than export_wait, whatever the platform does."""
    platform.fault(fault)
    exporter = make_exporter(export_wait=0.5, timeout=5)
    began = time.monotonic()
    result = exporter.export(ended_spans(make_provider().get_tracer("test"), 3))
    assert time.monotonic() - began < 1.5
    assert result is SpanExportResult.FAILURE
    assert exporter.status()["shop"].pending == 3


def test_export_without_wait(platform, make_exporter, make_provider):
    """With export_wait 0 `export` only stores, and succeeds as long as the flow is not in trouble."""
    exporter = make_exporter(export_wait=0, timeout=1)
    tracer = make_provider().get_tracer("test")
    platform.fault("blackhole")
    began = time.monotonic()
    assert exporter.export(ended_spans(tracer, 3)) is SpanExportResult.SUCCESS
    assert time.monotonic() - began < 0.5
    platform.wait_for(lambda _: exporter.status()["shop"].last_error)
    assert exporter.export(ended_spans(tracer, 3)) is SpanExportResult.FAILURE
    platform.clear_faults()
    platform.wait_for(lambda running: len(running.spans("shop")) == 6)


def test_a_platform_that_hangs_is_waited_for_once(platform, make_exporter, make_provider, caplog):
    """Whoever calls `export` for each span, as on an event loop, waits one `export_wait`, not ten.

    Why it is FAILURE is logged before it returns, though nothing has failed yet.
    """
    exporter = make_exporter(export_wait=2, timeout=30, min_interval=0)
    first, *spans = ended_spans(make_provider().get_tracer("test"), 11)
    exporter.export([first])  # what the first request imports is not what is waited for
    exporter.force_flush()
    platform.fault("blackhole")
    waits = []
    for span in spans:
        began = time.monotonic()
        exporter.export([span])
        waits.append((time.monotonic() - began, exporter.status()["shop"]))
        assert [record.getMessage().split(",")[0] for record in caplog.records] == [
            "flow 'shop' is not delivered within VERSORI_FLOW_EXPORT_WAIT"
        ]
    assert [wait > 1.9 for wait, _ in waits] == [True, *[False] * 9], waits
    assert exporter.status()["shop"].pending == 10


def test_a_flow_in_trouble_costs_the_application_nothing(platform, make_exporter, make_provider):
    """After a failure `export` stores and returns at once; the spans arrive when the trouble is over."""
    platform.fault("status=503")
    exporter = make_exporter(export_wait=5)
    tracer = make_provider().get_tracer("test")
    assert exporter.export(ended_spans(tracer, 3)) is SpanExportResult.FAILURE
    began = time.monotonic()
    for _ in range(20):
        assert exporter.export(ended_spans(tracer, 3)) is SpanExportResult.FAILURE
    assert time.monotonic() - began < 2
    platform.clear_faults()
    platform.wait_for(lambda running: len(running.spans("shop")) == 63, timeout=30)


def test_pacing_is_success(platform, make_exporter, make_provider):
    """Spans that only wait for their flow's interval count as exported, and `export` does not wait for it."""
    exporter = make_exporter(min_interval=30)
    tracer = make_provider().get_tracer("test")
    assert exporter.export(ended_spans(tracer, 3)) is SpanExportResult.SUCCESS
    began = time.monotonic()
    assert exporter.export(ended_spans(tracer, 3)) is SpanExportResult.SUCCESS
    assert time.monotonic() - began < 0.5
    assert exporter.status()["shop"].pending == 3
    assert 20 < exporter.status()["shop"].next_attempt <= 30
    assert exporter.force_flush(5000)
    assert len(platform.spans("shop")) == 6


def test_a_window_half_full_of_pending_spans_ignores_pacing(platform, make_exporter, make_provider):
    """Pacing never costs a span: at half the window the flow is due at once."""
    exporter = make_exporter(min_interval=30, max_spans=10)
    tracer = make_provider().get_tracer("test")
    exporter.export(ended_spans(tracer, 1))
    exporter.export(ended_spans(tracer, 5))
    assert len(platform.spans("shop")) == 6


def test_force_flush_against_a_black_hole(platform, make_exporter, make_provider):
    """force_flush returns False within its time."""
    platform.fault("blackhole")
    exporter = make_exporter(export_wait=0)
    exporter.export(ended_spans(make_provider().get_tracer("test"), 3))
    began = time.monotonic()
    assert exporter.force_flush(700) is False
    assert time.monotonic() - began < 2


ODD_TIMES = [None, math.inf, sys.maxsize, 1e15, 10**400]


def test_whoever_waits_calls_no_sleep_of_a_test(platform, make_exporter, make_provider, monkeypatch):
    """An application's test that puts its own in place of `time.sleep` counts its own calls, and what it raises there
    is raised by none of ours; nobody spins on one that returns at once."""
    exporter, tracer = make_exporter(timeout=2), make_provider().get_tracer("test")
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        raise RuntimeError

    monkeypatch.setattr(time, "sleep", sleep)
    with platform.fault("blackhole"):
        exporter.export(ended_spans(tracer, 1))
        assert not exporter.force_flush(300)
    exporter.shutdown()
    assert not slept
    assert len(platform.spans("shop")) == 1


@pytest.mark.parametrize("millis", ODD_TIMES, ids=["none", "infinite", "maxsize", "ages", "no float"])
def test_more_time_than_there_is(platform, make_exporter, make_provider, millis):
    """No limit, as the SDK's batch processor takes it, and times that no clock holds, are times to deliver in."""
    provider = make_provider()
    processor = VersoriFlowSpanProcessor(make_exporter())
    provider.add_span_processor(processor)
    trace_of(provider.get_tracer("test"))
    assert processor.force_flush(millis)
    assert len(platform.spans("shop")) == 3
    trace_of(provider.get_tracer("test"))
    processor.shutdown(millis)
    assert len(platform.spans("shop")) == 6


@pytest.mark.parametrize(
    "millis", [math.nan, -5, -math.inf, -(10**400)], ids=["nan", "past", "-inf", "no float"]
)
def test_no_time_at_all(platform, make_exporter, make_provider, millis):
    """What is no number, and what is less than none, is no time: both calls return."""
    platform.fault("blackhole")
    exporter = make_exporter(export_wait=0)
    exporter.export(ended_spans(make_provider().get_tracer("test"), 3))
    answers: list[Any] = []
    thread = threading.Thread(
        target=lambda: answers.extend([exporter.force_flush(millis), exporter.shutdown(millis)]), daemon=True
    )
    thread.start()
    thread.join(5)
    assert answers == [False, None]


def test_force_flush_ignores_a_running_retry_after(platform, make_exporter, make_provider):
    """Whoever flushes has a reason: the wait that the platform asked for before does not hold it up."""
    platform.fault("status=503,retry-after=3600", times=1)
    exporter = make_exporter()
    exporter.export(ended_spans(make_provider().get_tracer("test"), 3))
    assert exporter.status()["shop"].next_attempt > 3000
    assert exporter.force_flush(5000) is True
    assert len(platform.spans("shop")) == 3


@pytest.mark.slow
@pytest.mark.parametrize("busy", [False, True], ids=["alone", "during export"])
@pytest.mark.parametrize(
    "fault", ["blackhole", "drip,part=headers", "drip,part=body", "status=503,retry-after=3600"]
)
def test_shutdown_is_bounded(platform, make_exporter, make_provider, fault, busy):
    """shutdown returns within its time whatever the platform does, also while a thread is in `export`."""
    platform.fault(fault)
    exporter = make_exporter(export_wait=8, timeout=30)
    spans = ended_spans(make_provider().get_tracer("test"), 3)
    if busy:
        thread = threading.Thread(target=exporter.export, args=(spans,))
        thread.start()
        platform.wait_for(lambda running: running.requests)
    else:
        leave(exporter, spans)
    began = time.monotonic()
    exporter.shutdown(timeout_millis=1000)
    assert time.monotonic() - began < 2.5
    if busy:
        thread.join(timeout=2)
        assert not thread.is_alive()


def test_shutdown_says_what_is_lost(platform, make_exporter, make_provider, caplog):
    """What could not be delivered is logged by flow and count, and counted."""
    platform.fault("status=503,retry-after=3600")
    exporter = make_exporter(timeout=1)
    leave(exporter, ended_spans(make_provider().get_tracer("test"), 3))
    exporter.shutdown()
    (lost,) = [record.getMessage() for record in caplog.records if "are lost" in record.getMessage()]
    assert "'shop'" in lost
    assert "3 spans" in lost
    assert exporter.status()["shop"].dropped == {"shutdown": 3}


def test_a_stuck_flow_holds_up_no_other(platform, make_exporter, make_provider):
    """Two flows, one of them stuck: the other is delivered as if alone."""
    platform.fault("blackhole", flow="stuck")
    exporter = make_exporter(min_interval=0, flow_name=lambda span: span.name)
    tracer = make_provider().get_tracer("test")
    stuck, fine = tracer.start_span("stuck"), tracer.start_span("fine")
    stuck.end()
    fine.end()
    leave(exporter, [stuck._readable_span()])
    platform.wait_for(lambda running: running.requests)
    for _ in range(5):
        again = tracer.start_span("fine")
        again.end()
        assert exporter.export([again._readable_span()]) is SpanExportResult.SUCCESS
    assert len(platform.spans("fine")) == 5


def test_flows_are_delivered_side_by_side(platform, make_exporter, make_provider):
    """Twenty slow flows take about as long as one."""
    platform.fault("slow", delay=0.5)
    exporter = make_exporter(flow_name=lambda span: span.name)
    tracer = make_provider().get_tracer("test")
    spans = []
    for number in range(20):
        span = tracer.start_span(f"flow-{number}")
        span.end()
        spans.append(span._readable_span())
    leave(exporter, spans)
    assert exporter.force_flush(6000)
    assert len(platform.names()) == 20


def test_a_deleted_flow_starts_anew(platform, make_exporter, make_provider):
    """A delivered flow that was deleted on purpose is not brought back; what is pending starts it anew."""
    exporter = make_exporter(min_interval=0)
    tracer = make_provider().get_tracer("test")
    exporter.export(ended_spans(tracer, 5))
    platform.delete("shop")
    exporter.export(ended_spans(tracer, 2))
    assert len(platform.spans("shop")) == 2


def test_the_last_of_many_counts(platform, make_exporter, make_provider):
    """handed over = delivered + pending + dropped, through windows too small and spans that can't be encoded."""
    exporter = make_exporter(min_interval=0, max_spans=10)
    tracer = make_provider().get_tracer("test")
    exporter.export([*ended_spans(tracer, 25), object()])
    status = exporter.status()
    total = Counter({"handed_over": 0})
    for one in status.values():
        assert one.handed_over == one.delivered + one.pending + sum(one.dropped.values())
        total.update(handed_over=one.handed_over)
    assert total["handed_over"] == 26
    assert status["shop"].dropped["window_full"] == 15


def test_bodies_are_json_of_the_api(platform, make_exporter, make_provider):
    """The platform, which checks each body against the API description, takes what is sent."""
    exporter = make_exporter()
    span = make_provider().get_tracer("test").start_span("odd \ud800 name")
    span.set_attribute("list", [1.0, 2.5])
    span.add_event("e", {"k": "\ud800"})
    span.end()
    assert exporter.export([span._readable_span()]) is SpanExportResult.SUCCESS
    (stored,) = platform.spans("shop")
    assert json.loads(stored["attributes"]["list"]) == [1.0, 2.5]
