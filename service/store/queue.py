"""The RQ queue that shards wait in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

from rq import Queue
from rq.intermediate_queue import IntermediateQueue
from rq.job import Job as QueueJob
from rq.job import Retry
from rq.registry import StartedJobRegistry
from rq.serializers import JSONSerializer
from rq.worker_registration import get_keys as worker_keys

from service.store.clock import redis_time
from service.store.connection import queue_errors
from service.store.settings import StoreSettings

if TYPE_CHECKING:
    from redis import Redis
    from redis.client import Pipeline
    from rq.executions import Execution

QUEUE_NAME = "flawsmith-compute"
SHARD_FUNCTION = "worker.shards.run"
ROWS_FIELD = "rows"
"""Of a worker in Redis: how many rows it draws at a time."""

# RQ's own count only bounds what nothing else does: an attempt is counted, and a shard given up, in the job's
# record, where an attempt lost to an outage can be told from one that failed.
_DELIVERIES = 10_000_000
RETRY = Retry(max=_DELIVERIES, enqueue_at_front=True)
RETRY_LAST = Retry(max=_DELIVERIES, enqueue_at_front=False)
"""For a shard that others should not wait behind."""
_RESULT_TTL_S = 60
_FAILURE_TTL_S = 24 * 3600
_SEEN_TTL_S = 24 * 3600


_HOLD = """
-- KEYS: shards at work; ARGV: execution, seconds, 1 if it must be there already.
local time = redis.call('TIME')
local till = time[1] + time[2] / 1000000 + ARGV[2]
if ARGV[3] == '1' then return redis.call('ZADD', KEYS[1], 'XX', till, ARGV[1]) end
return redis.call('ZADD', KEYS[1], till, ARGV[1])
"""


class ShardsAtWork(StartedJobRegistry):
    """RQ's registry of what workers hold, each shard until its worker was not heard of for too long.

    RQ takes the worker's own clock for that: one whose clock goes ahead would take the shards of living ones.
    """

    def add_execution(self, execution: Execution, pipeline: Pipeline, ttl: int = 0, xx: bool = False) -> int:
        """Hold a shard for ``ttl`` seconds from when the pipeline is executed."""
        pipeline.eval(_HOLD, 1, self.key, execution.composite_key, ttl, int(xx))
        return 0

    def cleanup(self, timestamp: float | None = None, exception_handlers: list[Any] | None = None) -> None:
        """Bring back what nobody holds any more."""
        timestamp = redis_time(self.connection) if timestamp is None else timestamp
        super().cleanup(timestamp, exception_handlers)


class _Intermediate(IntermediateQueue):
    """Where a shard is between being popped and being begun; a worker that dies there leaves it behind.

    RQ waits a minute for it, whatever the settings, and remembers for a day that it saw it, by which clock ever.
    """

    grace_s = 60

    def set_first_seen(self, job_id: str) -> bool:
        key = self.get_first_seen_key(job_id)
        return bool(self.connection.set(key, redis_time(self.connection), nx=True, ex=_SEEN_TTL_S))

    def should_be_cleaned_up(self, job_id: str) -> bool:
        first_seen = self.get_first_seen(job_id)
        return first_seen is not None and redis_time(self.connection) - first_seen.timestamp() > self.grace_s

    def remove(self, job_id: str) -> None:
        super().remove(job_id)
        self.connection.delete(self.get_first_seen_key(job_id))


class ShardQueue(Queue):
    """RQ's queue with a maintenance that a killed worker cannot hold up.

    RQ's own lock outlives a worker that dies while it cleans by a quarter of an hour, in which no abandoned
    shard would come back.
    """

    grace_s = 60
    """After this long a shard that is popped but not begun is taken for lost."""

    @property
    def intermediate_queue(self) -> IntermediateQueue:
        queue = _Intermediate(self.key, connection=self.connection)
        queue.grace_s = self.grace_s
        return queue

    @property
    def started_job_registry(self) -> ShardsAtWork:
        return ShardsAtWork(queue=self, job_class=self.job_class, serializer=self.serializer)

    def acquire_maintenance_lock(self) -> bool:
        return bool(self.connection.set(self.registry_cleaning_key, 1, nx=True, ex=max(1, self.grace_s)))


def shard_queue(redis: Redis) -> ShardQueue:
    """The queue of the compute workers."""
    return ShardQueue(QUEUE_NAME, connection=redis, serializer=JSONSerializer)


def living_workers(queue: ShardQueue) -> int:
    """Compute workers that are alive: the key of one that is not expires with its heartbeat.

    Raises:
        QueueUnavailableError: Redis cannot be reached.
    """
    with queue_errors():
        registered = worker_keys(queue)
        return queue.connection.exists(*registered) if registered else 0


def shards_at_once(queue: ShardQueue, shard_size: int) -> list[int]:
    """Of each compute worker that is alive, how many shards of ``shard_size`` items fill a batch; at least one.

    Raises:
        QueueUnavailableError: Redis cannot be reached.
    """
    with queue_errors(), queue.connection.pipeline(transaction=False) as pipeline:
        for key in worker_keys(queue):
            pipeline.hmget(key, ["birth", ROWS_FIELD])
        told = cast("list[tuple[bytes | None, bytes | None]]", pipeline.execute())
    return [max(1, int(rows or 1) // shard_size) for birth, rows in told if birth is not None]


def shard_job_id(job_id: str, shard: int) -> str:
    """RQ's id of a shard."""
    return f"{job_id}-{shard}"


def enqueue_shard(
    queue: ShardQueue, tenant: str, job_id: str, shard: int, settings: StoreSettings, pipeline: Pipeline
) -> None:
    """Put a shard into the queue, when ``pipeline`` is executed and not before."""
    queue.enqueue_job(
        QueueJob.create(
            SHARD_FUNCTION,
            kwargs={"tenant": tenant, "job_id": job_id, "shard": shard},
            id=shard_job_id(job_id, shard),
            description=f"shard {shard} of {job_id}",
            connection=queue.connection,
            serializer=JSONSerializer,
            timeout=settings.shard_timeout_s,
            result_ttl=_RESULT_TTL_S,
            failure_ttl=_FAILURE_TTL_S,
            retry=RETRY,
        ),
        pipeline=pipeline,
    )


def forget_shards(queue: ShardQueue, job_id: str, shards: Iterable[int], pipeline: Pipeline) -> None:
    """Take shards of a job out of the queue."""
    for shard in shards:
        pipeline.lrem(queue.key, 0, shard_job_id(job_id, shard))
        pipeline.delete(QueueJob.key_for(shard_job_id(job_id, shard)))
