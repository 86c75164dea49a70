"""Addresses of the page. All that a page shows is in its address, so that it can be sent to someone."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from ..saved_flows import FlowAddress

_MOST_DIGITS = 6


class Links:
    """Addresses of one flow that keep what the present one says.

    Args:
        address: The flow.
        parameters: What the present address says besides.
    """

    def __init__(self, address: FlowAddress, parameters: dict[str, str]) -> None:
        self._flow = {"o": address.organisation_id, "p": address.project_id, "name": address.name}
        self._parameters = parameters

    def __call__(self, path: str = "/flow", **changes: Any) -> str:
        """The present address with some parameters changed; None takes one out."""
        merged = {**self._flow, **self._parameters, **changes}
        return _address(path, {name: value for name, value in merged.items() if value is not None})

    def bare(self, path: str = "/flow", **parameters: Any) -> str:
        """An address of the flow that keeps nothing of the present one."""
        return _address(path, {**self._flow, **parameters})

    def says(self, name: str, value: object) -> bool:
        """Whether the present address says this; None where it does not say it at all."""
        return self._parameters.get(name) == (None if value is None else str(value))

    def fields(self, *names: str) -> list[tuple[str, str]]:
        """What a form has to send along: the flow, and these parameters where the present address has them."""
        kept = [(name, self._parameters[name]) for name in names if name in self._parameters]
        return [*self._flow.items(), *kept]


def find_address(trace_id: str, span_id: str) -> str:
    """Where a trace or a span is shown, in whichever flow it is."""
    return _address("/find", {"trace": trace_id, "span": span_id})


def list_address(parameters: dict[str, str]) -> str:
    """The address of the list."""
    return _address("/", parameters)


def number(text: str | None) -> int | None:
    """A number of an address that is at least 1; None for anything else."""
    if text is None or not text.isascii() or not text.isdigit() or len(text) > _MOST_DIGITS:
        return None
    return int(text) or None


def _address(path: str, parameters: dict[str, Any]) -> str:
    return f"{path}?{urlencode(parameters, errors='replace')}" if parameters else path
