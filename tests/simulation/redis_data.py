"""What a modelled Redis holds, and the commands on it that the fleet's scripts use; each as Redis answers a script."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable
from typing import Any, NamedTuple

Answer = Any
_INFINITE = {b"-inf": float("-inf"), b"+inf": float("inf"), b"inf": float("inf")}


class Refused(Exception):
    """Redis says no; the text begins with its code."""


class SortedSet:
    """Members by their scores."""

    __slots__ = ("order", "scores")

    def __init__(self) -> None:
        self.scores: dict[bytes, float] = {}
        self.order: list[tuple[float, bytes]] = []

    def __len__(self) -> int:
        return len(self.scores)

    def add(self, score: float, member: bytes) -> bool:
        """Whether it is new."""
        before = self.scores.get(member)
        if before == score:
            return False
        if before is not None:
            del self.order[bisect_left(self.order, (before, member))]
        self.scores[member] = score
        insort(self.order, (score, member))
        return before is None

    def remove(self, member: bytes) -> bool:
        """Whether it was there."""
        score = self.scores.pop(member, None)
        if score is None:
            return False
        del self.order[bisect_left(self.order, (score, member))]
        return True

    def by_score(self, low: bytes, high: bytes) -> tuple[int, int]:
        """Where a range of scores begins and ends."""
        return self._score(low, True), self._score(high, False)

    def by_name(self, low: bytes, high: bytes) -> tuple[int, int]:
        """Where a range of names begins and ends; all scores are equal."""
        return self._name(low, True), self._name(high, False)

    def _score(self, bound: bytes, begins: bool) -> int:
        beyond = bound[:1] == b"("
        score = _number(bound[1:] if beyond else bound)
        # A tuple that is shorter comes before all that begin like it.
        if begins == beyond:
            return bisect_right(self.order, score, key=lambda entry: entry[0])
        return bisect_left(self.order, (score,))

    def _name(self, bound: bytes, begins: bool) -> int:
        if not self.order:
            return 0
        entry = self.order[0][0], bound[1:]
        side = bisect_right if begins == (bound[:1] == b"(") else bisect_left
        return side(self.order, entry)


def _number(text: bytes) -> float:
    return _INFINITE[text] if text in _INFINITE else float(text)


def _shown(score: float) -> bytes:
    return b"%.17g" % score


class Data:
    """All keys; those that end do so by `now`, in milliseconds.

    Args:
        now: The server's clock, in milliseconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self._values: dict[bytes, Any] = {}
        self._ends: dict[bytes, float] = {}

    def copy(self) -> Data:
        """As a replica has it."""
        copy = Data(self.now)
        copy._ends = dict(self._ends)
        for key, value in self._values.items():
            if isinstance(value, SortedSet):
                other = SortedSet()
                other.scores, other.order = dict(value.scores), list(value.order)
                copy._values[key] = other
            else:
                copy._values[key] = dict(value) if isinstance(value, dict) else value
        return copy

    def find(self, key: bytes) -> Any:
        """What a key holds; None: nothing."""
        if key in self._ends and self._ends[key] <= self.now():
            self._drop(key)
        return self._values.get(key)

    def _make(self, key: bytes, kind: Any) -> Any:
        value = self.find(key)
        if value is None:
            value = self._values[key] = kind()
        return value

    def _drop(self, key: bytes) -> bool:
        self._ends.pop(key, None)
        return self._values.pop(key, None) is not None

    def _tidy(self, key: bytes, value: Any) -> None:
        if not value:
            self._drop(key)

    # -- texts ---------------------------------------------------------------------------------------------

    def get(self, key: bytes) -> Answer:
        return self.find(key) or False

    def set(self, key: bytes, value: bytes, px: bytes, milliseconds: bytes) -> Answer:
        self._values[key] = value
        self._ends[key] = self.now() + int(milliseconds)
        return {b"ok": b"OK"}

    def pttl(self, key: bytes) -> int:
        return (
            -2 if self.find(key) is None else int(self._ends[key] - self.now()) if key in self._ends else -1
        )

    def exists(self, *keys: bytes) -> int:
        return sum(self.find(key) is not None for key in keys)

    def delete(self, *keys: bytes) -> int:
        return sum(self.find(key) is not None and self._drop(key) for key in keys)

    # -- hashes --------------------------------------------------------------------------------------------

    def hget(self, key: bytes, field: bytes) -> Answer:
        return (self.find(key) or {}).get(field, False)

    def hmget(self, key: bytes, *fields: bytes) -> list[Answer]:
        value = self.find(key) or {}
        return [value.get(field, False) for field in fields]

    def hgetall(self, key: bytes) -> list[bytes]:
        return [part for pair in (self.find(key) or {}).items() for part in pair]

    def hlen(self, key: bytes) -> int:
        return len(self.find(key) or ())

    def hset(self, key: bytes, *pairs: bytes) -> int:
        value = self._make(key, dict)
        before = len(value)
        value.update(zip(pairs[::2], pairs[1::2], strict=True))
        return len(value) - before

    def hdel(self, key: bytes, *fields: bytes) -> int:
        value = self.find(key) or {}
        count = sum(value.pop(field, None) is not None for field in fields)
        self._tidy(key, value)
        return count

    def hincrby(self, key: bytes, field: bytes, by: bytes) -> int:
        value = self._make(key, dict)
        number = int(value.get(field, b"0")) + int(by)
        value[field] = b"%d" % number
        return number

    # -- sorted sets ---------------------------------------------------------------------------------------

    def zadd(self, key: bytes, *arguments: bytes) -> int:
        only_new = arguments[0] == b"NX"
        pairs = arguments[1:] if only_new else arguments
        value = self._make(key, SortedSet)
        count = 0
        for score, member in zip(pairs[::2], pairs[1::2], strict=True):
            if not (only_new and member in value.scores):
                count += value.add(_number(score), member)
        return count

    def zrem(self, key: bytes, *members: bytes) -> int:
        value = self._set(key)
        count = sum(value.remove(member) for member in members)
        self._tidy(key, value)
        return count

    def zcard(self, key: bytes) -> int:
        return len(self._set(key))

    def zscore(self, key: bytes, member: bytes) -> Answer:
        score = self._set(key).scores.get(member)
        return False if score is None else _shown(score)

    def zmscore(self, key: bytes, *members: bytes) -> list[Answer]:
        scores = self._set(key).scores
        return [False if (score := scores.get(member)) is None else _shown(score) for member in members]

    def zcount(self, key: bytes, low: bytes, high: bytes) -> int:
        first, last = self._set(key).by_score(low, high)
        return max(0, last - first)

    def zlexcount(self, key: bytes, low: bytes, high: bytes) -> int:
        first, last = self._set(key).by_name(low, high)
        return max(0, last - first)

    def zrange(self, key: bytes, first: bytes, last: bytes) -> list[bytes]:
        order = self._set(key).order
        return [member for _, member in order[_slice(len(order), first, last)]]

    def zrangebylex(self, key: bytes, low: bytes, high: bytes) -> list[bytes]:
        value = self._set(key)
        return [member for _, member in value.order[slice(*value.by_name(low, high))]]

    def zrangebyscore(self, key: bytes, low: bytes, high: bytes, *more: bytes) -> list[bytes]:
        value = self._set(key)
        found = value.order[slice(*value.by_score(low, high))]
        if more[:1] == (b"LIMIT",):
            found = found[int(more[1]) : int(more[1]) + int(more[2])]
        if more[:1] == (b"WITHSCORES",):
            return [part for score, member in found for part in (member, _shown(score))]
        return [member for _, member in found]

    def zremrangebyscore(self, key: bytes, low: bytes, high: bytes) -> int:
        value = self._set(key)
        return self.zrem(key, *(member for _, member in value.order[slice(*value.by_score(low, high))]))

    def zremrangebyrank(self, key: bytes, first: bytes, last: bytes) -> int:
        return self.zrem(key, *self.zrange(key, first, last))

    def _set(self, key: bytes) -> SortedSet:
        value: SortedSet = self.find(key) or SortedSet()
        return value


def _slice(size: int, first: bytes, last: bytes) -> slice:
    begin, end = (int(place) + (size if int(place) < 0 else 0) for place in (first, last))
    return slice(max(0, begin), max(0, end + 1))


class Command(NamedTuple):
    """A command.

    Attributes:
        run: Does it.
        writes: Whether it changes something: a replica refuses it.
        grows: Whether a full Redis refuses it.
    """

    run: Callable[..., Answer]
    writes: bool
    grows: bool


_READ = (Data.get, Data.pttl, Data.exists, Data.hget, Data.hmget, Data.hgetall, Data.hlen, Data.zcard, Data.zscore,
         Data.zmscore, Data.zcount, Data.zlexcount, Data.zrange, Data.zrangebylex, Data.zrangebyscore)  # fmt: skip
_SHRINK = (Data.delete, Data.hdel, Data.zrem, Data.zremrangebyscore, Data.zremrangebyrank)
_GROW = (Data.set, Data.hset, Data.hincrby, Data.zadd)

COMMANDS: dict[bytes, Command] = {
    (b"DEL" if run is Data.delete else run.__name__.upper().encode()): Command(
        run, run not in _READ, run in _GROW
    )
    for run in (*_READ, *_SHRINK, *_GROW)
}
