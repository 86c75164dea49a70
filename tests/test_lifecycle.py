"""A fork in the middle of an import; what becomes of children at their end is shown by `processes/`."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from opentelemetry.exporter.versori_flow import lifecycle as children

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")


def test_a_fork_waits_for_imports() -> None:
    """While a thread imports for the exporter, a fork waits; the child may import at once itself."""
    begun, done = threading.Event(), threading.Event()

    def imports() -> None:
        with children.forks_wait():
            begun.set()
            time.sleep(0.1)
            done.set()

    thread = threading.Thread(target=imports)
    thread.start()
    begun.wait(10)
    pid = os.fork()
    if pid == 0:
        with children.forks_wait():
            os._exit(0 if done.is_set() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    thread.join(10)


def test_a_fork_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """An import that does not end holds up no fork, and not the child's own imports."""
    monkeypatch.setattr(children, "_LONGEST_IMPORT", 0.05)
    begun, over = threading.Event(), threading.Event()

    def imports() -> None:
        with children.forks_wait():
            begun.set()
            over.wait(10)

    thread = threading.Thread(target=imports)
    thread.start()
    begun.wait(10)
    pid = os.fork()
    if pid == 0:
        with children.forks_wait():
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    over.set()
    thread.join(10)


def test_two_forks_at_once_leave_the_imports_free() -> None:
    """Another library holds one fork up for so long that the other one no longer waits for it."""
    program = """
import os, threading
import opentelemetry.sdk.trace.export  # and what has hooks of its own, that hold locks: they are to run after it
slow, over = threading.Event(), threading.Event()

def others() -> None:
    if threading.current_thread().name == "slow":
        slow.set()
        over.wait(10)

os.register_at_fork(before=others)  # before ours is, so that it runs after it
from opentelemetry.exporter.versori_flow import lifecycle
lifecycle._LONGEST_IMPORT = 0.05

def fork() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)

thread = threading.Thread(target=fork, name="slow")
thread.start()
slow.wait(10)
fork()
over.set()
thread.join()
print(lifecycle.forks_wait().acquire(False))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stderr


def test_a_thread_that_was_started_begins_before_the_interpreter_ends() -> None:
    """One that has not begun by then ends the process by a segmentation fault, on Python 3.11 and older."""
    program = """
import atexit, sys
sys.setswitchinterval(1000)  # a thread begins once the main thread waits for something
begun = []
atexit.register(lambda: print(len(begun), flush=True))
from opentelemetry.exporter.versori_flow import lifecycle, native
atexit.register(lambda: [native.start_thread(lambda: begun.append(0)) for _ in range(9)])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # Later interpreters refuse a thread of an exit handler, or never let it begin.
    assert done.stdout.strip() == "9" or sys.version_info >= (3, 12)
