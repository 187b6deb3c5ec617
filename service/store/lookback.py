"""How far one looks back: up to when Redis has been told of each job in storage."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from redis.exceptions import WatchError

from service.store.connection import queue_errors

if TYPE_CHECKING:
    from redis import Redis

REMEMBERS = "flawsmith:remembers"
"""Up to when all is settled: Redis has been told of each job that was made before, or there is none."""


def settled(redis: Redis) -> datetime | None:
    """Up to when all is settled; None if Redis is new, or was emptied, or does not say when.

    Raises:
        QueueUnavailableError: Redis cannot be reached.
    """
    with queue_errors():
        return _moment(cast("bytes | None", redis.get(REMEMBERS)))


def settle(redis: Redis, since: datetime | None, to: datetime) -> None:
    """Note that all is settled up to ``to``, if that was said of ``since`` and still is.

    Raises:
        QueueUnavailableError: Redis cannot be reached.
    """
    with queue_errors(), redis.pipeline() as pipeline, suppress(WatchError):
        pipeline.watch(REMEMBERS)  # type: ignore[no-untyped-call]
        if since is not None and _moment(cast("bytes | None", pipeline.get(REMEMBERS))) == since:
            pipeline.multi()
            pipeline.set(REMEMBERS, to.isoformat())
            pipeline.execute()


def look_again(redis: Redis, moment: datetime) -> None:
    """Let all that was made from ``moment`` on be looked at once more.

    Raises:
        QueueUnavailableError: Redis cannot be reached.
    """
    while True:
        with queue_errors(), redis.pipeline() as pipeline, suppress(WatchError):
            pipeline.watch(REMEMBERS)  # type: ignore[no-untyped-call]
            known = _moment(cast("bytes | None", pipeline.get(REMEMBERS)))
            if known is None or known <= moment:
                return
            pipeline.multi()
            pipeline.set(REMEMBERS, moment.isoformat())
            pipeline.execute()
            return


def _moment(data: bytes | None) -> datetime | None:
    try:
        return datetime.fromisoformat(data.decode()).astimezone(UTC) if data is not None else None
    except ValueError:
        return None
