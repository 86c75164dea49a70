"""Names by rank, the lowest first: what is due next, what leaves next. Pure."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

Rank = TypeVar("Rank", float, tuple[bool, int, int])

_OUT_OF_DATE = 64


class Ranking(Generic[Rank]):
    """Names, each with a rank; a change costs the logarithm of how many there are, and that once between two looks.

    An entry of the heap is out of date when its name has another rank by now; it is skipped when met, so that
    nothing is ever searched for.
    """

    def __init__(self) -> None:
        self._ranks: dict[str, Rank] = {}
        self._heap: list[tuple[Rank, str]] = []
        self._changed: set[str] = set()  # what the heap does not have yet
        self._moved: set[str] = set()  # whose ranks are not known yet

    def __len__(self) -> int:
        return len(self._ranks)

    def __contains__(self, name: str) -> bool:
        return name in self._ranks

    def put(self, name: str, rank: Rank | None) -> None:
        """Gives a name its rank; None takes it out."""
        if rank is None:
            self._ranks.pop(name, None)
            self._changed.discard(name)
        elif self._ranks.get(name) != rank:
            self._changed.add(name)  # first: memory may run out in between
            self._ranks[name] = rank

    def moved(self, name: str) -> None:
        """The rank of a name may be another one: `first` asks for it, once for all that happens until then."""
        self._moved.add(name)

    def rank(self, name: str) -> Rank | None:
        """The rank of a name, or None."""
        return self._ranks.get(name)

    def first(self, rank_of: Callable[[str], Rank | None] | None = None) -> tuple[Rank, str] | None:
        """The lowest rank and its name; of equal ranks, the first name by the alphabet.

        `rank_of` says the ranks of what has `moved`, None for what is here no longer.
        """
        if rank_of is not None:
            for name in self._moved:
                self.put(name, rank_of(name))
            self._moved.clear()
        if self._changed:
            self._catch_up()
        while self._heap:
            rank, name = self._heap[0]
            if self._ranks.get(name) == rank:
                return rank, name
            heappop(self._heap)
        return None

    def _catch_up(self) -> None:
        for name in self._changed & self._ranks.keys():
            heappush(self._heap, (self._ranks[name], name))
        self._changed.clear()
        if len(self._heap) > _OUT_OF_DATE + 2 * len(self._ranks):
            self._heap = [(rank, name) for name, rank in self._ranks.items()]
            heapify(self._heap)
