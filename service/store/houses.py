"""House workers: which live, and which of them has the duties."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from service.store.connection import queue_errors

if TYPE_CHECKING:
    from redis import Redis

_NAMES = "flawsmith:houses"
_LEADER = "flawsmith:house-leader"


def beat(redis: Redis, name: str, ttl_s: int) -> None:
    """Be alive for ``ttl_s`` from now.

    Raises:
        QueueUnavailableError: Redis cannot be reached.
    """
    with queue_errors(), redis.pipeline() as pipeline:
        pipeline.sadd(_NAMES, name)
        pipeline.set(_key(name), 1, ex=ttl_s)
        pipeline.execute()


def lead(redis: Redis, name: str, ttl_s: int) -> bool:
    """Have the duties for ``ttl_s`` from now; False if another house has them.

    Raises:
        QueueUnavailableError: Redis cannot be reached.
    """
    with queue_errors():
        if redis.set(_LEADER, name, nx=True, ex=ttl_s):
            return True
        if redis.get(_LEADER) != name.encode():
            return False
        redis.expire(_LEADER, ttl_s)
        return True


def leave(redis: Redis, name: str) -> None:
    """Be gone, and let another have the duties.

    Raises:
        QueueUnavailableError: Redis cannot be reached.
    """
    with queue_errors():
        if redis.get(_LEADER) == name.encode():
            redis.delete(_LEADER)
        redis.srem(_NAMES, name)
        redis.delete(_key(name))


def living(redis: Redis) -> int:
    """House workers that are alive.

    Raises:
        QueueUnavailableError: Redis cannot be reached.
    """
    with queue_errors():
        names = sorted(name.decode() for name in cast("set[bytes]", redis.smembers(_NAMES)))
        alive = redis.mget([_key(name) for name in names]) if names else []
        dead = [
            name for name, beats in zip(names, cast("list[bytes | None]", alive), strict=True) if beats is None
        ]
        if dead:
            redis.srem(_NAMES, *dead)
        return len(names) - len(dead)


def lives_on(redis: Redis, host: str) -> bool:
    """Whether a house worker on ``host`` is alive; the name of one begins with its host's.

    Raises:
        QueueUnavailableError: Redis cannot be reached.
    """
    with queue_errors():
        names = [name.decode() for name in cast("set[bytes]", redis.smembers(_NAMES))]
        return any(name.startswith(f"{host}-") and redis.exists(_key(name)) for name in names)


def _key(name: str) -> str:
    return f"flawsmith:house:{name}"
