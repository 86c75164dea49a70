"""Performs the steps of an attempt: the one place where a flow meets the platform."""

from __future__ import annotations

from ..flow.steps import Read, Reading, Step
from ..flow.stored import UnreadableFlow, read
from ..http.answers import Found
from ..http.api import FlowsApi


def perform(step: Step, api: FlowsApi, deadline: float) -> Reading:
    """Carries out a step; `deadline` in seconds of the monotonic clock."""
    if not isinstance(step, Read):
        return api.put(step.flow, step.body.join(), deadline)
    answer = api.get(step.flow, deadline)
    if not isinstance(answer, Found) or answer.digest == step.known:
        return answer
    try:
        return read(answer.body, answer.digest)
    except UnreadableFlow as error:
        return error
