"""A span in Zipkin's v2 JSON -> a span.

A server's half of a shared span has its client's id: two spans of one id would be one in a flow, so that it gets
an id made from both, and the client's span for a parent.
"""

from __future__ import annotations

import hashlib
from typing import Any

from opentelemetry.sdk.trace import Event, ReadableSpan

from ..otlp.members import integer, member, objects, text
from ..otlp.spans import Received, Resource, Scope, gather, make_span
from .conventions import STATUS_CODES, hex_id

_KINDS = {"SERVER": 2, "CLIENT": 3, "PRODUCER": 4, "CONSUMER": 5}
_REMOTE = (
    ("serviceName", "peer.service"),
    ("ipv4", "network.peer.address"),
    ("ipv6", "network.peer.address"),
    ("port", "network.peer.port"),
)
_MOST_RESOURCES = 256


class Reader:
    """Reads spans; those of one service share a resource."""

    def __init__(self) -> None:
        self._resources: dict[str, Resource] = {}

    def read(self, span: dict[str, Any]) -> Received:
        """Reads one span.

        Raises:
            Malformed: A member is of a wrong type.
        """
        return gather([span], self._span)

    def _resource(self, span: dict[str, Any]) -> Resource:
        service = text(member(span, "localEndpoint"), "serviceName")
        found = self._resources.get(service)
        if found is None:
            if len(self._resources) >= _MOST_RESOURCES:
                self._resources.clear()
            found = self._resources[service] = Resource({"service.name": service} if service else {})
        return found

    def _span(self, span: dict[str, Any]) -> ReadableSpan:
        tags = dict(member(span, "tags"))
        remote = member(span, "remoteEndpoint")
        for name, attribute in _REMOTE:
            if remote.get(name):
                tags.setdefault(attribute, remote[name])
        trace_id, span_id = hex_id(span, "traceId", 16), hex_id(span, "id", 8)
        parent = hex_id(span, "parentId", 8)
        if span.get("shared") is True:
            parent, span_id = span_id, hashlib.sha256(trace_id + span_id).digest()[:8]
        said = tags.pop("otel.status_code", None)
        failed = "error" in tags
        code = STATUS_CODES.get(str(said), 2 if failed else 0)
        message = str(tags.pop("otel.status_description", tags.pop("error", "") if failed else ""))
        scope = str(tags.pop("otel.scope.name", "")), str(tags.pop("otel.scope.version", ""))
        start = integer(span, "timestamp") * 1000
        return make_span(
            name=text(span, "name"),
            trace_id=trace_id,
            span_id=span_id,
            parent_id=parent,
            flags=1,
            state="",
            kind=_KINDS.get(text(span, "kind"), 0),
            times=(start, max(1, start + integer(span, "duration") * 1000)),
            attributes=tags,
            events=[
                Event(text(note, "value"), {}, integer(note, "timestamp") * 1000)
                for note in objects(span, "annotations")
            ],
            links=[],
            dropped=(0, 0),
            status=(code, message),
            resource=self._resource(span),
            scope=Scope(*scope),
        )
