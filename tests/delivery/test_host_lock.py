"""Turns: one process at a time at a flow, and never a reason to wait for long."""

from __future__ import annotations

import os
import stat
import threading
import time
from pathlib import Path

import pytest

from opentelemetry.exporter.versori_flow.delivery import host_lock as turns
from opentelemetry.exporter.versori_flow.delivery.host_lock import Turns

fcntl = pytest.importorskip("fcntl", reason="no locks, no turns")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(turns, "_FOLDER", str(tmp_path))
    return tmp_path / f"versori-flow-{os.getuid()}"


def soon(seconds: float = 0.1) -> float:
    return time.monotonic() + seconds


def test_one_at_a_time() -> None:
    """While one has the turn, another does not get it, though in the same process; afterwards it does."""
    one, two = Turns("platform", "project"), Turns("platform", "project")
    with one.at("flow", soon()) as mine:
        assert mine
        with two.at("flow", soon()) as theirs:
            assert not theirs
    with two.at("flow", soon()) as theirs:
        assert theirs


def test_a_turn_is_waited_for() -> None:
    """Who comes while another has the turn gets it as soon as that one is done."""
    got = []

    def next_one() -> None:
        with Turns("platform").at("flow", soon(20)) as mine:
            got.append(mine)

    with Turns("platform").at("flow", soon()):
        thread = threading.Thread(target=next_one)
        thread.start()
        thread.join(0.05)
        assert got == []
    thread.join(10)
    assert got == [True]


@pytest.mark.parametrize("other", [("another flow", "platform"), ("flow", "another platform")])
def test_other_flows_do_not_wait(other: tuple[str, str]) -> None:
    """Another flow, and the flow of that name on another platform, have turns of their own."""
    flow, target = other
    with Turns("platform").at("flow", soon()), Turns(target).at(flow, soon()) as mine:
        assert mine


def test_only_half_of_the_time_is_waited() -> None:
    """A turn that can't be had leaves half of the time for the attempt."""
    with Turns("platform").at("flow", soon()):
        deadline = soon(1.0)
        with Turns("platform").at("flow", deadline) as mine:
            assert not mine
            assert deadline - time.monotonic() > 0.3


def test_a_turn_that_changes_hands_is_waited_for(folder: Path) -> None:
    """Nobody is stuck where others come and go: who waits does so for more than half of the time."""
    got = []

    def wait() -> None:
        with Turns("platform").at("flow", soon(4.0)) as mine:
            got.append(mine)

    waiting = threading.Thread(target=wait)
    with Turns("platform").at("flow", soon()):
        waiting.start()
        waiting.join(1.2)
        # The next holder's file takes the place of the first one's, so that the turn is never free.
        (path,) = folder.iterdir()
        following = os.open(folder.with_name("following"), os.O_RDWR | os.O_CREAT)
        fcntl.flock(following, fcntl.LOCK_EX)
        folder.with_name("following").replace(path)
        waiting.join(1.3)  # 2.5 s by now, of which 2 would have been the half
        assert got == []
    os.close(following)
    waiting.join(10)
    assert got == [True]


def test_nothing_stays(folder: Path) -> None:
    """No file stays behind, whose number would grow with that of the flows; and none but the user's own can look."""
    with Turns("platform").at("flow", soon()):
        assert len(list(folder.iterdir())) == 1
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(folder.iterdir()) == []


def test_a_child_leaves_the_turn_alone() -> None:
    """A child that was forked during a turn neither keeps it from others nor ends it."""
    mine, others = Turns("platform"), Turns("platform")
    ready, over = os.pipe(), os.pipe()
    with mine.at("flow", soon()):
        pid = os.fork()
        if pid == 0:
            os.close(over[1])
            mine.abandon()
            os.write(ready[1], b"x")
            os.read(over[0], 1)  # until the parent is done
            os._exit(0)
        os.read(ready[0], 1)
        with others.at("flow", soon()) as theirs:
            assert not theirs
    with others.at("flow", soon()) as theirs:
        assert theirs
    for descriptor in (*ready, *over):
        os.close(descriptor)
    os.waitpid(pid, 0)


def test_a_folder_of_somebody_else(folder: Path) -> None:
    """Where the folder can't be made, or is not one, there are no turns, and nothing waits."""
    folder.write_text("in the way")
    with Turns("platform").at("flow", soon()) as mine:
        assert not mine
