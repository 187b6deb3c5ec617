"""The clock by which it is told who lives: that of Redis, for those of workers and services may differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from redis import Redis
    from redis.client import Pipeline


def redis_time(redis: Redis | Pipeline) -> float:
    """Seconds since 1970, as Redis counts them.

    Args:
        redis: a pipeline must be watching, so that it asks at once.
    """
    seconds, microseconds = redis.time()
    return seconds + microseconds / 1e6
