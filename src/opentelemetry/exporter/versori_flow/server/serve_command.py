"""The local platform as a command: runs until it is told to stop."""

from __future__ import annotations

import errno
import logging
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Literal

from . import request_log
from .access import is_loopback
from .faults import Fault
from .platform import LocalPlatform

_logger = logging.getLogger("opentelemetry.exporter.versori_flow")


def serve(
    host: str = "127.0.0.1",
    port: int = 8901,
    data: str | Path | None = None,
    key: str | None = None,
    faults: Sequence[str | Fault] = (),
    validate: Literal["full", "off"] = "full",
    allowed_hosts: Sequence[str] = (),
    verbose: bool = False,
) -> None:
    """Runs a local platform until Ctrl-C or SIGTERM; both are a good end.

    Args:
        host: The address to listen on.
        port: The port; 0 takes a free one.
        data: A folder to keep the flows in, over restarts. None keeps them in memory.
        key: The API key that requests must carry. None lets all in.
        faults: Faults that stand from the start.
        validate: "full" checks each body against the API description; "off" takes any JSON object.
        allowed_hosts: Names that requests may come by where there is no key, besides localhost and IP
            addresses.
        verbose: A line on standard error for each request.

    Raises:
        SystemExit: The address or the folder can't be had, with a line that says so.
        ValueError: The key is empty, the port is none, or (as FaultError) a fault is not written as one.
    """
    if verbose:
        request_log.tell(sys.stderr)
    try:
        platform = LocalPlatform(key, data, faults, host, port, validate, allowed_hosts=allowed_hosts).start()
    except OSError as error:
        raise SystemExit(why_not(error, host, port)) from None
    with _until_told() as told, platform:  # closed before a second signal may end the process
        if not is_loopback(host):
            warning = (
                "no key is set: whoever can reach it can read these flows, and write them."
                if key is None
                else "the key crosses the network in the clear."
            )
            _logger.warning("%s is not a loopback address, and %s", host, warning)
        where = "in memory" if data is None else f"in {data}"
        if key is None:
            print(f"Local platform at {platform.url} (open it in a browser); flows are kept {where}.")
        else:
            print(f"Local platform at {platform.url} for those who have the key; flows are kept {where}.")
            print(f"Its page is at {platform.page_url}")
        for fault in faults:
            print(f"Fault: {fault.text if isinstance(fault, Fault) else fault}")
        print("Ctrl-C ends it.", flush=True)
        # A wait without end can't be interrupted on Windows.
        while not told.wait(1.0):
            pass


def why_not(error: OSError, host: str, port: int) -> str:
    """Why a platform does not start there, and what to do."""
    why = error.strerror or str(error)
    if isinstance(error, FileExistsError | NotADirectoryError):
        return f"the local platform can't keep its flows in {error.filename}: it is a file; name a folder"
    if error.filename is not None:
        return f"the local platform can't keep its flows in {error.filename}: {why}"
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is taken: end what listens there, or take another port (0: any that is free)"
    return f"the local platform can't start on {host} port {port}: {why}"


@contextmanager
def _until_told() -> Iterator[threading.Event]:
    told = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        # Signals belong to the main thread; whoever serves from another one ends the process.
        yield told
        return

    def tell(number: int, frame: FrameType | None) -> None:
        told.set()

    before = {number: signal.signal(number, tell) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
