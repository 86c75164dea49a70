"""When a flow is delivered, and by which thread."""
