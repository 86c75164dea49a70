"""Traces a script in code, with no command around it.

Set VERSORI_API_KEY, VERSORI_ORGANISATION_ID and VERSORI_PROJECT_ID, then:

    python examples/script.py

Its trace arrives in the flow `nightly-import`, which is named after the service.
"""

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from opentelemetry import trace
from opentelemetry.exporter.versori_flow import VersoriFlowSpanExporter, VersoriFlowSpanProcessor

provider = TracerProvider(resource=Resource.create({"service.name": "nightly-import"}))
provider.add_span_processor(VersoriFlowSpanProcessor(VersoriFlowSpanExporter()))
trace.set_tracer_provider(provider)
tracer = trace.get_tracer("examples.script")

ROWS = ["apple,3", "pear,5", "plum,many"]


def load(row: str) -> int:
    """One span per row; what goes wrong in it becomes an event of the span, and its status."""
    with tracer.start_as_current_span("load row", attributes={"row": row}) as span:
        article, quantity = row.split(",")
        span.add_event("parsed", {"article": article})
        try:
            return int(quantity)
        except ValueError as problem:
            span.record_exception(problem)
            span.set_status(trace.StatusCode.ERROR, f"{quantity!r} is no quantity")
            return 0


def main() -> None:
    with tracer.start_as_current_span("import") as span:
        loaded = sum(load(row) for row in ROWS)
        span.set_attribute("loaded", loaded)
    print(f"loaded {loaded}")


if __name__ == "__main__":
    main()  # the provider shuts down when the interpreter exits, and delivers what is left
