"""The rows of `benchmarks.faults` that are about the Redis in which what is pending waits."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from benchmarks.fault_rows import FLEET, Act, Row, StoreFault, over, plan
from benchmarks.faulty_server import FINE, Fault, FaultyServer
from tests.stores.fleet.redis_server import PROGRAM, RedisServer

_LEASE = 5.0
"""Seconds for which whoever delivers a flow holds it."""


@contextlib.contextmanager
def running_redis(folder: Path, wanted: bool) -> Iterator[RedisServer | str | None]:
    """Runs a Redis where it is wanted; yields why there is none."""
    if not wanted:
        yield None
    elif PROGRAM is None:
        yield "no redis-server on the path"
    else:
        server = RedisServer(folder)
        try:
            yield server
        finally:
            server.go_on()
            server.kill()


def _in_outage(of_redis: Act) -> Act:
    def begin(server: FaultyServer) -> None:
        server.stop()
        of_redis(server)

    return begin


def _kill(server: FaultyServer) -> None:
    server.redis.kill()


def _restart(server: FaultyServer) -> None:
    server.redis.start()
    server.start()


def _pause(server: FaultyServer) -> None:
    server.redis.pause()


def _go_on(server: FaultyServer) -> None:
    server.redis.go_on()
    server.start()


def _empty(server: FaultyServer) -> None:
    server.redis.tell("FLUSHALL")


def _fill(server: FaultyServer) -> None:
    server.redis.tell("CONFIG", "SET", "maxmemory", "1")


def _make_room(server: FaultyServer) -> None:
    server.redis.tell("CONFIG", "SET", "maxmemory", "0")
    server.start()


def _lock_out(server: FaultyServer) -> None:
    server.redis.tell("CONFIG", "SET", "requirepass", "another")
    server.redis.tell("CLIENT", "KILL", "TYPE", "normal", password="another")


def _let_in(server: FaultyServer) -> None:
    server.redis.tell("CONFIG", "SET", "requirepass", "", password="another")
    server.start()


def redis_rows(short: bool) -> list[Row]:
    """All faults of Redis, each while the platform is down, too; and a holder that is stopped."""
    seconds = 4 if short else 15

    def row(name: str, begin: Act, end: Act, once: str) -> Row:
        fault = StoreFault(kept=True, once=once)
        promise = "all arrive, once; one warning" if once else "all arrive, once"
        return Row(name, seconds, _in_outage(begin), end, (), promise, by=FLEET, store=fault)

    after = Fault("stopped after its answer", seconds=_LEASE + 1)
    return [
        row("Redis killed in an outage, and back empty", _kill, _restart, "can't be reached"),
        row("Redis paused by SIGSTOP, in an outage", _pause, _go_on, "can't be reached"),
        row("Redis emptied in an outage", _empty, FaultyServer.start, ""),
        row("Redis full in an outage", _fill, _make_room, "it is full"),
        row("Redis' password changed in an outage", _lock_out, _let_in, "access is denied"),
        Row(
            "a holder stopped for longer than its lease",
            9 if short else 20,
            plan(after, FINE, FINE, FINE, methods=("GET",)),
            over,
            by=FLEET,
            away=_LEASE + 1,
        ),
    ]
