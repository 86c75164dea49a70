"""Turns: one process at a time at a flow, and never a reason to wait for long."""

from __future__ import annotations

import logging
import os
import signal
import stat
import time
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export import SpanExportResult

from opentelemetry.exporter.versori_flow.delivery import host_lock
from opentelemetry.exporter.versori_flow.delivery.host_lock import HostLock, HostTurn, HostWait
from opentelemetry.exporter.versori_flow.delivery.turn_queue import TurnQueue
from opentelemetry.exporter.versori_flow.flow.flow import Flow
from opentelemetry.exporter.versori_flow.flow.flows import FlowStep
from opentelemetry.exporter.versori_flow.flow.steps import Read
from tests.flow.model import make_policy
from tests.test_delivery import ended_spans

pytest.importorskip("fcntl", reason="no locks, no turns")

NEVER = float("inf")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(host_lock, "_FOLDER", str(tmp_path))
    return tmp_path / f"versori-flow-{os.getuid()}"


def begin(deadline: float = 10.0, target: str = "platform", flow: str = "flow") -> HostWait:
    """A wait that begins at 0."""
    return HostLock(target).wait(flow, deadline, 0.0)


def take(**keywords: str) -> HostTurn:
    wait = begin(**keywords)
    assert wait.over(0.0, NEVER)
    assert wait.turn is not None
    return wait.turn


def test_a_turn_that_was_had_and_not_used_ends_with_the_exporter() -> None:
    """Its process may live on for long, and others wait for it."""
    queue = TurnQueue(HostLock("platform"), 10.0)
    assert queue.reserve("flow")
    queue.enter(FlowStep(Flow("flow", make_policy()), Read("flow", None)), 0.0, NEVER)
    queue.end()
    take().release()


class Child:
    """A process that takes the turn and holds it until it is told, or killed."""

    def __init__(self, *target: str, flow: str = "flow") -> None:
        ready, self._over = os.pipe(), os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            signal.alarm(20)  # of a test that failed
            try:
                host_lock.start_anew()
                wait = HostLock(*(target or ("platform",))).wait(flow, 10.0, 0.0)
                assert wait.over(0.0, NEVER)
                assert wait.turn is not None
                turn = wait.turn
                os.write(ready[1], b"x")
                os.read(self._over[0], 1)
                turn.release()
            finally:
                os._exit(0)
        os.read(ready[0], 1)

    def end(self, number: int = 0) -> None:
        if number:
            os.kill(self.pid, number)
        os.write(self._over[1], b"x")
        os.waitpid(self.pid, 0)


def test_one_at_a_time_in_a_process():
    """While one exporter has the turn, another of the same process does not get it; afterwards it does."""
    turn = take()
    waiting = begin()
    assert not waiting.over(0.0, NEVER)
    turn.release()
    assert waiting.over(waiting.next_look, NEVER)
    assert waiting.turn == turn
    assert not waiting.vain
    turn.release()


def test_one_at_a_time_on_a_host():
    """While a process has the turn, another does not get it; a look leaves the other's lock alone."""
    child = Child()
    waiting = begin()
    for now in range(3):
        assert not waiting.over(now, NEVER)
    child.end()
    assert waiting.over(3.0, NEVER)
    assert waiting.turn is not None
    waiting.turn.release()


def test_it_ends_with_its_process():
    """A holder that is killed holds up nobody."""
    child = Child()
    child.end(signal.SIGKILL)
    take().release()


def test_a_child_leaves_the_turn_alone():
    """A child that was forked during a turn neither keeps it from others, when its parent is done, nor ends it."""
    turn = take()
    inherits = os.fork()
    if inherits == 0:
        try:
            host_lock.start_anew()
            turn.release()
            signal.pause()
        finally:
            os._exit(1)
    child = os.fork()
    if child == 0:  # one more process, which looks
        free = True
        try:
            host_lock.start_anew()
            free = begin().over(0.0, NEVER)
        finally:
            os._exit(free)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    turn.release()
    take().release()
    os.kill(inherits, signal.SIGKILL)
    os.waitpid(inherits, 0)


@pytest.mark.parametrize(("flow", "target"), [("another flow", "platform"), ("flow", "another platform")])
def test_other_flows_do_not_wait(flow: str, target: str):
    """Another flow, and the flow of that name on another platform, have turns of their own."""
    turns = [take(), take(flow=flow, target=target)]
    for turn in turns:
        turn.release()


def test_only_half_of_the_time_is_waited():
    """A turn that can't be had leaves half of the time for the attempt, and is said to be waited for in vain."""
    child = Child()
    waiting = begin(deadline=10.0)
    assert not waiting.over(4.9, NEVER)
    assert waiting.over(5.1, NEVER)
    assert (waiting.turn, waiting.vain) == (None, True)
    child.end()


def test_the_end_of_the_exporter_ends_the_wait():
    """Where there is less time than was thought, the wait leaves a fifth of it."""
    child = Child()
    waiting = begin(deadline=10.0)
    assert not waiting.over(0.0, NEVER)
    assert not waiting.over(1.0, 2.0)
    assert waiting.over(1.9, 1.95)
    child.end()


def test_a_flush_ends_the_wait_for_who_is_stuck(platform, make_exporter, make_provider, caplog):
    """It leaves a fifth of the time that somebody waits, in which the span is delivered; `export` waited once."""
    child = Child(platform.url, platform.organisation_id, platform.project_id, flow="shop")
    exporter = make_exporter(export_wait=1, timeout=20)
    spans = ended_spans(make_provider().get_tracer("test"), 3)
    began = time.monotonic()
    assert [exporter.export([span]) for span in spans] == [SpanExportResult.FAILURE] * 3
    assert time.monotonic() - began < 2
    assert "another process of this host" in caplog.text
    assert not platform.requests
    assert exporter.force_flush(1500)
    assert len(platform.spans("shop")) == 3
    child.end()


def test_what_was_taken_back_is_left_to_nobody(platform, make_exporter, make_provider, folder):
    """A process that ends beside a stuck one delivers itself what nobody takes: no heir has it once more."""
    child = Child(platform.url, platform.organisation_id, platform.project_id, flow="shop")
    exporter = make_exporter(export_wait=0)
    exporter.export(ended_spans(make_provider().get_tracer("test"), 2))
    exporter.shutdown(2000)
    child.end()
    assert (len(platform.spans("shop")), exporter.status()["shop"].delivered) == (2, 2)
    assert list((folder / "spool").glob("*.db")) == []


def test_a_turn_that_changes_hands_is_waited_for():
    """Nobody is stuck where others come and go: who waits does so for more than half of the time, in a flush too."""
    first = Child()
    waiting = begin(deadline=10.0)
    assert not waiting.over(0.0, NEVER)
    first.end()
    second = Child()
    assert not waiting.over(4.9, NEVER)
    assert not waiting.over(7.0, NEVER, awaited=7.1)
    second.end()
    assert waiting.over(7.6, NEVER)
    assert waiting.turn is not None
    waiting.turn.release()


def test_it_is_looked_at_seldom_and_never_in_step():
    """The looks grow further apart, to 30 ms, and no two who wait look at the same moments."""
    turn = take()
    looks = []
    for _ in range(2):
        waiting, now, times = begin(deadline=1000.0), 0.0, []
        for _ in range(30):
            assert not waiting.over(now, NEVER)
            times.append(waiting.next_look - now)
            now = waiting.next_look
        looks.append(times)
    assert looks[0] != looks[1]
    assert all(0.0015 <= pause <= 0.03 for times in looks for pause in times)
    turn.release()


def test_nothing_stays(folder: Path):
    """No file stays, whose number would grow with that of the flows; and none but the user's own can look."""
    turn = take()
    assert len(list(folder.iterdir())) == 1
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    turn.release()
    turn.release()
    assert list(folder.iterdir()) == []


def test_a_folder_of_somebody_else(folder: Path, caplog: pytest.LogCaptureFixture):
    """Where the folder can't be made, or is not one, there are no turns, nothing waits, and DEBUG says so once."""
    folder.write_text("in the way")
    waiting = begin()
    assert waiting.over(0.0, NEVER)
    assert (waiting.turn, waiting.vain) == (None, False)
    folder.unlink()
    folder.parent.chmod(0o500)
    if os.getuid():  # root may write anywhere
        with caplog.at_level(logging.DEBUG):
            assert begin().over(0.0, NEVER)
        assert len(caplog.records) == 1
