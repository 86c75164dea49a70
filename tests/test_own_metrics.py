"""What the exporter says about itself: the names and meanings of the semantic conventions, and true counts."""

from __future__ import annotations

import gc
import os
import random
import signal
import weakref
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.metrics.view import DropAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.trace import Tracer, set_span_in_context

from opentelemetry import metrics
from opentelemetry.exporter.versori_flow import VersoriFlowSpanExporter, own_metrics
from opentelemetry.exporter.versori_flow.version import __version__
from tests.conftest import KEY

SCOPE = "opentelemetry.exporter.versori_flow"
SWITCH = "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED"
INFLIGHT = "otel.sdk.exporter.span.inflight"
EXPORTED = "otel.sdk.exporter.span.exported"
OPERATION = "otel.sdk.exporter.operation.duration"
DROPPED = "versori.flow.span.dropped"
ATTEMPT = "versori.flow.attempt.duration"
REQUEST = "versori.flow.request"
BODY_SIZE = "versori.flow.request.body.size"
DOWN = "status=503,retry-after=3600"


class Counts(NamedTuple):
    """One reading: spans delivered, lost by reason, and on their way."""

    delivered: int
    failed: dict[str, int]
    inflight: int

    @property
    def given(self) -> int:
        return self.delivered + sum(self.failed.values()) + self.inflight


class Meters:
    """A meter provider in memory."""

    def __init__(self, *views: View, **keywords: Any) -> None:
        self.reader = InMemoryMetricReader(**keywords)
        self.provider = MeterProvider([self.reader], Resource({}), shutdown_on_exit=False, views=views)

    def read(self) -> dict[str, Any]:
        """Our metrics by name; the SDK has some of its own."""
        data = self.reader.get_metrics_data()
        found = {}
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                if (scope.scope.name, scope.scope.version) == (SCOPE, __version__):
                    found.update({metric.name: metric for metric in scope.metrics})
        return found

    def points(self, name: str) -> list[Any]:
        metrics = self.read()
        return list(metrics[name].data.data_points) if name in metrics else []

    def by(self, name: str, *attributes: str) -> dict[Any, Any]:
        """Values, or counts of a histogram, by the values of these attributes."""
        found = {}
        for point in self.points(name):
            key = tuple(point.attributes.get(attribute) for attribute in attributes)
            key = key[0] if len(key) == 1 else key
            assert key not in found
            found[key] = point.value if isinstance(point, NumberDataPoint) else point.count
        return found

    def counts(self) -> Counts:
        metrics = self.read()
        if EXPORTED not in metrics:
            return Counts(0, {}, 0)
        values = {
            point.attributes.get(ERROR_TYPE): point.value for point in metrics[EXPORTED].data.data_points
        }
        (inflight,) = metrics[INFLIGHT].data.data_points
        return Counts(values.pop(None, 0), {k: v for k, v in values.items() if v}, inflight.value)


class Broken(metrics.NoOpMeterProvider, metrics.NoOpMeter):
    """A meter provider of somebody's whose instruments do what they should not."""

    def __init__(self, act: Callable[[str], object]) -> None:
        super().__init__("broken")
        self._act = act

    def get_meter(self, *_: Any, **__: Any) -> metrics.Meter:
        return self

    def _make(self, name: str, *_: Any, **__: Any) -> Any:
        return SimpleNamespace(add=lambda *_: self._act(name), record=lambda *_: self._act(name))

    create_counter = create_histogram = _make


@pytest.fixture(autouse=True)
def _switched_on(_clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "true")


@pytest.fixture
def meters() -> Iterator[Meters]:
    made = Meters()
    yield made
    made.provider.shutdown()


@pytest.fixture
def measured(meters: Meters, make_exporter: Callable[..., Any]) -> Callable[..., Any]:
    """Makes exporters that are measured."""
    return lambda **keywords: make_exporter(meter_provider=meters.provider, **keywords)


@pytest.fixture
def tracer(make_provider: Callable[..., Any]) -> Tracer:
    return make_provider().get_tracer("test")


def spans(tracer: Tracer, count: int = 1, name: str = "work", **attributes: str) -> list[Any]:
    made = [tracer.start_span(name, attributes=attributes) for _ in range(count)]
    for span in made:
        span.end()
    return [span._readable_span() for span in made]


# -- names -------------------------------------------------------------------------------------------------


def test_names_units_and_kinds(platform, meters, measured, tracer):
    """Name, unit and kind are those of the semantic conventions; what they have not is `versori.flow.*`."""
    exporter = measured()
    exporter.export([*spans(tracer), object()])
    exporter.force_flush(5000)
    metrics = meters.read()
    assert {name: (metric.unit, type(metric.data).__name__) for name, metric in metrics.items()} == {
        INFLIGHT: ("{span}", "Sum"),
        EXPORTED: ("{span}", "Sum"),
        OPERATION: ("s", "Histogram"),
        DROPPED: ("{span}", "Sum"),
        ATTEMPT: ("s", "Histogram"),
        REQUEST: ("{request}", "Sum"),
        BODY_SIZE: ("By", "Histogram"),
    }
    assert {name for name, metric in metrics.items() if getattr(metric.data, "is_monotonic", False)} == {
        EXPORTED,
        DROPPED,
        REQUEST,
    }
    for name in (INFLIGHT, EXPORTED, DROPPED):
        assert metrics[name].data.aggregation_temporality is AggregationTemporality.CUMULATIVE
        assert name in own_metrics.__doc__
    assert all(metric.description for metric in metrics.values())


def test_names_are_those_of_the_conventions(platform, meters, measured, tracer):
    """Name, unit and description are the text of the SDK's own generated constants."""
    conventions = pytest.importorskip("opentelemetry.semconv._incubating.metrics.otel_metrics")
    if not hasattr(conventions, "create_otel_sdk_exporter_operation_duration"):
        pytest.skip("the conventions of this SDK are older than these metrics")
    theirs = Meters()
    meter = theirs.provider.get_meter(SCOPE, __version__)
    conventions.create_otel_sdk_exporter_span_exported(meter).add(1)
    conventions.create_otel_sdk_exporter_span_inflight(meter).add(1)
    conventions.create_otel_sdk_exporter_operation_duration(meter).record(1)
    exporter = measured()
    exporter.export(spans(tracer))
    ours = meters.read()
    for name, metric in theirs.read().items():
        assert (ours[name].unit, ours[name].description) == (metric.unit, metric.description)
        assert getattr(ours[name].data, "is_monotonic", None) == getattr(metric.data, "is_monotonic", None)


def test_attributes(platform, meters, measured, tracer):
    """Every point names the component and the platform's address, and nothing that is secret or unbounded."""
    first, second = measured(), measured()
    for exporter in (first, second):
        exporter.export([*spans(tracer), object()])
        exporter.force_flush(5000)
    names = set()
    for metric in meters.read().values():
        for point in metric.data.data_points:
            attributes = dict(point.attributes)
            assert attributes.pop("otel.component.type") == "versori_flow_span_exporter"
            names.add(attributes.pop("otel.component.name"))
            assert attributes.pop("server.address") == "127.0.0.1"
            assert f":{attributes.pop('server.port')}" in platform.url
            assert attributes.keys() <= {ERROR_TYPE, "http.request.method", "versori.flow.drop.reason"}
    kind, numbers = "versori_flow_span_exporter/", {name.rpartition("/")[2] for name in names}
    assert len(names) == 2
    assert all(name.startswith(kind) for name in names)
    assert all(number.isdecimal() for number in numbers)


@pytest.mark.parametrize(
    ("url", "address", "port"),
    [
        ("https://platform.versori.com/api/v2", "platform.versori.com", 443),
        ("https://Flows.Example:8443/api", "flows.example", 8443),
        ("http://127.0.0.1/api", "127.0.0.1", 80),
        ("http://[::1]:9/api", "::1", 9),
    ],
)
def test_the_platforms_address(meters, url, address, port):
    """`server.address` without brackets, `server.port` by the scheme where the URL has none."""
    own_metrics.OwnMetrics(meters.provider, url, lambda: own_metrics.Totals(0, 0, 0, {}))
    (point,) = meters.points(INFLIGHT)
    assert (point.attributes["server.address"], point.attributes["server.port"]) == (address, port)


# -- the switch, and where they go ---------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, "", "false", "1", "yes", "True ", "TRUE"])
def test_the_switch_is_the_sdks(platform, meters, measured, tracer, monkeypatch, value):
    """Metrics come with OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED=true, in any case, and with nothing else."""
    if value is None:
        monkeypatch.delenv(SWITCH)
    else:
        monkeypatch.setenv(SWITCH, value)
    measured().export(spans(tracer))
    assert bool(meters.read()) is (value is not None and value.strip().lower() == "true")


def test_the_global_provider_is_the_default(platform, meters, make_exporter, tracer, monkeypatch):
    """Without the keyword the metrics go to the global meter provider; one that keeps nothing may be given."""
    make_exporter(meter_provider=metrics.NoOpMeterProvider()).export(spans(tracer))
    assert len(platform.spans("shop")) == 1
    monkeypatch.setattr(own_metrics, "get_meter_provider", lambda: meters.provider)
    assert own_metrics.get_meter_provider is not metrics.get_meter_provider
    make_exporter().export(spans(tracer, 2))
    assert meters.counts() == Counts(2, {}, 0)


# -- counts --------------------------------------------------------------------------------------------------


def test_lost_spans_are_exported_with_their_reason(platform, meters, measured, tracer):
    """Each loss is counted once as a failed export, and by reason under the project's own name."""
    exporter = measured(max_spans=5, max_bytes=20_000, min_interval=0)
    platform.fault("poison=poison")
    exporter.export([*spans(tracer, 2), *spans(tracer, name="bad", poison="yes"), object()])
    exporter.export(spans(tracer, name="large", text="x" * 30_000))
    assert exporter.force_flush(5000)
    delivered = exporter.status()["shop"].delivered
    platform.clear_faults()
    platform.fault(DOWN)
    exporter.export(spans(tracer, 8))
    exporter.shutdown(1000)
    exporter.export(spans(tracer, 4))
    lost = {"refused": 1, "unencodable": 1, "too_large": 1, "window_full": 3, "shutdown": 9}
    assert meters.counts() == Counts(delivered, lost, 0)
    assert delivered == 2
    assert meters.by(DROPPED, "versori.flow.drop.reason") == lost


@pytest.mark.parametrize("arrives", [True, False])
def test_a_span_that_moves_is_exported_once(platform, meters, measured, tracer, arrives):
    """A delivered span whose trace learns its flow late stays delivered, and is handed over anew: no count falls.

    Where the new flow is lost, that hand-over is what is lost.
    """
    exporter = measured(min_interval=0)
    root = tracer.start_span("root")
    child = tracer.start_span("child", context=set_span_in_context(root))
    child.end()
    exporter.export([child._readable_span()])
    assert meters.counts() == Counts(1, {}, 0)
    platform.fault(DOWN, flow="orders")
    root.set_attribute("versori.flow.name", "orders")
    root.end()
    exporter.export([root._readable_span()])
    assert exporter.status()["orders"].pending == 2
    assert meters.counts() == Counts(1, {}, 2)
    if arrives:
        platform.clear_faults()
    exporter.shutdown(timeout_millis=3000)
    lost = {} if arrives else {"shutdown": 2}
    assert exporter.status()["orders"].dropped == meters.by(DROPPED, "versori.flow.drop.reason") == lost
    assert meters.counts() == Counts(3 if arrives else 1, lost, 0)


def test_every_reading_adds_up(platform, meters, measured, make_provider):
    """given = exported + in flight, and exported never falls, through outages, moves, drops and evictions."""
    chance = random.Random(4)
    exporter = measured(min_interval=0, export_wait=0.1, max_spans=12, max_flows=3, timeout=2)
    tracer = make_provider().get_tracer("test")
    given, moved, before = 0, 0, Counts(0, {}, 0)

    def look(more: int = 0) -> None:
        nonlocal before, given
        given += more
        now = meters.counts()
        assert now.delivered >= before.delivered
        assert all(now.failed.get(reason, 0) >= lost for reason, lost in before.failed.items())
        flows = list(exporter.status().values())
        assert all(s.handed_over == s.delivered + s.pending + sum(s.dropped.values()) for s in flows)
        # A delivered span that moves is handed over anew.
        assert given <= sum(s.handed_over for s in flows) <= given + moved
        assert given <= now.given <= given + moved
        before = now

    open_roots: list[Any] = []
    for turn in range(60):
        platform.clear_faults()
        if turn % 3 == 1:
            platform.fault("status=503", share=0.5, seed=turn)
        if turn % 7 == 2:
            platform.fault("poison=poison")
        flow = f"flow-{chance.randrange(6)}"
        batch: list[Any] = spans(tracer, chance.randrange(1, 6), **{"versori.flow.name": flow})
        if turn % 4 == 0:
            batch += spans(tracer, name="bad", poison="yes", **{"versori.flow.name": flow})
        if turn % 10 == 0:
            batch.append(object())
        if turn % 5 == 0:
            open_roots.append(tracer.start_span("root"))
            child = tracer.start_span("child", context=set_span_in_context(open_roots[-1]))
            child.end()
            batch.append(child._readable_span())
        elif turn % 5 == 3 and open_roots:
            root = open_roots.pop()
            root.set_attribute("versori.flow.name", flow)
            root.end()
            batch.append(root._readable_span())
            moved += 1
        exporter.export(batch)
        if turn % 7 == 2:
            exporter.force_flush(300)
        look(len(batch))
    platform.clear_faults()
    exporter.force_flush(5000)
    look()
    platform.fault(DOWN)
    exporter.export(spans(tracer, 3))
    look(3)
    exporter.shutdown(timeout_millis=2000)
    look()
    exporter.export(spans(tracer, 2))
    assert given + 2 <= meters.counts().given <= given + 2 + moved
    assert meters.counts().inflight == 0
    assert meters.counts().failed.keys() >= {"unencodable", "refused", "shutdown"}


def test_a_reading_asks_once_for_all_counts():
    """The three instruments of a reading get one snapshot; one that is asked again gets a new one."""
    asked = []

    def totals() -> own_metrics.Totals:
        asked.append(1)
        return own_metrics.Totals(len(asked), 0, len(asked), {})

    whole = Meters()
    own_metrics.OwnMetrics(whole.provider, "http://127.0.0.1:1", totals)
    assert [whole.counts().inflight for _ in range(3)] == [1, 2, 3]
    without = Meters(View(instrument_name=INFLIGHT, aggregation=DropAggregation()))
    own_metrics.OwnMetrics(without.provider, "http://127.0.0.1:1", totals)
    asked.clear()
    without.read()
    without.read()
    assert len(asked) == 2


# -- durations and requests ------------------------------------------------------------------------------------


def test_an_operation_is_a_delivery(platform, meters, measured, tracer):
    """One observation for each PUT that succeeds: the attempts and waits before it are part of it."""
    exporter = measured(min_interval=0)
    exporter.export(spans(tracer))
    assert meters.by(OPERATION, ERROR_TYPE) == {None: 1}
    platform.fault("status=503", times=2)
    exporter.export(spans(tracer))
    platform.wait_for(lambda running: len(running.spans("shop")) == 2)
    platform.wait_for(lambda _: meters.by(OPERATION, ERROR_TYPE) == {None: 2})
    assert meters.by(ATTEMPT, ERROR_TYPE) == {None: 2, "503": 2}
    operations, attempts = meters.points(OPERATION)[0], meters.points(ATTEMPT)
    # Two waits of backoff are in it, and a quarter of a second is the least that one takes.
    assert operations.max > 0.3
    assert operations.sum > sum(point.sum for point in attempts)


def test_an_operation_that_never_succeeds_has_failed(platform, meters, measured, tracer):
    """Where the exporter ends first, it is one failed operation, with the last attempt's error."""
    platform.fault("status=503", times=2)
    platform.fault("status=429")
    exporter = measured(min_interval=0)
    exporter.export(spans(tracer))
    exporter.force_flush(300)
    assert meters.by(OPERATION, ERROR_TYPE) == {}
    assert meters.counts() == Counts(0, {}, 1)
    exporter.shutdown(timeout_millis=2000)
    assert meters.by(OPERATION, ERROR_TYPE).keys() <= {"503", "429"}
    assert sum(meters.by(OPERATION, ERROR_TYPE).values()) == 1
    assert meters.counts() == Counts(0, {"shutdown": 1}, 0)


def test_reading_back_is_no_operation(platform, meters, measured, tracer):
    """The last look of a shutdown exports nothing, and counts as an attempt only."""
    exporter = measured()
    exporter.export(spans(tracer))
    exporter.shutdown()
    assert meters.by(OPERATION, ERROR_TYPE) == {None: 1}
    assert meters.by(ATTEMPT, ERROR_TYPE)[None] == 2
    assert meters.by(REQUEST, "http.request.method") == {"GET": 2, "PUT": 1}


@pytest.mark.parametrize(
    ("fault", "error"),
    [("status=401", "401"), ("status=503", "503"), ("status=302", "302"), ("reset", None), ("cut", None)],
)
def test_a_failed_request_says_why(platform, meters, measured, tracer, fault, error):
    """`error.type` is the status, or what failed; the requests are counted by method."""
    platform.fault(fault)
    exporter = measured(write_mode="replace")
    exporter.export(spans(tracer))
    platform.wait_for(lambda _: meters.points(ATTEMPT))
    ((method, error_type), _), *others = meters.by(REQUEST, "http.request.method", ERROR_TYPE).items()
    assert others == []
    assert method == "PUT"
    assert error_type == error if error else error_type.isidentifier()
    assert set(meters.by(ATTEMPT, ERROR_TYPE)) == {error_type}
    assert meters.by(OPERATION, ERROR_TYPE) == {}


def test_the_size_of_what_is_written(platform, meters, measured, tracer):
    """One observation for each PUT: the bytes of the flow, before compression."""
    measured(write_mode="replace").export(spans(tracer, 5, text="x" * 1000))
    (point,), (request,) = meters.points(BODY_SIZE), platform.requests
    assert (point.count, point.sum) == (1, request.size)
    measured(write_mode="replace", compression="gzip").export(spans(tracer, 5, text="x" * 1000))
    (_, point), (_, request) = meters.points(BODY_SIZE), platform.requests
    assert point.sum > 5000 > request.size


def test_what_is_remembered_of_operations_is_bounded(meters):
    """Flows in trouble without end cost no memory without end; each has failed at the end, or when it is given up."""
    made = own_metrics.OwnMetrics(meters.provider, "http://127.0.0.1:1", lambda: None)
    for number in range(3000):
        made.request(f"flow-{number}", 0.0, "PUT", 10, "503")
        made.attempt(f"flow-{number}", 0.0, "503", unfinished=True)
    made.request("shop", 0.0, "PUT", 10, "413")
    made.attempt("shop", 0.0, "413", unfinished=False)  # nothing is left to be tried again
    assert meters.by(OPERATION, ERROR_TYPE) == {"413": 1}
    made.end()
    made.end()
    assert meters.by(OPERATION, ERROR_TYPE) == {"413": 1, "503": 999}


# -- instruments that raise ------------------------------------------------------------------------------------


@pytest.mark.parametrize("broken", [REQUEST, BODY_SIZE, ATTEMPT, OPERATION])
def test_an_instrument_that_raises_costs_its_values_alone(platform, make_exporter, tracer, caplog, broken):
    """All is delivered and counted as ever, also the end, and one line says so."""

    def act(name: str) -> None:
        if name == broken:
            raise ValueError("no metrics today")

    exporter = make_exporter(meter_provider=Broken(act), min_interval=0)
    assert exporter.export(spans(tracer)) is SpanExportResult.SUCCESS
    assert exporter.export(spans(tracer)) is SpanExportResult.SUCCESS
    assert exporter.force_flush(5000)
    assert (len(platform.spans("shop")), exporter.status()["shop"].delivered) == (2, 2)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        (
            "WARNING",
            "an instrument of the meter provider raised ValueError: metrics of the exporter are missing",
        )
    ]


def test_an_instrument_that_raises_at_the_end(platform, make_exporter, tracer, caplog):
    """The operation that never succeeds is told last of all: what is lost is said and counted all the same."""

    def act(name: str) -> None:
        if name == OPERATION:
            raise ValueError

    platform.fault(DOWN)
    exporter = make_exporter(meter_provider=Broken(act), timeout=1)
    exporter.export(spans(tracer))
    exporter.shutdown()
    assert exporter.status()["shop"].dropped == {"shutdown": 1}
    lines = [record.getMessage() for record in caplog.records]
    assert sum("raised ValueError" in line for line in lines) == 1
    assert not any("in its own work" in line for line in lines)


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="no such signal here")
def test_what_a_signal_handler_raises_in_an_instrument_is_the_programs():
    """At interpreter exit the program's own thread delivers, and its handlers may run there."""

    def handler(_signum: int, _frame: object) -> None:
        raise TimeoutError

    made = own_metrics.OwnMetrics(
        Broken(lambda _: signal.raise_signal(signal.SIGUSR1)), "http://127.0.0.1:1", lambda: None
    )
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with pytest.raises(TimeoutError):
            made.request("shop", 0.0, "GET", None, None)
    finally:
        signal.signal(signal.SIGUSR1, before)


# -- lifetimes -------------------------------------------------------------------------------------------------


def test_a_provider_does_not_keep_the_exporter(platform, meters, tracer):
    """Its callbacks stay in the meter provider for ever, and its last counts; the exporter can go."""
    exporter = VersoriFlowSpanExporter(
        api_key=KEY,
        organisation_id=platform.organisation_id,
        project_id=platform.project_id,
        base_url=platform.url,
        meter_provider=meters.provider,
    )
    exporter.export(spans(tracer))
    exporter.shutdown()
    assert meters.counts() == Counts(1, {}, 0)
    gone = weakref.ref(exporter)
    del exporter
    # Its threads are just ending.
    platform.wait_for(lambda _: gc.collect() >= 0 and gone() is None)
    assert meters.counts() == Counts(1, {}, 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_counts_for_itself(platform, meters, measured, tracer):
    """What was under way, or pending, in the parent is not the child's."""
    platform.fault(DOWN)
    exporter = measured()
    exporter.export(spans(tracer, 3))
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            found = (exporter._totals().pending, len(exporter._metrics._operations))
            os.write(write, repr(found).encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    assert os.read(read, 100) == b"(0, 0)"
    os.close(read)
    assert meters.counts() == Counts(0, {}, 3)
