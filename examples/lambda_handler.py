"""A handler as AWS Lambda calls it: the process is frozen the moment it returns.

    python examples/lambda_handler.py        # calls it twice, as Lambda would

What has not been delivered by then waits, frozen, for the next invocation, or is lost with the process.
So each invocation ends with a flush, within the time that it has left.
"""

from typing import Any, Protocol

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from opentelemetry import trace
from opentelemetry.exporter.versori_flow import VersoriFlowSpanExporter, VersoriFlowSpanProcessor

provider = TracerProvider(resource=Resource.create({"service.name": "resize-pictures"}))
provider.add_span_processor(VersoriFlowSpanProcessor(VersoriFlowSpanExporter()))
tracer = provider.get_tracer("examples.lambda_handler")

RESERVE_MILLIS = 500  # left to Lambda itself, for the answer


class Context(Protocol):
    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int: ...


def handler(event: dict[str, Any], context: Context) -> dict[str, Any]:
    """One trace per invocation, delivered before the answer."""
    try:
        with tracer.start_as_current_span("invocation", kind=trace.SpanKind.SERVER) as span:
            span.set_attribute("faas.invocation_id", context.aws_request_id)
            return {"statusCode": 200, "body": resize(event["picture"])}
    finally:
        provider.force_flush(max(0, context.get_remaining_time_in_millis() - RESERVE_MILLIS))


def resize(picture: str) -> str:
    with tracer.start_as_current_span("resize", attributes={"picture": picture}):
        return picture.replace(".png", ".small.png")


if __name__ == "__main__":

    class LocalContext:
        aws_request_id = "local"

        def get_remaining_time_in_millis(self) -> int:
            return 3000

    print(handler({"picture": "ada.png"}, LocalContext()))
    print(handler({"picture": "grace.png"}, LocalContext()))
