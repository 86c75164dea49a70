"""A program that closes all descriptors, as daemons do, and then has files or connections of its own.

python closing.py files | sockets

It tells which of them were changed, and which are closed at the end.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile

from tracing import set_up, tell, work

from opentelemetry.exporter.versori_flow import VersoriFlowSpanExporter

MINE = b"mine" * 2000

exporter = VersoriFlowSpanExporter()
provider = set_up(exporter)
tracer = provider.get_tracer(__name__)
work(tracer, "before")
flushed = [provider.force_flush()]
os.closerange(3, 256)
if sys.argv[1] == "files":
    files = [tempfile.TemporaryFile(buffering=0) for _ in range(16)]  # noqa: SIM115
    for file in files:
        file.write(MINE)
    descriptors = [file.fileno() for file in files]
else:
    pairs = [socket.socketpair() for _ in range(8)]
    for end in (end for pair in pairs for end in pair):
        end.settimeout(0)
    descriptors = [end.fileno() for pair in pairs for end in pair]
work(tracer, "after")
flushed.append(provider.force_flush(5000))
work(tracer, "later")
provider.shutdown()


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def is_changed(descriptor: int) -> bool:
    if sys.argv[1] == "files":
        return os.pread(descriptor, 2 * len(MINE), 0) != MINE
    try:
        os.read(descriptor, 1)
    except BlockingIOError:
        return False
    return True


closed = [one for one in descriptors if not is_open(one)]
changed = [one for one in descriptors if one not in closed and is_changed(one)]
tell(exporter, flushed=flushed, closed=closed, changed=changed)
