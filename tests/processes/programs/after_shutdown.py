"""Shuts its provider down, and forks: the child's exporter is shut down too."""

from __future__ import annotations

import os
import threading

from tracing import set_up, work

provider = set_up()
tracer = provider.get_tracer(__name__)
work(tracer, "before")
provider.shutdown()
if os.fork() == 0:
    work(tracer, "child")
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("versori")]
    for thread in threads:
        thread.join(10)
    print(*(thread.name for thread in threads if thread.is_alive()))
else:
    os.wait()
