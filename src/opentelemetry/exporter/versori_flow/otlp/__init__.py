"""OTLP/HTTP as a way in: requests become spans that the exporter's own encoder takes."""
