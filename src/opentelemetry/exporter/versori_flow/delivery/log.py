"""What is said in the log, and by whom what goes wrong there is to be borne."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from ..flow.notice import Notice
from ..interruption import at_work, is_from_a_handler
from ..native import Waiter, get_ident, monotonic

logger = logging.getLogger("opentelemetry.exporter.versori_flow")

AFTER_A_FAULT = 0.25
_BETWEEN_FAULT_LINES = 60.0


def say(notices: Sequence[Notice]) -> None:
    """Writes lines; a handler that raises costs its line, and no more."""
    for notice in notices:
        try:
            say_one(notice.level, notice.text)
        except BaseException as error:  # from a handler
            if is_the_callers(error):
                raise


def say_one(level: int, text: str) -> None:
    """Writes a line; what a handler raises leaves this.

    At exit a handler's stream may be closed already, a test runner's say, and logging would show a traceback for it.
    """
    handlers = list(_handlers())
    open_ones = [handler for handler in handlers if not _is_closed(handler)]
    if open_ones == handlers:
        logger.log(level, "%s", text)
        return
    record = logger.makeRecord(logger.name, level, __file__, 0, "%s", (text,), None)
    if logger.isEnabledFor(level) and logger.filter(record):
        for handler in open_ones:
            if level >= handler.level:
                handler.handle(record)


def _handlers() -> Iterator[logging.Handler]:
    """Those that a line goes to."""
    current: logging.Logger | None = logger
    while current is not None:
        yield from current.handlers
        current = current.parent if current.propagate else None


def _is_closed(handler: logging.Handler) -> bool:
    return getattr(getattr(handler, "stream", None), "closed", False) is True


def is_the_callers(error: BaseException) -> bool:
    """Whether it interrupts the thread of a caller: Ctrl-C, or what a signal handler raises."""
    if isinstance(error, Exception):
        return is_from_a_handler(error)
    return get_ident() not in at_work


class Faults:
    """What goes wrong in the exporter's own work: memory has run out, say, or descriptors.

    Attributes:
        last: The last of it, in words; None: there was none.
        unmended: Whether what it may have left half-done is still to be put right.
    """

    def __init__(self) -> None:
        self.last: str | None = None
        self.unmended = False
        self._said = float("-inf")

    def bear(self, error: BaseException) -> None:
        """Says so, at most once a minute, and waits a moment: the cause may be gone then."""
        self.unmended = True
        # Of its text only what the system says is shown.
        reason = f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""
        self.last = f"{type(error).__name__}{reason}"
        now = monotonic()
        if now - self._said >= _BETWEEN_FAULT_LINES:
            self._said = now
            say([Notice(logging.ERROR, f"the exporter met {self.last} in its own work, and goes on")])
        Waiter().wait(AFTER_A_FAULT)
