"""Threads trace without a pause, and meanwhile the main thread forks: both sides go on tracing.

python fork.py CHILDREN
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
        if stop.wait(0.01):
            counts.append(unit + 1)
            return


def main() -> None:
    threads = [threading.Thread(target=keep_tracing, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    children = []
    for child in range(int(sys.argv[1])):
        work(tracer, f"before.{child}")
        pid = os.fork()
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


main()
