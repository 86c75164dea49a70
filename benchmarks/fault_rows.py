"""The faults that `benchmarks.faults` plays, what ours promises under each, and what of it was not kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from benchmarks.faulty_server import FINE, POISON, Fault, FaultyServer


class Contestant(NamedTuple):
    """Who is measured.

    Attributes:
        kind: For the application.
        name: For people.
        store: Where it keeps what is pending; "-" where there is no choice.
    """

    kind: str
    name: str
    store: str = "-"

    @property
    def durable(self) -> bool:
        """Whether what is pending outlives its process."""
        return self.store in ("sqlite:", "redis:")


CONTESTANTS = {
    "processor": Contestant("processor", "ours, VersoriFlowSpanProcessor", "memory:"),
    "processor, sqlite": Contestant("processor", "ours, VersoriFlowSpanProcessor", "sqlite:"),
    "batch": Contestant("batch", "ours, BatchSpanProcessor", "memory:"),
    "batch, sqlite": Contestant("batch", "ours, BatchSpanProcessor", "sqlite:"),
    "processor, redis": Contestant("processor", "ours, VersoriFlowSpanProcessor", "redis:"),
    "batch, redis": Contestant("batch", "ours, BatchSpanProcessor", "redis:"),
    "otlp": Contestant("otlp", "OTLP/HTTP, BatchSpanProcessor"),
    "zipkin": Contestant("zipkin", "Zipkin, BatchSpanProcessor"),
}
OURS = ("processor", "processor, sqlite", "processor, redis", "batch", "batch, sqlite", "batch, redis")
DURABLE = ("processor, sqlite", "batch, sqlite")
FLEET = ("processor, redis", "batch, redis")
SOME = ("processor", "processor, sqlite", "processor, redis", "batch")
EVERYBODY = (*SOME, "otlp", "zipkin")

LONGEST_EXPORT = {"processor": 1.0, "batch": 1.0 + 1.5}
"""Seconds: `export_wait`, and what a busy machine may add."""

LONGEST_SHUTDOWN = {"processor": 10.0 + 2.0, "batch": 1.0 + 10.0 + 2.0}
"""Seconds: `timeout`, and the batch worker's last `export` before it; likewise."""

PAGE = b"<html><body><h1>Service is being updated</h1></body></html>"
DEFAULT_BACKEND = b"default backend - 404"
NO_SUCH_FLOW = b'{"code":"not_found","message":"flow not found"}'
REFUSED = b'{"code":"invalid","message":"the body is not valid"}'

Act = Callable[[FaultyServer], None]


@dataclass
class Outcome:
    """What one contestant met in one row; times in seconds.

    `erased`: what others had written, and nobody took away, and is not in the flow; None: it knows no flows.
    `came_back`: what somebody took away, and is in the flow again. `pending`: what a killed process had pending.
    `counted`: what `status()` counts as dropped. `left`: databases in the store's folder.
    `skipped`: why it was not played.
    """

    made: int = 0
    bad: int = 0
    in_flow: int = 0
    lost: int = 0
    twice: int = 0
    erased: int | None = None
    came_back: int = 0
    said_lost: int = 0
    counted: int = 0
    pending: int = 0
    puts: int = 0
    left: int = 0
    longest_export: float = 0.0
    longest_shutdown: float = 0.0
    lines: list[str] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)
    skipped: str = ""


@dataclass(frozen=True)
class StoreFault:
    """What a row does to processes and their store.

    Attributes:
        kept: A durable store loses nothing, whatever others may lose.
        kills: So many applications are killed, one after the other, during the fault; then one that traces nothing
            runs to the end.
        bites: Whoever may lose something loses some: or the fault has met nothing.
        once: What the log of a durable store says once, and only once.
        most_puts: So many PUTs are enough.
        mount: Options of a file system that the folder is; empty for a folder like any other.
        damage: What is done to the folder before the last application starts.
        variables: For the application.
    """

    kept: bool = False
    kills: int = 0
    bites: bool = False
    once: str = ""
    most_puts: int | None = None
    mount: str = ""
    damage: Callable[[Path], None] | None = None
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One fault.

    Attributes:
        name: What goes wrong.
        seconds: How long.
        begin: What is done to the server at its start.
        end: What is done at its end.
        options: For the application.
        promise: What ours promises.
        may_be_lost: How many spans it may lose, of what is known after the run.
        restart: The application is restarted in the middle of it.
        aging: Spans that were shown once, and are not in the flow any more, are not lost, but so many stand there
            at the end, at least; None: all must stand there.
        by: The contestants that it means anything to.
        in_turn: The contestants run one after the other: each takes the whole machine.
        away: For so many seconds the application is stopped, perhaps in the middle of a call.
        store: What is done to processes and their store.
    """

    name: str
    seconds: float
    begin: Act
    end: Act
    options: tuple[str, ...] = ()
    promise: str = "all arrive, once"
    may_be_lost: Callable[[Outcome], int] = lambda _: 0
    restart: bool = False
    aging: int | None = None
    by: tuple[str, ...] = EVERYBODY
    in_turn: bool = False
    away: float = 0.0
    store: StoreFault = StoreFault()


def order(kind: str, **options: float) -> Act:
    """Orders a fault of the server."""
    return plan(Fault(kind, **options))  # type: ignore[arg-type]


def plan(*faults: Fault, methods: tuple[str, ...] = ("GET", "PUT", "POST")) -> Act:
    """Orders what happens to one request after the other."""
    return lambda server: server.order(*faults, methods=methods)


def over(server: FaultyServer) -> None:
    """The fault is over."""
    server.order(FINE)


def stays(_: FaultyServer) -> None:
    """It stays to the end."""


def come_back_empty(server: FaultyServer) -> None:
    """A platform that lost its data."""
    server.taken.forget()
    server.start()


def outlaw(server: FaultyServer) -> None:
    """The platform refuses from now on what somebody else's span holds."""
    server.taken.write(1, POISON)
    server.order(Fault("poison"))


def repair(server: FaultyServer) -> None:
    """A person takes that span away."""
    server.taken.remove(POISON)


def outages(short: bool) -> list[Row]:
    """Faults of the platform and of the way to it, and one of the clock."""
    down, up = FaultyServer.stop, FaultyServer.start
    return [
        Row("platform down", 3 if short else 20, down, up),
        Row("503 storm, 8 of 10", 2.5 if short else 12, order("status", share=0.8), over),
        Row("resets in mid-body, 6 of 10", 2.5 if short else 12, order("reset", share=0.6), over),
        Row("slow drip", 2.5 if short else 20, order("drip"), over),
        Row("black hole", 2.5 if short else 20, order("hole"), over),
        Row("429, Retry-After: 2", 2.5 if short else 10, order("status", value=429, retry_after=2), over),
        Row(
            "platform restarted empty",
            1.5 if short else 3,
            down,
            come_back_empty,
            promise="deleted is deleted; pending and later ones arrive",
            aging=0,
            by=SOME,
        ),
        Row(
            "orderly restart in an outage",
            3 if short else 8,
            down,
            up,
            promise="memory: pending at exit is lost and said; others: all arrive",
            may_be_lost=lambda outcome: outcome.said_lost,
            restart=True,
            store=StoreFault(kept=True),
        ),
        Row("clock +1 h, then -2 h, in an outage", 3 if short else 10, down, up, ("--clock",)),
    ]


def refusals(short: bool) -> list[Row]:
    """Faults of what is sent."""
    # A batch stays below it: a flow can't hold what is larger, and pieces of it would replace each other.
    limit, giant = 300_000, 400_000
    return [
        Row(
            f"413 above {limit // 1000} KB, one span of {giant // 1000} KB",
            5 if short else 15,
            order("limit", value=limit),
            stays,
            ("--giant", str(giant)),
            "all are shown but the giant; the oldest age out",
            may_be_lost=lambda outcome: outcome.bad,
            aging=200,  # half of what the limit has room for, at 700 bytes a span
        ),
        Row(
            "poison: 400 without a name",
            3 if short else 10,
            order("poison"),
            stays,
            ("--poison",),
            "all arrive but the refused, which are said",
            may_be_lost=lambda outcome: outcome.bad,
        ),
        Row(
            "a span of others' is refused, and removed",
            3 if short else 8,
            outlaw,
            repair,
            promise="all arrive, and it stays away",
            by=SOME,
        ),
    ]


def strays(short: bool) -> list[Row]:
    """Answers that are not the platform's own, or not meant, single ones between good answers."""
    seconds = 3 if short else 12
    page, nothing, unknown, empty, cut = (
        Fault("status", value=200, body=body)
        for body in (PAGE, b"{}", NO_SUCH_FLOW, b'{"flows":[]}', b'{"name":"shop","description":""}')
    )
    applied = Fault("status", value=200, body=PAGE, done=True)
    backend = Fault("status", value=404, body=DEFAULT_BACKEND)
    absent = Fault("status", value=404, body=NO_SUCH_FLOW)
    refused = Fault("status", value=400, body=REFUSED)
    rest = (FINE,) * 2
    # A person could not tell three in a row, over 2 s, from a flow that was deleted, and nor can ours.
    some_200 = (page, *rest, nothing, *rest, applied, *rest, unknown, *rest, empty, *rest, cut, *rest)
    some_404 = (backend, *rest, absent, *rest, backend, backend, *rest)
    # One alone; then as many as it takes to come down to one suspect, who is innocent.
    some_400 = (refused, *rest * 2, *[refused] * 8, *rest * 12)
    return [
        Row("stray 200 that is no flow", seconds, plan(*some_200), over),
        Row("stray 404, of an ingress and the API's", seconds, plan(*some_404), over),
        Row("stray 400", seconds, plan(*some_400, methods=("PUT", "POST")), over),
    ]


def processes(short: bool) -> list[Row]:
    """Faults of the application's own processes."""
    away = 1.5 if short else 3.0
    before, after = (Fault(f"stopped {when} its answer", seconds=away) for when in ("before", "after"))
    return [
        Row(
            "fork storm, 3 times 8 children", 3 if short else 10, stays, stays, ("--forks", "3"), in_turn=True
        ),
        Row(
            "a process stopped between read and write",
            6 if short else 18,
            plan(after, FINE, before, FINE, FINE, methods=("GET",)),
            over,
            by=SOME,
            away=away,
        ),
    ]


def rows(short: bool) -> list[Row]:
    """All faults but those of stores."""
    return [*outages(short), *refusals(short), *strays(short), *processes(short)]


def broken(row: Row, contestant: Contestant, outcome: Outcome) -> list[str]:
    """What ours promised, and did not keep."""
    found = list(outcome.trouble)
    durable = contestant.durable
    allowed = 0 if durable and row.store.kept else row.may_be_lost(outcome)
    if outcome.lost > allowed:
        found.append(f"{outcome.lost - allowed} more are lost")
    if durable or not row.store.kills:  # a killed process says nothing
        if outcome.said_lost < outcome.lost:
            found.append(f"{outcome.said_lost} are said to be lost, {outcome.lost} are")
        if outcome.counted < outcome.lost:
            found.append(f"{outcome.counted} are counted as dropped, {outcome.lost} are lost")
    if outcome.in_flow < (row.aging or 0):
        found.append(f"{row.aging} should stand in the flow")
    if outcome.twice:
        found.append(f"{outcome.twice} come twice")
    if outcome.erased:
        found.append(f"{outcome.erased} of others' are erased")
    if outcome.came_back:
        found.append(f"{outcome.came_back} came back that somebody had removed")
    if outcome.longest_export > LONGEST_EXPORT[contestant.kind] + row.away:
        found.append("an export is too long")
    if outcome.longest_shutdown > LONGEST_SHUTDOWN[contestant.kind]:
        found.append("the shutdown is too long")
    return found + _broken_by_store(row.store, durable, outcome)


def _broken_by_store(fault: StoreFault, durable: bool, outcome: Outcome) -> list[str]:
    found: list[str] = []
    if fault.bites and not (durable and fault.kept) and not outcome.lost:
        found.append("it met nothing of this: nothing is lost")
    if durable and outcome.left:
        found.append(f"{outcome.left} databases are left")
    if durable and fault.once and (times := sum(fault.once in line for line in outcome.lines)) != 1:
        found.append(f"{fault.once!r} is said {times} times")
    if fault.most_puts is not None and outcome.puts > fault.most_puts:
        found.append(f"{outcome.puts} PUTs")
    return found
