"""What stands in Redis at this moment, beside what `Jobs` tells: how long work waits, who works."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from rq.job import Job as QueueJob
from rq.registry import StartedJobRegistry
from rq.serializers import JSONSerializer

from service.store import houses, records
from service.store.clock import redis_time
from service.store.connection import queue_errors
from service.store.index import known_tenants
from service.store.queue import QUEUE_NAME, shard_queue

if TYPE_CHECKING:
    from redis import Redis

_FRONT = 64  # shards looked at: what is given back stands before what has waited longer


class Readings:
    """Each raises `QueueUnavailableError` when Redis cannot be reached."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._queue = shard_queue(redis)
        self._started = StartedJobRegistry(QUEUE_NAME, connection=redis, serializer=JSONSerializer)

    def oldest_wait_s(self) -> float:
        """How long the shard has waited that waits longest; 0 if none does."""
        with queue_errors():
            front = cast("list[bytes]", self._redis.lrange(self._queue.key, 0, _FRONT - 1))
            with self._redis.pipeline(transaction=False) as pipeline:
                for shard_id in front:
                    pipeline.hget(QueueJob.key_for(shard_id.decode()), "enqueued_at")
                entered = [datetime.fromisoformat(value.decode()) for value in pipeline.execute() if value]
        if not entered:
            return 0.0
        return max(0.0, (datetime.now(UTC) - min(entered)).total_seconds())

    def shards_at_work(self) -> int:
        """Shards whose worker has sent a heartbeat in time."""
        with queue_errors():
            return self._redis.zcount(self._started.key, redis_time(self._redis), "+inf")

    def house_workers(self) -> int:
        """House workers that are alive."""
        return houses.living(self._redis)

    def open_jobs(self) -> int:
        """Jobs of all tenants that have not ended."""
        with queue_errors(), self._redis.pipeline(transaction=False) as pipeline:
            for tenant in known_tenants(self._redis):
                pipeline.scard(records.open_key(tenant))
            return sum(pipeline.execute())
