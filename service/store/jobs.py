"""Jobs: accepted once, cut into shards, finished once, whatever dies in between.

Storage is written before Redis says that something is so: the request before the job is queued, an item's record
before it counts, the result before the status is final. What Redis says last is set only if it was not set before,
so work that is delivered twice, or comes back late, changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container
from dataclasses import replace
from datetime import timedelta
from itertools import chain
from typing import TYPE_CHECKING, TypeAlias, cast

from redis.exceptions import ResponseError

from flawsmith.contract.base import now
from flawsmith.contract.evaluations import EvaluationRecord
from flawsmith.contract.ids import job_time, split_defect_type
from flawsmith.contract.jobs import Item, ItemStatus, Job, JobPage, JobStatus
from flawsmith.contract.manifests import (
    AugmentationManifest,
    DatasetManifest,
    EvaluationManifest,
    IdempotencyRecord,
    RequestManifest,
    ResultManifest,
    read_request,
)
from flawsmith.contract.trainings import TrainingRecord
from service.store import idempotency, keys, records
from service.store.acceptance import Acceptance, fields_of
from service.store.connection import queue_errors
from service.store.events import Event, Events
from service.store.idempotency import Reservation
from service.store.identity import Identity
from service.store.index import Index, Position
from service.store.lookback import look_again
from service.store.lookup import Found, Lookup
from service.store.outcomes import Outcomes
from service.store.queue import forget_shards, living_workers, shard_job_id, shard_queue
from service.store.records import Kept, Record, RedisFields, State, Tally
from service.store.settings import StoreSettings
from service.store.shards import ShardEnd, Shards, ShardState
from service.store.storage import ObjectNotFoundError, Storage
from service.store.stored import JobFiles, StoredJobs

if TYPE_CHECKING:
    from datetime import datetime

    from redis import Redis

_log = logging.getLogger(__name__)

_STEP_TTL_S = 3600
_INDEX_BATCH = 200  # entries of the index looked at in one go
_READ_FOR_PAGE = 200
"""Jobs that are read for one page at most: of one that has ended long ago storage alone knows the status."""
_PLACES = 64  # shards of a job whose place in the queue is looked for
_REOPENED = 256
"""Shards of a data set that are queued again at a time; when they are done, the others come."""


class JobNotFinalError(Exception):
    """A job that has not ended cannot be deleted; cancel it first."""


OnFinal: TypeAlias = "Callable[[ResultManifest], None]"
"""Called with the result of a job when it ends."""


def ignore_final(result: ResultManifest) -> None:
    """Nobody is told."""


class Jobs:
    """The only code that knows how a job is kept in Redis.

    Every method raises `QueueUnavailableError` when Redis cannot be reached, and storage errors; what is written
    in a newer format raises `pydantic.ValidationError` or `UnknownFormatVersionError`.

    Args:
        on_final: told the result of each job that ends by a call of this object, once a job.
    """

    def __init__(
        self,
        redis: Redis,
        storage: Storage,
        settings: StoreSettings,
        on_final: OnFinal = ignore_final,
    ) -> None:
        self._on_final = on_final
        self._redis = redis
        self._stored = StoredJobs(storage)
        self._identity = Identity(redis, storage)
        self._settings = settings
        self._queue = shard_queue(redis)
        self._acceptance = Acceptance(redis, self._stored, self._queue, settings)
        self._lookup = Lookup(redis)
        self._outcomes = Outcomes(redis, self._stored)
        self._shards = Shards(redis, self._stored, self._outcomes, self._queue, settings)
        self._index = Index(redis)
        self._events = Events(redis)
        self._request_cancel = redis.register_script(records.REQUEST_CANCEL)
        self._finish_job = redis.register_script(records.FINISH_JOB)
        self._note_pace = redis.register_script(records.NOTE_PACE)

    # What the service asks

    def accept(
        self,
        manifest: RequestManifest,
        files: JobFiles,
        *,
        quota: int | None = None,
        reservation: Reservation | None = None,
    ) -> Job:
        """Take a job: when this returns, the job will be worked on, whatever restarts.

        Args:
            files: what it is made with, by name in its folder.
            quota: how many unfinished jobs the tenant may have, this one included.
            reservation: what the job was asked for under; it is done in the same moment, with `answer_of` the job.

        Raises:
            TooManyOpenJobsError: the quota is used up.
            ReservationLostError: another request took the reservation over.
            QueueUnavailableError: nothing was accepted.
            StorageError: nothing was accepted.
        """
        return self._acceptance.accept(manifest, files, quota, reservation)

    def exists(self, tenant: str, job_id: str) -> bool:
        """Whether there is such a job."""
        return self._stored.exists(tenant, job_id)

    def get(self, tenant: str, job_id: str) -> Job | None:
        """The job as it is; from storage if Redis has lost it. A data set's items are counted and not listed."""
        if not keys.is_job_id(job_id):
            return None
        found = self._lookup.job(tenant, job_id)
        if found is None:
            return self._stored.job(tenant, job_id)
        record = found.record
        if record.state is None:  # Redis has forgotten it, or the job is not worked on in slices
            record = replace(record, state=self._stored.state(record.manifest))
        if record.status.is_final:
            return record.job(found.items, 0.0, found.tally)
        step, pace, *places = self._look_ahead(record)
        job = record.job(found.items, step, found.tally)
        job.queue_position = min((place for place in places if place is not None), default=None)
        job.eta = _eta_of_slices(job, record.state) if record.state else self._eta(job, pace)
        return job

    def has_ended(self, tenant: str, job_id: str) -> bool:
        """Whether Redis knows that the job is final, or does not know the job: then `get` does."""
        with queue_errors():
            status = cast("bytes | None", self._redis.hget(records.record_key(tenant, job_id), "status"))
        return status is None or JobStatus(status.decode()).is_final

    def events(self, tenant: str, job_id: str, after: str | None = None) -> list[Event]:
        """What happened to a job after an event, oldest first; nothing if Redis has forgotten it."""
        return self._events.after(tenant, job_id, after)

    def page(self, tenant: str, limit: int, cursor: str | None = None, status: JobStatus | None = None) -> JobPage:
        """Jobs newest first, without their items; fewer than ``limit``, with a cursor, where many had to be read.

        Raises:
            InvalidCursorError: ``cursor`` is none that a page gave out.
        """
        keys.check_tenant(tenant)
        position = Position.from_cursor(cursor) if cursor is not None else None
        jobs: list[Job] = []
        read = 0
        while True:
            if status is None or status.is_final:
                entries = self._index.after(tenant, position, _INDEX_BATCH)
            else:  # of the others Redis has forgotten most, which have ended
                entries = self._index.unfinished(tenant, position, _INDEX_BATCH)
            for entry in entries if status is None else self._index.with_status(tenant, entries, status):
                if len(jobs) == limit or read == _READ_FOR_PAGE:
                    return JobPage(jobs=jobs, next_cursor=position.as_cursor() if position else None)
                read += 1
                job = self._readable(tenant, entry.job_id)
                if job is not None and (status is None or job.status is status):
                    jobs.append(job.model_copy(update={"items": []}))
                position = entry
            if len(entries) < _INDEX_BATCH:
                return JobPage(jobs=jobs)
            position = entries[-1]

    def _readable(self, tenant: str, job_id: str) -> Job | None:
        """The job, or None if it cannot be read: a page of others should not fail for it."""
        try:
            return self.get(tenant, job_id)
        except (ValueError, KeyError, ResponseError) as error:  # of a newer format version, or broken
            _log.error("job %s cannot be read and is left out of its page: %.200s", job_id, error)
            return None

    def cancel(self, tenant: str, job_id: str) -> Job | None:
        """End a job: at once if nothing of it was begun, else within a denoising step of its worker."""
        if not keys.is_job_id(job_id):
            return None
        with queue_errors():
            status = self._request_cancel(keys=[records.record_key(tenant, job_id)])
        if status is None:
            return self._cancel_stored(tenant, job_id)
        if status == JobStatus.QUEUED.value.encode():
            self.finalize(tenant, job_id)
            record = self._lookup.record(tenant, job_id)
            with queue_errors(), self._redis.pipeline() as pipeline:
                shards = self._lookup.open_shards(record) if record is not None else ()
                forget_shards(self._queue, job_id, shards, pipeline)
                pipeline.execute()
        elif status == JobStatus.RUNNING.value.encode():
            # Redis may forget the wish before the worker has heard of it.
            self._stored.note_cancel(tenant, job_id)
        return self.get(tenant, job_id)

    def _cancel_stored(self, tenant: str, job_id: str) -> Job | None:
        """End a job that Redis does not know."""
        job = self._stored.job(tenant, job_id)
        if job is None or job.status.is_final:
            return job
        manifest = self.manifest(tenant, job_id)
        if manifest.lists_items:
            items = self._stored.with_outcomes(tenant, job_id, records.new_items(manifest))
            self._stored.sweep(tenant, job_id, self._stored.put_result(manifest, items, None))
        else:
            outcomes = self._stored.outcomes(tenant, job_id)
            self._stored.put_result(manifest, Tally.of(outcomes.values()), None)
            for indices in self._stored.finished(tenant, job_id):
                for index in filter(lambda index: index not in outcomes, indices):  # stored meanwhile
                    self._stored.drop_item(tenant, job_id, index)
        return self._stored.job(tenant, job_id)

    def delete(self, tenant: str, job_id: str) -> bool:
        """Remove a job and all that it made, but for what data sets share; False if there is none.

        Of a job whose deletion broke off it removes what is left.

        Raises:
            JobNotFinalError: it has not ended.
        """
        job = self.get(tenant, job_id)
        if job is None:
            return keys.is_job_id(job_id) and self._stored.erase_rest(tenant, job_id)
        if not job.status.is_final:
            raise JobNotFinalError(f"job {job_id} is {job.status}; cancel it before deleting it")
        try:
            promise = self.manifest(tenant, job_id).idempotency
        except ObjectNotFoundError:
            promise = None
        # Redis first: what an interrupted deletion leaves in storage is a whole job, to be deleted again, or one
        # without its request, which does not exist.
        self._forget_final(tenant, job_id, promise)
        self.erase(tenant, job_id)
        with queue_errors():  # somebody may have listed it again meanwhile
            self._redis.zrem(records.index_key(tenant), job_id)
        return True

    def workers(self) -> int:
        """Compute workers that are alive."""
        return living_workers(self._queue)

    def queued_shards(self) -> int:
        """Shards that wait for a worker."""
        with queue_errors():
            return self._queue.count

    def check(self) -> None:
        """Return if Redis answers, and takes what it is told.

        Raises:
            QueueUnavailableError: it does not.
        """
        with queue_errors():
            self._redis.set(records.CHECK_KEY, 1, px=1)

    # What the worker asks

    def manifest(self, tenant: str, job_id: str) -> RequestManifest:
        """What was asked for.

        Raises:
            ObjectNotFoundError: there is no such job.
        """
        return self._stored.manifest(tenant, job_id)

    def begin_shard(self, tenant: str, job_id: str, shard: int, *, known: bool = False) -> ShardState:
        """Mark the job running, count the attempt, and say what there is to do.

        Args:
            known: storage had the job just now, and is not asked.
        """
        if not known and not self.exists(tenant, job_id):
            # Its acceptance failed after Redis had taken it, or it was deleted: it does not exist.
            self.forget_missing(tenant, job_id)
            return ShardState(attempt=0, pending=(), final=True)
        return self._shards.begin(tenant, job_id, shard)

    def holds_shard(self, tenant: str, job_id: str, shard: int, attempt: int) -> bool:
        """Whether ``attempt`` is still the shard's newest: if not, another worker has taken over."""
        return self._shards.holds(tenant, job_id, shard, attempt)

    def spare_attempt(self, tenant: str, job_id: str, shard: int) -> None:
        """Do not hold the present attempt against the shard: a shutdown or an outage ended it."""
        self._shards.note(tenant, job_id, "HINCRBY", f"spared:{shard}", 1)

    def fail_attempt(self, tenant: str, job_id: str, shard: int, reason: str) -> None:
        """Keep why the present attempt failed, for the case that it was the last."""
        self._shards.note(tenant, job_id, "HSET", f"error:{shard}", reason)

    def forgive_attempts(self, tenant: str, job_id: str, shard: int, attempt: int) -> None:
        """Hold nothing against a shard that ``attempt`` has brought further, though not to its end."""
        self._shards.note(tenant, job_id, "HSET", f"spared:{shard}", attempt)

    def cancel_requested(self, tenant: str, job_id: str) -> bool:
        """Whether work on the job is to stop: it was canceled, or has ended, or is gone."""
        with queue_errors():
            fields = self._redis.hmget(records.record_key(tenant, job_id), ["status", "cancel"])
        status, cancel = cast("list[bytes | None]", fields)
        return status is None or cancel is not None or JobStatus(status.decode()).is_final

    def progress(self, tenant: str, job_id: str, step: float) -> None:
        """Show the model's progress in the shard at work, 0–1."""
        with queue_errors():
            self._redis.set(records.step_key(tenant, job_id), f"{step:.4f}", ex=_STEP_TTL_S)

    def show(self, tenant: str, job_id: str, state: State) -> None:
        """Show how far a job is that is worked on in slices, for now; `keep` is for good."""
        self._shards.note(tenant, job_id, "HSET", records.state_field(state), state.model_dump_json())
        self.progress(tenant, job_id, state.step / state.steps if state.steps else 0.0)

    def training(self, tenant: str, job_id: str) -> TrainingRecord | None:
        """How far a training is for good, and from where it goes on; None if nothing of it is."""
        return self._stored.training(tenant, job_id)

    def evaluation(self, tenant: str, job_id: str) -> EvaluationRecord | None:
        """How far an evaluation is for good, and from where it goes on; None if nothing of it is."""
        return self._stored.evaluation(tenant, job_id)

    def keep(self, tenant: str, job_id: str, record: Kept) -> None:
        """Write how far a job is, then show it; what its checkpoints are made of is written before."""
        self._stored.put_kept(tenant, job_id, record)
        self.show(tenant, job_id, record.state)

    def using(self, tenant: str, name: str) -> dict[int, str]:
        """Versions of the tenant's own type that an unfinished job draws with, each with such a job."""
        with queue_errors():
            members = cast("set[bytes]", self._redis.smembers(records.open_key(tenant)))
        found: dict[int, str] = {}
        for job_id in filter(keys.is_job_id, (member.decode(errors="replace") for member in members)):
            with queue_errors():
                data = cast("bytes | None", self._redis.hget(records.record_key(tenant, job_id), "manifest"))
            manifest = read_request(data) if data is not None else None
            for owner, drawn, version in _drawn_by(manifest):
                if (owner, drawn) == (tenant, name):
                    found[version] = job_id
        return found

    def finished_item(self, tenant: str, job_id: str, index: int) -> Item | None:
        """The outcome of an item, if storage has it."""
        return self._stored.item(tenant, job_id, index)

    def begun_items(self, tenant: str, job_id: str) -> frozenset[int]:
        """Items of which storage has anything: files, perhaps an outcome. What has none may be among them."""
        return self._stored.begun(tenant, job_id)

    def finish_item(self, tenant: str, job_id: str, item: Item, *, reused: bool = False) -> bool:
        """Write an item's outcome to storage, then count it; False if it had one, or the job has ended.

        If storage has an outcome already, that one holds.

        Args:
            reused: of a data set's item: it was there already, and nothing was made.
        """
        if reused:
            item = item.model_copy(update={"reused": True})
        return self._outcomes.finish(tenant, job_id, item)

    def note_pace(self, item_s: float) -> None:
        """Keep how many seconds an item took, to tell others how long they will wait."""
        with queue_errors():
            self._note_pace(keys=[records.PACE_KEY], args=[item_s])

    def pace(self) -> float | None:
        """Seconds that an item has taken of late; None while no worker has noted it."""
        with queue_errors():
            noted = cast("bytes | None", self._redis.get(records.PACE_KEY))
        return None if noted is None else float(noted)

    def finish_shard(self, tenant: str, job_id: str, shard: int) -> bool:
        """Count a shard as done, once, and feed the next one; the last one ends the job.

        False if items of it have no outcome although nobody asked for the job's end: Redis has forgotten something
        while the shard was at work, and it is to be delivered again.
        """
        end = self._shards.finish(tenant, job_id, shard)
        if end is ShardEnd.LAST:
            self.finalize(tenant, job_id)
        return end is not ShardEnd.FORGOTTEN

    def try_alone(self, tenant: str, job_id: str, index: int) -> bool:
        """Note that an item of an exhausted shard is now tried alone; False if it was before."""
        return self._shards.note_once(tenant, job_id, f"alone:{index}")

    def spare_alone(self, tenant: str, job_id: str, index: int) -> None:
        """Let an item be tried alone again: a shutdown or an outage ended the try."""
        self._shards.note(tenant, job_id, "HDEL", f"alone:{index}")

    def attempts(self, tenant: str, job_id: str, shard: int) -> int:
        """How often a shard was begun, even if nothing else of its job can be read."""
        return self._shards.attempts(tenant, job_id, shard)

    def restore(self, manifest: RequestManifest) -> bool:
        """Queue a job that Redis does not know, from what storage holds of it; False if Redis knows it by now.

        Raises:
            ReservationLostError: its client has asked again meanwhile, and got another job.
            IdempotencyInProgressError: a request is at work under its key, perhaps the one that is making it.
        """
        tenant, job_id = manifest.tenant, manifest.job_id
        finished: Container[int]
        known: RedisFields = {}
        if manifest.lists_items:
            items = self._stored.with_outcomes(tenant, job_id, records.new_items(manifest))
            finished = {item.index for item in items if item.status is not ItemStatus.PENDING}
            known = fields_of(items)
        else:
            finished = outcomes = self._stored.outcomes(tenant, job_id)
            known.update(outcomes.items())
            known.update(Tally.of(outcomes.values()).fields.items())
        done = records.leading_done(manifest, finished)
        cancel = self._stored.cancel_noted(tenant, job_id)
        created = self._acceptance.create(manifest, known, done=done, cancel=cancel)
        if created:
            record = self._lookup.record(tenant, job_id)
            if record is not None and record.shards_done == record.shards_queued:
                self.finalize(tenant, job_id)
        return created

    def recall_cancel(self, tenant: str, job_id: str) -> bool:
        """Tell Redis that a job's end was asked for, if storage knows so; whether it does."""
        return self._shards.recall_cancel(tenant, job_id)

    def list_final(self, manifest: RequestManifest) -> None:
        """List a job that has ended and that Redis has forgotten."""
        self._acceptance.list_final(manifest)

    def sweep(self, tenant: str, job_id: str) -> None:
        """Remove what was stored too late: of items that the result does not have, or of a job that is gone."""
        self._stored.sweep(tenant, job_id)

    def erase(self, tenant: str, job_id: str) -> None:
        """Remove all of a job from storage: its request first, its result last; see `StoredJobs.erase`."""
        self._stored.erase(tenant, job_id)

    # How it is done

    def _look_ahead(self, record: Record) -> tuple[float, float | None, *tuple[int | None, ...]]:
        """Progress of the shard at work, seconds an item takes, and places in the queue of the job's shards."""
        tenant, job_id = record.manifest.tenant, record.manifest.job_id
        shards = self._lookup.open_shards(record)
        with queue_errors(), self._redis.pipeline(transaction=False) as pipeline:
            pipeline.get(records.step_key(tenant, job_id))
            pipeline.get(records.PACE_KEY)
            for shard in shards[:_PLACES]:
                pipeline.lpos(self._queue.key, shard_job_id(job_id, shard))
            step, pace, *places = pipeline.execute()
        return float(step or 0), float(pace) if pace else None, *places

    def _eta(self, job: Job, pace: float | None) -> datetime | None:
        """When the job is likely to be final: all items before its last, shared among the workers there are.

        A data set is worked on by all of them at once.
        """
        if pace is None or (workers := self.workers()) == 0:
            return None
        ahead = (job.queue_position or 0) * self._settings.shard_size
        left = max(job.progress.total - job.progress.done - job.progress.step, 0)
        if job.dataset is not None:
            left /= workers
        return now() + timedelta(seconds=round(pace * (ahead / workers + left), 3))

    def finalize(self, tenant: str, job_id: str) -> None:
        """Write the result, then make the status final."""
        found = self._lookup.job(tenant, job_id)
        if found is None:
            return
        record = found.record
        outcome = self._outcome(found) if record.manifest.lists_items else self._tally(found)
        if outcome is None:
            return
        result = self._stored.put_result(record.manifest, outcome, record.started_at)
        self._stored.sweep(tenant, job_id, result)
        changed: RedisFields = {item.index: item.model_dump_json() for item in result.items}
        if not record.manifest.lists_items:
            changed = dict(Tally.of_result(result).fields.items())
            if result.counts.canceled:
                self._outcomes.drop_late(record.manifest)
        if (state := result.training or result.evaluation) is not None:
            self._shards.note(tenant, job_id, "HSET", records.state_field(state), state.model_dump_json())
        with queue_errors():
            was_open = self._finish_job(
                keys=[*records.all_keys(tenant, job_id), records.open_key(tenant)],
                args=[
                    job_id,
                    result.status.value,
                    result.finished_at.isoformat(),
                    result.error.model_dump_json() if result.error else "",
                    self._settings.finished_record_ttl_s,
                    *chain.from_iterable(changed.items()),
                ],
            )
        if was_open:
            self._on_final(result)
            _log.info("job %s %s: %s", job_id, result.status, result.counts)

    def _outcome(self, found: Found) -> list[Item] | None:
        """The items of a job of which all shards are done; None if some have no outcome, and are queued again."""
        manifest = found.record.manifest
        items = self._stored.with_outcomes(manifest.tenant, manifest.job_id, found.items)
        left = sorted({item.index // manifest.shard_size for item in items if item.status is ItemStatus.PENDING})
        if left and not self._is_canceled(found.record):
            self._shards.reopen(found.record, left)
            return None
        return items

    def _tally(self, found: Found) -> Tally | None:
        """The same of a job that lists no items, without looking at each, unless some do not count."""
        manifest, tally = found.record.manifest, found.tally
        if tally.done == manifest.count:
            return tally
        self._outcomes.recall_all(manifest)
        if self._is_canceled(found.record):
            return self._outcomes.close(manifest)
        again = self._lookup.job(manifest.tenant, manifest.job_id)
        if again is None or again.tally.done == manifest.count:
            return None if again is None else again.tally
        self._shards.reopen(found.record, self._outcomes.shards_left(manifest, _REOPENED))
        return None

    def _is_canceled(self, record: Record) -> bool:
        """Whether the job's end was asked for, even if Redis has forgotten it."""
        return record.cancel_requested or self._stored.cancel_noted(record.manifest.tenant, record.manifest.job_id)

    def forget_deleted(self, tenant: str, job_id: str) -> bool:
        """Forget a job that has ended, if storage does not have it: it was deleted, and Redis lost that.

        Raises:
            AnotherStorageError: it is not the storage that would have it.
        """
        record = self._lookup.record(tenant, job_id)
        if record is None or not record.status.is_final or self.exists(tenant, job_id):
            return False
        self._identity.check()
        promised_lately = now() - record.manifest.created_at < timedelta(seconds=idempotency.KEPT_S)
        self._forget_final(tenant, job_id, record.manifest.idempotency if promised_lately else None)
        return True

    def _forget_final(self, tenant: str, job_id: str, promise: IdempotencyRecord | None) -> None:
        with queue_errors(), self._redis.pipeline() as pipeline:
            pipeline.delete(*records.all_keys(tenant, job_id))
            pipeline.zrem(records.index_key(tenant), job_id)
            if promise is not None:
                idempotency.mark_deleted_in(pipeline, tenant, promise)
            pipeline.execute()

    def forget_missing(self, tenant: str, job_id: str) -> None:
        """Forget a job whose request is not in storage; the house looks once more at what was made since.

        Raises:
            AnotherStorageError: it is not the storage that would have it.
        """
        self._identity.check()
        look_again(self._redis, job_time(job_id))
        self.forget(tenant, job_id)

    def forget(self, tenant: str, job_id: str) -> None:
        """Remove all that Redis holds of a job that does not exist."""
        with queue_errors():
            pipeline = self._redis.pipeline()
            pipeline.delete(*records.all_keys(tenant, job_id))
            pipeline.zrem(records.index_key(tenant), job_id)
            pipeline.srem(records.open_key(tenant), job_id)
            pipeline.execute()


def _eta_of_slices(job: Job, state: State) -> datetime | None:
    """When a job is likely to be final, should it go on as it went so far, waiting included."""
    if job.started_at is None or not 0 < state.step < state.steps:
        return None
    took = (now() - job.started_at).total_seconds()
    return now() + timedelta(seconds=round(took * (state.steps - state.step) / state.step, 3))


def _drawn_by(manifest: RequestManifest | None) -> list[tuple[str, str, int]]:
    """Tenant, name and version of each type that a job draws with."""
    match manifest:
        case AugmentationManifest():
            return [
                (wanted.defect_type_tenant, wanted.defect_type, wanted.defect_type_version)
                for wanted in manifest.augmentation.defects
            ]
        case EvaluationManifest():
            name, version = split_defect_type(manifest.evaluation.defect_type)
            assert version is not None
            return [(manifest.tenant, name, version)]
        case DatasetManifest():
            return [
                (wanted.defect_type_tenant, wanted.defect_type, wanted.defect_type_version)
                for entry in manifest.dataset.entries
                for wanted in entry.defects
            ]
    return []
