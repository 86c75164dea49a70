"""Whatever the platform answers: nothing wedges, nothing is lost that need not be, memory stays bounded."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SpanExportResult

from opentelemetry.exporter.versori_flow import VersoriFlowSpanExporter
from opentelemetry.exporter.versori_flow.server import LocalPlatform
from tests.conftest import KEY
from tests.server.platform_client import make_flow, make_span

LOGGER = "opentelemetry.exporter.versori_flow"
SUCCESS, FAILURE = SpanExportResult.SUCCESS, SpanExportResult.FAILURE
FOREIGN = make_span("theirs", spanContext={"traceId": "a" * 32, "spanId": "b" * 16, "traceFlags": 1})

Make = Callable[..., Any]


@pytest.fixture
def tracer(make_provider: Make) -> Any:
    return make_provider().get_tracer("test")


@pytest.fixture(autouse=True)
def said(caplog: pytest.LogCaptureFixture, platform: LocalPlatform) -> Callable[..., list[str]]:
    """The lines of the exporter so far, of a level or of all from INFO on; waits until there are `at_least`."""
    caplog.set_level(logging.INFO, logger=LOGGER)

    def lines(level: int | None = None, at_least: int = 1) -> list[str]:
        def so_far() -> list[str]:
            return [
                record.getMessage()
                for record in caplog.records
                if record.name == LOGGER and level in (None, record.levelno)
            ]

        platform.wait_for(lambda _: len(so_far()) >= at_least, timeout=30)
        return so_far()

    return lines


def ended(tracer: Any, names: Iterable[str], **attributes: str) -> list[Any]:
    """Ended spans of these names, each a trace of its own."""
    spans = [tracer.start_span(name, attributes=attributes) for name in names]
    for span in spans:
        span.end()
    return [span._readable_span() for span in spans]


def fine(count: int, prefix: str = "fine") -> list[str]:
    return [f"{prefix}-{number}" for number in range(count)]


def names(platform: LocalPlatform, flow: str = "shop") -> list[str]:
    """The names of a flow's spans, which must all be different: no span stands there twice."""
    found = [span["name"] for span in platform.spans(flow)]
    assert len(found) == len(set(found)), "a span stands in the flow twice"
    return sorted(found)


def counted(exporter: VersoriFlowSpanExporter, flow: str = "shop") -> tuple[int, int, dict[str, int]]:
    """Delivered, pending, dropped - which together are what was handed over."""
    status = exporter.status()[flow]
    assert status.handed_over == status.delivered + status.pending + sum(status.dropped.values())
    return status.delivered, status.pending, dict(status.dropped)


def nothing_pending(exporter: VersoriFlowSpanExporter, flow: str = "shop") -> Callable[[object], bool]:
    return lambda _: exporter.status()[flow].pending == 0


def failed_again(exporter: VersoriFlowSpanExporter, flow: str = "shop") -> Callable[[object], bool]:
    return lambda _: exporter.status()[flow].state == "backing off"


def puts(platform: LocalPlatform) -> int:
    return sum(request.method == "PUT" for request in platform.requests)


# -- 400, 422: what is wrong for ever ----------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 422])
def test_named_spans_leave(platform, make_exporter, tracer, said, status):
    """What the platform names in `fields` leaves with the next PUT, and is said with the platform's words."""
    platform.fault(f"poison=bad,status={status},message=no bad names here")
    exporter = make_exporter()
    assert exporter.export(ended(tracer, [*fine(4), "bad-0", *fine(4, "more"), "bad-1"])) is FAILURE
    platform.wait_for(nothing_pending(exporter))
    assert names(platform) == sorted([*fine(4), *fine(4, "more")])
    assert counted(exporter) == (8, 0, {"refused": 2})
    assert puts(platform) == 3  # refused, taken without them, refused with them alone
    (line,) = said(logging.ERROR)
    assert "'shop'" in line
    assert "2 spans are lost" in line
    assert "no bad names here" in line


# -- answers that are no answers ---------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize(
    "fault",
    [
        "flood", "flood,gzip=yes", "flood,apply=yes", "cut", "reset", "reset,part=headers", "reset,part=body",
        "reset,apply=yes", "drip", "drip,part=body", "slow=9", "blackhole", "blackhole,apply=yes",
        "status=200,body=not json", "status=204", "status=206", "status=500", "status=599", "status=418",
    ],
)  # fmt: skip
def test_every_spoilt_answer_passes(platform, make_exporter, tracer, fault, method):
    """Large, slow, endless, cut, reset, silent: when it is over all spans arrive by themselves, each once.

    Meanwhile another flow is delivered as if alone.
    """
    platform.put("shop", make_flow(FOREIGN))
    spoilt = platform.fault(f"{fault},method={method},flow=shop")
    exporter = make_exporter(
        timeout=0.7, export_wait=2, min_interval=0, max_bytes=300_000, flow_name=lambda span: span.name[:4]
    )
    tried = exporter.export(ended(tracer, ["shop-0", "shop-1"]))
    for number in range(3):
        began = time.monotonic()
        assert exporter.export(ended(tracer, [f"fine-{number}"])) is SUCCESS
        assert time.monotonic() - began < 2
    if tried is FAILURE:
        assert "theirs" in names(platform)
    spoilt.clear()
    platform.wait_for(nothing_pending(exporter), timeout=30)
    assert counted(exporter) == (2, 0, {})
    # A 2xx of a platform that stored nothing is a success, until the end reads back what was written.
    exporter.shutdown()
    assert names(platform) == ["shop-0", "shop-1", "theirs"]


def test_a_write_that_is_answered_without_end_stands(platform, make_exporter, tracer):
    """The PUT's status says that it is stored: the flood behind it is left at its bound, not at the deadline."""
    platform.fault("flood,method=PUT,apply=yes")
    exporter = make_exporter(timeout=60, export_wait=20, max_bytes=10_000, min_interval=0)
    for number in range(2):
        assert exporter.export(ended(tracer, [f"fine-{number}"])) is SUCCESS
    assert names(platform) == fine(2)


# -- a stored flow that is no flow -------------------------------------------------------------------------

BROKEN = {
    "not JSON": b'{"name":"shop","spans":[',
    "nothing": b"",
    "deep": b'{"name":"shop","spans":[],"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep in a span": b'{"name":"shop","spans":[' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"]}",
    "huge": b'{"name":"shop","spans":[],"x":"' + b"x" * 500_000 + b'"}',
}


@pytest.mark.parametrize(
    ("stored", "repair"),
    list(zip(BROKEN.values(), itertools.cycle(["repaired", "deleted"]), strict=False)),
    ids=BROKEN,
)
def test_a_broken_flow_is_not_overwritten(platform, make_exporter, tracer, said, stored, repair):
    """It stays as it is, the spans stay pending, a line says what to do; afterwards they arrive."""
    platform.put("shop", stored)
    before = platform.raw("shop")
    exporter = make_exporter(max_bytes=100_000)
    assert exporter.export(ended(tracer, fine(3))) is FAILURE
    platform.wait_for(failed_again(exporter))
    assert platform.raw("shop") == before
    assert puts(platform) == 0
    assert counted(exporter) == (0, 3, {})
    (line,) = said(logging.ERROR)
    assert "'shop'" in line
    assert "is not overwritten; repair or delete it" in line
    assert "3 spans wait" in line
    platform.delete("shop")
    if repair == "repaired":
        platform.put("shop", make_flow(FOREIGN))
    platform.wait_for(nothing_pending(exporter), timeout=30)
    assert names(platform) == sorted([*fine(3), *(["theirs"] if repair == "repaired" else [])])
    assert "is delivered again" in said(logging.INFO)[-1]


# -- who may, and where ------------------------------------------------------------------------------------


@pytest.mark.parametrize("write_mode", ["merge", "replace"])
def test_a_key_that_is_rotated(platform, make_exporter, tracer, said, tmp_path, write_mode):
    """401: the spans wait, a line says what to check; with the new key in its file they arrive by themselves."""
    file = tmp_path / "key"
    file.write_text("an-old-key-0815")
    exporter = make_exporter(api_key=None, api_key_file=file, write_mode=write_mode)
    assert exporter.export(ended(tracer, fine(3))) is FAILURE
    platform.wait_for(lambda running: sum(running.counts().values()) > 2)
    assert counted(exporter) == (0, 3, {})
    (line,) = said(logging.ERROR)
    assert "401" in line
    assert "VERSORI_API_KEY_FILE" in line
    file.write_text(KEY)
    platform.wait_for(nothing_pending(exporter), timeout=30)
    assert names(platform) == fine(3)
    assert "is delivered again" in said(logging.INFO)[-1]
    assert not any(key in line for line in said() for key in ("an-old-key-0815", KEY))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "advice"),
    [
        ("status=403", "VERSORI_AUTH_SCHEME"),
        ("status=404,method=PUT", "VERSORI_PROJECT_ID"),
        ("status=405", "VERSORI_API_BASE_URL"),
        ("status=302,location=https://login.example/in", "https://login.example, which is not followed"),
        ("status=304", "VERSORI_API_BASE_URL"),
    ],
)
def test_what_a_person_must_change(platform, make_exporter, tracer, said, fault, advice):
    """One ERROR says what to check and how many spans wait; none of them is lost meanwhile."""
    wrong = platform.fault(fault)
    exporter = make_exporter()
    assert exporter.export(ended(tracer, fine(3))) is FAILURE
    platform.wait_for(lambda running: sum(running.counts().values()) > 2)
    assert counted(exporter) == (0, 3, {})
    (line,) = said()
    assert advice in line
    assert "'shop'" in line
    assert "3 spans wait" in line
    wrong.clear()
    platform.wait_for(nothing_pending(exporter), timeout=30)
    assert names(platform) == fine(3)


def test_a_flow_whose_name_is_too_long(platform, make_exporter, tracer, said):
    """No address can hold it, and no waiting mends that: one short ERROR says so, and other flows go on."""
    exporter = make_exporter(min_interval=0, flow_name=lambda span: span.name)
    long = "long" * 20_000
    assert exporter.export(ended(tracer, [long])) is FAILURE
    for _ in range(3):
        assert exporter.export(ended(tracer, ["fine"])) is SUCCESS
    assert counted(exporter, long) == (0, 1, {})
    (line,) = said()
    assert line.startswith("flow 'longlong")
    assert "its name is too long" in line
    assert "1 span waits" in line
    assert len(line) < 500
    assert exporter.force_flush(10_000) is False


def test_a_flow_that_only_nests_is_no_trouble_for_others(platform, make_exporter, tracer):
    """Broken, flooded, refused and denied flows side by side: the fine ones are delivered as if alone."""
    platform.put("deep", BROKEN["deep"])
    platform.put("huge", BROKEN["huge"])
    platform.fault("flood,flow=flood")
    platform.fault("flood,gzip=yes,flow=zip")
    platform.fault("blackhole,flow=hole")
    platform.fault("status=401,flow=denied")
    platform.fault("status=422,flow=refused")
    platform.fault("status=503,retry-after=3600,flow=later")
    troubled = ["deep", "huge", "flood", "zip", "hole", "denied", "refused", "later"]
    exporter = make_exporter(timeout=2, min_interval=0, max_bytes=100_000, flow_name=lambda span: span.name)
    exporter.export(ended(tracer, troubled))
    for _ in range(10):
        assert exporter.export(ended(tracer, ["fine"])) is SUCCESS
    assert len(platform.spans("fine")) == 10
    platform.wait_for(lambda _: all(exporter.status()[flow].last_error for flow in troubled))
    assert all(counted(exporter, flow) == (0, 1, {}) for flow in troubled)


def test_export_during_any_answer_comes_back(platform, make_exporter, tracer):
    """Many threads that export while answers are spoilt at random: none hangs, and all that they gave arrives."""
    for number, fault in enumerate(["status=503", "reset", "cut", "reset,apply=yes", "status=409"]):
        platform.fault(fault, share=0.1, seed=number)
    exporter = make_exporter(min_interval=0.02, export_wait=0.2)
    batches = [ended(tracer, fine(4, f"batch-{number:02}")) for number in range(40)]

    def work(mine: list[list[Any]]) -> None:
        for batch in mine:
            exporter.export(batch)

    threads = [threading.Thread(target=work, args=(batches[first::8],)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    platform.clear_faults()
    platform.wait_for(nothing_pending(exporter), timeout=60)
    assert len(names(platform)) == 160
