"""A way into Versori for programs in any language: OTLP in, flows out, by the exporter's own core."""
