"""The values that pass from room to room: a span that is encoded once, and where it belongs."""

from typing import NamedTuple


class EncodedSpan(NamedTuple):
    """One span as it will stand in its flow.

    A NamedTuple, as most values here are: a frozen dataclass takes five times as long to make, and ten times
    as long to define (half a millisecond, in every process that imports this package).

    Attributes:
        trace_id: 32 lower-case hex digits.
        span_id: 16 lower-case hex digits.
        parent_span_id: 16 lower-case hex digits, or None without a parent.
        is_root: True without a parent, or when the parent belongs to another process.
        start: Start, in nanoseconds since the Unix epoch.
        end: End, in nanoseconds since the Unix epoch; `start` while the span has not ended.
        body: The span as UTF-8 JSON, an `OTelSpan` of the platform's API.
        flow_name: The span's own `versori.flow.name`, or None.
    """

    trace_id: str
    span_id: str
    parent_span_id: str | None
    is_root: bool
    start: int
    end: int
    body: bytes
    flow_name: str | None


class Unencodable(NamedTuple):
    """A span that could not be turned into JSON.

    Attributes:
        name: The span's name.
        reason: The type of the exception and a short text; never a value from the span.
    """

    name: str
    reason: str


Routed = tuple[str, EncodedSpan]
"""The flow that a span belongs to, as far as is known now, and the span."""


class Move(NamedTuple):
    """A span that was routed before, and turns out to belong to another flow."""

    source: str
    target: str
    trace_id: str
    span_id: str
