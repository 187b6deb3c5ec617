"""What the queue delivers: a shard and nothing else.

Whoever can write to Redis can put anything into the queue. RQ would call any function by its name, import
callbacks, send webhooks and unpack whatever it finds. Here only the fields that a shard has are read, none longer
than a shard's can be, and what they hold must be a shard.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, cast

from redis.exceptions import ResponseError
from rq.exceptions import NoSuchJobError
from rq.job import Job as QueueJob
from rq.job import Retry
from rq.queue import Queue

from service.store import keys
from service.store.queue import QUEUE_NAME, SHARD_FUNCTION, ShardsAtWork, shard_job_id
from worker import shards

if TYPE_CHECKING:
    from redis.client import Pipeline

_MAX_FIELD_BYTES = 4096
"""Unpacked, such a field can have no more than some megabytes."""
_MAX_SHARDS = 1_000_000
_MAX_TIMEOUT_S = 7 * 24 * 3600
_SHARD_ID = re.compile(rb"job_[0-9a-hjkmnp-tv-z]{26}-(0|[1-9][0-9]{0,5})")
_FIELDS = (
    "data",
    "created_at",
    "enqueued_at",
    "started_at",
    "ended_at",
    "last_heartbeat",
    "origin",
    "description",
    "worker_name",
    "status",
    "timeout",
    "result_ttl",
    "failure_ttl",
    "number_of_retries",
    "retries_left",
    "enqueue_at_front_on_retry",
)


class NoShardError(Exception):
    """What was delivered is no shard of ours; it is dropped."""


def is_shard_id(entry: bytes) -> bool:
    """Whether an entry of the queue has the form of a shard's id."""
    return _SHARD_ID.fullmatch(entry) is not None


class DeliveredShard(QueueJob):
    """A shard as it came out of the queue; `perform` works on it and cannot do anything else."""

    def refresh(self) -> None:
        """Read the shard.

        Raises:
            NoSuchJobError: there is none.
            NoShardError: there is something else in its place.
        """
        try:
            with self.connection.pipeline(transaction=False) as pipeline:
                for field in _FIELDS:
                    pipeline.hstrlen(self.key, field)
                sizes = cast("list[int]", pipeline.execute())
            if sizes[0] == 0:
                raise NoSuchJobError(f"no such shard: {self.key}")
            if max(sizes) > _MAX_FIELD_BYTES:
                raise NoShardError(f"a field has {max(sizes)} bytes")
            values = cast("list[bytes | None]", self.connection.hmget(self.key, list(_FIELDS)))
        except ResponseError as error:
            raise NoShardError(str(error)) from error
        found = {name.encode(): value for name, value in zip(_FIELDS, values, strict=True) if value is not None}
        try:
            self.restore(found)
            self._check()
        except NoSuchJobError:
            raise
        except Exception as error:  # RQ and what it calls raise whatever they like
            raise NoShardError(f"{type(error).__name__}: {error}"[:200]) from error

    @property
    def started_job_registry(self) -> ShardsAtWork:
        return ShardsAtWork(
            self.origin, connection=self.connection, job_class=type(self), serializer=self.serializer
        )

    def perform(self) -> Any:
        """Work on the shard; see `worker.shards.run`."""
        return shards.run(**self.kwargs)

    def _handle_retry_result(
        self, queue: Queue, pipeline: Pipeline, retry: Retry, *more: Any, **told: Any
    ) -> None:
        """Put the shard where this retry wants it: RQ puts to the front what any retry before wanted there."""
        self.enqueue_at_front_on_retry = retry.enqueue_at_front
        super()._handle_retry_result(queue, pipeline, retry, *more, **told)

    def _check(self) -> None:
        """Raise `ValueError` unless this is a shard."""
        if self.func_name != SHARD_FUNCTION or self.args or self.origin != QUEUE_NAME:
            raise ValueError("not a call for a shard")
        match self.kwargs:
            case {"tenant": str(tenant), "job_id": str(job_id), "shard": int(shard), **more} if not more:
                keys.job_prefix(tenant, job_id)
            case _:
                raise ValueError("not the arguments of a shard")
        if isinstance(shard, bool) or not 0 <= shard < _MAX_SHARDS or self.id != shard_job_id(job_id, shard):
            raise ValueError("not the number of the shard that its id names")
        if self.timeout is not None and not 0 < self.timeout <= _MAX_TIMEOUT_S:
            raise ValueError("not a time limit")

    def _deserialize_data(self) -> None:
        function, instance, args, kwargs = json.loads(self.data)
        if instance is not None or not isinstance(args, list) or not isinstance(kwargs, dict):
            raise ValueError("not a call")
        self._func_name, self._instance, self._args, self._kwargs = function, instance, args, kwargs
