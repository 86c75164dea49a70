"""The Redis of a world: what befalls it, what it holds of each flow, and what must hold of the fleet."""

from __future__ import annotations

from typing import Any, NamedTuple

from opentelemetry.exporter.versori_flow.delivery import fleet_keeper, fleet_turns
from opentelemetry.exporter.versori_flow.http.answers import Rejected, TooLarge
from opentelemetry.exporter.versori_flow.stores import (
    fleet,
    fleet_store,
    fleet_trouble,
    redis_client,
    redis_errors,
)
from opentelemetry.exporter.versori_flow.stores.fleet_items import as_bytes, id_of, key_of

from .attempts import Making
from .machine import BOOTED, EPOCH, Violation, clock, here
from .platform import Key
from .redis_data import Data
from .redis_server import Server
from .redis_wire import Wire, install_sockets, running

BEFALLS_REDIS = frozenset(
    {
        *("redis goes", "redis is back", "redis stops", "redis goes on", "redis says", "redis is well"),
        *("redis is full", "redis has room", "redis is emptied", "replica falls behind", "redis fails over"),
        *("host is cut off", "host is connected"),
    }
)


class Landed(NamedTuple):
    """A PUT that the platform has got."""

    at: float
    making: Making
    teaches: bool


class RedisFleet:
    """The Redis that the processes of a world share.

    Attributes:
        prefix: What every key of theirs begins with.
        troubled: Whether it could not be used, at some time, by somebody.
        lost_at: When it has lost what it had, last.
        alone: Flows that somebody has written without Redis.
    """

    def __init__(self, world: Any) -> None:
        self.prefix = b""
        self.lost_at = float("-inf")
        self.alone: set[str] = set()
        self.server = Server(lambda: EPOCH + world.now + self._ahead)
        self.wire = Wire(world, self.server)
        self.troubled = bool(world.plan.redis.faults)
        self._world = world
        self._replica: Data | None = None
        self._ahead = 0.0  # what its clock is
        self._landed: dict[str, Landed] = {}

    # -- what befalls it -----------------------------------------------------------------------------------

    def befall(self, what: str, host: int, details: tuple[Any, ...]) -> None:
        """Something happens to Redis, or to the way to it."""
        self.troubled = True
        wire, server = self.wire, self.server
        match what:
            case "redis goes":
                wire.listens = False
                wire.hang_up()
                server.scripts.clear()
                if details[0] == "with all it had":
                    self._lose(Data(server.data.now))
            case "redis is back":
                wire.listens = True
            case "redis stops":
                wire.stopped = True
            case "redis goes on":
                wire.go_on()
            case "redis says" | "redis is well":
                server.refusal = details[0] if details else ""
            case "redis is full" | "redis has room":
                server.full = what == "redis is full"
            case "redis is emptied":
                self._lose(Data(server.data.now))
            case "replica falls behind":
                self._replica = server.data.copy()
            case "redis fails over":
                if self._replica is not None:
                    self._ahead += details[0]
                    wire.hang_up()
                    server.scripts.clear()
                    self._lose(self._replica)
                    self._replica = None
            case "host is cut off":
                wire.cut_off.add(host)
            case "host is connected":
                wire.cut_off.discard(host)

    def rest(self) -> None:
        """Nothing goes wrong any more."""
        self.server.refusal, self.server.full = "", False
        self.wire.listens = True
        self.wire.cut_off.clear()
        self.wire.go_on()

    def _lose(self, data: Data) -> None:
        """What only those have put that are gone, or about to go, is lost with it."""
        self.lost_at = self._world.now
        self.server.data = data
        for process in self._world.processes.values():
            if process.dead or process.closing:
                self.is_left_by(process)

    def is_left_by(self, process: Any) -> None:
        """A process ends, and can't know that Redis has lost what it had put."""
        for key in process.own:
            given = self._world.given[key]
            given.safe &= any(self.has(flow, key) for flow in given.flows)

    # -- what it holds -------------------------------------------------------------------------------------

    def _key(self, what: bytes, flow: str) -> bytes:
        return self.prefix + what + b":" + as_bytes(flow)

    def has(self, flow: str, key: Key) -> bool:
        """Whether a span stands in the window of a flow."""
        return bool(self.server.data.hget(self._key(b"body", flow), id_of(key)))

    def holds(self, making: Making) -> bool:
        """Whether who makes an attempt has the lease of its flow."""
        claim = getattr(making.attempt.turn, "claim", None)
        return (
            claim is not None
            and self.server.data.get(self._key(b"lease", making.flow)) == claim.fence.encode()
        )

    def left(self) -> int:
        """How many spans wait, and flows that somebody should look at."""
        data = self.server.data
        home = data.find(self.prefix + b"home") or {}
        waiting = sum(int(numbers.split()[1]) for name, numbers in home.items() if name[:2] == b"f:")
        return int(waiting + data.zcard(self.prefix + b"due"))

    # -- what must hold ------------------------------------------------------------------------------------

    def look_at_what_waits(self, begun: float) -> None:
        """Of those that end in order the last one delivers for all, unless one that is gone seems to live on.

        Who could not use Redis may not know yet that he can.
        """
        if self.troubled or self._world.unsaid_at >= begun - fleet_store.RELIED_ON:
            return
        flows = self._world.platform.flows
        delivered = {key for document in flows.values() for key in document.spans}
        for name in flows:
            waiting = set(map(key_of, self.server.data.zrange(self._key(b"pending", name), b"0", b"-1")))
            if waiting - delivered:
                raise Violation(
                    f"all have ended, and spans of {name!r} wait: {sorted(waiting - delivered)[:3]}"
                )

    def look_at_pace(self, making: Making, answer: Any) -> None:
        """Between two PUTs of the fleet lies its interval, but for a search, and for what nobody could say to Redis."""
        name, now, plan = making.flow, self._world.now, self._world.plan
        if not making.in_turn:
            self.alone.add(name)
        before = self._landed.get(name)
        teaches = making.searches or isinstance(answer, (Rejected, TooLarge))
        self._landed[name] = Landed(now, making, teaches)
        if before is None or self.troubled or before.making is making or before.teaches or making.searches:
            return
        was = before.making
        disturbed = was.process.dead or was.process.was_stopped > BOOTED + now - 30
        # It may be taken when nobody waits for it any more.
        disturbed |= BOOTED + before.at - was.asked > plan.min_interval
        if was.in_turn and making.in_turn and not disturbed and now - before.at < plan.min_interval - 1e-6:
            raise Violation(
                f"{making.process} writes {name!r} {now - before.at:.3f} s after {was.process} did"
            )

    def may_lose(self, flows: list[str]) -> bool:
        """Whether a race may have taken a span from these for good, or given it back."""
        return self.lost_at >= 0 or not self.alone.isdisjoint(flows)


def install_fleet(chance: Any, files: Any) -> None:
    """Puts the modelled machine under the rooms of a fleet."""
    install_sockets()

    def sleep(seconds: float) -> None:
        running().wait(seconds)

    def start_thread(run: Any) -> bool:
        here.process.start_thread(run)
        return True

    def told(error: Exception, errors: Any, url: Any) -> Exception:
        # What is neither redis-py's nor the network's is a world's own, a `Violation` above all.
        if not isinstance(error, (errors.RedisError, errors.RedisClusterException, OSError, UnicodeError)):
            raise error
        return redis_errors.told(error, errors, url)

    for room, parts in (
        (fleet, {"os": files, "random": chance, "secrets": chance}),
        (fleet_store, {"random": chance}),
        (fleet_turns, {"random": chance}),
        (fleet_keeper, {"time": clock}),
        (fleet_trouble, {"sleep": sleep, "start_thread": start_thread}),
        (redis_client, {"os": files, "told": told}),
    ):
        for name, part in parts.items():
            setattr(room, name, part)
