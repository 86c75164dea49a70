"""What the exporter says about itself, as metrics on the console.

    OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED=true python examples/metrics_console.py

OpenTelemetry's SDK and this exporter count themselves only with that variable. Without `meter_provider` the
exporter takes the global one.
"""

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from opentelemetry.exporter.versori_flow import VersoriFlowSpanExporter, VersoriFlowSpanProcessor

resource = Resource.create({"service.name": "measured"})
meter_provider = MeterProvider(
    metric_readers=[PeriodicExportingMetricReader(ConsoleMetricExporter())], resource=resource
)
tracer_provider = TracerProvider(resource=resource)
tracer_provider.add_span_processor(
    VersoriFlowSpanProcessor(VersoriFlowSpanExporter(meter_provider=meter_provider))
)

if __name__ == "__main__":
    tracer = tracer_provider.get_tracer("examples.metrics_console")
    for number in range(10):
        with tracer.start_as_current_span("work", attributes={"number": number}):
            pass
    tracer_provider.shutdown()  # before the meters, so that the last delivery is counted
    meter_provider.shutdown()
