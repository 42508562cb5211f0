"""Clients of Redis: of one server, or of a cluster that any of its nodes tells of."""

from __future__ import annotations

import re
from typing import Any, cast

import redis
from redis.cluster import RedisCluster
from redis.exceptions import AskError, ClusterError, RedisClusterException

from streams.errors import ConfigError, RedisUnavailable

ANSWER_S = 30
"""How long a command may take, in seconds; a service tries again after that."""
CONNECT_S = 3
_REFUSES_FOR_NOW = {
    "MISCONF": "Redis cannot write to its disk",
    "OOM": "Redis has no memory left",
    "NOREPLICAS": "Redis has too few replicas",
}
"""First words of a server that answers but cannot write now, and what they mean."""
_OF_PIPELINE = "of pipeline caused error: "
"""What a client says before a server's words, where the command was one of several."""
ERRORS = (redis.RedisError, RedisClusterException)
"""Whatever a client may raise: a cluster's own errors have another root."""
_AWAY = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.ReadOnlyError,  # the server became a replica: its successor is found by and by
    ClusterError,
    RedisClusterException,
    AskError,
)


def connect(url: str) -> redis.Redis:
    """A client that has been answered, on a server that never evicts.

    Raises:
        RedisUnavailable: nobody answers at `url`.
        ConfigError: the server would evict keys.
    """
    try:
        client = client_of(url, ANSWER_S)
        policies = {policy_of(node) for node in masters(client)}
    except ERRORS as error:
        raise RedisUnavailable(
            f"Redis does not answer at {shown(url)}: start it (`ehps up` or `make stack`), or set EHPS_REDIS"
        ) from error
    evicts = policies - {"noeviction", None}  # None: a managed server hides it; `doctor` says so
    if evicts:
        raise ConfigError(
            f"Redis at {shown(url)} has maxmemory-policy {evicts.pop()}: set it to noeviction, or states would vanish"
        )
    return client


def client_of(url: str, answer_s: float) -> redis.Redis:
    """A client that has been answered, of the server or of the whole cluster.

    Args:
        url: several addresses, comma separated, are nodes of one cluster: the first that answers tells of all.
        answer_s: how long a command may take.

    Raises:
        RedisError, RedisClusterException: nobody answers.
    """
    options: dict[str, Any] = {
        "socket_timeout": answer_s,
        "socket_connect_timeout": min(CONNECT_S, answer_s),
    }
    *others, last = url.split(",")
    for address in others:
        try:
            return _answered(address, options)
        except ERRORS:
            continue
    return _answered(last, options)


def _answered(address: str, options: dict[str, Any]) -> redis.Redis:
    client = redis.Redis.from_url(address, **options)
    try:
        found = client.info("cluster")
    except redis.ResponseError:  # a managed server that hides it is no cluster
        found = {}
    if not found.get("cluster_enabled"):
        return client
    client.close()
    # It takes the same commands, and is no subclass.
    return cast("redis.Redis", RedisCluster.from_url(address, **options))


def is_cluster(client: object) -> bool:
    """Whether the client is of a whole cluster, where keys may live on several servers."""
    return isinstance(client, RedisCluster)


def masters(client: redis.Redis) -> list[redis.Redis]:
    """A client of each server that holds keys of its own."""
    whole: Any = client
    if not is_cluster(client):
        return [client]
    nodes = whole.get_primaries()
    return [whole.get_redis_connection(node) for node in nodes]


def owner_of(client: redis.Redis, key: str) -> redis.Redis:
    """A client of the server that holds the key: a cluster's own sends a transaction again without what it watched."""
    whole: Any = client
    if not is_cluster(client):
        return client
    return cast("redis.Redis", whole.get_redis_connection(whole.get_node_from_key(key)))


def policy_of(server: redis.Redis) -> str | None:
    """What the server does when its memory is full; None: it does not say."""
    try:
        return str(server.config_get("maxmemory-policy").get("maxmemory-policy", "noeviction"))
    except redis.ResponseError:
        return None


def passes(error: BaseException) -> bool:
    """Whether a server will answer by and by: it is away, cannot write now, or its cluster changes hands."""
    return isinstance(error, _AWAY) or _refused(error) is not None


def reason_of(error: BaseException) -> str:
    """Why it is waited: a server's refusal in words, else the kind of error."""
    return _refused(error) or type(error).__name__


def _refused(error: BaseException) -> str | None:
    if isinstance(error, redis.OutOfMemoryError):
        return _REFUSES_FOR_NOW["OOM"]
    if isinstance(error, redis.ResponseError):
        said = str(error).rpartition(_OF_PIPELINE)[2]
        return _REFUSES_FOR_NOW.get(said.partition(" ")[0])
    return None


def shown(url: str) -> str:
    """An address without the name and password that it may hold."""
    return re.sub(r"//[^@/]*@", "//", url)
