"""`python -m deploy.health`: whether this container can do its work (exit 0) or not (exit 1).

It asks what every worker needs: the broker answers and has the log, Redis answers and never evicts.
A worker that fails ends its process, which the container's restart policy sees by itself.
"""

import os
import sys

import redis
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from schemas.topics import LOG

_TIMEOUT_S = 4.0


def problem(kafka: str, redis_url: str) -> str | None:
    """What is wrong, or None.

    Args:
        kafka: Bootstrap address of the broker.
        redis_url: Address of Redis, "redis://...".
    """
    try:
        topics = AdminClient({"bootstrap.servers": kafka, "log_level": 2}).list_topics(
            timeout=_TIMEOUT_S
        )
        if LOG not in topics.topics:
            return f"Kafka has no topic {LOG}: run `ehps topics apply`"
        with redis.Redis.from_url(redis_url, socket_timeout=_TIMEOUT_S) as client:
            policy = client.config_get("maxmemory-policy")["maxmemory-policy"]
    except (KafkaException, redis.RedisError) as exc:
        return f"{type(exc).__name__}: {exc}"
    if policy != "noeviction":
        return f"Redis may evict keys (maxmemory-policy is {policy}): set noeviction"
    return None


def main() -> int:
    """Check the addresses in EHPS_KAFKA and EHPS_REDIS."""
    missing = [name for name in ("EHPS_KAFKA", "EHPS_REDIS") if name not in os.environ]
    found = (
        f"{missing[0]} is not set"
        if missing
        else problem(os.environ["EHPS_KAFKA"], os.environ["EHPS_REDIS"])
    )
    if found is not None:
        print(found, file=sys.stderr)
    return 0 if found is None else 1


if __name__ == "__main__":
    sys.exit(main())
