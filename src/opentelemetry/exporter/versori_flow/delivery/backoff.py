"""Whether and how long to wait before the next attempt: one policy, in one place."""

from __future__ import annotations

import random
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenacity import Retrying

SHORTEST_WAIT = 0.25
"""Seconds after the first failed attempt: as long as a restart behind a load balancer takes."""

LONGEST_WAIT = 60.0
"""Seconds between attempts in a long outage: it ends unnoticed for no longer than that."""

WAIT_WITHOUT_TENACITY = 1.0
"""Seconds where it can't even be imported now."""

_JITTER = 0.25
"""Up to a quarter longer, so that a thousand processes do not come back at once."""


def wait_after(failures: int) -> float:
    """Seconds to wait after that many failed attempts in a row: 0.25 to 60, growing, jittered.

    Nothing gives up: spans stay pending until they are delivered, or newer ones push them out.
    """
    try:
        from tenacity import RetryCallState

        retrying = _retrying()
    except Exception:  # noqa: BLE001 - no descriptor, no memory: what called it has failed for that too
        return WAIT_WITHOUT_TENACITY
    retrying.begin()
    state = RetryCallState(retrying, None, (), {})
    state.attempt_number = failures
    state.set_result(None)
    # The protocol of tenacity's own loop: it answers with the sleep, and leaves the sleeping to us.
    sleep: Any = retrying.iter(state)
    return float(sleep) * random.uniform(1.0, 1.0 + _JITTER)  # noqa: S311


@cache
def _retrying() -> Retrying:
    # Imported here: it takes milliseconds, which are the courier's thread's, not the application's.
    from tenacity import Retrying, retry_always, stop_never, wait_exponential

    wait = wait_exponential(multiplier=SHORTEST_WAIT, max=LONGEST_WAIT / (1.0 + _JITTER))
    return Retrying(stop=stop_never, retry=retry_always, wait=wait)
