"""uWSGI's forks, of which Python is not told, as far as the module that uWSGI gives to its programs tells of them.

A worker that is forked while a thread of ours is running Python waits for that thread for ever: it takes no request
and no signal. So where workers are forked from no thread is started; and as that process runs nothing at its end
either, its first worker delivers what was left there.
"""

from __future__ import annotations

import sys
from typing import Any


def is_here() -> bool:
    """Whether uWSGI runs this process: it may be forked at any moment from now on, or has been."""
    return "uwsgi" in sys.modules


def is_before_the_workers() -> bool:
    """Whether this is the process that workers are forked from; False where there is no uWSGI."""
    uwsgi: Any = sys.modules.get("uwsgi")
    asked = [getattr(uwsgi, name, None) for name in ("worker_id", "mule_id", "i_am_the_spooler")]
    return asked[0] is not None and not any(ask() for ask in asked if ask is not None)


def is_first_worker() -> bool:
    """Whether this is the first worker, and no later one in its place."""
    uwsgi: Any = sys.modules.get("uwsgi")
    if getattr(uwsgi, "worker_id", None) is None or uwsgi.worker_id() != 1:
        return False
    return bool(uwsgi.workers()[0]["respawn_count"] == 0)
