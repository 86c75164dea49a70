"""`python -m tests.simulation`: runs worlds, and replays and shrinks those that fail."""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import signal
import sys
import time
from functools import partial
from types import FrameType

from . import scale
from .broken import BROKEN
from .install import install
from .machine import Violation
from .plan import Plan, plan
from .shrink import run, shrink
from .world import World

_LONGEST = 60
"""Seconds that one world takes at most; it takes 0.05."""

_LINES = 150


def main() -> int:
    parser = argparse.ArgumentParser(prog="simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=300, help="how many worlds (300)")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first seed (0)")
    parser.add_argument("--seed", type=int, help="replay one world, and tell its story")
    parser.add_argument(
        "--redis",
        action=argparse.BooleanOptionalAction,
        help="whether the processes share a Redis (in a third of the worlds)",
    )
    parser.add_argument("--tell", action="store_true", help="tell it also where every promise was kept")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (one for each core)")
    parser.add_argument("--broken", choices=BROKEN, help="break the exporter first, to see who notices it")
    scale.add_options(parser.add_argument_group("one large fleet, with nothing going wrong"))
    given = parser.parse_args()
    if given.scale:
        return scale.main(given)
    if given.broken is not None:
        BROKEN[given.broken].apply()
    install()
    if given.seed is not None:
        return _replay(plan(given.seed, given.redis), given.tell)
    return _run(given.first, given.seeds, given.jobs, given.redis)


def _run(first: int, count: int, jobs: int, redis: bool | None) -> int:
    begun = time.monotonic()
    failed: list[tuple[int, str]] = []
    with multiprocessing.get_context("fork").Pool(jobs, signal.signal, (signal.SIGALRM, _too_long)) as pool:
        for seed, trouble in pool.imap_unordered(
            partial(_one, redis), range(first, first + count), chunksize=20
        ):
            if trouble is not None:
                failed.append((seed, trouble))
                print(f"seed {seed}: {trouble[:500]}", flush=True)
    took = time.monotonic() - begun
    print(f"{count} seeds from {first} in {took:.1f} s, {count / took:.1f} a second: {len(failed)} failed")
    if failed:
        how = "" if redis is None else " --redis" if redis else " --no-redis"
        print(f"Replay one of them, and shrink it, with ./scripts/simulate --seed {failed[0][0]}{how}")
    return 1 if failed else 0


def _one(redis: bool | None, seed: int) -> tuple[int, str | None]:
    signal.alarm(_LONGEST)
    try:
        outcome = run(plan(seed, redis))
    finally:
        signal.alarm(0)
    return seed, None if outcome is None else outcome.trouble


def _too_long(number: int, frame: FrameType | None) -> None:
    raise Violation(f"it takes longer than {_LONGEST} s")


def _replay(whole: Plan, tell: bool) -> int:
    signal.signal(signal.SIGALRM, _too_long)
    outcome = run(whole, aloud=True)
    if tell:
        world = World(whole, aloud=True)
        with contextlib.suppress(Violation):
            world.run()
        print(*world.story, sep="\n")
    if outcome is None:
        print(f"seed {whole.seed}: every promise was kept")
        return 0
    small = shrink(whole)
    outcome = run(small, aloud=True)
    assert outcome is not None
    print(f"seed {whole.seed}, from {len(whole.actions)} actions to {len(small.actions)}: {small.head}\n")
    print(*small.actions, sep="\n")
    print(f"\nThe last of {len(outcome.story)} lines of its story:")
    print(*outcome.story[-_LINES:], sep="\n")
    print(f"\n{outcome.trouble}")
    return 1


sys.exit(main())
