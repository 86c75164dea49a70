"""One span as the bytes that stand in its flow."""
