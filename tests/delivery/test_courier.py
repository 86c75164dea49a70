"""The courier: who carries what when, with scripted work instead of flows and a platform."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from opentelemetry.exporter.versori_flow.delivery.courier import MAX_WORKERS, Courier


class Api:
    """Nothing to carry to; says when it was closed."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def close(self) -> None:
        self.closed.set()


class Job:
    """One step that runs a function, and leads to as many more as are asked for."""

    method = "PUT"
    body_size = 0

    def __init__(self, run: Callable[[float], object], more: int = 0) -> None:
        self.run = run
        self.more = more

    def perform(self, api: Any, deadline: float) -> object:
        return self.run(deadline)


class ScriptedWork:
    """Jobs by the time they are due; remembers answers, and which threads asked."""

    def __init__(self) -> None:
        self.jobs: list[tuple[float, Job]] = []
        self.under_way = 0
        self.most_under_way = 0
        self.answers: list[object] = []
        self.threads: list[str] = []
        self.closing = False
        self.abandoned = False

    def add(self, run: Callable[[float], object], at: float = 0.0, more: int = 0) -> None:
        self.jobs.append((at, Job(run, more)))

    def begin_next(self, now: float) -> Job | None:
        for number, (at, job) in enumerate(self.jobs):
            if at <= now:
                del self.jobs[number]
                self.under_way += 1
                self.most_under_way = max(self.most_under_way, self.under_way)
                self.threads.append(threading.current_thread().name)
                return job
        return None

    def feed(self, job: Job, answer: object, now: float, now_ns: int) -> Job | None:
        self.answers.append(answer)
        if job.more:
            return Job(job.run, job.more - 1)
        self.under_way -= 1
        return None

    def consequences(self, receipts: Any, now: float) -> tuple[float | None, list[Any]]:
        return self.next_due(now), []

    def next_due(self, now: float) -> float | None:
        return min((at for at, _ in self.jobs), default=None)

    def busy(self) -> bool:
        return self.under_way > 0

    def verdict(self, receipts: Any, now: float) -> bool | None:
        return None if self.jobs or self.under_way else True

    def hurry(self, now: float) -> None:
        self.jobs = [(now, job) for _, job in self.jobs]

    def settled(self, marks: Any) -> bool:
        return not self.jobs and not self.under_way

    def close(self, now: float) -> None:
        self.closing = True
        self.hurry(now)

    def abandon(self) -> None:
        self.abandoned = True

    def notices(self, now: float, last: bool) -> list[Any]:
        return []

    def error_type(self, answer: object) -> None:
        return None


@contextmanager
def courier(timeout: float = 10.0) -> Iterator[tuple[Courier[Any], ScriptedWork, Api]]:
    work, api = ScriptedWork(), Api()
    running: Courier[Any] = Courier(work, api, timeout, lambda: None)  # type: ignore[arg-type]
    try:
        yield running, work, api
    finally:
        running.shutdown(1)


def put(running: Courier[Any], run: Callable[[float], object], delay: float = 0.0, more: int = 0) -> None:
    running.accept(lambda work, _: work.add(run, time.monotonic() + delay if delay else 0.0, more))


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """As at interpreter exit, and in uWSGI without threads."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)


def test_what_is_due_is_carried():
    """Handing work over is all it takes; `wait` sees the outcome."""
    with courier() as (running, work, _):
        put(running, lambda deadline: "answer", more=2)
        assert running.wait(None, 10)
        assert work.answers == ["answer"] * 3


def test_what_is_due_later_is_carried_later():
    """A due time is kept without a call from outside."""
    with courier() as (running, work, _):
        began = time.monotonic()
        put(running, lambda deadline: time.monotonic() - began, delay=0.2)
        assert running.wait(None, 10)
        assert work.answers[0] >= 0.2


def test_what_comes_due_sooner_is_not_forgotten():
    """Workers that sleep for something late are woken by something early, again and again."""
    with courier() as (running, work, _):
        put(running, lambda deadline: "late", delay=3600)
        for number in range(50):
            put(running, lambda deadline, number=number: number, delay=0.001 * (number % 3))
        with_deadline = time.monotonic() + 10
        while len(work.answers) < 50 and time.monotonic() < with_deadline:
            running.wait(None, 0.01)
        assert sorted(work.answers) == list(range(50))
        work.jobs.clear()


def test_stuck_jobs_hold_up_no_other():
    """One more worker than are busy waits, up to MAX_WORKERS."""
    release = threading.Event()
    with courier() as (running, work, _):
        for _ in range(MAX_WORKERS - 1):
            put(running, lambda deadline: release.wait(10))
        put(running, lambda deadline: "quick")
        until = time.monotonic() + 10
        while "quick" not in work.answers and time.monotonic() < until:
            running.wait(None, 0.01)
        assert "quick" in work.answers
        put(running, lambda deadline: "one more")
        put(running, lambda deadline: "another")
        release.set()
        assert running.wait(None, 10)
        assert work.most_under_way <= MAX_WORKERS


def test_a_fault_is_an_answer():
    """What `perform` raises neither ends the worker nor leaves the flow busy."""

    def fail(deadline: float) -> None:
        raise ZeroDivisionError

    with courier() as (running, work, _):
        put(running, fail)
        assert running.wait(None, 10)
        put(running, lambda deadline: "fine")
        assert running.wait(None, 10)
        assert work.answers[0].message == "ZeroDivisionError"
        assert work.answers[1] == "fine"


def test_flush_without_threads(no_threads):
    """Where no thread can be started, the one that waits does the work, also what becomes due meanwhile."""
    with courier() as (running, work, _):
        put(running, lambda deadline: "one")
        put(running, lambda deadline: "two", delay=3600)
        assert running.flush(5)
        assert work.answers == ["one", "two"]
        assert set(work.threads) == {threading.current_thread().name}


def test_shutdown_without_threads(no_threads):
    """The last flush needs no thread either, and gives its own deadline to the request."""
    with courier() as (running, work, api):
        began = time.monotonic()
        put(running, lambda deadline: deadline - began)
        running.shutdown(3)
        assert 2.5 < work.answers[0] < 4
        assert work.abandoned
        assert api.closed.is_set()


def test_ctrl_c_on_the_waiting_thread(no_threads):
    """It reaches the program, and the flow does not look busy for ever."""

    def interrupt(deadline: float) -> None:
        raise KeyboardInterrupt

    with courier() as (running, work, _):
        put(running, interrupt)
        with pytest.raises(KeyboardInterrupt):
            running.flush(5)
        assert not work.busy()


def test_flush_gives_up_where_nothing_can_change():
    """It does not sit out its time when the next attempt is due after it."""
    with courier() as (running, work, _):
        work.hurry = lambda now: None  # type: ignore[method-assign]
        put(running, lambda deadline: "late", delay=3600)
        began = time.monotonic()
        assert running.flush(30) is False
        assert time.monotonic() - began < 5
        work.jobs.clear()


def test_shutdown_ends_while_a_job_is_stuck():
    """It returns in time, closes the client under the request, and wakes whoever waits for an outcome."""
    release = threading.Event()
    with courier() as (running, _, api):
        put(running, lambda deadline: api.closed.wait(20) and release.wait(20))
        results: list[bool] = []
        waiting = threading.Thread(target=lambda: results.append(running.wait(None, 20)))
        waiting.start()
        began = time.monotonic()
        running.shutdown(0.3)
        assert time.monotonic() - began < 3
        waiting.join(5)
        release.set()
        assert results == [False]


def test_workers_go_when_it_is_over():
    """After shutdown no thread of the courier's is left."""
    before = threading.active_count()
    with courier() as (running, _, _):
        for _ in range(5):
            put(running, lambda deadline: "x")
        running.wait(None, 10)
        running.shutdown(5)
        until = time.monotonic() + 5
        while threading.active_count() > before and time.monotonic() < until:
            threading.Event().wait(0.01)
        assert threading.active_count() <= before
