"""Acceptance: a job is made in one step, in Redis as in storage, or it is not made."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from redis.exceptions import WatchError

from flawsmith.contract.base import now
from flawsmith.contract.jobs import Item, Job
from flawsmith.contract.manifests import RequestManifest
from service.store import idempotency, records
from service.store.connection import UNREACHABLE, QueueUnavailableError, queue_errors
from service.store.events import tell_status
from service.store.idempotency import Reservation, StoredAnswer
from service.store.queue import ShardQueue, enqueue_shard
from service.store.records import Record, RedisFields
from service.store.settings import StoreSettings
from service.store.storage import StorageError
from service.store.stored import JobFiles, StoredJobs

if TYPE_CHECKING:
    from redis import Redis


class TooManyOpenJobsError(Exception):
    """The tenant has as many unfinished jobs as it may have."""


class Acceptance:
    """Makes jobs, new ones and such as Redis has lost."""

    def __init__(self, redis: Redis, stored: StoredJobs, queue: ShardQueue, settings: StoreSettings) -> None:
        self._redis = redis
        self._stored = stored
        self._queue = queue
        self._settings = settings

    def accept(
        self,
        manifest: RequestManifest,
        files: JobFiles,
        quota: int | None,
        reservation: Reservation | None,
    ) -> Job:
        """See `service.store.jobs.Jobs.accept`."""
        self._check_quota(manifest.tenant, quota)
        try:
            self._stored.put(manifest, files)
            self._create_for_certain(manifest, quota, reservation)
        except Exception:
            # Without its request a job does not exist, even if Redis did take the record.
            with suppress(StorageError):
                self._stored.erase(manifest.tenant, manifest.job_id)
            raise
        return records.job_from_manifests(manifest, None)

    def create(
        self,
        manifest: RequestManifest,
        items: RedisFields,
        *,
        done: int = 0,
        quota: int | None = None,
        reservation: Reservation | None = None,
        cancel: bool = False,
    ) -> bool:
        """Write record, index, first shards and the promise in one transaction; False if there is a record.

        Args:
            items: what Redis is to hold of the job's items.
            done: how many shards, from the first on, have no item left to do.

        Raises:
            TooManyOpenJobsError: the quota is used up.
            ReservationLostError: the promise is another job's, or another request's to give.
            IdempotencyInProgressError: of a job that is restored: a request holds its promise.
            QueueUnavailableError: perhaps it was written.
        """
        tenant, job_id = manifest.tenant, manifest.job_id
        count = records.shard_count(manifest)
        queued = done if cancel else min(done + self._settings.shard_window, count)
        created_ms = _milliseconds(manifest.created_at)
        record_key = records.record_key(tenant, job_id)
        while True:
            with queue_errors(), self._redis.pipeline() as pipeline, suppress(WatchError):
                pipeline.watch(record_key)  # type: ignore[no-untyped-call]
                if pipeline.exists(record_key):
                    return False
                if quota is not None:
                    pipeline.watch(records.open_key(tenant))  # type: ignore[no-untyped-call]
                    if pipeline.scard(records.open_key(tenant)) >= quota:
                        raise TooManyOpenJobsError
                promise = manifest.idempotency if reservation is None else None
                if reservation is not None:
                    idempotency.check_held(pipeline, reservation)
                if promise is not None and not idempotency.is_free_for(
                    pipeline, tenant, promise, job_id, created_ms
                ):
                    promise = None
                pipeline.multi()  # said openly, because RQ would say it again halfway
                pipeline.hset(record_key, mapping=Record.fields_of_new(manifest, queued, done, cancel))
                if items:
                    pipeline.hset(records.items_key(tenant, job_id), mapping=items)
                pipeline.sadd(records.TENANTS_KEY, tenant)
                pipeline.sadd(records.open_key(tenant), job_id)
                pipeline.zadd(records.index_key(tenant), {job_id: created_ms})
                if reservation is not None:
                    idempotency.complete_in(pipeline, reservation, answer_of(manifest))
                if promise is not None:
                    idempotency.restore_in(pipeline, tenant, promise, answer_of(manifest))
                tell_status(pipeline, tenant, job_id)
                for shard in range(done, queued):
                    enqueue_shard(self._queue, tenant, job_id, shard, self._settings, pipeline)
                pipeline.execute()
                return True

    def list_final(self, manifest: RequestManifest) -> None:
        """List a job that has ended and that Redis has forgotten.

        Raises:
            QueueUnavailableError: Redis cannot be reached.
        """
        tenant, promise = manifest.tenant, manifest.idempotency
        promised_lately = now() - manifest.created_at < timedelta(seconds=idempotency.KEPT_S)
        with queue_errors(), self._redis.pipeline() as pipeline:
            pipeline.sadd(records.TENANTS_KEY, tenant)
            pipeline.zadd(records.index_key(tenant), {manifest.job_id: _milliseconds(manifest.created_at)})
            if promise is not None and promised_lately:
                idempotency.restore_in(pipeline, tenant, promise, answer_of(manifest))
            pipeline.execute()

    def _create_for_certain(
        self, manifest: RequestManifest, quota: int | None, reservation: Reservation | None
    ) -> None:
        try:
            items = fields_of(records.new_items(manifest))
            self.create(manifest, items, quota=quota, reservation=reservation)
        except QueueUnavailableError:
            # The answer may have been lost after the deed was done.
            try:
                accepted = bool(self._redis.exists(records.record_key(manifest.tenant, manifest.job_id)))
            except UNREACHABLE:
                accepted = False
            if not accepted:
                raise

    def _check_quota(self, tenant: str, quota: int | None) -> None:
        """Refuse before anything is written; the transaction looks again."""
        if quota is None:
            return
        with queue_errors():
            if self._redis.scard(records.open_key(tenant)) >= quota:
                raise TooManyOpenJobsError


def fields_of(items: Iterable[Item]) -> RedisFields:
    """What Redis holds of the items of a job that lists them."""
    return {item.index: item.model_dump_json() for item in items}


def answer_of(manifest: RequestManifest) -> StoredAnswer:
    """What the client that made the job is told, now and whenever it asks again under the same key."""
    job = records.job_from_manifests(manifest, None)
    return StoredAnswer(202, job.model_dump_json().encode(), f"/v1/jobs/{job.id}", job.id)


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
