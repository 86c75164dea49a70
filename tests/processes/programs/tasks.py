"""A Celery app over a broker of files, whose tasks are traced.

celery -A tasks worker ...                 runs them
python tasks.py COUNT                      orders them

With IN_CHILD, each worker process makes its own provider, as OpenTelemetry's documentation advises.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from celery import Celery
from celery.signals import worker_process_init
from opentelemetry.sdk.trace import TracerProvider
from tracing import set_up, work

FOLDER = Path(os.environ["BROKER"])
app = Celery("tasks", broker="filesystem://")
app.conf.update(
    broker_transport_options={
        "polling_interval": 0.05,
        "data_folder_in": str(FOLDER / "queue"),
        "data_folder_out": str(FOLDER / "queue"),
        "control_folder": str(FOLDER / "control"),
    },
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
)
provider: TracerProvider


@worker_process_init.connect(weak=False)
def begin(**_: object) -> None:
    global provider
    if "IN_CHILD" in os.environ:
        provider = set_up()


@app.task
def traced(number: int) -> None:
    work(provider.get_tracer(__name__), f"task.{number}")
    (FOLDER / f"done.{number}").touch()


if __name__ == "__main__":
    for number in range(int(sys.argv[1])):
        traced.delay(number)
elif "IN_CHILD" not in os.environ:
    provider = set_up()
