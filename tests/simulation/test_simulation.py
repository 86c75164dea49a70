"""Worlds from seeds, each in an interpreter where the machine is modelled: see `__main__.py`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORLDS = int(os.environ.get("WORLDS", "200"))


def simulate(*arguments: str) -> tuple[int, str]:
    """Runs the simulator; returns its status and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


def test_worlds_keep_every_promise() -> None:
    """Nothing is lost, doubled or stuck where processes, machines and the platform fail as they do in life."""
    status, said = simulate("--seeds", str(WORLDS))
    assert status == 0, said


BROKEN = {
    "keeps nothing": "own.Own.write = lambda self, added: None",
    "says that it keeps what it does not": "spool_file.SpoolFile.write = lambda self, number, added, removed: None",
    "forgets on restart": "heritage.Heritage.read = lambda self, now: []",
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_store_is_noticed(how: str) -> None:
    """Were the store to do this, worlds would fail: what they say of the real one is worth something."""
    program = (
        "import runpy, sys; from opentelemetry.exporter.versori_flow.stores import heritage, own, spool_file\n"
        f"{BROKEN[how]}\n"
        "sys.argv = ['simulate', '--seeds', '9', '--jobs', '1']\n"
        "runpy.run_module('tests.simulation', run_name='__main__', alter_sys=True)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "seeds from 0 in" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 1


def test_a_seed_replays_exactly() -> None:
    """One seed is one story, to the last line, in every interpreter."""
    told = {simulate("--seed", "7", "--tell")[1] for _ in range(2)}
    assert len(told) == 1
    assert len(told.pop().splitlines()) > 20
