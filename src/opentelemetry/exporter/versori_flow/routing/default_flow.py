"""The flow of a span that has no name of its own."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import ReadableSpan

from ..interruption import let_through
from ..settings.readers import template_parts
from ..surrogates import clean
from ..untraced import untraced

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

_REMEMBERED_RESOURCES = 64
_MAX_REMARKS = 16  # of a callable that raises a new type each time, the first ones are enough
_NO_SERVICE_NAME = "unknown_service"


def is_unknown_service(flow_name: str) -> bool:
    """Whether it is what OpenTelemetry calls a service without a name, as in `unknown_service:python`."""
    return flow_name.startswith(_NO_SERVICE_NAME) and not flow_name[len(_NO_SERVICE_NAME) :][:1].isalnum()


class DefaultFlow:
    """The flow of a span that has no name of its own: a template over its resource, or what a callable says.

    An attribute that is missing or None, and a name that comes out empty, read `unknown`; the items of a
    sequence are joined with commas; booleans read `true` and `false`; U+FFFD stands for a lone surrogate.
    Several threads may use one at once.
    """

    def __init__(self, flow_name: str | Callable[[ReadableSpan], str]) -> None:
        self._ask = flow_name if callable(flow_name) else None
        self._parts = template_parts(flow_name if isinstance(flow_name, str) else "{service.name}")
        self._remarks: dict[str, bool] = {}  # and whether they have been handed out
        # A resource's own hash is the hash of its JSON: slow. By its id, beside a weak reference, as another
        # object may get that id once it is gone.
        self._names: dict[int, tuple[Callable[[], object], str]] = {}

    def of(self, spans: Iterable[ReadableSpan]) -> list[str]:
        """The name for each span of a batch."""
        if self._ask is not None:
            return list(map(self, spans))
        names: list[str] = []
        name, last = "", None
        for span in spans:
            # The private field, as in encoding, and most spans of a batch have one resource.
            resource = span._resource if type(span) is ReadableSpan else None
            if resource is None or resource is not last:
                name, last = self(span), resource
            names.append(name)
        return names

    def __call__(self, span: ReadableSpan) -> str:
        """The name; that of `{service.name}` where the callable raises or gives none. Nothing is raised."""
        try:
            if self._ask is not None:
                name = _asked(self._ask, span)
                if name:
                    return name
            return self._of_resource(span.resource)
        except BaseException as error:  # noqa: BLE001 - the user's code, or no span at all
            let_through(error)
            if self._ask is not None:
                kind = type(error).__name__
                self._remark(f"flow_name raised {kind}: such spans go to the flow of their service's name")
            return self._of_resource(getattr(span, "resource", None))

    def remarks(self) -> list[str]:
        """What a person should know of the setting `flow_name`: lines to log, each of them once."""
        new = [line for line, said in list(self._remarks.items()) if not said]
        self._remarks.update(dict.fromkeys(new, True))
        return new

    def _remark(self, line: str) -> None:
        if len(self._remarks) < _MAX_REMARKS:
            self._remarks.setdefault(line, False)

    def _of_resource(self, resource: Resource | None) -> str:
        if resource is None:
            return self._render({})
        known = self._names.get(id(resource))
        if known is not None and known[0]() is resource:
            return known[1]
        if self._ask is None:
            for attribute, named in self._parts:
                if named and resource.attributes.get(attribute) is None:
                    self._remark(
                        f"flow_name has {{{attribute}}}, an attribute that the resource of these spans lacks: "
                        "it reads `unknown` in their flow's name"
                    )
        if len(self._names) >= _REMEMBERED_RESOURCES:
            self._names.clear()
        name = self._render(resource.attributes)
        if is_unknown_service(name):
            self._remark(
                f"OTEL_SERVICE_NAME is not set: spans go to the flow {name!r}, which every program without a "
                "name shares; set it, or VERSORI_FLOW_NAME"
            )
        self._names[id(resource)] = weakref.ref(resource), name
        return name

    def _render(self, attributes: Mapping[str, object]) -> str:
        rendered = [_readable(attributes.get(part)) if named else part for part, named in self._parts]
        return clean("".join(rendered)).strip() or "unknown"


def _asked(ask: Callable[[ReadableSpan], str], span: ReadableSpan) -> str:
    with untraced():  # each span of what it calls would ask again
        return clean(str(ask(span) or "")).strip()


def _readable(value: object) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, Sequence):
        return ",".join(map(_readable, value))
    return str(value)
