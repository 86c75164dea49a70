"""The application of `benchmarks.faults`: it traces for some seconds, shuts down, and reports what it saw.

    python -m benchmarks.faults_app {processor,batch,otlp,zipkin} URL REPORT SECONDS [option ...]

The report is a file of lines that every process of the application appends to: `ready PROCESS`, `made N`, `bad N`,
`export SECONDS`, `shutdown SECONDS`, `counted N` (as dropped, at the end), `log TEXT`; and where it is going to be
killed, `given ID` for each span that was handed over, and `pending PROCESS N`.
"""

from __future__ import annotations

import time

# Before anything keeps a reference of its own: the clock of this process can be set.
_offset = 0.0
_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + _offset
time.time_ns = lambda: _time_ns() + int(_offset * 1e9)

import argparse  # noqa: E402
import logging  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
import threading  # noqa: E402
from collections.abc import Callable, Iterable, Sequence  # noqa: E402
from typing import Any  # noqa: E402

from opentelemetry.sdk.resources import Resource  # noqa: E402
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider  # noqa: E402
from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: E402

from benchmarks.faulty_server import POISON  # noqa: E402
from benchmarks.taken import ULID  # noqa: E402

SPANS_PER_TRACE = 4
TRACES_PER_SECOND = 25
CHILDREN_AT_ONCE = 8
TRACES_PER_CHILD = 10
SPANS_AT_THE_END = 10
_BETWEEN_REPORTS = 0.02


class Report:
    """Lines in a file that several processes append to."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def __call__(self, *words: object) -> None:
        line = " ".join(" ".join(map(str, words)).split())[:500]
        os.write(self._file, line.encode("utf-8", "replace") + b"\n")

    def end(self, provider: TracerProvider, exporter: Any) -> None:
        """Shuts down in order."""
        self.timed("shutdown", provider.shutdown)()
        if hasattr(exporter, "_totals"):  # what can't be read is of no flow
            self("counted", sum(exporter._totals().dropped.values()))

    def watch(self, exporter: Any, ended: Sequence[str]) -> None:
        """Says again and again which of the spans that have ended are handed over: `status` takes what was left."""
        said = 0
        while True:
            count = len(ended)
            self.given(exporter, ended[said:count])
            said = count
            time.sleep(_BETWEEN_REPORTS)

    def given(self, exporter: Any, span_ids: Iterable[str]) -> None:
        """Says that these spans are handed over, and what is pending with them."""
        pending = sum(flow.pending for flow in exporter.status().values())
        lines = [f"pending {os.getpid()} {pending}", *(f"given {span_id}" for span_id in span_ids)]
        os.write(self._file, "\n".join([*lines, ""]).encode("ascii"))

    def each_export(self, exporter: Any) -> None:
        """Says after each call of `export` which spans are handed over."""
        export = exporter.export

        def wrapped(spans: Sequence[ReadableSpan]) -> Any:
            result = export(spans)
            self.given(exporter, [f"{span.get_span_context().span_id:016x}" for span in spans])
            return result

        exporter.export = wrapped

    def timed(self, what: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, each of whose calls is reported."""

        def wrapped(*arguments: Any, **keywords: Any) -> Any:
            began = time.monotonic()
            try:
                return function(*arguments, **keywords)
            finally:
                self(what, f"{time.monotonic() - began:.4f}")

        return wrapped


class Lines(logging.Handler):
    """Reports what an operator would see of the exporters."""

    def __init__(self, report: Report) -> None:
        super().__init__(logging.INFO)
        self._report = report

    def emit(self, record: logging.LogRecord) -> None:
        """Reports one record."""
        if record.name.startswith("opentelemetry"):
            self._report("log", record.getMessage())


def processor(contestant: str, url: str, report: Report) -> tuple[Any, Any]:
    """The contestant and its exporter, as its documentation sets it up; ours with a window that takes the whole run."""
    exporter: Any
    if contestant in ("processor", "batch"):
        from opentelemetry.exporter.versori_flow import VersoriFlowSpanExporter, VersoriFlowSpanProcessor

        exporter = VersoriFlowSpanExporter(
            api_key="local",
            organisation_id=ULID,
            project_id=ULID,
            base_url=url,
            max_spans=20_000,
            max_bytes=64 << 20,
        )
        if contestant == "processor":
            exporter.leave = report.timed("export", exporter.leave)
            return VersoriFlowSpanProcessor(exporter), exporter
    elif contestant == "otlp":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        exporter = OTLPSpanExporter(endpoint=f"{url}/v1/traces")
    else:
        from opentelemetry.exporter.zipkin.json import ZipkinExporter

        exporter = ZipkinExporter(endpoint=f"{url}/api/v2/spans")
    exporter.export = report.timed("export", exporter.export)
    return BatchSpanProcessor(exporter), exporter


class Traffic:
    """Traces, one after the other, at a steady pace.

    Args:
        provider: Where the tracer is from.
        heavy: So many bytes stand in each span beside what always does.

    Attributes:
        made: Spans.
        bad: Spans with a text that was asked for.
        ended: Ids of spans, in the order in which they ended.
    """

    def __init__(self, provider: TracerProvider, heavy: int = 0) -> None:
        self._tracer = provider.get_tracer("shop")
        self._heavy = heavy
        self.made = 0
        self.bad = 0
        self.ended: list[str] = []

    def trace(self, text: str = "", spans: int = SPANS_PER_TRACE) -> None:
        """One trace; `text` stands in its root."""
        attributes = {"http.request.method": "GET", "http.route": "/orders/{id}", "order.total": 12.5}
        if self._heavy:
            attributes["heavy"] = "x" * self._heavy
        with self._tracer.start_as_current_span("GET /orders/{id}", attributes=attributes) as root:
            if text:
                root.set_attribute("text", text)
                self.bad += 1
            for number in range(spans - 1):
                with self._tracer.start_as_current_span("SELECT shop.orders", attributes=attributes) as span:
                    span.set_attribute("row", number)
                self.ended.append(f"{span.get_span_context().span_id:016x}")
        self.ended.append(f"{root.get_span_context().span_id:016x}")
        self.made += spans

    def flow(self, seconds: float, each: Callable[[int, float], str]) -> None:
        """Traces for so many seconds; `each` is told the number and the part of the time that is over."""
        began = time.monotonic()
        number = 0
        while (over := (time.monotonic() - began) / seconds) < 1:
            self.trace(each(number, over))
            number += 1
            pause = began + number / TRACES_PER_SECOND - time.monotonic()
            time.sleep(max(0.0, pause))


def fork_child(provider: TracerProvider, exporter: Any, report: Report) -> int:
    """A child that ends a few traces and then itself, in order; returns its process id."""
    pid = os.fork()
    if pid:
        return pid
    traffic = Traffic(provider)
    for _ in range(TRACES_PER_CHILD):
        traffic.trace()
    report("made", traffic.made)
    report.end(provider, exporter)
    sys.exit(0)


def end_together(provider: TracerProvider, exporter: Any, report: Report, others: int) -> bool:
    """This process and forked ones trace a little at the same moment, and end; whether all have ended well."""
    go, gate = os.pipe()
    children = []
    for _ in range(others):
        if not (child := os.fork()):
            children = []
            break
        children.append(child)
    os.close(gate)
    os.read(go, 1)  # until the last one is there: the gate closes with its last descriptor
    traffic = Traffic(provider)
    traffic.trace(spans=SPANS_AT_THE_END)
    report("made", traffic.made)
    report.end(provider, exporter)
    return not sum(os.waitpid(child, 0)[1] != 0 for child in children)


def main() -> None:
    """Runs the application."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contestant", choices=["processor", "batch", "otlp", "zipkin"])
    parser.add_argument("url")
    parser.add_argument("report")
    parser.add_argument("seconds", type=float)
    parser.add_argument("--poison", action="store_true", help="every twentieth trace has a span to refuse")
    parser.add_argument("--giant", type=int, default=0, help="one span has so many bytes")
    parser.add_argument("--forks", type=int, default=0, help="so many times eight children at once")
    parser.add_argument(
        "--end-with", type=int, default=0, help="nothing but so many children that end with it"
    )
    parser.add_argument("--idle", action="store_true", help="it traces nothing")
    parser.add_argument("--watched", action="store_true", help="it reports each span that was handed over")
    parser.add_argument("--heavy", type=int, default=0, help="each span has so many bytes more")
    parser.add_argument("--clock", action="store_true", help="the clock goes an hour ahead, then two back")
    given = parser.parse_args()

    report = Report(given.report)
    logging.getLogger().setLevel(logging.INFO)
    logging.getLogger().addHandler(Lines(report))
    provider = TracerProvider(resource=Resource.create({"service.name": "shop"}))
    to_add, exporter = processor(given.contestant, given.url, report)
    provider.add_span_processor(to_add)
    traffic = Traffic(provider, given.heavy)
    storms = [(number + 0.5) / given.forks for number in range(given.forks)]
    children: list[int] = []
    giants = [0.5] if given.giant else []

    def each(number: int, over: float) -> str:
        global _offset
        if given.clock:
            _offset = 0.0 if over < 0.3 else 3600.0 if over < 0.6 else -3600.0
        if storms and over >= storms[0]:
            storms.pop(0)
            children.extend(fork_child(provider, exporter, report) for _ in range(CHILDREN_AT_ONCE))
        if giants and over >= giants[0]:
            giants.pop(0)
            return "x" * given.giant
        # Not before the fault begins: what the platform has taken is not ours to take back.
        return POISON if given.poison and number % 20 == 7 and over > 0.25 else ""

    beside: list[threading.Thread] = []
    if given.forks:
        # A fork in a program whose other threads are in the middle of something.
        other = Traffic(provider)
        beside.append(threading.Thread(target=other.flow, args=(given.seconds, lambda *_: "")))
    if given.watched and given.contestant == "batch":
        report.each_export(exporter)
    elif given.watched:
        threading.Thread(target=report.watch, args=(exporter, traffic.ended), daemon=True).start()
    report("ready", os.getpid())
    if given.end_with:
        time.sleep(given.seconds)
        sys.exit(0 if end_together(provider, exporter, report, given.end_with) else 1)
    for thread in beside:
        thread.start()
    if given.idle:
        time.sleep(given.seconds)
    else:
        traffic.flow(given.seconds, each)
    for thread in beside:
        thread.join()
        report("made", other.made)
    failed = sum(os.waitpid(child, 0)[1] != 0 for child in children)
    report("made", traffic.made)
    report("bad", traffic.bad)
    report.end(provider, exporter)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
