"""Plain stand-ins for the tests of the pure rooms: spans, a policy, and a platform in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from typing import Any

from opentelemetry.exporter.versori_flow.delivery.attempt import perform
from opentelemetry.exporter.versori_flow.encoded_span import EncodedSpan
from opentelemetry.exporter.versori_flow.flow.flow import Flow
from opentelemetry.exporter.versori_flow.flow.policy import FlowPolicy
from opentelemetry.exporter.versori_flow.flow.steps import Read
from opentelemetry.exporter.versori_flow.flow.stored import read
from opentelemetry.exporter.versori_flow.http.answers import (
    Absent,
    Found,
    Rejected,
    Stored,
    TooLarge,
    Unavailable,
)
from tests import profiles  # noqa: F401 - mutation testing goes without the conftest

SECOND = 1_000_000_000
NOW_NS = 1_800_000_000 * SECOND


def trace_id(number: int) -> str:
    """A trace id, 32 lower-case hex digits."""
    return f"{number + 1:032x}"


def span_id(number: int) -> str:
    """A span id, 16 lower-case hex digits."""
    return f"{number + 1:016x}"


def key(trace: int, span: int) -> tuple[str, str]:
    """The key of `make_span(trace, span)`."""
    return trace_id(trace), span_id(span)


def instant(nanoseconds: int) -> str:
    """A time as it stands in a span."""
    from datetime import datetime, timezone

    seconds, fraction = divmod(nanoseconds, SECOND)
    moment = datetime.fromtimestamp(seconds, timezone.utc).replace(tzinfo=None)
    return f"{moment.isoformat()}.{fraction:09d}Z"


def make_span(
    trace: int,
    span: int,
    *,
    start: int = 0,
    end: int | None = None,
    parent: int | None = None,
    name: str | None = None,
    text: str = "",
    size: int | None = None,
) -> EncodedSpan:
    """A span as the encoding room would hand it on.

    Args:
        trace: The trace's number.
        span: The span's number in it.
        start: Seconds after `NOW_NS`.
        end: Likewise; `start` by default.
        parent: The number of the parent, or None for a root.
        name: Its own `versori.flow.name`.
        text: Something that stands in its body.
        size: The body's exact length in bytes; as short as it can be by default.
    """
    start_ns = NOW_NS + start * SECOND
    end_ns = NOW_NS + (start if end is None else end) * SECOND
    document: dict[str, Any] = {
        "name": text,
        "startTime": instant(start_ns),
        "endTime": instant(end_ns),
        "spanContext": {"traceId": trace_id(trace), "spanId": span_id(span), "traceFlags": 1},
    }
    if parent is not None:
        document["parentSpanContext"] = {"traceId": trace_id(trace), "spanId": span_id(parent)}
    body = json.dumps(document, separators=(",", ":")).encode()
    if size is not None:
        padding = size - len(body) - len(',"pad":""')
        assert padding >= 0, f"a span takes {len(body) + 9} bytes at least"
        body = body[:-1] + b',"pad":"' + b"x" * padding + b'"}'
    return EncodedSpan(
        trace_id(trace),
        span_id(span),
        None if parent is None else span_id(parent),
        parent is None,
        start_ns,
        end_ns,
        body,
        name,
    )


def loads(body: bytes) -> Any:
    """JSON, whatever the length of its numbers."""
    return json.loads(body, parse_int=float)


def make_policy(**changes: Any) -> FlowPolicy:
    """A policy whose waits are plain numbers: 2, 4, 8 ... seconds of backoff, the least of each range."""
    values: dict[str, Any] = {
        "max_spans": 100,
        "max_bytes": 100_000,
        "min_interval": 1.0,
        "timeout": 10.0,
        "merge": True,
        "description": None,
        "backoff": lambda failures: float(min(2**failures, 60)),
        "uniform": lambda low, high: low,
    }
    return FlowPolicy(**{**values, **changes})


def digest_of(body: bytes) -> bytes:
    """The digest that the api room would give."""
    return blake2b(body, digest_size=16).digest()


class Platform:
    """The platform, in memory; it stands where `FlowsApi` would.

    Attributes:
        stored: The flows, as the bytes that were PUT or that somebody else put there.
        puts: Every body that was PUT, accepted or not.
        refuses: Says of a span's bytes whether they make a body wrong.
        names_fields: Whether a refusal names the spans.
        max_body: Bytes of body that are taken, or None.
        retry_after: The seconds after which it asks a larger one to come again, or None.
    """

    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}
        self.puts: list[tuple[str, bytes]] = []
        self.reads = 0
        self.deadlines: list[float] = []
        self.refuses: Callable[[bytes], bool] = lambda span: False
        self.names_fields = False
        self.max_body: int | None = None
        self.retry_after: float | None = None

    def get(self, flow_name: str, deadline: float, own_connection: bool = False) -> Any:
        self.reads += 1
        self.deadlines.append(deadline)
        body = self.stored.get(flow_name)
        return Absent() if body is None else Found(body, digest_of(body), 200)

    def put(self, flow_name: str, body: bytes, deadline: float, fresh: Any = None) -> Any:
        self.puts.append((flow_name, body))
        self.deadlines.append(deadline)
        if self.max_body is not None and len(body) > self.max_body:
            return TooLarge(f"{len(body)} bytes", self.retry_after)
        spans = [json.dumps(span).encode() for span in loads(body)["spans"]]
        wrong = tuple(index for index, span in enumerate(spans) if self.refuses(span))
        if wrong:
            return Rejected(422, "invalid", "a span is wrong", wrong if self.names_fields else ())
        self.stored[flow_name] = body
        return Stored(200, digest_of(body))

    def spans(self, flow_name: str) -> list[dict[str, Any]]:
        """The spans of a stored flow."""
        return loads(self.stored[flow_name])["spans"] if flow_name in self.stored else []

    def keys(self, flow_name: str) -> list[tuple[str, str]]:
        """The keys of the spans of a stored flow; of those that have one."""
        contexts = [span["spanContext"] for span in self.spans(flow_name) if "spanContext" in span]
        return [(context["traceId"], context["spanId"]) for context in contexts]


def attempt(flow: Flow, platform: Any, now: float, now_ns: int = NOW_NS) -> list[str]:
    """Makes one attempt at a flow; returns the kinds of its steps."""
    kinds = []
    step = flow.begin(now)
    while step is not None:
        kinds.append(type(step).__name__)
        step = flow.feed(step, perform(step, platform, 0.0), now, now_ns)
    return kinds


def settle(flow: Flow, platform: Any, now: float, most: int = 100) -> float:
    """Makes attempts at a flow, each when it is due, until there is nothing to do; returns the time then."""
    for _ in range(most):
        due = flow.due(now)
        if due is None:
            return now
        now = max(now, due)
        attempt(flow, platform, now)
    raise AssertionError(f"still not at rest after {most} attempts: {flow.status(now)}")


def settle_while_erased(flow: Flow, platform: Platform, now: float) -> float:
    """Makes attempts as `settle` does; after each of them another writer erases all that is ours."""
    while (due := flow.due(now)) is not None:
        now = max(now, due)
        attempt(flow, platform, now)
        erase(platform, foreign(1))
    return now


def answers(flow: Flow, now: float, given: Iterable[Any]) -> Iterator[Any]:
    """Begins an attempt and feeds it the given answers, one after the other; yields its steps.

    None for a Read stands for "the flow is not there".
    """
    step = flow.begin(now)
    for answer in given:
        assert step is not None, "the attempt was over before all answers were given"
        yield step
        if answer is None:
            assert isinstance(step, Read)
            answer = Absent()
        step = flow.feed(step, answer, now, NOW_NS)
    assert step is None, f"the attempt goes on with {step!r}"


# -- one flow -----------------------------------------------------------------------------------------------

T = 1000.0
"""A time of the monotonic clock."""

DOWN = Unavailable("503", "503 Service Unavailable", None, True)
REFUSED = Rejected(422, "invalid", "a span is wrong", ())


def flow_of(*spans: Any, name: str = "a", **policy: Any) -> Flow:
    flow = Flow(name, make_policy(**policy))
    if spans:
        flow.hand_over(spans, NOW_NS)
    return flow


def delivered_flow(platform: Platform, *spans: Any, now: float = T, **policy: Any) -> Flow:
    """A flow whose spans stand in the platform."""
    flow = flow_of(*spans, **policy)
    assert attempt(flow, platform, now)[-1] == "Write"
    assert flow.window.pending == 0
    return flow


def move(source: Flow, target: Flow, *moved: tuple[str, str]) -> int:
    """Moves spans from one flow to another; returns the last mark."""
    mark = 0
    for given_up in filter(None, map(source.take, moved)):
        mark = target.give(*given_up)
    return mark


def counts(flow: Flow) -> tuple[int, int, int, dict[str, int]]:
    status = flow.status(T)
    assert status.handed_over == status.delivered + status.pending + sum(status.dropped.values())
    return status.handed_over, status.delivered, status.pending, dict(status.dropped)


def said(flow: Flow, now: float = T) -> list[tuple[int, str]]:
    return [(notice.level, notice.text) for notice in flow.report.take(now)]


def foreign(number: int, start: int = 0) -> bytes:
    return make_span(900 + number, number, start=start).body[:-1] + b' , "odd": 1.50}'


def document(*spans: bytes, description: bytes = b'"by hand \\u00e9"', more: bytes = b"") -> bytes:
    return (
        b'{ "name" : "a" , "description": '
        + description
        + more
        + b' ,"spans": ['
        + b" , ".join(spans)
        + b"]}"
    )


def erase(platform: Platform, *spans: bytes) -> None:
    """Another writer's PUT that knows nothing of ours."""
    platform.stored["a"] = b'{"name":"a","description":"","spans":[' + b",".join(spans) + b"]}"


def poisoned(*names: str, fields: bool = False) -> Platform:
    platform = Platform()
    platform.names_fields = fields
    platform.refuses = lambda span: any(b'"%s"' % name.encode() in span for name in names)
    return platform


def keys_of(body: bytes) -> list[tuple[str, str]]:
    return [span.key for span in read(body, b"").spans]
