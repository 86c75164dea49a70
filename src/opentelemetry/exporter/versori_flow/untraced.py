"""What the exporter does for itself is not traced: each of those spans would be work for it, and so on for ever."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from opentelemetry.context import (
    _SUPPRESS_HTTP_INSTRUMENTATION_KEY,
    _SUPPRESS_INSTRUMENTATION_KEY,
    attach,
    detach,
    get_current,
)
from opentelemetry.context.context import Context

# What instrumentations look for, those of former years under the last name.
_MARKS = dict.fromkeys(
    (_SUPPRESS_INSTRUMENTATION_KEY, _SUPPRESS_HTTP_INSTRUMENTATION_KEY, "suppress_instrumentation"), True
)


@contextlib.contextmanager
def untraced() -> Iterator[None]:
    """Marks what this thread does meanwhile as the exporter's own."""
    token = attach(Context({**get_current(), **_MARKS}))
    try:
        yield
    finally:
        detach(token)
