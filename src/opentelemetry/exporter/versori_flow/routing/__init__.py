"""Which flow a span belongs to."""
