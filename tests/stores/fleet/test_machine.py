"""A fleet against a plain model: processes that put, claim, stop and fail, and a Redis that is emptied and evicts."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from opentelemetry.exporter.versori_flow.flow.journal import Change, Kept
from opentelemetry.exporter.versori_flow.flow.window import Key
from opentelemetry.exporter.versori_flow.stores.fleet import Fleet
from opentelemetry.exporter.versori_flow.stores.fleet_answers import Claim, Seen, Wait

from .conftest import join
from .redis_server import RedisServer, require_redis

require_redis()

WRITERS, FLOWS, MAX_SPANS = 3, ("shop", "bank"), 6
LONG = 1000.0

writers, flows = st.integers(0, WRITERS - 1), st.sampled_from(FLOWS)
names = st.tuples(st.integers(1, 6), st.integers(0, 2), st.integers(0, 1))
"""The trace of a span, its number there, and its text."""


class Window:
    """What the fleet has of a flow, as the model has it."""

    def __init__(self) -> None:
        self.spans: dict[Key, tuple[Kept, int]] = {}
        self.pending: set[Key] = set()
        self.lost: dict[Key, int] = {}
        self.fence = self.holder = ""
        self.doubt = 0
        self.inflight = self.waits = False

    @property
    def has_work(self) -> bool:
        return bool(self.pending or self.inflight or self.doubt)

    def first_to_leave(self) -> list[Key]:
        traces: dict[str, list[Key]] = {}
        for key in self.spans:
            traces.setdefault(key[0], []).append(key)
        if len(traces) == 1:
            oldest = sorted(self.spans, key=lambda key: (self.spans[key][1], key))
            return [key for key in oldest if not self.spans[key][0].is_root][:1]
        # The latest end of a trace is that of each of its spans here.
        return min(
            traces.values(),
            key=lambda trace: (any(key in self.pending for key in trace), self.spans[trace[0]][0].end),
        )

    def leave(self, keys: list[Key], at: int, moved: bool = False) -> list[Key]:
        lost = [key for key in keys if key in self.pending]
        if moved:  # whoever has them from before is told, too
            self.lost |= dict.fromkeys([key for key in keys if key not in self.lost], at)
        for key in keys:
            self.spans.pop(key, None)
        self.pending -= set(keys)
        self.lost |= dict.fromkeys(lost, at)
        return lost


class FleetMachine(RuleBasedStateMachine):
    claims: Bundle[tuple[int, Claim, int]] = Bundle("claims")
    server: RedisServer

    def __init__(self) -> None:
        super().__init__()
        self.server.tell("FLUSHALL")
        self.fleets: list[Fleet] = [join(self.server.url, max_spans=MAX_SPANS) for _ in range(WRITERS)]
        self.seen: dict[tuple[int, str], tuple[Seen, int]] = {}
        self.asked = [False] * WRITERS
        self.spoke = [False] * WRITERS
        self.step = 0
        self.now = time.time_ns()
        self.begin_anew()

    def span(self, name: tuple[int, int, int]) -> Kept:
        trace, number, text = name
        # Traces end at different times: which of them leaves first is no matter of chance.
        end = self.now - trace * 1_000_000
        return Kept((f"{trace:032x}", f"{number:016x}"), end - 9, end, number == 0, b"%d" % text)

    def begin_anew(self) -> None:
        self.windows = {flow: Window() for flow in FLOWS}
        self.asked = [asked or spoke for asked, spoke in zip(self.asked, self.spoke, strict=True)]
        self.seen = {}

    def heard(self, writer: int) -> Fleet:
        """A process has spoken to Redis: it knows by now whether it is wanted to put all again."""
        self.spoke[writer] = True
        assert self.fleets[writer].wants_all == self.asked[writer]
        return self.fleets[writer]

    @rule(
        writer=writers,
        flow=flows,
        put=st.lists(names, max_size=4, unique_by=lambda name: name[:2]),
        out=st.lists(names, max_size=2, unique_by=lambda name: name[:2]),
        carried=st.booleans(),
        everything=st.booleans(),
    )
    def hand_over(self, writer: int, flow: str, put: Any, out: Any, carried: bool, everything: bool) -> None:
        window, self.step = self.windows[flow], self.step + 1
        put, out = (list(map(self.span, names)) for names in (put, out))
        keys = [kept.key for kept in out if kept.key not in {kept.key for kept in put}]
        change = Change(flow, put, keys if carried else [], [] if carried else keys)
        dropped = self.fleets[writer].put([change], everything)
        if carried:
            window.pending -= set(keys)
        else:
            window.leave(keys, self.step, moved=True)
        for kept in put:
            if kept.key not in window.spans or window.spans[kept.key][0] != kept:
                window.spans[kept.key] = (kept, self.step)
                window.pending.add(kept.key)
                window.lost.pop(kept.key, None)
        lost: list[Key] = []
        while put and len(window.spans) > MAX_SPANS and (leaving := window.first_to_leave()):
            lost += window.leave(leaving, self.step)
        assert sorted(dropped.dropped) == sorted((flow, key) for key in lost)
        if everything:
            self.asked[writer] = False
        self.heard(writer)

    @rule(target=claims, writer=writers, flow=flows)
    def claim(self, writer: int, flow: str) -> Any:
        window, self.step = self.windows[flow], self.step + 1
        seen, since = self.seen.get((writer, flow), (Seen(), 0))
        got = self.fleets[writer].claim(flow, seen)
        self.heard(writer)
        lost = [key for key, at in window.lost.items() if at > since]
        assert sorted(got.left) == sorted(lost)
        if window.holder or window.waits or not window.has_work:
            assert isinstance(got, Wait)
            assert got.pending in (None, window.pending)
            assert (got.seconds == float("inf")) == (not window.holder and not window.has_work)
            return multiple()
        assert isinstance(got, Claim)
        if window.inflight:
            window.doubt = self.step
        window.fence = window.holder = got.fence
        window.inflight = True
        news = {key: kept for key, (kept, at) in window.spans.items() if at > since}
        assert {kept.key: kept for kept in got.spans} == news
        assert (got.pending, bool(got.doubt)) == (window.pending, bool(window.doubt))
        self.seen[writer, flow] = (got.seen, self.step)
        return writer, got, self.step

    @rule(claimed=claims, wait=st.sampled_from([0, LONG]), verified=st.booleans(), all_of_it=st.booleans())
    def settle(self, claimed: Any, wait: float, verified: bool, all_of_it: bool) -> None:
        (writer, claim, at), self.step = claimed, self.step + 1
        window = self.windows[claim.flow]
        carried = sorted(claim.pending)[: None if all_of_it else 1]
        fresh = self.fleets[writer].settle(claim, carried, wait, verified)
        self.heard(writer)
        assert fresh == (window.fence == claim.fence)
        if not fresh:
            window.doubt = self.step
            return
        window.pending -= {key for key in carried if key in window.spans and window.spans[key][1] <= at}
        if verified and window.doubt <= at:
            window.doubt = 0
        self.let_go(window, wait)

    @rule(claimed=claims, wait=st.sampled_from([0, LONG]), unsure=st.booleans())
    def fail(self, claimed: Any, wait: float, unsure: bool) -> None:
        (writer, claim, _), self.step = claimed, self.step + 1
        window = self.windows[claim.flow]
        fresh = self.fleets[writer].release(claim, wait, unsure)
        self.heard(writer)
        assert fresh == (window.fence == claim.fence)
        if unsure:
            window.doubt = self.step
        if fresh:
            self.let_go(window, wait)

    def let_go(self, window: Window, wait: float) -> None:
        window.inflight, window.waits, window.holder = False, wait == LONG, ""

    @rule(claimed=claims)
    def extend(self, claimed: Any) -> None:
        writer, claim, _ = claimed
        window = self.windows[claim.flow]
        held = self.fleets[writer].extend(claim)
        self.heard(writer)
        assert (held is not None) == (window.fence == claim.fence and window.inflight)
        if held is not None:
            window.holder = claim.fence

    @rule(flow=flows)
    def time_passes(self, flow: str) -> None:
        """A lease lapses, and an interval is over."""
        self.windows[flow].holder, self.windows[flow].waits = "", False
        for kind, command in (
            ("lease", ["DEL"]),
            ("meta", ["HDEL", "not_before"]),
        ):
            for key in self.server.tell("KEYS", f"*:{kind}:{flow}"):
                self.server.tell(command[0], key, *command[1:])
        for key in self.server.tell("KEYS", "*:due"):
            self.server.tell("ZADD", key, "XX", 0, flow)

    @rule(flow=flows, writer=writers)
    def drop(self, flow: str, writer: int) -> None:
        self.step += 1
        window = self.windows[flow]
        assert self.fleets[writer].drop(flow) == len(window.pending)
        self.heard(writer)
        window.leave(list(window.spans), self.step)
        window.fence, window.inflight, window.doubt, window.waits = "", False, 0, False

    @precondition(lambda self: any(self.spoke))
    @rule()
    def empty(self) -> None:
        self.server.tell("FLUSHALL")
        self.begin_anew()

    @precondition(lambda self: any(window.spans for window in self.windows.values()))
    @rule(kind=st.sampled_from(["body", "order", "ids", "pending", "ends", "meta"]), writer=writers)
    def evict(self, kind: str, writer: int) -> None:
        """A part of a flow is thrown away, and somebody touches it."""
        flow = next(flow for flow in FLOWS if self.windows[flow].spans)
        if not sum(self.server.tell("DEL", key) for key in self.server.tell("KEYS", f"*:{kind}:{flow}")):
            return
        lost, holder = self.windows[flow].lost, self.windows[flow].holder
        other = {name: window for name, window in self.windows.items() if name != flow}
        self.begin_anew()
        self.windows |= other
        self.windows[flow].lost, self.windows[flow].holder = lost, holder
        self.fleets[writer].window(flow)
        self.heard(writer)

    @invariant()
    def the_fleet_has_what_the_model_has(self) -> None:
        fleet = self.fleets[0]
        for flow, window in self.windows.items():
            held = {kept.key: (kept, pending) for kept, pending in fleet.window(flow)}
            assert held == {key: (kept, key in window.pending) for key, (kept, _) in window.spans.items()}
        self.heard(0)
        assert {(held.flow, held.spans, held.pending, held.size) for held in fleet.flows()} == {
            (
                flow,
                len(window.spans),
                len(window.pending),
                sum(len(kept.body) for kept, _ in window.spans.values()),
            )
            for flow, window in self.windows.items()
            if window.spans
        }
        assert set(fleet.due()) == {
            flow
            for flow, window in self.windows.items()
            if window.has_work and not window.holder and not window.waits
        }

    def teardown(self) -> None:
        for fleet in self.fleets:
            fleet.close()


def test_the_fleet_is_its_model():
    """Nothing that was put is lost unless Redis lost it, which each process then hears of; one lease at a time, stale
    settlements change nothing, no claim before its time, and every bound, count and news as in the model."""
    with tempfile.TemporaryDirectory() as folder:
        FleetMachine.server = RedisServer(Path(folder))
        try:
            run_state_machine_as_test(
                FleetMachine,
                settings=settings(
                    max_examples=int(os.environ.get("HISTORIES", "30")),
                    stateful_step_count=30,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            FleetMachine.server.kill()
