"""The modelled Redis answers every command of the fleet's scripts as a real one does."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.stores.fleet.redis_server import RedisServer, require_redis

from .redis_server import Server

require_redis()

SCRIPT = b"return redis.call(unpack(ARGV))"
NUMBERS = st.integers(-3, 5).map(b"%d".__mod__)
SCORES = st.sampled_from([b"0", b"1", b"1.5", b"2", b"4503599627370497", b"1800000000123"])
BOUNDS = st.one_of(SCORES, SCORES.map(b"(%b".__mod__), st.sampled_from([b"-inf", b"+inf"]))
NAMES = st.sampled_from([b"a:1", b"a:2", b"ab:1", b"b:1", b"\xff"])
LEX = st.tuples(st.sampled_from([b"[", b"("]), NAMES).map(b"".join)
SEVERAL = st.lists(NAMES, min_size=1, max_size=3)


def command(name: str, *parts: Any) -> st.SearchStrategy[list[bytes]]:
    """A command whose arguments are texts, or made from strategies; lists are spread."""
    made = [st.just(part) if isinstance(part, bytes) else part for part in parts]
    spread = st.tuples(*made).map(
        lambda values: [text for value in values for text in ([value] if isinstance(value, bytes) else value)]
    )
    return spread.map(lambda words: [name.encode(), *words])


def pairs(first: Any, second: Any) -> st.SearchStrategy[list[bytes]]:
    several = st.lists(st.tuples(first, second), min_size=1, max_size=3)
    return several.map(lambda found: [text for pair in found for text in pair])


HISTORIES = st.lists(
    st.one_of(
        command("SET", b"text", NAMES, b"PX", b"100000"),
        *(command(name, b"text") for name in ("GET", "EXISTS")),
        command("EXISTS", b"hash", b"set", b"none"),
        *(command("DEL", key) for key in (b"text", b"hash", b"set")),
        command("HSET", b"hash", pairs(NAMES, NUMBERS)),
        command("HINCRBY", b"hash", b"count", NUMBERS),
        *(command(name, b"hash", SEVERAL) for name in ("HMGET", "HDEL")),
        command("HGET", b"hash", NAMES),
        *(command(name, b"hash") for name in ("HLEN", "HGETALL")),
        command("ZADD", b"set", pairs(SCORES, NAMES)),
        command("ZADD", b"set", b"NX", pairs(SCORES, NAMES)),
        command("ZADD", b"names", pairs(st.just(b"0"), NAMES)),
        *(command(name, b"set", SEVERAL) for name in ("ZREM", "ZMSCORE")),
        command("ZSCORE", b"set", NAMES),
        command("ZCARD", b"set"),
        *(command(name, b"set", BOUNDS, BOUNDS) for name in ("ZCOUNT", "ZRANGEBYSCORE", "ZREMRANGEBYSCORE")),
        command("ZRANGEBYSCORE", b"set", BOUNDS, BOUNDS, b"WITHSCORES"),
        command("ZRANGEBYSCORE", b"set", BOUNDS, BOUNDS, b"LIMIT", b"1", b"2"),
        *(command(name, b"set", NUMBERS, NUMBERS) for name in ("ZRANGE", "ZREMRANGEBYRANK")),
        *(command(name, b"names", LEX, LEX) for name in ("ZLEXCOUNT", "ZRANGEBYLEX")),
    ),
    max_size=12,
)


class Wire:
    """Speaks to a real Redis in its own protocol."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._file = self._socket.makefile("rb")

    def answer(self, words: list[bytes]) -> Any:
        parts = [b"*%d\r\n" % len(words), *(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)]
        self._socket.sendall(b"".join(parts))
        return read(self._file)

    def close(self) -> None:
        self._file.close()
        self._socket.close()


def read(file: Any) -> Any:
    """An answer; a hash has no order."""
    kind, rest = (line := file.readline())[:1], line[1:-2]
    if kind == b"*":
        return [read(file) for _ in range(int(rest))]
    if kind == b"$" and rest != b"-1":
        return file.read(int(rest) + 2)[:-2]
    return line.split(b" ")[0] if kind == b"-" else line


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    server = RedisServer(Path(tmp_path_factory.mktemp("redis")))
    wire = Wire(server.socket)
    yield wire
    wire.close()
    server.kill()


@settings(max_examples=60, deadline=None)
@given(history=HISTORIES)
def test_a_history_is_answered_alike(wire: Wire, history: list[list[bytes]]) -> None:
    """Types, order, and what an absent key is, as a script sees them."""
    model = Server(lambda: 1_800_000_000.0)
    wire.answer([b"FLUSHALL"])
    for words in history:
        said, real = (
            read(io.BytesIO(model.answer([b"EVAL", SCRIPT, b"0", *words]))),
            wire.answer([b"EVAL", SCRIPT, b"0", *words]),
        )
        if words[0] == b"HGETALL":
            said, real = ({*zip(it[::2], it[1::2], strict=True)} for it in (said, real))
        assert said == real, words
