"""What a large fleet talks to: a platform and a Redis that count, and know what they need not read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry.exporter.versori_flow.delivery import attempt
from opentelemetry.exporter.versori_flow.flow.stored import StoredFlow, StoredSpan
from opentelemetry.exporter.versori_flow.http.answers import Absent, Found, Stored
from opentelemetry.exporter.versori_flow.stores import fleet_put, fleet_scripts
from opentelemetry.exporter.versori_flow.stores.redis_client import RedisClient, Script

from .machine import EPOCH, here
from .redis_server import Server
from .redis_wire import running

_SCRIPTS = {
    script.digest: name
    for room in (fleet_scripts, fleet_put)
    for name, script in vars(room).items()
    if hasattr(script, "digest")
}


class CountingPlatform:
    """The platform: what it was sent and what it has sent, and when each span was seen first."""

    def __init__(self, world: Any) -> None:
        self.requests: Counter[str] = Counter()
        self.size: Counter[str] = Counter()
        self.puts: Counter[str] = Counter()
        self.seen: dict[Any, float] = {}
        self.flows: dict[str, tuple[bytes, bytes]] = {}
        self._world = world
        self._spans: dict[bytes, StoredSpan] = {}
        self._documents: dict[bytes, StoredFlow] = {}

    def fault(self, making: Any, method: str) -> str:
        return ""

    def is_heard(self, making: Any, answer: Any) -> None: ...

    def get(self, making: Any, fault: str) -> Any:
        self._count("GET")
        stored = self.flows.get(making.flow)
        if stored is None:
            return Absent(True, "no such flow")
        self._count("GET", len(stored[0]))
        return Found(*stored, 200)

    def put(self, making: Any, body: bytes, fault: str) -> Any:
        self._count("PUT")
        self._count("PUT", len(body))
        self.puts[making.flow] += 1
        entries = making.job.flow._exchange.attempt.body
        spans = tuple(map(self._stored, entries))
        for span in spans:
            self.seen.setdefault(span.key, self._world.now)
        digest = b"%16d" % sum(self.puts.values())
        before = self.flows.get(making.flow)
        if before is not None:
            self._documents.pop(before[1], None)
        self.flows[making.flow] = body, digest
        self._documents[digest] = StoredFlow(digest, making.flow, b'""', (), spans)
        return Stored(200, digest)

    def read(self, body: bytes, digest: bytes) -> StoredFlow:
        """What was written is not parsed: it is known."""
        known = self._documents.get(digest)
        return attempt_read(body, digest) if known is None else known

    def _stored(self, entry: Any) -> StoredSpan:
        span = self._spans.get(entry.body)
        if span is None:
            span = StoredSpan(entry.key, entry.start, entry.start, entry.is_root, entry.body)
            self._spans[entry.body] = span
        return span

    def _count(self, method: str, size: int = 0) -> None:
        if self._world.counts:
            if size:
                self.size[method] += size
            else:
                self.requests[method] += 1


attempt_read = attempt.read


class CountingServer(Server):
    """The Redis: what it was sent and what it has sent."""

    def __init__(self, world: Any) -> None:
        super().__init__(lambda: EPOCH + world.now)
        self.commands: Counter[str] = Counter()
        self.size = 0
        self._world = world

    def answer(self, words: Sequence[bytes]) -> bytes:
        answer = super().answer(words)
        if self._world.counts:
            name = words[0].decode()
            self.commands[_SCRIPTS.get(words[1].decode(), name) if name == "EVALSHA" else name] += 1
            self.size += sum(map(len, words)) + len(answer)
        return answer


def run_script(client: RedisClient, script: Script, keys: Sequence[bytes], arguments: Sequence[Any]) -> Any:
    """As redis-py does, which would take most of the time here, over a connection that is there."""
    process, strand = here.process, running()
    server, latency = process.world.server, process.world.plan.redis.latency
    texts = [part if type(part) is bytes else str(part).encode() for part in (len(keys), *keys, *arguments)]
    strand.wait(latency)
    answer = server.answer([b"EVALSHA", script.digest.encode(), *texts])
    if answer.startswith(b"-NOSCRIPT"):
        answer = server.answer([b"EVAL", script.text.encode(), *texts])
    strand.wait(latency)
    return _parsed(answer, 0)[0]


def _parsed(answer: bytes, at: int) -> tuple[Any, int]:
    """What an answer says, and where it ends."""
    end = answer.index(b"\r\n", at)
    kind, number = answer[at : at + 1], int(answer[at + 1 : end])
    at = end + 2
    if kind == b":":
        return number, at
    if kind == b"$":
        return (None, at) if number < 0 else (answer[at : at + number], at + number + 2)
    values = []
    for _ in range(number):
        value, at = _parsed(answer, at)
        values.append(value)
    return values, at


class Unwatched:
    """Nothing is looked at but the messages: at this size that would take longer than what is looked at."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments: None
