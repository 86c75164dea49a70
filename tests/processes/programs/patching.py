"""What the programs for greenlets have in common. It imports nothing that is to be patched."""

from __future__ import annotations

import importlib


def patch(library: str) -> None:
    """Lets gevent or eventlet put its own in the place of the interpreter's."""
    if library == "gevent":
        importlib.import_module("gevent.monkey").patch_all()
    else:
        importlib.import_module(library).monkey_patch()
