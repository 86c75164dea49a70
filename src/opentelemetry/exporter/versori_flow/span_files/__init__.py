"""Files of spans, read a piece at a time: OTLP, Jaeger, Zipkin, and flows of this platform."""
