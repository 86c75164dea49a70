"""One state machine for every store: processes over it, and a platform that fails, beside a plain model."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from opentelemetry.exporter.versori_flow.encoded_span import EncodedSpan
from opentelemetry.exporter.versori_flow.flow.window import Key
from opentelemetry.exporter.versori_flow.http.answers import Absent, Conflict, Found, Stored, Unavailable

from .desk import Desk, Request, State, settings_of
from .fleet.redis_server import PROGRAM, RedisServer
from .writer import Writer, fork_and_end

EXAMPLES = int(os.environ.get("HISTORIES", "10"))
FLOWS = ("shop", "bank")
NUMBERS = st.integers(0, 11)
"""Of whom there are: no draw may depend on what real time has made of a history."""

_BUSY = Unavailable("503", "503 Service Unavailable", None, answered=True)
_LOST = Unavailable("timeout", "no answer in time", None, answered=False)
_START = 1_800_000_000_000_000_000
_LONG = 12.0
"""Seconds after which no lease holds, no attempt goes on, and no process counts as living that says nothing."""


class Place:
    """Where the processes of one history have their store.

    Attributes:
        store: Its URL.
        durable: Whether what is pending outlives its process.
        shared: Whether all processes have one window.
    """

    durable, shared = False, False

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = str(folder)
        self.store = "memory:"
        self.fails = False

    def leap(self) -> None:
        """Much time has passed."""

    def fail(self, writer: Writer | None, fails: bool) -> None:
        """It takes no more, or does again."""

    def empty(self) -> None:
        """It loses all."""


class Sqlite(Place):
    durable = True

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.store = f"sqlite://{folder}/spans"

    def fail(self, writer: Writer | None, fails: bool) -> None:
        if writer is not None:
            writer.let_no_file_grow(fails)


class Redis(Place):
    durable = shared = True

    def __init__(self, folder: Path, server: RedisServer) -> None:
        super().__init__(folder)
        self.server = server
        self.store = server.url
        self.empty()

    def leap(self) -> None:
        self.server.tell(
            "EVAL",
            """
            redis.call('DEL', 'none')  -- what comes after a write that takes no room is let through
            for _, key in ipairs(redis.call('KEYS', '*')) do
              if string.find(key, ':lease:') or string.find(key, ':alive$') then redis.call('DEL', key) end
              if string.find(key, ':meta:') then redis.call('HDEL', key, 'not_before', 'stayer', 'stays') end
              if string.find(key, ':due$') then
                for _, flow in ipairs(redis.call('ZRANGE', key, 0, -1)) do redis.call('ZADD', key, 0, flow) end
              end
            end
            """,
            0,
        )

    def fail(self, writer: Writer | None, fails: bool) -> None:
        self.fails = fails
        self.server.tell("CONFIG", "SET", "maxmemory", "1" if fails else "0")

    def empty(self) -> None:
        self.server.tell("FLUSHALL")


class Given:
    """A span that was handed over: what it says now, where it belongs, and who had it."""

    def __init__(self, span: EncodedSpan, flow: str, process: Process) -> None:
        self.span, self.flow, self.process = span, flow, process
        self.moved = False


class Process:
    """A writer, and how it does."""

    def __init__(self, place: Place) -> None:
        self.writer = Writer(partial(Desk, settings_of(place.store), place.folder))  # type: ignore[arg-type]
        self.state: State = self.writer.look()
        self.ends = self.killed = self.is_unaware = False
        self.fails = self.has_failed = place.fails


class Histories(RuleBasedStateMachine):
    """What happens to processes, to their store, and to the platform."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place
        self.processes: list[Process] = []
        self.given: dict[Key, Given] = {}
        self.platform: dict[str, dict[Key, Any]] = {}
        self.foreign: dict[Key, str] = {}
        self.excused: set[Key] = set()
        self.strays: list[Request] = []
        self.numbers = itertools.count(1)

    # -- the model -----------------------------------------------------------------------------------------

    def span(self, trace: int, number: int, name: str | None, text: str = "") -> EncodedSpan:
        """Number 0 is the root of its trace."""
        trace_id, span_id = f"{trace:032x}", f"{(trace << 8) + number + 1:016x}"
        parent = None if not number else f"{(trace << 8) + 1:016x}"
        document = {
            "name": f"{trace}.{number}{text}",
            "spanContext": {"traceId": trace_id, "spanId": span_id, "traceFlags": 1},
            **({"parentSpanContext": {"traceId": trace_id, "spanId": parent}} if parent else {}),
        }
        at = _START + trace * 1000 + number
        return EncodedSpan(
            trace_id, span_id, parent, parent is None, at, at, json.dumps(document).encode(), name
        )

    def hand(self, process: Process, *spans: EncodedSpan) -> None:
        self.see(process, process.writer.hand_over(spans))
        for span in spans:
            flow = span.flow_name or "default"
            key = span.trace_id, span.span_id
            if key not in self.given:
                self.given[key] = Given(span, flow, process)
            self.given[key].span = span
            if span.flow_name and span.is_root:
                for given in self.given.values():
                    if given.span.trace_id == span.trace_id and given.flow != flow:
                        given.flow, given.moved = flow, True

    def see(self, process: Process, state: State) -> None:
        """Each span is accounted for, and a durable store has what is pending."""
        process.state = state
        counts = state.totals
        lost = sum(counts.dropped.values())
        assert counts.handed_over == counts.delivered + counts.pending + lost, counts
        if self.place.durable and not process.has_failed:
            assert not process.writer.unkept()
            assert not lost or self.place.shared, counts
        if state.over:
            self.excused |= process.writer.lost()
            process.writer.kill()
            self.processes.remove(process)

    def excuse_the_dead(self) -> None:
        """What only processes had put that are gone."""
        for key, given in self.given.items():
            if given.process not in self.processes and key not in self.platform.get(given.flow, ()):
                self.excused.add(key)

    def requests(self) -> list[tuple[Process, Request]]:
        return [(process, request) for process in self.processes for request in process.state.requests]

    def put(self, request: Request) -> bytes:
        document = json.loads(request.body or b"")
        spans = {
            (span["spanContext"]["traceId"], span["spanContext"]["spanId"]): span
            for span in document["spans"]
        }
        assert len(spans) == len(document["spans"]), "the same span twice in one body"
        self.platform[request.flow] = spans
        return blake2b(request.body or b"", digest_size=16).digest()

    def get(self, flow: str) -> Any:
        if flow not in self.platform:
            return Absent(True, "no such flow")
        document = {"name": flow, "description": "", "spans": list(self.platform[flow].values())}
        body = json.dumps(document).encode()
        return Found(body, blake2b(body, digest_size=16).digest(), 200)

    def answer(self, process: Process, request: Request, how: str) -> None:
        answer: Any = {"busy": _BUSY, "lost": _LOST, "conflict": Conflict("changed")}.get(how)
        if request.body is not None and how in ("well", "half done"):
            answer = Stored(200, self.put(request))
        elif answer is None:
            answer = self.get(request.flow)
        self.see(process, process.writer.answer(request.number, _LOST if how == "half done" else answer))

    # -- what happens --------------------------------------------------------------------------------------

    @rule()
    def starts(self) -> None:
        if len(self.processes) < 4:
            self.processes.append(Process(self.place))

    def some(self, who: int) -> Process:
        """One that does not end; a new one where there is none."""
        going_on = [process for process in self.processes if not process.ends]
        if not going_on:
            self.processes.append(Process(self.place))
            going_on = self.processes[-1:]
        return going_on[who % len(going_on)]

    @rule(who=NUMBERS, flow=st.sampled_from(FLOWS), count=st.integers(1, 3))
    def traces(self, who: int, flow: str, count: int) -> None:
        trace = next(self.numbers)
        self.hand(self.some(who), *(self.span(trace, number, flow) for number in range(count)))

    @rule(who=NUMBERS)
    def begins_a_trace(self, who: int) -> None:
        """A child without a flow of its own ends before its root."""
        self.hand(self.some(who), self.span(next(self.numbers), 1, None))

    @rule(who=NUMBERS, flow=st.sampled_from(FLOWS), text=st.sampled_from("ab"))
    def goes_on(self, who: int, flow: str, text: str) -> None:
        """A span again, with another text; or the root that tells the flow of what came before it."""
        mine = [given for given in self.given.values() if not given.process.ends and not given.process.killed]
        if not mine:
            return
        given = mine[who % len(mine)]
        trace = int(given.span.trace_id, 16)
        if given.flow == "default":
            self.hand(given.process, self.span(trace, 0, flow))
        elif not given.moved:
            number = int(given.span.span_id, 16) - (trace << 8) - 1
            self.hand(given.process, self.span(trace, number, given.span.flow_name, text))

    @rule(who=NUMBERS, how=st.sampled_from(["well"] * 5 + ["busy", "lost", "half done", "conflict"]))
    def platform_answers(self, who: int, how: str) -> None:
        if requests := self.requests():
            self.answer(*requests[who % len(requests)], how)

    @rule(stray=st.booleans())
    def much_time_passes(self, stray: bool) -> None:
        """Each attempt ends; a PUT may be carried out much later, where a shared window makes up for it."""
        for process, request in self.requests():
            if process.state.over or request not in process.state.requests:
                continue
            if stray and self.place.shared and request.body is not None:
                self.strays.append(request)
            self.answer(process, request, "lost")
        self.leap(_LONG)

    @rule(seconds=st.sampled_from([0.3, 1.5]))
    def time_passes(self, seconds: float) -> None:
        for process in list(self.processes):
            process.is_unaware &= seconds < 1.3  # so often it asks what is due
            self.see(process, process.writer.leap(seconds))

    def leap(self, seconds: float) -> None:
        self.place.leap()
        for process in list(self.processes):
            process.is_unaware = False
            self.see(process, process.writer.leap(seconds))

    @rule()
    def a_stray_put_arrives(self) -> None:
        if not self.strays:
            return
        request = self.strays.pop()
        before = self.platform.get(request.flow, {})
        self.put(request)
        self.excused |= {key for key in self.foreign if key in before}

    @rule(flow=st.sampled_from(FLOWS))
    def somebody_else_writes(self, flow: str) -> None:
        span = self.span(next(self.numbers), 0, flow)
        key = span.trace_id, span.span_id
        self.platform.setdefault(flow, {})[key] = json.loads(span.body)
        self.foreign[key] = flow
        if any(request.flow == flow for _, request in self.requests()):
            self.excused.add(key)  # who has read before does not know it

    @rule(who=NUMBERS, arrives=st.booleans())
    def is_killed(self, who: int, arrives: bool) -> None:
        process = self.some(who) if not self.processes else self.processes[who % len(self.processes)]
        if not self.place.durable or process.has_failed:
            self.excused |= process.writer.unkept()
        process.writer.kill()
        process.killed = True
        self.processes.remove(process)
        if process.is_unaware:
            self.excuse_the_dead()
        for request in process.state.requests:
            if arrives and request.body is not None:
                self.put(request)

    @rule(who=NUMBERS)
    def ends(self, who: int) -> None:
        process = self.some(who)
        process.ends = True
        self.see(process, process.writer.shutdown(8.0))

    @rule(who=NUMBERS)
    def forks(self, who: int) -> None:
        assert self.some(who).writer.run(fork_and_end) == 0

    @rule(who=NUMBERS)
    def the_store_fails_or_is_mended(self, who: int) -> None:
        if not self.place.durable:
            return
        process = self.some(who)
        fails = not process.fails
        for other in self.processes if self.place.shared else [process]:
            other.fails = fails
            other.has_failed = True
        self.place.fail(process.writer, fails)

    @rule()
    def the_store_is_emptied(self) -> None:
        if not self.place.shared:
            return
        self.place.empty()
        self.excuse_the_dead()
        self.strays.clear()
        for process in self.processes:
            process.has_failed = process.is_unaware = True

    # -- the end -------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        try:
            self.come_to_rest()
            for process in list(self.processes):
                process.ends = True
                self.see(process, process.writer.shutdown(8.0))
            self.settle()
            self.starts()
            self.settle()
            # What a PUT erased that came too late is written again by the next one.
            last = [self.span(next(self.numbers), 0, flow) for flow in sorted({*self.platform, *FLOWS})]
            self.hand(self.processes[0], *last)
            self.settle()
            self.look_at_the_platform()
        finally:
            for process in self.processes:
                process.writer.kill()
            self.place.fail(None, False)

    def come_to_rest(self) -> None:
        """No more trouble."""
        while self.strays:
            self.a_stray_put_arrives()
        self.place.fail(None, False)
        for process in self.processes:
            self.place.fail(process.writer, False)
        self.settle()

    def settle(self) -> None:
        """All is answered well until nothing is asked any more."""
        for _ in range(60):
            while requests := self.requests():
                self.answer(*requests[0], "well")
            pending = sum(process.state.totals.pending for process in self.processes)
            if not pending and not any(process.ends for process in self.processes) and _ > 3:
                return
            self.leap(1.5)
        told = [(process.ends, process.state) for process in self.processes]
        assert not any(state.totals.pending or ends for ends, state in told), told

    def look_at_the_platform(self) -> None:
        missing = []
        for key, given in self.given.items():
            there = self.platform.get(given.flow, {}).get(key)
            if there != json.loads(given.span.body):
                missing.append((key, given.flow, there))
            elsewhere = [flow for flow in self.platform if flow != given.flow and key in self.platform[flow]]
            assert not elsewhere or given.process.killed or key in self.excused, (key, given.flow, elsewhere)
        assert not [each for each in missing if each[0] not in self.excused], missing
        for key, flow in self.foreign.items():
            assert key in self.excused or key in self.platform[flow], (key, flow)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    (folder := tmp_path / "redis").mkdir()
    server = RedisServer(folder)
    yield server
    server.kill()


@pytest.mark.parametrize("kind", ["memory", "sqlite", "redis"])
def test_any_history(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Whatever happens, each span that was handed over stands in its flow once, as it was handed over last, or was
    lost where that is said: with a process that kept it in memory, or with a store that lost it."""
    if kind == "redis" and PROGRAM is None:
        pytest.skip("no redis-server on the path: apt-get install redis-server")
    server = request.getfixturevalue("server") if kind == "redis" else None
    numbers = itertools.count()

    def begin() -> Histories:
        folder = tmp_path / f"place-{next(numbers)}"
        if server is not None:
            return Histories(Redis(folder, server))
        return Histories(Sqlite(folder) if kind == "sqlite" else Place(folder))

    run_state_machine_as_test(
        begin,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink][: int(os.environ.get("PHASES", "2"))],
        ),
    )


@pytest.mark.skipif(PROGRAM is None, reason="no redis-server on the path: apt-get install redis-server")
@pytest.mark.parametrize("ends", [False, True])
def test_a_newer_text_while_redis_is_full(ends: bool, tmp_path: Path, server: RedisServer) -> None:
    """It stands in its flow whoever writes that next."""
    history = Histories(Redis(tmp_path / "place", server))
    history.starts()
    history.traces(who=0, flow="shop", count=1)
    history.the_store_fails_or_is_mended(who=0)
    history.goes_on(who=0, flow="shop", text="a")
    history.goes_on(who=0, flow="shop", text="b")
    if ends:
        for _ in range(2):
            history.answer(history.processes[0], history.processes[0].state.requests[0], "well")
        history.ends(who=0)
    history.teardown()


@pytest.mark.skipif(PROGRAM is None, reason="no redis-server on the path: apt-get install redis-server")
def test_a_span_that_moves_after_redis_was_emptied(tmp_path: Path, server: RedisServer) -> None:
    """Whoever had it from the flow that it has left does not bring it back there."""
    history = Histories(Redis(tmp_path / "place", server))
    for _ in range(4):
        history.starts()
    history.begins_a_trace(who=3)
    history.much_time_passes(stray=False)
    history.the_store_is_emptied()
    history.goes_on(who=0, flow="shop", text="b")
    history.much_time_passes(stray=False)
    history.teardown()


@pytest.mark.skipif(PROGRAM is None, reason="no redis-server on the path: apt-get install redis-server")
def test_a_span_that_moves_while_another_process_writes_it(tmp_path: Path, server: RedisServer) -> None:
    """It leaves the flow in which the other one has just put it."""
    history = Histories(Redis(tmp_path / "place", server))
    history.starts()
    history.starts()
    first, second = history.processes
    trace = next(history.numbers)
    history.hand(first, history.span(trace, 1, None))
    history.answer(first, first.state.requests[0], "lost")
    history.processes.reverse()
    history.leap(_LONG)
    assert [request.flow for request in second.state.requests] == ["default"]
    history.answer(second, second.state.requests[0], "well")
    history.hand(first, history.span(trace, 0, "shop"))
    history.answer(second, second.state.requests[0], "well")
    assert history.platform["default"]
    history.teardown()
