"""A stray answer of each kind at each step of an attempt: nothing stored is lost, nothing handed over is dropped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from opentelemetry.exporter.versori_flow import VersoriFlowSpanExporter
from opentelemetry.exporter.versori_flow.server import LocalPlatform
from tests.server.platform_client import make_flow, make_span

THEIRS = make_span("theirs", spanContext={"traceId": "a" * 32, "spanId": "b" * 16, "traceFlags": 1})

STRAYS = {
    "a page": 'status=200,body="<html>Welcome</html>"',
    "nothing": 'status=200,body=""',
    "no content": "status=204",
    "no members": "status=200,body={}",
    "an error as 200": r'status=200,body="{\"code\":\"x\",\"message\":\"no\"}"',
    "no spans": r'status=200,body="{\"name\":\"no spans\"}"',
    "all flows": r'status=200,body="{\"flows\":[]}"',
    "another flow": r'status=200,body="{\"name\":\"shop\",\"description\":\"\",\"spans\":[]}"',
    "a list": "status=200,body=[]",
    "moved": "status=302,location=https://login.example/in",
    "unchanged": "status=304",
    "unauthorised": "status=401",
    "forbidden": "status=403",
    "no such flow": "status=404",
    "no backend": 'status=404,body="default backend - 404"',
    "a timeout": "status=408",
    "a conflict": "status=409",
    "too large": "status=413",
    "too many": "status=429",
    "broken": "status=500",
    "unavailable": "status=503",
    "a reset": "reset",
    "half an answer": "cut",
    "bad": "status=400",
    "wrong": "status=422",
    "the first is wrong": "status=422,fields=spans[0].name",
    "all are wrong": "status=422,fields=spans[0];spans[1];spans[2]",
}
REFUSALS = {"bad", "wrong", "the first is wrong", "all are wrong"}

# What the platform answers before it, in this order; the method that is struck; what is believed there, rightly.
TRUE = "slow=0"
STEPS: dict[str, tuple[list[str], str, set[str]]] = {
    "the first read": ([], "GET", {"no such flow"}),
    "the read before the PUT": ([], "GET", set()),
    "the PUT": ([], "PUT", set()),
    "the read-back at the end": ([], "GET", set()),
    # That it is said twice, a pacing interval apart, is what a deletion is known by.
    "the second read, of a flow that is there": (["status=404"], "GET", {"no such flow"}),
    "the second read, of a flow that was deleted": ([TRUE], "GET", set()),
    "the body without the suspect": (["status=422"], "PUT", set()),
    # That it is refused again, though the rest was taken, is what a wrong span is known by.
    "the suspect once more": (["status=422", TRUE], "PUT", REFUSALS),
}


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_a_stray_answer_harms_nothing(
    platform: LocalPlatform, make_exporter: Callable[..., Any], make_provider: Callable[..., Any], step: str
) -> None:
    """Whatever one answer is, all that was stored and all that was handed over stands there in the end, once."""
    before, method, believed = STEPS[step]
    flows = [kind for kind in STRAYS if kind not in believed]
    deleted = "was deleted" in step
    tracer = make_provider().get_tracer("test")
    exporter: VersoriFlowSpanExporter = make_exporter(
        flow_name=lambda span: span.name.split("/")[1], min_interval=0.1, export_wait=0, timeout=10
    )

    def hand_over(name: str) -> None:
        spans = [tracer.start_span(f"{name}/{flow}") for flow in flows]
        for span in spans:
            span.end()
        exporter.export([span._readable_span() for span in spans])

    def at_rest(_: object) -> bool:
        return all(not flow.pending and flow.next_attempt is None for flow in exporter.status().values())

    for flow in flows:
        platform.put(flow, {**make_flow(THEIRS), "name": flow})
    at_first = "first read" in step
    if not at_first:
        hand_over("first")
        platform.wait_for(at_rest, 30)
    if "at the end" in step:
        hand_over("second")
        platform.wait_for(at_rest, 30)
    strays = {}
    for flow in flows:
        for answer in before:
            platform.fault(answer, times=1, method=method, flow=flow)
        strays[flow] = platform.fault(STRAYS[flow], times=1, method=method, flow=flow)
        if deleted:
            platform.delete(flow)
    if "at the end" not in step:
        if at_first:
            hand_over("first")
        hand_over("second")
        platform.wait_for(lambda _: all(stray.over for stray in strays.values()))
        platform.wait_for(at_rest, 30)
    exporter.shutdown()

    assert not [flow for flow in flows if not strays[flow].over]
    found = {flow: sorted(span["name"].split("/")[0] for span in platform.spans(flow)) for flow in flows}
    assert found == dict.fromkeys(flows, ["second"] if deleted else ["first", "second", "theirs"])
    status = exporter.status()
    assert {flow: (status[flow].delivered, status[flow].pending, status[flow].dropped) for flow in flows} == (
        dict.fromkeys(flows, (2, 0, {}))
    )
