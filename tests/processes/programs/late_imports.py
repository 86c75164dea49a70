"""Tells what was imported, after the exporter was made, on another thread than the program's own.

python late_imports.py gevent | eventlet before | instrumented
"""

from __future__ import annotations

import sys
from _thread import get_ident

from patching import patch

LIBRARY, WHEN = sys.argv[1:]
MAIN = get_ident()
late: list[str] = []


class Listener:
    """Finds nothing, and notes who asks."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if get_ident() != MAIN:
            late.append(name)


if WHEN == "instrumented":
    sys.meta_path.insert(0, Listener())  # type: ignore[arg-type]
patch(LIBRARY)

from tracing import set_up, tell, work  # noqa: E402

from opentelemetry import trace  # noqa: E402

provider = trace.get_tracer_provider() if WHEN == "instrumented" else set_up()
if WHEN == "before":
    sys.meta_path.insert(0, Listener())  # type: ignore[arg-type]
work(provider.get_tracer(__name__), "one")
provider.force_flush()
provider.shutdown()
tell(late=late)
