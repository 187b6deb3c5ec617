"""The connection to Redis or Valkey."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import ClusterDownError, OutOfMemoryError, ReadOnlyError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from service.store.settings import StoreSettings

UNREACHABLE = (RedisConnectionError, RedisTimeoutError, ReadOnlyError, OutOfMemoryError, ClusterDownError)
"""What redis-py raises while the server is away, loading, full, only a replica, or one without its primary."""
_TAKES_NOTHING = ("MISCONF", "NOREPLICAS")
"""How errors begin of a server that cannot write to its disk, or has too few replicas; redis-py has no classes."""
_OF_PIPELINE = " of pipeline caused error: "


class QueueUnavailableError(Exception):
    """Redis does not answer, or takes nothing now; later it may."""


def connect_redis(settings: StoreSettings, *, blocking_s: float = 0.0) -> Redis:
    """A client that connects when first used, and again after a break.

    ``blocking_s`` is the longest that a blocking command of this client waits.

    Raises:
        ValueError: ``settings.redis_url`` is no Redis URL.
    """
    return Redis.from_url(
        settings.redis_url,
        socket_connect_timeout=settings.redis_timeout_s,
        socket_timeout=settings.redis_timeout_s + blocking_s,
        health_check_interval=30,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), retries=2),
    )


@contextmanager
def queue_errors() -> Iterator[None]:
    """Turn an unreachable Redis, or one that takes nothing now, into `QueueUnavailableError`."""
    try:
        yield
    except UNREACHABLE as error:
        raise QueueUnavailableError(f"the queue does not answer: {error}") from error
    except ResponseError as error:
        if not str(error).rpartition(_OF_PIPELINE)[2].startswith(_TAKES_NOTHING):
            raise
        raise QueueUnavailableError(f"the queue takes nothing now: {error}") from error
