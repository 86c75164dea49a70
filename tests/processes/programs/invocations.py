"""A runtime that is frozen between invocations, as AWS Lambda does, and whose clock is set now and then.

Of its standard input it reads, line by line: `invoke NAME`, which is traced, flushed and answered by
`done NAME`; `start NAME`, the same without the flush; `clock SECONDS`, which sets the clock by so much;
`across NAME`, whose clock is set back by an hour in the middle of the work.
"""

from __future__ import annotations

import sys
import time

from tracing import set_up, work

provider = set_up()
tracer = provider.get_tracer(__name__)
real_time_ns, real_time, offset = time.time_ns, time.time, 0

import opentelemetry.sdk.trace  # noqa: E402

# Before anything takes its own reference: the SDK has, and asks this name.
time.time_ns = lambda: real_time_ns() + offset * 10**9
time.time = lambda: real_time() + offset
opentelemetry.sdk.trace.time_ns = lambda: time.time_ns()

for line in sys.stdin:
    what, value = line.split()
    if what == "clock":
        offset += int(value)
        continue
    if what == "across":
        with tracer.start_as_current_span("across"):
            offset -= 3600
            work(tracer, value)
    else:
        work(tracer, value)
    if what == "invoke":
        provider.force_flush()
    print("done", value)
