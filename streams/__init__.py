"""The shell that moves data: Kafka and Redis in and out of the pure core."""
