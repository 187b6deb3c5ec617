"""Mending: what Redis has lost, or work that lost its place in the queue, comes back from what storage holds.

Nothing here is needed while everything goes well. What it does may be done at any time and by several at once: it
ends in the transactions of `Jobs`, of which the first wins.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, cast

from redis.exceptions import WatchError
from rq.job import Job as QueueJob
from rq.registry import StartedJobRegistry

from flawsmith.contract.base import now
from flawsmith.contract.ids import RESERVED_TENANTS, job_id_before, job_time
from flawsmith.contract.jobs import JobStatus
from flawsmith.contract.manifests import RequestManifest
from service.store import keys, lookback, records
from service.store.connection import queue_errors
from service.store.idempotency import IdempotencyInProgressError, ReservationLostError
from service.store.index import known_tenants
from service.store.jobs import Jobs, OnFinal, ignore_final
from service.store.lookup import Lookup
from service.store.queue import enqueue_shard, shard_job_id, shard_queue
from service.store.settings import StoreSettings
from service.store.storage import ObjectNotFoundError, Storage
from service.store.unreadable import Unreadable

if TYPE_CHECKING:
    from redis import Redis

_log = logging.getLogger(__name__)

_RUN = "flawsmith:run"
"""The start of Redis after which deletions were looked at."""
_FILLING = "flawsmith:filling"
"""Which `rebuild` is at work; gone if Redis was emptied since that began."""
_FILLED = """
-- KEYS: filling, remembers; ARGV: who filled, up to when all is settled. Returns 1 if nothing was lost meanwhile.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[2], ARGV[2])
return 1
"""
_WAITS = (b"queued", b"started")
_CHECKED_AT_ONCE = 500


@dataclass
class Mended:
    """What was found amiss, and put right."""

    restored: int = 0
    """Unfinished jobs that Redis did not know; they are queued again."""
    listed: int = 0
    """Finished jobs that Redis did not list."""
    requeued: int = 0
    """Pieces of work that no queue and no worker held."""
    canceled: int = 0
    """Jobs at work whose end was asked for, which Redis had forgotten."""
    ended: int = 0
    """Jobs of which all was done, but which were not final."""
    removed: int = 0
    """What was left in storage of jobs that do not exist."""

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) for field in fields(self))

    def __str__(self) -> str:
        found = [f"{field.name} {getattr(self, field.name)}" for field in fields(self)]
        return ", ".join(found)


class Mender:
    """Raises `QueueUnavailableError` and storage errors; what was mended before stays so.

    Args:
        grace_s: how old a job must be before its absence from Redis counts, and not as an acceptance that goes on.
        orphan_age_s: how long nothing may have been written of a job without a request for the rest to be removed.
        on_final: told the result of each job that is ended here.
    """

    def __init__(
        self,
        redis: Redis,
        storage: Storage,
        settings: StoreSettings,
        *,
        grace_s: float,
        orphan_age_s: float,
        on_final: OnFinal = ignore_final,
    ) -> None:
        self._redis = redis
        self._storage = storage
        self._settings = settings
        self._jobs = Jobs(redis, storage, settings, on_final)
        self._lookup = Lookup(redis)
        self._queue = shard_queue(redis)
        self._filled = redis.register_script(_FILLED)
        self._grace = timedelta(seconds=grace_s)
        self._orphan_age = timedelta(seconds=orphan_age_s)
        self._suspects: set[str] = set()
        self._unreadable = Unreadable(_log, " and is left alone")

    def redis_remembers(self) -> bool:
        """Whether Redis is one that `rebuild` has filled, and not a new or an emptied one."""
        return lookback.settled(self._redis) is not None

    def rebuild(self) -> Mended:
        """Look at all jobs that storage holds; Redis remembers then, unless it was emptied meanwhile."""
        mended, token = Mended(), secrets.token_hex(16)
        with queue_errors():
            self._redis.set(_FILLING, token)
        settled = self._recover_all("", mended)
        with queue_errors():
            filled = self._filled(keys=[_FILLING, lookback.REMEMBERS], args=[token, settled.isoformat()])
        if not filled:
            _log.warning("Redis was emptied, or another began to fill it, while it was filled from storage")
        return mended

    def missing(self) -> int:
        """How many unfinished jobs storage holds that Redis does not know; changes nothing."""
        missing = 0
        for tenant in self._stored_tenants():
            for batch in self._batches(tenant, ""):
                for job_id in self._unlisted(tenant, batch):
                    unfinished = self._jobs.exists(tenant, job_id) and not self._storage.exists(
                        keys.job_result(tenant, job_id)
                    )
                    missing += unfinished and now() - job_time(job_id) > self._grace
        return missing

    def recover_recent(self, age_s: float) -> Mended:
        """Look at the jobs that are not older, or were not when one looked last: an append-only file may lack its
        last seconds, and nobody may have looked for days."""
        mended = Mended()
        settled = lookback.settled(self._redis)
        since = min(now(), settled or now()) - timedelta(seconds=age_s)
        # Not into a Redis that was emptied meanwhile, nor where something is to be looked at again.
        lookback.settle(self._redis, settled, self._recover_all(job_id_before(since), mended))
        return mended

    def forget_deleted(self) -> Mended:
        """Look, once after each start of Redis, at the jobs that it holds for ended: one whose append-only file
        lacks its end has forgotten deletions, too."""
        mended = Mended()
        with queue_errors():
            run = cast("dict[str, object]", self._redis.info("server")).get("run_id")
            if run is None or self._redis.get(_RUN) == str(run).encode():
                return mended
        for tenant in known_tenants(self._redis):
            for job_id in self._listed(tenant):
                with self._unreadable.aside(f"job {job_id}"):
                    mended.removed += self._jobs.forget_deleted(tenant, job_id)
        with queue_errors():
            self._redis.set(_RUN, str(run))
        return mended

    def _listed(self, tenant: str) -> Iterator[str]:
        """Ids of the jobs that Redis lists, in whatever order."""
        with queue_errors():
            for name, _ in self._redis.zscan_iter(records.index_key(tenant)):
                job_id = cast("bytes", name).decode(errors="replace")
                if keys.is_job_id(job_id):
                    yield job_id

    def mend_open(self) -> Mended:
        """Look at the jobs that Redis holds for unfinished, and at where their work is."""
        mended = Mended()
        with queue_errors():
            entries = cast("list[bytes]", self._redis.zrange(StartedJobRegistry(queue=self._queue).key, 0, -1))
        started = {entry.partition(b":")[0].decode(errors="replace") for entry in entries}
        suspects: set[str] = set()
        for tenant in known_tenants(self._redis):
            for job_id in self._open(tenant):
                with self._unreadable.aside(f"job {job_id}"):
                    self._mend(tenant, job_id, started, suspects, mended)
        self._suspects = suspects
        return mended

    def _stored_tenants(self) -> Iterator[str]:
        """Tenants that storage knows; Redis may have forgotten one whose only job was too young to be missed."""
        names = self._storage.folders("")
        return (name for name in names if keys.is_tenant(name) and name not in RESERVED_TENANTS)

    def _open(self, tenant: str) -> list[str]:
        """The tenant's jobs that Redis holds for unfinished, but nothing else that somebody may have put there."""
        with queue_errors():
            names = cast("set[bytes]", self._redis.smembers(records.open_key(tenant)))
        return sorted(filter(keys.is_job_id, (name.decode(errors="replace") for name in names)))

    def _recover_all(self, after: str, mended: Mended) -> datetime:
        """Look at the jobs after ``after``; up to when all is settled then."""
        settled = now()
        for tenant in self._stored_tenants():
            for batch in self._batches(tenant, after):
                for job_id in self._unlisted(tenant, batch):
                    with self._unreadable.aside(f"job {job_id}"):
                        if not self._recover_one(tenant, job_id, mended):
                            settled = min(settled, job_time(job_id))
        return settled

    def _batches(self, tenant: str, after: str) -> Iterator[list[str]]:
        """Ids of the jobs in storage, oldest first."""
        names = (name for name in self._storage.folders(keys.jobs_prefix(tenant), after) if keys.is_job_id(name))
        while batch := list(islice(names, _CHECKED_AT_ONCE)):
            yield batch

    def _unlisted(self, tenant: str, job_ids: list[str]) -> list[str]:
        """Those that Redis does not list."""
        with queue_errors(), self._redis.pipeline(transaction=False) as pipeline:
            for job_id in job_ids:
                pipeline.zscore(records.index_key(tenant), job_id)
            scores = pipeline.execute()
        return [job_id for job_id, score in zip(job_ids, scores, strict=True) if score is None]

    def _recover_one(self, tenant: str, job_id: str, mended: Mended) -> bool:
        """Whether the job is settled; else it is to be looked at again, for it is perhaps being accepted."""
        try:
            manifest = self._jobs.manifest(tenant, job_id)
        except ObjectNotFoundError:
            return self._remove_rest(tenant, job_id, mended)
        if self._storage.exists(keys.job_result(tenant, job_id)):
            self._jobs.list_final(manifest)
            mended.listed += 1
            return True
        return now() - job_time(job_id) > self._grace and self._restore(manifest, mended)

    def _remove_rest(self, tenant: str, job_id: str, mended: Mended) -> bool:
        """Remove what is left of a job without a request, unless somebody may still be writing it."""
        if now() - job_time(job_id) <= self._orphan_age:
            return False
        written = self._storage.modified(keys.job_prefix(tenant, job_id)).values()
        if not written:
            return True
        if now() - max(written) <= self._orphan_age:  # thousands of photos take their time
            return False
        self._jobs.erase(tenant, job_id)
        mended.removed += 1
        return True

    def _restore(self, manifest: RequestManifest, mended: Mended) -> bool:
        try:
            restored = self._jobs.restore(manifest)
        except IdempotencyInProgressError:
            return False
        except ReservationLostError:
            # Its client never heard of it, has asked again under the same key, and gets another job.
            self._jobs.erase(manifest.tenant, manifest.job_id)
            mended.removed += 1
            return True
        if restored:
            _log.warning("job %s was unknown to Redis; it is queued again", manifest.job_id)
            mended.restored += 1
        return True

    def _mend(self, tenant: str, job_id: str, started: set[str], suspects: set[str], mended: Mended) -> None:
        record = self._lookup.record(tenant, job_id)
        if record is None:
            with queue_errors():
                self._redis.srem(records.open_key(tenant), job_id)
                self._redis.zrem(records.index_key(tenant), job_id)
            self._recover_one(tenant, job_id, mended)
            return
        if record.status.is_final:
            with queue_errors():
                self._redis.srem(records.open_key(tenant), job_id)
            return
        if not self._jobs.exists(tenant, job_id):
            if now() - job_time(job_id) > self._grace:
                self._jobs.forget_missing(tenant, job_id)
                mended.removed += 1
            return
        at_work = record.status is JobStatus.RUNNING and not record.cancel_requested
        if at_work and self._jobs.recall_cancel(tenant, job_id):
            _log.warning("Redis had forgotten that the end of %s was asked for", job_id)
            mended.canceled += 1
        for shard in self._lookup.open_shards(record):
            self._mend_shard(tenant, job_id, shard, started, suspects, mended)
        if record.shards_done == record.shards_queued and self._is_suspect(job_id, suspects):
            self._jobs.finalize(tenant, job_id)
            mended.ended += 1

    def _mend_shard(
        self, tenant: str, job_id: str, shard: int, started: set[str], suspects: set[str], mended: Mended
    ) -> None:
        name = shard_job_id(job_id, shard)
        with queue_errors(), self._redis.pipeline(transaction=False) as pipeline:
            pipeline.hget(QueueJob.key_for(name), "status")
            pipeline.lpos(self._queue.key, name)
            pipeline.lpos(self._queue.intermediate_queue_key, name)
            status, *places = pipeline.execute()
        held = status in _WAITS and (name in started or any(place is not None for place in places))
        # On its way from one place to the next a shard may be in neither for a moment.
        if not held and self._is_suspect(name, suspects) and self._requeue(tenant, job_id, shard):
            _log.warning("shard %d of %s was in no queue; it is queued again", shard, job_id)
            mended.requeued += 1

    def _is_suspect(self, name: str, suspects: set[str]) -> bool:
        """Whether the same was amiss already when `mend_open` looked last."""
        suspects.add(name)
        return name in self._suspects

    def _requeue(self, tenant: str, job_id: str, shard: int) -> bool:
        record_key = records.record_key(tenant, job_id)
        with queue_errors(), self._redis.pipeline() as pipeline, suppress(WatchError):
            pipeline.watch(record_key)  # type: ignore[no-untyped-call]
            status, done = cast(
                "list[bytes | None]", pipeline.hmget(record_key, ["status", records.done_field(shard)])
            )
            if status is None or done is not None:
                return False
            pipeline.multi()
            enqueue_shard(self._queue, tenant, job_id, shard, self._settings, pipeline)
            pipeline.execute()
            return True
        return False
