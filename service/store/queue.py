"""The RQ queue that shards wait in."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, cast

from rq import Queue
from rq.intermediate_queue import IntermediateQueue
from rq.job import Job as QueueJob
from rq.job import Retry
from rq.serializers import JSONSerializer
from rq.utils import now
from rq.worker_registration import get_keys as worker_keys

from service.store.connection import queue_errors
from service.store.settings import StoreSettings

if TYPE_CHECKING:
    from redis import Redis
    from redis.client import Pipeline

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


class _Intermediate(IntermediateQueue):
    """Where a shard is between being popped and being begun; a worker that dies there leaves it behind.

    RQ waits a minute for it, whatever the settings, and remembers for a day that it saw it.
    """

    grace_s = 60

    def should_be_cleaned_up(self, job_id: str) -> bool:
        first_seen = self.get_first_seen(job_id)
        return first_seen is not None and now() - first_seen > timedelta(seconds=self.grace_s)

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
