"""Threads trace without a pause, and meanwhile the main thread forks: both sides go on tracing.

python fork.py CHILDREN [--importing | --flushing]

With --importing, the first fork happens while the courier imports its client; with --flushing, each one while
another thread waits in a flush.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from itertools import count

from tracing import set_up, work

provider = set_up()
tracer = provider.get_tracer(__name__)
stop = threading.Event()
counts: list[int] = []


def keep_tracing(number: int) -> None:
    for unit in count():
        work(tracer, f"parent.{number}.{unit}")
        if stop.wait(0.03):
            counts.append(unit + 1)
            return


importing = threading.Event()


class SlowImport:
    """Says that the courier's first import has begun, and lets it take a while."""

    def find_spec(self, name: str, *_: object) -> None:
        if name == "httpx":
            importing.set()
            time.sleep(0.3)


def fork_while_importing() -> int:
    importing.wait(10)
    return os.fork()


def fork_while_flushing() -> int:
    flush = threading.Thread(target=provider.force_flush)
    flush.start()
    time.sleep(0.1)  # the platform takes longer than that
    assert flush.is_alive()
    pid = os.fork()
    if pid:
        flush.join()
    return pid


def main() -> None:
    fork = FORKS["".join(sys.argv[2:])]
    threads = [threading.Thread(target=keep_tracing, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    children = []
    for child in range(int(sys.argv[1])):
        work(tracer, f"before.{child}")
        pid = fork()
        if pid == 0:
            work(tracer, f"child.{child}.main")
            thread = threading.Thread(target=work, args=(tracer, f"child.{child}.thread"))
            thread.start()
            thread.join()
            return
        children.append(pid)
        time.sleep(0.1)  # the first forks meet the exporter's imports, the later ones its requests
        work(tracer, f"after.{child}")
    statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    stop.set()
    for thread in threads:
        thread.join()
    print(*counts)
    sys.exit(any(statuses))


FORKS = {"": os.fork, "--importing": fork_while_importing, "--flushing": fork_while_flushing}
if "--importing" in sys.argv:
    sys.meta_path.insert(0, SlowImport())
main()
