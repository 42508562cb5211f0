"""What can go wrong in the shell, and whose fault it is."""


class StreamsError(Exception):
    """Root of every error that `streams` raises."""


class ConfigError(StreamsError):
    """A setting or argument is wrong: the operator mends what the message names."""


class BrokerUnavailable(StreamsError):
    """Kafka does not answer at the address that the message names."""


class RedisUnavailable(StreamsError):
    """Redis does not answer at the address that the message names."""


class DeliveryFailed(StreamsError):
    """A record was not confirmed by the broker: nothing of its batch may be committed."""


class Conflict(StreamsError):
    """Another owner moved the partition's offset: read again from where Redis stands."""


class LookupsLost(StreamsError):
    """Redis lost what intake looks up: refuse nothing until recovery has read it again."""


class LogMismatch(StreamsError):
    """The log is not the one that the states were made from: stop, and let a person look."""
