"""Starting a local platform for a command, on the port where others look for one if that is free."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .launch import LOCAL_HOST, LOCAL_PORT, is_free
from .terminal import fail

if TYPE_CHECKING:
    from ..server import LocalPlatform


def start_platform(data: Path | None, port: int | None, key: str | None = None) -> LocalPlatform:
    """Starts one; ends the command in a line where it can't be.

    Args:
        data: A folder to keep the flows in; None keeps them in memory.
        port: The port; None takes 8901, or any where that is taken.
        key: The key that requests must carry; None lets all in.
    """
    from ..server import LocalPlatform
    from ..server.serve_command import why_not

    if port is None:
        port = LOCAL_PORT if is_free(LOCAL_PORT) else 0
    try:
        return LocalPlatform(key=key, port=port, data=data).start()
    except OSError as error:
        fail(why_not(error, LOCAL_HOST, port))
