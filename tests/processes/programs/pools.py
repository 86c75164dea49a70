"""Children of `multiprocessing`, with a Process, a Pool, and a ProcessPoolExecutor.

python pools.py fork|spawn|forkserver [--in-child] [--late]

The provider is made when this module is imported; with --in-child, by the children themselves. With --late,
multiprocessing is imported after it.
"""

from __future__ import annotations

import sys
import threading
import time

from tracing import set_up, work

LATE, IN_CHILD = "--late" in sys.argv, "--in-child" in sys.argv
if LATE:
    assert "multiprocessing" not in sys.modules
    provider = set_up()
import multiprocessing  # noqa: E402
from concurrent.futures import ProcessPoolExecutor  # noqa: E402

if not (LATE or IN_CHILD):
    provider = set_up()


def begin() -> None:
    global provider
    if IN_CHILD:
        provider = set_up()


def task(name: str) -> None:
    work(provider.get_tracer(__name__), name)


def leave(name: str) -> None:
    begin()
    task(name)


def leave_with_status(name: str) -> None:
    leave(name)
    sys.exit(3)


def leave_a_thread(name: str) -> None:
    leave(name)

    def later() -> None:
        time.sleep(0.3)  # by then, the finalizers of multiprocessing have run
        task(f"{name}.later")

    threading.Thread(target=later).start()


def leave_a_child(name: str) -> None:
    leave(name)
    context = multiprocessing.get_context(sys.argv[1])
    child = context.Process(target=leave, args=(f"{name}.child",))
    child.start()
    child.join()
    assert child.exitcode == 0


def main() -> None:
    context = multiprocessing.get_context(sys.argv[1])
    targets = {leave: 0, leave_with_status: 3, leave_a_thread: 0, leave_a_child: 0}
    processes = [context.Process(target=target, args=(target.__name__,)) for target in targets]
    for process in processes:
        process.start()
    for process, status in zip(processes, targets.values(), strict=True):
        process.join()
        assert process.exitcode == status, process
    with ProcessPoolExecutor(2, context, begin) as executor:
        list(executor.map(task, [f"executor.{n}" for n in range(4)]))
    pool = context.Pool(2, begin)
    pool.map(task, [f"pool.{n}" for n in range(4)])
    pool.close()
    pool.join()
    if not IN_CHILD:
        task("parent")


if __name__ == "__main__":
    main()
