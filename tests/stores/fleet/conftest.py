"""A Redis for each module's tests, emptied for each test, and processes of a fleet that speak to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from opentelemetry.exporter.versori_flow.flow.journal import Change, Kept
from opentelemetry.exporter.versori_flow.settings.redis_url import parse
from opentelemetry.exporter.versori_flow.stores.fleet import Fleet
from opentelemetry.exporter.versori_flow.stores.spool_file import Target

from .redis_server import PROGRAM, PROGRAMS, RedisServer

TARGET = Target("https://platform.example/api/v2", "organisation", "project")


def span(trace: int, number: int = 0, body: bytes = b"{}", is_root: bool = False, age: float = 0) -> Kept:
    """A span that ended so many seconds ago."""
    end = time.time_ns() - int(age * 1e9)
    return Kept((f"{trace:032x}", f"{number:016x}"), end - 5, end, is_root, body)


def added(*spans: Kept, flow: str = "shop") -> list[Change]:
    return [Change(flow, spans, [], [])]


def keys(spans: Any) -> set[Any]:
    return {kept.key for kept in spans}


@pytest.fixture(scope="module", params=PROGRAMS, ids=lambda program: Path(program).name)
def one_redis(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedisServer]:
    """Redis, and Valkey where it is to be had."""
    server = RedisServer(tmp_path_factory.mktemp("redis"), program=request.param)
    yield server
    server.kill()


@pytest.fixture
def shared_redis(one_redis: RedisServer) -> RedisServer:
    one_redis.tell("FLUSHALL")
    return one_redis


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """Makes servers that a test may ruin."""
    made: list[RedisServer] = []

    def make(*options: str, program: str | None = PROGRAM) -> RedisServer:
        (folder := tmp_path / str(len(made))).mkdir()
        made.append(RedisServer(folder, *options, program=program))
        return made[-1]

    yield make
    for server in made:
        server.go_on()
        server.kill()


def join(url: str, **keywords: Any) -> Fleet:
    """A process of the fleet."""
    return Fleet(parse(url), TARGET, **{"max_spans": 1000, "max_bytes": 1 << 22, **keywords})
