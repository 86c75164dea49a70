"""What a store has to say: each trouble once, until it is over."""

from __future__ import annotations

import logging

from ..flow.report import Notice


class Remarks:
    """Lines to log, collected."""

    def __init__(self) -> None:
        self._notices: list[Notice] = []
        self._troubles: dict[str, str] = {}

    def say(self, level: int, text: str) -> None:
        """A line."""
        self._notices.append(Notice(level, text))

    def trouble(self, what: str, text: str) -> None:
        """A trouble; the same one is said once."""
        if self._troubles.get(what) != text:
            self._troubles[what] = text
            self.say(logging.WARNING, text)

    def over(self, what: str, text: str) -> None:
        """A trouble is over."""
        if self._troubles.pop(what, None) is not None:
            self.say(logging.WARNING, text)

    def take(self) -> list[Notice]:
        """What was not taken yet."""
        notices, self._notices = self._notices, []
        return notices
