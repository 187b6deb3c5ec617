"""Shards of jobs: begun as often as it takes, done once. One costs the same, however many its job has."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, cast

from redis.exceptions import WatchError

from flawsmith.contract.base import check_format_version, now
from flawsmith.contract.jobs import JobStatus
from flawsmith.contract.manifests import AUGMENTATION_FORMAT, RequestManifest, read_request
from service.store import records
from service.store.connection import queue_errors
from service.store.outcomes import Outcomes
from service.store.queue import ShardQueue, enqueue_shard, shards_at_once
from service.store.records import Record
from service.store.settings import StoreSettings
from service.store.stored import StoredJobs

if TYPE_CHECKING:
    from redis import Redis
    from redis.client import Pipeline

_log = logging.getLogger(__name__)

_AT_ONCE = 64  # shards looked at in one command


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


class ShardEnd(Enum):
    """What the end of a shard comes to."""

    DONE = "done"
    LAST = "last"
    """No other shard of the job is queued or at work."""
    FORGOTTEN = "forgotten"
    """Items have no outcome although nobody asked for the job's end: the shard is to be delivered again."""


class Shards:
    """How shards are kept in Redis. Every method raises `QueueUnavailableError` when Redis cannot be reached."""

    def __init__(
        self, redis: Redis, stored: StoredJobs, outcomes: Outcomes, queue: ShardQueue, settings: StoreSettings
    ) -> None:
        self._redis = redis
        self._stored = stored
        self._outcomes = outcomes
        self._queue = queue
        self._settings = settings
        self._begin_shard = redis.register_script(records.BEGIN_SHARD)
        self._request_cancel = redis.register_script(records.REQUEST_CANCEL)
        self._note_in_record = redis.register_script(records.NOTE_IN_RECORD)

    def begin(self, tenant: str, job_id: str, shard: int) -> ShardState:
        """Mark the job running, count the attempt, and say what there is to do."""
        with queue_errors():
            status, cancel, attempt, spared, *told = self._begin_shard(
                keys=[records.record_key(tenant, job_id), records.events_key(tenant, job_id)],
                args=[shard, now().isoformat(), secrets.token_hex(8)],
            )
        if status is None or JobStatus(status.decode()).is_final:
            return ShardState(attempt=0, pending=(), final=True)
        if cancel:
            return ShardState(attempt=0, pending=(), canceled=True)
        last_error, format_version, data = told
        check_format_version(int(format_version), newest=AUGMENTATION_FORMAT)
        manifest = read_request(data)
        return ShardState(
            attempt=attempt,
            pending=tuple(self._outcomes.pending(manifest, records.shard_items(manifest, shard))),
            failures=attempt - 1 - spared,
            exhausted=attempt - spared > self._settings.shard_attempts,
            last_error=last_error.decode() if last_error else None,
            manifest=manifest,
        )

    def finish(self, tenant: str, job_id: str, shard: int) -> ShardEnd:
        """Count a shard as done, once, and feed what comes next."""
        record_key, done = records.record_key(tenant, job_id), records.done_field(shard)
        names = (*records.FIELDS, done)
        while True:
            with queue_errors(), self._redis.pipeline() as pipeline, suppress(WatchError):
                pipeline.watch(record_key)  # type: ignore[no-untyped-call]
                values = cast("list[bytes | None]", pipeline.hmget(record_key, names))
                fields = records.fields_of(values, names)
                if not fields:
                    return ShardEnd.DONE
                record = Record.from_hash(fields)
                if record.status.is_final:
                    return ShardEnd.DONE
                queued, finished = record.shards_queued, record.shards_done
                if done.encode() not in fields:
                    if not record.cancel_requested and not self._accounted(record.manifest, shard):
                        if not self._recall(record.manifest, shard):
                            return ShardEnd.FORGOTTEN
                        continue
                    finished += 1
                    first_open = self._first_open(record, shard, pipeline)
                    most = queued if record.cancel_requested else finished + self._window(record.manifest)
                    pipeline.multi()
                    while queued < min(most, records.shard_count(record.manifest)):
                        enqueue_shard(self._queue, tenant, job_id, queued, self._settings, pipeline)
                        queued += 1
                    pipeline.hset(
                        record_key,
                        mapping={
                            done: 1,
                            "shards_done": finished,
                            "shards_queued": queued,
                            "first_open": first_open,
                        },
                    )
                    pipeline.execute()
                break
        return ShardEnd.LAST if finished == queued else ShardEnd.DONE

    def _accounted(self, manifest: RequestManifest, shard: int) -> bool:
        """Whether Redis knows the outcome of each item of a shard."""
        return not self._outcomes.pending(manifest, records.shard_items(manifest, shard))

    def _window(self, manifest: RequestManifest) -> int:
        """How many shards of a job may be queued or at work.

        Of a data set as many as fill a batch of each worker, and the next batch; of another job, of one worker.
        """
        filling = shards_at_once(self._queue, manifest.shard_size) or [1]
        most = max(filling)
        return max(self._settings.shard_window, most + (most if manifest.lists_items else sum(filling)))

    def _first_open(self, record: Record, finished: int, pipeline: Pipeline) -> int:
        """The first shard that is not done, as soon as ``finished`` is."""
        key = records.record_key(record.manifest.tenant, record.manifest.job_id)
        for start in range(record.first_open, record.shards_queued, _AT_ONCE):
            shards = range(start, min(start + _AT_ONCE, record.shards_queued))
            done = cast("list[bytes | None]", pipeline.hmget(key, [records.done_field(shard) for shard in shards]))
            for shard, value in zip(shards, done, strict=True):
                if value is None and shard != finished:
                    return shard
        return record.shards_queued

    def _recall(self, manifest: RequestManifest, shard: int) -> bool:
        """Tell Redis what storage knows of a shard; False if that does not account for all of its items."""
        if self.recall_cancel(manifest.tenant, manifest.job_id):
            return True
        return self._outcomes.recall(manifest, records.shard_items(manifest, shard))

    def recall_cancel(self, tenant: str, job_id: str) -> bool:
        """Tell Redis that a job's end was asked for, if storage knows so; whether it does."""
        if not self._stored.cancel_noted(tenant, job_id):
            return False
        with queue_errors():
            self._request_cancel(keys=[records.record_key(tenant, job_id)])
        return True

    def reopen(self, record: Record, shards: Sequence[int]) -> None:
        """Queue shards again that count as done and are not: Redis has forgotten more than it remembers."""
        tenant, job_id = record.manifest.tenant, record.manifest.job_id
        record_key = records.record_key(tenant, job_id)
        _log.error("shards %s of %s have items without an outcome; they are queued again", list(shards), job_id)
        with queue_errors(), self._redis.pipeline() as pipeline, suppress(WatchError):
            pipeline.watch(record_key)  # type: ignore[no-untyped-call]
            if self._redis.hget(record_key, "shards_done") != str(record.shards_done).encode():
                return
            pipeline.multi()
            for shard in shards:
                pipeline.hdel(record_key, records.done_field(shard))
                enqueue_shard(self._queue, tenant, job_id, shard, self._settings, pipeline)
            pipeline.hincrby(record_key, "shards_done", -len(shards))
            pipeline.hset(record_key, "first_open", min([record.first_open, *shards]))
            pipeline.execute()

    def holds(self, tenant: str, job_id: str, shard: int, attempt: int) -> bool:
        """Whether ``attempt`` is still the shard's newest: if not, another worker has taken over."""
        with queue_errors():
            newest = self._redis.hget(records.record_key(tenant, job_id), f"attempts:{shard}")
        return newest is not None and int(cast(bytes, newest)) == attempt

    def attempts(self, tenant: str, job_id: str, shard: int) -> int:
        """How often a shard was begun, even if nothing else of its job can be read."""
        with queue_errors():
            count = self._redis.hget(records.record_key(tenant, job_id), f"attempts:{shard}")
        return int(cast("bytes | None", count) or 0)

    def note_once(self, tenant: str, job_id: str, field: str) -> bool:
        """Note something in a record; False if it was noted before, or there is no record."""
        token = secrets.token_hex(8)
        if self.note(tenant, job_id, "HSETNX", field, token):
            return True
        with queue_errors():  # a client that did not hear the answer has sent the same again
            return self._redis.hget(records.record_key(tenant, job_id), field) == token.encode()

    def note(self, tenant: str, job_id: str, command: str, *arguments: str | int) -> int:
        """Change one field of a record; 0 if there is no record."""
        with queue_errors():
            return int(self._note_in_record(keys=[records.record_key(tenant, job_id)], args=[command, *arguments]))
