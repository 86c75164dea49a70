"""What is said in the log, and by whom what goes wrong there is to be borne."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from ..flow.report import Notice
from ..interruption import at_work, is_from_a_handler
from ..native import get_ident

logger = logging.getLogger("opentelemetry.exporter.versori_flow")


def say(notices: Sequence[Notice]) -> None:
    """Writes lines; a handler that raises costs its line, and no more."""
    for notice in notices:
        try:
            logger.log(notice.level, "%s", notice.text)
        except BaseException as error:  # from a handler
            if is_the_callers(error):
                raise


def is_the_callers(error: BaseException) -> bool:
    """Whether it interrupts the thread of a caller: Ctrl-C, or what a signal handler raises."""
    if isinstance(error, Exception):
        return is_from_a_handler(error)
    return get_ident() not in at_work
