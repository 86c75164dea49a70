"""A Celery worker whose tasks are traced, with folders as the broker so that nothing else is needed.

    celery --workdir examples --app celery_app worker
    python examples/celery_app.py            # sends three tasks

The program that sends and the worker write one flow, so that each task is one trace.
"""

import getpass
import os
import tempfile
from pathlib import Path

from celery import Celery
from celery.signals import worker_process_init, worker_process_shutdown
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from opentelemetry import trace
from opentelemetry.exporter.versori_flow import VersoriFlowSpanExporter, VersoriFlowSpanProcessor

folder = Path(
    os.environ.get("CELERY_FOLDER", Path(tempfile.gettempdir(), f"versori-flow-celery-{getpass.getuser()}"))
)
for name in ("queue", "control"):
    (folder / name).mkdir(parents=True, exist_ok=True)

app = Celery("thumbnails", broker="filesystem://")
app.conf.broker_transport_options = {
    "data_folder_in": str(folder / "queue"),
    "data_folder_out": str(folder / "queue"),
    "control_folder": str(folder / "control"),
}


@app.task(name="thumbnail")
def thumbnail(picture: str) -> str:
    trace.get_current_span().add_event("resized", {"picture": picture})
    return picture.replace(".png", ".small.png")


@worker_process_init.connect(weak=False)
def start_tracing(**_: object) -> TracerProvider:
    """Once in each process of the pool, after the fork."""
    provider = TracerProvider(resource=Resource.create({"service.name": "thumbnails"}))
    provider.add_span_processor(VersoriFlowSpanProcessor(VersoriFlowSpanExporter()))
    trace.set_tracer_provider(provider)
    CeleryInstrumentor().instrument()
    return provider


@worker_process_shutdown.connect(weak=False)
def stop_tracing(**_: object) -> None:
    """The pool's processes end without Python's exit handlers."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        provider.shutdown()


if __name__ == "__main__":
    start_tracing()
    with trace.get_tracer("examples.celery_app").start_as_current_span("upload"):
        for picture in ("ada.png", "grace.png", "mary.png"):
            thumbnail.delay(picture)
