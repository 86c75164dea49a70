"""Shuts its provider down, and forks: the child's exporter is shut down too."""

from __future__ import annotations

import os

from tracing import set_up, work

provider = set_up()
tracer = provider.get_tracer(__name__)
work(tracer, "before")
provider.shutdown()
if os.fork() == 0:
    work(tracer, "child")
else:
    os.wait()
