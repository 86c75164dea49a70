"""Processes that share a Redis: each span is in the flow once, whoever traced it, and whoever dies."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from running import FLOW, Program, Run, names, works

from opentelemetry.exporter.versori_flow.server import LocalPlatform
from tests.ports import free_port
from tests.stores.fleet.redis_server import RedisServer, require_redis

require_redis()

WRITERS = int(os.environ.get("TEST_WRITERS", "4"))
SECONDS = os.environ.get("TEST_WRITERS_SECONDS", "4")
"""How many write at once, and for how long: 16 for 60 s show more, and take it."""

LEAVERS = int(os.environ.get("TEST_LEAVERS", "10"))

Join = Callable[..., Program]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    (folder := tmp_path / "redis").mkdir()
    server = RedisServer(folder)
    yield server
    server.go_on()
    server.kill()


@pytest.fixture
def join(run: Run, redis: RedisServer) -> Join:
    """Starts a program with the fleet's store."""
    return lambda *command, **variables: run(
        *command, **{"VERSORI_FLOW_STORE": redis.url, "PROCESSOR": "direct", **variables}
    )


def shown(platform: LocalPlatform, *units: str) -> None:
    """The flow holds what these units left, and no more, at once or soon, and still a moment later."""
    platform.wait_for(lambda p: len(p.spans(FLOW)) >= 2 * len(units), 30)
    assert names(platform.spans(FLOW)) == works(*units)


def units_of(programs: dict[str, Program]) -> list[str]:
    """What writers that have ended say that they traced."""
    units = []
    for name, program in programs.items():
        assert program.wait() == 0, program.output
        units += [f"{name}.{unit}" for unit in range(int(program.stdout))]
    return units


def test_many_hosts_write_one_flow(platform: LocalPlatform, join: Join) -> None:
    """With a third of the requests failing: every span once, and the PUTs of all of them are an interval apart."""
    platform.fault("status=503,share=0.34")
    room = {"VERSORI_FLOW_MAX_SPANS": "50000", "VERSORI_FLOW_MAX_BYTES": "67108864"}
    programs = {f"w{n}": join("writer.py", f"w{n}", SECONDS, "--elsewhere", **room) for n in range(WRITERS)}
    time.sleep(float(SECONDS))
    platform.clear_faults()
    units = units_of(programs)
    shown(platform, *units)
    times = [request.at for request in platform.requests if request.method == "PUT"]
    assert min(later - earlier for earlier, later in pairwise(times)) >= 1.0


def test_forks_wait_for_all_that_is_imported(join: Join) -> None:
    """Nothing of redis-py is imported on the exporter's threads while a fork would not wait for it."""
    program = join("imports.py")
    assert (program.wait(), program.stdout) == (0, "\n"), program.output


def test_short_lived_writers(platform: LocalPlatform, join: Join) -> None:
    """Processes that trace one unit of work and end, beside each other and with nobody else there."""
    programs = {f"w{n}": join("writer.py", f"w{n}", "0", "--elsewhere") for n in range(WRITERS)}
    shown(platform, *units_of(programs))


@pytest.mark.parametrize("somebody_lives", [True, False])
def test_who_ends_goes(platform: LocalPlatform, join: Join, tmp_path: Path, somebody_lives: bool) -> None:
    """Of many that end together each takes less than a second, but one where no other process lives on."""
    idle = join("outage.py", "idle", "0", "idles") if somebody_lives else None
    go = tmp_path / "go"
    programs = {f"w{n}": join("leaving.py", f"w{n}", str(go)) for n in range(LEAVERS)}
    for program in (*programs.values(), *([idle] if idle else [])):
        program.says("ready")
    go.touch()
    seconds = []
    for program in programs.values():
        assert program.wait() == 0, program.output
        told = program.told()
        assert told["dropped"] == 0
        assert "not delivered" not in program.stderr
        seconds.append(told["seconds"])
    assert sorted(seconds)[-1 if somebody_lives else -2] < 1.0
    shown(platform, *(f"{name}.{unit}" for name in programs for unit in range(2)))
    times = [request.at for request in platform.requests if request.method == "PUT"]
    assert min(later - earlier for earlier, later in pairwise(times)) >= 1.0
    if idle:
        idle.finish()
        idle.ends_well()


def test_a_holder_that_is_stopped_between_its_read_and_its_put(platform: LocalPlatform, join: Join) -> None:
    """Another takes over when its lease is over; it writes nothing when it goes on, and nothing is lost."""
    platform.fault("slow=1,method=GET,times=1")
    stopped = join("outage.py", "stopped", "3", "idles")
    platform.wait_for(lambda p: p.requests, 30)
    stopped.signal(signal.SIGSTOP)
    other = join("outage.py", "other", "3", "idles")
    platform.wait_for(lambda p: len(p.spans(FLOW)) == 12, 30)
    puts = sum(request.method == "PUT" for request in platform.requests)
    stopped.signal(signal.SIGCONT)
    units = [f"{name}.{unit}" for name in ("stopped", "other") for unit in range(3)]
    for program in (stopped, other):
        program.finish()
        assert program.wait() == 0, program.output
        assert program.told()["pending"] == 0
    shown(platform, *units)
    assert sum(request.method == "PUT" for request in platform.requests) == puts, stopped.output


def test_what_a_killed_process_has_put_is_delivered_by_another(platform: LocalPlatform, join: Join) -> None:
    """kill -9 amid an outage; the next process delivers all of it, though it traces nothing itself."""
    platform.stop()
    program = join("outage.py", "one", "5", "killed")
    program.says("ready")
    program.signal(signal.SIGKILL)
    program.wait()
    platform.start()
    idle = join("outage.py", "none", "0", "idles")
    shown(platform, *(f"one.{unit}" for unit in range(5)))
    idle.finish()
    idle.ends_well()


def test_the_command_shows_and_delivers_what_waits(
    platform: LocalPlatform, join: Join, start: Run, redis: RedisServer
) -> None:
    """What a process left: listed while the platform is away, and delivered by `drain`."""
    platform.stop()
    left = join("outage.py", "one", "3", "killed")
    left.says("ready")
    left.signal(signal.SIGKILL)
    left.wait()

    def store(*arguments: str) -> Program:
        command = (sys.executable, "-m", "opentelemetry.exporter.versori_flow", "store", *arguments)
        program = start(*command, VERSORI_FLOW_STORE=redis.url)
        assert program.wait() == 0, program.output
        return program

    assert "waits for whoever is next" in store("list").stdout
    assert store("show", FLOW).stdout.startswith("6 spans; in unix://")
    platform.start()
    assert "6 spans delivered, 0 dropped, 0 left" in store("drain").stdout
    shown(platform, *(f"one.{unit}" for unit in range(3)))
    assert "nothing waits" in store("drop", "--yes").stdout


@pytest.mark.parametrize("way", ["unix", "tcp"])
@pytest.mark.parametrize("kind", ["files", "sockets"])
def test_a_program_that_closes_all_descriptors(
    platform: LocalPlatform, run: Run, redis: RedisServer, kind: str, way: str
) -> None:
    """Its files and connections that get the number of ours to Redis get no byte of ours, and stay open."""
    url = redis.url if way == "unix" else f"redis://127.0.0.1:{redis.port}/0"
    program = run("closing.py", kind, PROCESSOR="direct", VERSORI_FLOW_STORE=url)
    assert program.wait() == 0, program.output
    facts = program.told()
    assert (facts["flushed"], facts["changed"], facts["closed"]) == ([True, True], [], []), program.output
    assert (facts["delivered"], facts["pending"], facts["dropped"]) == (6, 0, 0), program.output
    assert names(platform.spans(FLOW)) == works("before", "after", "later")


def test_a_redis_that_comes_back_empty(platform: LocalPlatform, join: Join, redis: RedisServer) -> None:
    """What waits is put again, and survives its process from then on."""
    platform.stop()
    program = join("outage.py", "one", "5", "killed")
    program.says("ready")
    redis.kill()
    redis.start()
    program.until("its spans in Redis again", lambda: redis.tell("DBSIZE") > 2)
    program.signal(signal.SIGKILL)
    program.wait()
    platform.start()
    # Who ended within 3 s would leave all to the one that was killed.
    two = join("outage.py", "two", "1", "idles")
    shown(platform, *(f"one.{unit}" for unit in range(5)), "two.0")
    two.finish()
    two.ends_well()


def test_without_redis_each_delivers_for_itself(platform: LocalPlatform, join: Join) -> None:
    """It is said once, and costs some seconds."""
    url = f"redis://user:secret@127.0.0.1:{free_port()}/0"
    programs = {f"w{n}": join("writer.py", f"w{n}", "5", VERSORI_FLOW_STORE=url) for n in range(2)}
    shown(platform, *units_of(programs))
    for program in programs.values():
        assert program.stderr.count("can't be reached") == 1, program.output
        assert "user:***@" in program.stderr
        assert "secret" not in program.stderr


def test_a_wrong_password(platform: LocalPlatform, join: Join, redis: RedisServer) -> None:
    """It is said as denied access, nothing is raised, and `status()` shows where Redis is without the password."""
    redis.tell("CONFIG", "SET", "requirepass", "right")
    url = f"redis://:wrong@127.0.0.1:{redis.port}/0"
    program = join("outage.py", "one", "1", "returns", VERSORI_FLOW_STORE=url)
    assert program.wait() == 0
    assert program.told()["stores"] == [f"redis://:***@127.0.0.1:{redis.port}/0"]
    assert "access is denied" in program.stderr
    assert "wrong@" not in program.stderr
    shown(platform, "one.0")
