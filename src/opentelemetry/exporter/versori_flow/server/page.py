"""page"""

from __future__ import annotations

from starlette.routing import Route

from opentelemetry.exporter.versori_flow.server.flows import Flows


class Pages:
    def __init__(self, flows: Flows) -> None:
        self._flows = flows

    def routes(self) -> list[Route]:
        return []
