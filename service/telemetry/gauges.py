"""Gauges of single processes: written with a process's heartbeat, gone when it is.

| key | type | what |
|---|---|---|
| ``flawsmith:gauges`` | set | names of the processes that have written |
| ``flawsmith:gauges:{name}`` | string, expires | JSON list of ``[family, [label values], value]`` |
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from redis import Redis
    from redis.client import Pipeline

NAMES = "flawsmith:gauges"

Gauge = tuple[str, tuple[str, ...], float]
"""Name of the family, values of its labels in their order, value."""


def report(target: Redis | Pipeline, name: str, gauges: Iterable[Gauge], ttl_s: int) -> None:
    """Say what the gauges of process ``name`` stand at, for ``ttl_s`` from now."""
    target.sadd(NAMES, name)
    target.set(_key(name), json.dumps(list(gauges)), ex=ttl_s)


def withdraw(target: Redis | Pipeline, name: str) -> None:
    """Take the gauges of process ``name`` away."""
    target.srem(NAMES, name)
    target.delete(_key(name))


def reported(redis: Redis) -> list[Gauge]:
    """The gauges of all processes that live, and forget those of dead ones.

    Raises:
        redis.exceptions.RedisError: it does not answer.
    """
    names = sorted(name.decode() for name in cast("set[bytes]", redis.smembers(NAMES)))
    if not names:
        return []
    found: list[Gauge] = []
    for name, data in zip(names, cast("list[bytes | None]", redis.mget(list(map(_key, names)))), strict=True):
        if data is None:
            redis.srem(NAMES, name)
            continue
        try:
            found += [
                (str(family), tuple(map(str, values)), float(value)) for family, values, value in json.loads(data)
            ]
        except (ValueError, TypeError):
            continue  # of another version
    return found


def _key(name: str) -> str:
    return f"{NAMES}:{name}"
