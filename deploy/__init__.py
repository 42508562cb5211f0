"""Local stacks: an embedded one inside a process, and a real Kafka and Redis beside it."""
