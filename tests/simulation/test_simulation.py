"""Worlds from seeds, each in an interpreter where the machine is modelled: see `__main__.py`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .broken import BROKEN

ROOT = Path(__file__).parents[2]
WORLDS = int(os.environ.get("WORLDS", "120"))


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


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_exporter_is_noticed(how: str) -> None:
    """Were it to do this, worlds would fail: what they say of the real one is worth something."""
    seed, _, redis = BROKEN[how]
    which = ("--from", str(seed), "--seeds", "1", "--redis" if redis else "--no-redis")
    status, said = simulate("--jobs", "1", "--broken", how, *which)
    assert f"1 seeds from {seed} in" in said, said
    assert status == 1


@pytest.mark.parametrize("redis", ["--redis", "--no-redis"])
def test_a_seed_replays_exactly(redis: str) -> None:
    """One seed is one story, to the last line, in every interpreter."""
    told = {simulate("--seed", "7", "--tell", redis)[1] for _ in range(2)}
    assert len(told) == 1
    assert len(told.pop().splitlines()) > 20


@pytest.mark.parametrize(("store", "writers"), [("memory", 20), ("sqlite", 20), ("redis", 1)])
def test_a_large_fleet_is_measured(store: str, writers: int) -> None:
    """A flow is written once in an interval: by each process, and over Redis by one of all; all becomes visible."""
    size = ("--hosts", "5", "--processes", "4", "--every", "3", "--warm", "3", "--seconds", "6")
    status, said = simulate("--scale", "--store", store, *size)
    assert status == 0, said
    figures = {line[:32].strip(): float(line[32:]) for line in said.splitlines()[1:] if line[:1] != " "}
    assert figures["never visible"] == 0, said
    assert 0 < figures["PUTs a second"] <= writers + 1 / 6, said
    assert (figures["store commands a second"] > 0) == (store == "redis"), said
