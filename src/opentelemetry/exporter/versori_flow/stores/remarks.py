"""What a store has to say: each trouble once, until it is over."""

from __future__ import annotations

import logging

from ..flow.notice import Notice


class Remarks:
    """Lines to log, collected."""

    def __init__(self) -> None:
        self._notices: list[Notice] = []
        self._troubles: set[str] = set()

    def say(self, level: int, text: str) -> None:
        """A line."""
        self._notices.append(Notice(level, text))

    def trouble(self, what: str, text: str) -> None:
        """A trouble; it is said once until it is over."""
        if what not in self._troubles:
            self._troubles.add(what)
            self.say(logging.WARNING, text)

    def over(self, what: str, text: str) -> None:
        """A trouble is over."""
        if what in self._troubles:
            self._troubles.remove(what)
            self.say(logging.WARNING, text)

    def take(self) -> list[Notice]:
        """What was not taken yet."""
        notices, self._notices = self._notices, []
        return notices
