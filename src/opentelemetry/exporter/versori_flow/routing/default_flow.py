"""The flow of a span that has no name of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..settings.flow_name import flow_name_template

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan

logger = logging.getLogger("opentelemetry.exporter.versori_flow")

_REMEMBERED_RESOURCES = 64


class DefaultFlow:
    """The flow of a span that has no name of its own: a template over its resource, or what a callable says.

    Args:
        flow_name: A template such as `{service.name}`, or a callable that is given the span.
    """

    def __init__(self, flow_name: str | Callable[[ReadableSpan], str]) -> None:
        self._ask = flow_name if callable(flow_name) else None
        self._render = flow_name_template(flow_name if isinstance(flow_name, str) else "{service.name}")
        self._complained = False
        # A resource's own hash is the hash of its JSON: slow. It is kept with its name, or its id might be
        # given to another one.
        self._names: dict[int, tuple[Resource, str]] = {}

    def __call__(self, span: ReadableSpan) -> str:
        """The name; that of `{service.name}` where the callable raises or gives none. Nothing is raised."""
        try:
            if self._ask is not None:
                name = str(self._ask(span) or "").strip()
                if name:
                    return name
            return self._of_resource(span.resource)
        except Exception as error:  # noqa: BLE001 - the user's code, or no span at all
            if not self._complained:
                self._complained = True
                logger.warning(
                    "flow_name raised %s: such spans go to the flow of their service's name",
                    type(error).__name__,
                )
            return self._of_resource(getattr(span, "resource", None))

    def _of_resource(self, resource: Resource | None) -> str:
        if resource is None:
            return self._render({})
        known = self._names.get(id(resource))
        if known is not None and known[0] is resource:
            return known[1]
        if len(self._names) >= _REMEMBERED_RESOURCES:
            self._names.clear()
        name = self._render(resource.attributes)
        self._names[id(resource)] = (resource, name)
        return name
