"""While nothing reaches the platform, one flow tries for all."""

from __future__ import annotations

import pytest

from opentelemetry.exporter.versori_flow.flow.probe import Probe
from opentelemetry.exporter.versori_flow.http.answers import Denied, Stored, Unavailable

NEVER, AT_ONCE = float("inf"), float("-inf")
REFUSED = Unavailable("connect", "connection refused", None, answered=False)


def make_probe() -> Probe:
    return Probe(lambda failures: 2.0**failures)


def fail(probe: Probe, now: float) -> None:
    probe.begun("a")
    probe.over("a", REFUSED, now)


@pytest.mark.parametrize("kind", ["connect", "proxy", "tls"])
def test_one_tries_for_all(kind: str):
    """After a failure to reach the platform the next attempt waits, longer each time, and then goes alone."""
    probe = make_probe()
    assert probe.free_at == AT_ONCE
    probe.begun("a")
    assert probe.free_at == AT_ONCE
    probe.over("a", REFUSED._replace(kind=kind), 10.0)
    assert probe.free_at == 12.0
    probe.begun("b")
    assert probe.free_at == NEVER
    probe.over("b", REFUSED, 12.5)
    assert probe.free_at == 16.5


@pytest.mark.parametrize(
    "answer",
    [
        Stored(200, None),
        Denied(401, "no", None),
        Unavailable("503", "busy", None, answered=True),
        Unavailable("timeout", "no answer in time", None, answered=False),
        Unavailable("connect", "cut", None, answered=True),
    ],
)
def test_any_answer_lets_every_flow_go(answer):
    """Whatever may be about the one flow holds up no other, and neither does silence."""
    probe = make_probe()
    fail(probe, 10.0)
    probe.begun("b")
    probe.over("b", answer, 20.0)
    assert (probe.failures, probe.free_at) == (0, AT_ONCE)


def test_an_older_attempt_is_not_the_probe():
    """What was under way before leaves the probe alone."""
    probe = make_probe()
    probe.begun("slow")
    fail(probe, 10.0)
    probe.begun("b")
    probe.over("slow", REFUSED, 13.0)
    assert probe.free_at == NEVER


def test_a_flush_does_not_wait():
    """Whoever flushes gets an attempt at once, and waits start anew and stay at a second or less."""
    probe = make_probe()
    for _ in range(6):
        fail(probe, 10.0)
    probe.hurry(20.0, 30.0)
    assert probe.free_at == 20.0
    fail(probe, 20.0)
    assert probe.free_at == 21.0
    fail(probe, 31.0)
    assert probe.free_at == 31.0 + 2.0**3


def test_at_the_end_every_flow_gets_its_attempt():
    """Shutdown does not wait for one to try for all."""
    probe = make_probe()
    fail(probe, 10.0)
    probe.end()
    assert probe.free_at == AT_ONCE
