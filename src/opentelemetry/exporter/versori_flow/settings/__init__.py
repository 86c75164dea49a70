"""What was configured, checked."""
