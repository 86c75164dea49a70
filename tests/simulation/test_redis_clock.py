"""What a fleet does whose Redis has another clock than before: the scripts are real, their server is modelled."""

from __future__ import annotations

import io
import time
from types import SimpleNamespace
from typing import Any

import pytest

from opentelemetry.exporter.versori_flow.stores.fleet import Fleet
from opentelemetry.exporter.versori_flow.stores.fleet_answers import Claim, Wait
from opentelemetry.exporter.versori_flow.stores.redis_client import RedisClient, Script
from tests.stores.fleet.conftest import added, join, span

from .redis_server import Server

HOUR = 3600.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The clock of the Redis that each fleet speaks to from now on."""
    clock = SimpleNamespace(now=time.time())
    server = Server(lambda: clock.now)

    def run(_: RedisClient, script: Script, keys: Any, arguments: Any) -> Any:
        words = [part if isinstance(part, bytes) else str(part).encode() for part in (*keys, *arguments)]
        return read(io.BytesIO(server.answer([b"EVAL", script.text.encode(), b"%d" % len(keys), *words])))

    monkeypatch.setattr(RedisClient, "_run", run)
    monkeypatch.setattr(RedisClient, "_connected", lambda _: None)
    return clock


def read(file: Any) -> Any:
    """An answer, as it comes over the wire."""
    kind, rest = (line := file.readline())[:1], line[1:-2]
    if kind == b"*":
        return [read(file) for _ in range(int(rest))]
    if kind == b"$":
        return None if rest == b"-1" else file.read(int(rest) + 2)[:-2]
    assert kind == b":", line
    return int(rest)


def join_all() -> tuple[Fleet, Fleet]:
    return join("redis://modelled"), join("redis://modelled")


@pytest.mark.parametrize("back", [HOUR, 0.0, 1.0, 6.0])
def test_a_lease_lasts_no_longer_where_the_clock_goes_back(clock: SimpleNamespace, back: float):
    """Who died with the lease holds up the flow for as long as it was made for, whatever the server's clock does."""
    dead, other = join_all()
    dead.put(added(span(1)))
    assert isinstance(dead.claim("shop"), Claim)
    clock.now -= back
    assert isinstance(other.claim("shop"), Wait)
    assert other.due() == []
    clock.now += 4.5
    assert isinstance(other.claim("shop"), Wait)
    clock.now += 1.0
    assert other.due() == ["shop"]
    claim = other.claim("shop")
    assert isinstance(claim, Claim)
    assert other.extend(claim)
    assert isinstance(dead.claim("shop"), Wait)


@pytest.mark.parametrize("back", [HOUR, 0.0, 0.5])
def test_an_interval_lasts_no_longer_where_the_clock_goes_back(clock: SimpleNamespace, back: float):
    """What may be claimed again after a pause may so after that pause, and is found by who looks for it."""
    one, two = join_all()
    one.put(added(span(1)))
    one.settle(one.claim("shop"), [span(1).key], wait=2.0, verified=False)
    one.put(added(span(2)))
    clock.now -= back
    assert (two.due(), isinstance(two.claim("shop"), Wait)) == ([], True)
    clock.now += 2.2
    assert two.due() == ["shop"]
    assert isinstance(two.claim("shop"), Claim)


def test_a_clock_that_goes_on_and_back_again_is_borne(clock: SimpleNamespace):
    """A clock that is set again and again holds up nobody, and makes nobody early by more than it leapt ahead."""
    one, two = join_all()
    for number, step in enumerate((HOUR, -HOUR, -2 * HOUR, 0.05, -0.05, 3 * HOUR)):
        clock.now += step
        one.put(added(span(number)))
        claim = one.claim("shop")
        assert isinstance(claim, Claim)
        one.settle(claim, list(claim.pending), wait=1.0, verified=False)
        one.put(added(span(100 + number)))
        assert isinstance(two.claim("shop"), Wait)
        clock.now += 1.2
        assert two.due() == ["shop"]


def test_who_has_died_lives_no_longer_where_the_clock_goes_back(clock: SimpleNamespace):
    """What others left is not left to a process that has asked for the last time before the clock went back."""
    dead, other = join_all()
    other.put(added(span(1)))
    dead.due()
    clock.now -= HOUR
    other.due()
    assert other.goodbye() == []
    clock.now += 3.5
    assert other.goodbye() == ["shop"]
