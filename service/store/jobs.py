"""Jobs: accepted once, cut into shards, finished once, whatever dies in between.

Storage is written before Redis says that something is so: the request before the job is queued, an item's record
before it counts, the result before the status is final. What Redis says last is set only if it was not set before,
so work that is delivered twice, or comes back late, changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias, cast

from redis.exceptions import ResponseError, WatchError
from rq.worker_registration import get_keys as worker_keys

from flawsmith.contract.base import now
from flawsmith.contract.evaluations import EvaluationRecord
from flawsmith.contract.ids import split_defect_type
from flawsmith.contract.jobs import Item, ItemStatus, Job, JobPage, JobStatus
from flawsmith.contract.manifests import (
    AugmentationManifest,
    EvaluationManifest,
    RequestManifest,
    ResultManifest,
    read_request,
)
from flawsmith.contract.trainings import TrainingRecord
from service.store import idempotency, keys, records
from service.store.acceptance import Acceptance
from service.store.connection import queue_errors
from service.store.events import Event, Events
from service.store.idempotency import Reservation
from service.store.index import Index, Position
from service.store.queue import enqueue_shard, forget_shards, shard_job_id, shard_queue
from service.store.records import Kept, Record, State
from service.store.settings import StoreSettings
from service.store.storage import ObjectNotFoundError, Storage
from service.store.stored import JobFiles, StoredJobs

if TYPE_CHECKING:
    from datetime import datetime

    from redis import Redis

_log = logging.getLogger(__name__)

_STEP_TTL_S = 3600
_INDEX_BATCH = 200  # entries of the index looked at in one go


class JobNotFinalError(Exception):
    """A job that has not ended cannot be deleted; cancel it first."""


@dataclass(frozen=True)
class ShardState:
    """What a worker finds when it begins a shard."""

    attempt: int
    """This attempt's number; 0 if there is nothing to do."""
    pending: tuple[int, ...]
    """Items of the shard without an outcome."""
    canceled: bool = False
    """The job was canceled: the shard is to be finished without work."""
    final: bool = False
    """The job has ended, or is gone: there is nothing to do at all."""
    failures: int = 0
    """Attempts before this one that are held against the shard."""
    exhausted: bool = False
    """The attempts are used up: the pending items are to be given up."""
    last_error: str | None = None
    """Why the attempt before failed, if it could say so."""
    manifest: RequestManifest | None = None
    """What was asked for, if there is anything to do."""


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
        self._settings = settings
        self._queue = shard_queue(redis)
        self._acceptance = Acceptance(redis, self._stored, self._queue, settings)
        self._index = Index(redis)
        self._events = Events(redis)
        self._begin_shard = redis.register_script(records.BEGIN_SHARD)
        self._finish_item = redis.register_script(records.FINISH_ITEM)
        self._request_cancel = redis.register_script(records.REQUEST_CANCEL)
        self._finish_job = redis.register_script(records.FINISH_JOB)
        self._note_in_record = redis.register_script(records.NOTE_IN_RECORD)
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
        """The job as it is; from storage if Redis has lost it."""
        if not keys.is_job_id(job_id):
            return None
        found = self._read(tenant, job_id)
        if found is None:
            return self._stored.job(tenant, job_id)
        record, items, fields = found
        if record.state is None:  # Redis has forgotten it, or the job is not worked on in slices
            record = replace(record, state=self._stored.state(record.manifest))
        if record.status.is_final:
            return record.job(items, 0.0)
        step, pace, *places = self._look_ahead(record, fields)
        job = record.job(items, step)
        job.queue_position = min((place for place in places if place is not None), default=None)
        job.eta = _eta_of_slices(job, record.state) if record.state else self._eta(job, pace)
        return job

    def events(self, tenant: str, job_id: str, after: str | None = None) -> list[Event]:
        """What happened to a job after an event, oldest first; nothing if Redis has forgotten it."""
        return self._events.after(tenant, job_id, after)

    def page(self, tenant: str, limit: int, cursor: str | None = None, status: JobStatus | None = None) -> JobPage:
        """Jobs newest first, without their items.

        Raises:
            InvalidCursorError: ``cursor`` is none that a page gave out.
        """
        keys.check_tenant(tenant)
        position = Position.from_cursor(cursor) if cursor is not None else None
        jobs: list[Job] = []
        while True:
            entries = self._index.after(tenant, position, _INDEX_BATCH)
            for entry in entries if status is None else self._index.with_status(tenant, entries, status):
                if len(jobs) == limit:
                    return JobPage(jobs=jobs, next_cursor=position.as_cursor() if position else None)
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
            job = self._stored.job(tenant, job_id)
            if job is None or job.status.is_final:
                return job
            self._stored.put_result(self.manifest(tenant, job_id), job.items, None, canceled=True)
            return self._stored.job(tenant, job_id)
        if status == JobStatus.QUEUED.value.encode():
            self.finalize(tenant, job_id)
            with queue_errors(), self._redis.pipeline() as pipeline:
                queued = int(self._redis.hget(records.record_key(tenant, job_id), "shards_queued") or 0)
                forget_shards(self._queue, job_id, queued, pipeline)
                pipeline.execute()
        elif status == JobStatus.RUNNING.value.encode():
            # Redis may forget the wish before the worker has heard of it.
            self._stored.note_cancel(tenant, job_id)
        return self.get(tenant, job_id)

    def delete(self, tenant: str, job_id: str) -> bool:
        """Remove a job and all that it made; False if there is none.

        Raises:
            JobNotFinalError: it has not ended.
        """
        job = self.get(tenant, job_id)
        if job is None:
            return False
        if not job.status.is_final:
            raise JobNotFinalError(f"job {job_id} is {job.status}; cancel it before deleting it")
        try:
            promise = self.manifest(tenant, job_id).idempotency
        except ObjectNotFoundError:
            promise = None
        # Redis first: what an interrupted deletion leaves in storage is a whole job, to be deleted again, or one
        # without its request, which does not exist.
        with queue_errors(), self._redis.pipeline() as pipeline:
            pipeline.delete(*records.all_keys(tenant, job_id))
            pipeline.zrem(records.index_key(tenant), job_id)
            if promise is not None:
                idempotency.mark_deleted_in(pipeline, tenant, promise)
            pipeline.execute()
        self.erase(tenant, job_id)
        with queue_errors():  # somebody may have listed it again meanwhile
            self._redis.zrem(records.index_key(tenant), job_id)
        return True

    def workers(self) -> int:
        """Compute workers that are alive: the key of one that is not expires with its heartbeat."""
        with queue_errors():
            registered = worker_keys(self._queue)
            return self._redis.exists(*registered) if registered else 0

    def queued_shards(self) -> int:
        """Shards that wait for a worker."""
        with queue_errors():
            return self._queue.count

    def check(self) -> None:
        """Return if Redis answers.

        Raises:
            QueueUnavailableError: it does not.
        """
        with queue_errors():
            self._redis.ping()

    # What the worker asks

    def manifest(self, tenant: str, job_id: str) -> RequestManifest:
        """What was asked for.

        Raises:
            ObjectNotFoundError: there is no such job.
        """
        return self._stored.manifest(tenant, job_id)

    def begin_shard(self, tenant: str, job_id: str, shard: int) -> ShardState:
        """Mark the job running, count the attempt, and say what there is to do."""
        if not self.exists(tenant, job_id):
            # Its acceptance failed after Redis had taken it, or it was deleted: it does not exist.
            self.forget(tenant, job_id)
            return ShardState(attempt=0, pending=(), final=True)
        with queue_errors():
            status, cancel, attempt, spared = self._begin_shard(
                keys=[records.record_key(tenant, job_id), records.events_key(tenant, job_id)],
                args=[shard, now().isoformat()],
            )
            if status is None or JobStatus(status.decode()).is_final:
                return ShardState(attempt=0, pending=(), final=True)
            if cancel:
                return ShardState(attempt=0, pending=(), canceled=True)
        found = self._read(tenant, job_id)
        if found is None:
            return ShardState(attempt=0, pending=(), final=True)
        record, items, fields = found
        mine = records.shard_items(record.manifest, shard)
        last_error = fields.get(f"error:{shard}".encode())
        return ShardState(
            attempt=attempt,
            pending=tuple(
                item.index for item in items if item.index in mine and item.status is ItemStatus.PENDING
            ),
            failures=attempt - 1 - spared,
            exhausted=attempt - spared > self._settings.shard_attempts,
            last_error=last_error.decode() if last_error else None,
            manifest=record.manifest,
        )

    def holds_shard(self, tenant: str, job_id: str, shard: int, attempt: int) -> bool:
        """Whether ``attempt`` is still the shard's newest: if not, another worker has taken over."""
        with queue_errors():
            newest = self._redis.hget(records.record_key(tenant, job_id), f"attempts:{shard}")
        return newest is not None and int(cast(bytes, newest)) == attempt

    def spare_attempt(self, tenant: str, job_id: str, shard: int) -> None:
        """Do not hold the present attempt against the shard: a shutdown or an outage ended it."""
        self._note(tenant, job_id, "HINCRBY", f"spared:{shard}", 1)

    def fail_attempt(self, tenant: str, job_id: str, shard: int, reason: str) -> None:
        """Keep why the present attempt failed, for the case that it was the last."""
        self._note(tenant, job_id, "HSET", f"error:{shard}", reason)

    def forgive_attempts(self, tenant: str, job_id: str, shard: int, attempt: int) -> None:
        """Hold nothing against a shard that ``attempt`` has brought further, though not to its end."""
        self._note(tenant, job_id, "HSET", f"spared:{shard}", attempt)

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
        self._note(tenant, job_id, "HSET", records.state_field(state), state.model_dump_json())
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

    def finish_item(self, tenant: str, job_id: str, item: Item) -> bool:
        """Write an item's outcome to storage, then count it; False if it had one, or the job has ended.

        If storage has an outcome already, that one holds.
        """
        item = self._stored.put_item(tenant, job_id, item)
        with queue_errors():
            return bool(
                self._finish_item(
                    keys=[
                        records.record_key(tenant, job_id),
                        records.items_key(tenant, job_id),
                        records.events_key(tenant, job_id),
                    ],
                    args=[item.index, item.model_dump_json()],
                )
            )

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
        record_key, items_key = records.record_key(tenant, job_id), records.items_key(tenant, job_id)
        done = f"done:{shard}"
        while True:
            with queue_errors(), self._redis.pipeline() as pipeline, suppress(WatchError):
                pipeline.watch(record_key, items_key)  # type: ignore[no-untyped-call]
                fields = cast("dict[bytes, bytes]", pipeline.hgetall(record_key))
                if not fields:
                    return True
                record = Record.from_hash(fields)
                if record.status.is_final:
                    return True
                queued, finished = record.shards_queued, record.shards_done
                if done.encode() not in fields:
                    items = cast("dict[bytes, bytes]", pipeline.hgetall(items_key))
                    if not record.cancel_requested and records.pending_in(record.manifest, shard, items):
                        if not self._recall(record.manifest, shard):
                            return False
                        continue
                    pipeline.multi()
                    pipeline.hset(record_key, done, 1)
                    finished = finished + 1
                    pipeline.hset(record_key, "shards_done", finished)
                    if queued < records.shard_count(record.manifest) and not record.cancel_requested:
                        enqueue_shard(self._queue, tenant, job_id, queued, self._settings, pipeline)
                        queued = queued + 1
                        pipeline.hset(record_key, "shards_queued", queued)
                    pipeline.execute()
                break
        if finished == queued:
            self.finalize(tenant, job_id)
        return True

    def _recall(self, manifest: RequestManifest, shard: int) -> bool:
        """Tell Redis what storage knows of a shard; False if that does not account for all of its items."""
        tenant, job_id = manifest.tenant, manifest.job_id
        if self._stored.cancel_noted(tenant, job_id):
            with queue_errors():
                self._request_cancel(keys=[records.record_key(tenant, job_id)])
            return True
        known = True
        for index in records.shard_items(manifest, shard):
            item = self._stored.item(tenant, job_id, index)
            if item is None:
                known = False
            else:
                self.finish_item(tenant, job_id, item)
        return known

    def try_alone(self, tenant: str, job_id: str, index: int) -> bool:
        """Note that an item of an exhausted shard is now tried alone; False if it was before."""
        return bool(self._note(tenant, job_id, "HSETNX", f"alone:{index}", 1))

    def spare_alone(self, tenant: str, job_id: str, index: int) -> None:
        """Let an item be tried alone again: a shutdown or an outage ended the try."""
        self._note(tenant, job_id, "HDEL", f"alone:{index}")

    def attempts(self, tenant: str, job_id: str, shard: int) -> int:
        """How often a shard was begun, even if nothing else of its job can be read."""
        with queue_errors():
            count = self._redis.hget(records.record_key(tenant, job_id), f"attempts:{shard}")
        return int(cast("bytes | None", count) or 0)

    def restore(self, manifest: RequestManifest) -> bool:
        """Queue a job that Redis does not know, from what storage holds of it; False if Redis knows it by now.

        Raises:
            ReservationLostError: its client has asked again meanwhile, and got another job.
        """
        tenant, job_id = manifest.tenant, manifest.job_id
        items = self._stored.with_outcomes(tenant, job_id, records.new_items(manifest))
        created = self._acceptance.create(manifest, items, cancel=self._stored.cancel_noted(tenant, job_id))
        if created:
            found = self._read(tenant, job_id)
            if found is not None and found[0].shards_done == found[0].shards_queued:
                self.finalize(tenant, job_id)
        return created

    def list_final(self, manifest: RequestManifest) -> None:
        """List a job that has ended and that Redis has forgotten."""
        self._acceptance.list_final(manifest)

    def sweep(self, tenant: str, job_id: str) -> None:
        """Remove what was stored too late: of items that the result does not have, or of a job that is gone."""
        self._stored.sweep(tenant, job_id)

    def erase(self, tenant: str, job_id: str) -> None:
        """Remove all of a job from storage; its request first, for without it there is no job."""
        self._stored.erase(tenant, job_id)

    # How it is done

    def _note(self, tenant: str, job_id: str, command: str, *arguments: str | int) -> int:
        """Change one field of a record; 0 if there is no record."""
        with queue_errors():
            return int(self._note_in_record(keys=[records.record_key(tenant, job_id)], args=[command, *arguments]))

    def _look_ahead(
        self, record: Record, fields: dict[bytes, bytes]
    ) -> tuple[float, float | None, *tuple[int | None, ...]]:
        """Progress of the shard at work, seconds an item takes, and places in the queue of the job's shards."""
        tenant, job_id = record.manifest.tenant, record.manifest.job_id
        with queue_errors(), self._redis.pipeline(transaction=False) as pipeline:
            pipeline.get(records.step_key(tenant, job_id))
            pipeline.get(records.PACE_KEY)
            for shard in range(record.shards_queued):
                if f"done:{shard}".encode() not in fields:
                    pipeline.lpos(self._queue.key, shard_job_id(job_id, shard))
            step, pace, *places = pipeline.execute()
        return float(step or 0), float(pace) if pace else None, *places

    def _eta(self, job: Job, pace: float | None) -> datetime | None:
        """When the job is likely to be final: all items before its last, shared among the workers there are."""
        if pace is None or (workers := self.workers()) == 0:
            return None
        ahead = (job.queue_position or 0) * self._settings.shard_size
        left = job.progress.total - job.progress.done - job.progress.step
        return now() + timedelta(seconds=round(pace * (ahead / workers + max(left, 0)), 3))

    def finalize(self, tenant: str, job_id: str) -> None:
        """Write the result, then make the status final."""
        found = self._read(tenant, job_id)
        if found is None:
            return
        record, items, _ = found
        items = self._stored.with_outcomes(tenant, job_id, items)
        left = [item.index for item in items if item.status is ItemStatus.PENDING]
        canceled = record.cancel_requested or (bool(left) and self._stored.cancel_noted(tenant, job_id))
        if left and not canceled:
            self._reopen(record, left)
            return
        result = self._stored.put_result(record.manifest, items, record.started_at, canceled=canceled)
        self._stored.sweep(tenant, job_id, result)
        if (state := result.training or result.evaluation) is not None:
            self._note(tenant, job_id, "HSET", records.state_field(state), state.model_dump_json())
        changed = [value for item in result.items for value in (str(item.index), item.model_dump_json())]
        with queue_errors():
            was_open = self._finish_job(
                keys=[*records.all_keys(tenant, job_id), records.open_key(tenant)],
                args=[
                    job_id,
                    result.status.value,
                    result.finished_at.isoformat(),
                    result.error.model_dump_json() if result.error else "",
                    self._settings.finished_record_ttl_s,
                    *changed,
                ],
            )
        if was_open:
            self._on_final(result)
            _log.info("job %s %s: %s", job_id, result.status, result.counts)

    def _reopen(self, record: Record, left: list[int]) -> None:
        """Queue shards again that count as done and are not: Redis has forgotten more than it remembers."""
        tenant, job_id = record.manifest.tenant, record.manifest.job_id
        record_key = records.record_key(tenant, job_id)
        shards = sorted({index // record.manifest.shard_size for index in left})
        _log.error("items %s of %s have no outcome; their shards are queued again", left, job_id)
        with queue_errors(), self._redis.pipeline() as pipeline, suppress(WatchError):
            pipeline.watch(record_key)  # type: ignore[no-untyped-call]
            if self._redis.hget(record_key, "shards_done") != str(record.shards_done).encode():
                return
            pipeline.multi()
            for shard in shards:
                pipeline.hdel(record_key, f"done:{shard}")
                enqueue_shard(self._queue, tenant, job_id, shard, self._settings, pipeline)
            pipeline.hincrby(record_key, "shards_done", -len(shards))
            pipeline.execute()

    def _read(self, tenant: str, job_id: str) -> tuple[Record, list[Item], dict[bytes, bytes]] | None:
        """A job's record, items and raw fields as of one moment."""
        with queue_errors(), self._redis.pipeline() as pipeline:
            pipeline.hgetall(records.record_key(tenant, job_id))
            pipeline.hgetall(records.items_key(tenant, job_id))
            fields, items = pipeline.execute()
        if not fields:
            return None
        found = sorted((Item.model_validate_json(item) for item in items.values()), key=lambda item: item.index)
        return Record.from_hash(fields), found, fields

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
    return []
