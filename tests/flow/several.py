"""What the tests of several flows share: flows behind a router, and attempts at those that are due."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from opentelemetry.exporter.versori_flow.delivery.attempt import perform as carry_out
from opentelemetry.exporter.versori_flow.encoded_span import EncodedSpan, Unencodable
from opentelemetry.exporter.versori_flow.flow.flows import Flows, FlowStep, Receipt
from opentelemetry.exporter.versori_flow.flow.policy import FlowPolicy
from opentelemetry.exporter.versori_flow.flow.steps import Reading
from opentelemetry.exporter.versori_flow.routing.router import Router
from tests.flow.model import NOW_NS, make_policy

LOST = Unencodable("s", "TypeError")


class Routing:
    """Flows, and the router that the courier has before them.

    Args:
        policy: What holds for every flow; by default `make_policy` with the given changes.
        max_flows: Most flows held.
    """

    def __init__(self, policy: FlowPolicy | None = None, max_flows: int = 100, **changes: Any) -> None:
        self.flows = Flows(policy or make_policy(**changes), max_flows)
        self._router = Router(10_000)

    def hand_over(
        self,
        *spans: EncodedSpan,
        default: str = "a",
        lost: Iterable[str] = (),
        now: float = 1000.0,
        now_ns: int = NOW_NS,
    ) -> list[Receipt]:
        """Hands spans over, and one that can't be encoded for each name in `lost`."""
        routed, moves = self._router.route([(span, default) for span in spans])
        return self.flows.hand_over(routed, moves, [(LOST, name) for name in lost], now, now_ns)


def perform(job: FlowStep, platform: Any) -> Reading:
    """Carries out a step, as an attempt does."""
    return carry_out(job.step, platform, 0.0)


def attempt_next(flows: Flows, platform: Any, now: float, now_ns: int = NOW_NS) -> str | None:
    """Makes an attempt at the flow that has been due for longest; returns its name, or None."""
    job = following = flows.begin_next(now)
    while following is not None:
        following = flows.feed(following, perform(following, platform), now, now_ns)
    return None if job is None else job.name


def settle_all(flows: Flows, platform: Any, now: float, now_ns: int = NOW_NS, most: int = 10_000) -> float:
    """Makes attempts, each when it is due, until there is nothing to do; returns the time then."""
    for _ in range(most):
        due = flows.next_due()
        if due is None:
            return now
        now = max(now, due)
        attempt_next(flows, platform, now, now_ns)
    raise AssertionError(f"still not at rest after {most} attempts: {flows.memory.status(now)}")
