"""How a job is kept in Redis: names, fields, and the steps that must not be torn apart.

| name | type | what |
|---|---|---|
| ``flawsmith:tenants`` | set | tenants that have or had jobs |
| ``flawsmith:{tenant}:jobs`` | sorted set | ids by creation time in ms |
| ``flawsmith:{tenant}:open`` | set | ids of jobs that have not ended |
| ``flawsmith:{tenant}:job:{id}`` | hash | manifest, status, times, shards |
| ``flawsmith:{tenant}:job:{id}:items`` | hash | index → item |
| ``flawsmith:{tenant}:job:{id}:step`` | string | the model's progress in the shard at work |
| ``flawsmith:{tenant}:job:{id}:events`` | stream | what happened, see `service.store.events` |
| ``flawsmith:changes`` | channel | id of each job to which something happened |
| ``flawsmith:pace`` | string | seconds that an item takes, of late |
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from flawsmith.contract.base import check_format_version
from flawsmith.contract.evaluations import EvaluationRecord, EvaluationState
from flawsmith.contract.jobs import Counts, Failure, Item, ItemStatus, Job, JobKind, JobStatus, Progress
from flawsmith.contract.manifests import (
    AUGMENTATION_FORMAT,
    AugmentationManifest,
    EvaluationManifest,
    RequestManifest,
    ResultManifest,
    TrainingManifest,
    read_request,
)
from flawsmith.contract.trainings import TrainingRecord, TrainingState

RedisFields: TypeAlias = "dict[bytes | bytearray | memoryview[int] | str | int | float, str | int]"
"""What redis-py takes as a hash."""
State: TypeAlias = "TrainingState | EvaluationState"
"""How far a job is that is worked on in slices."""
Kept: TypeAlias = "TrainingRecord | EvaluationRecord"
"""The same for good, with its checkpoints."""


TENANTS_KEY = "flawsmith:tenants"
PACE_KEY = "flawsmith:pace"
CHANGES = "flawsmith:changes"


def index_key(tenant: str) -> str:
    return f"flawsmith:{tenant}:jobs"


def open_key(tenant: str) -> str:
    return f"flawsmith:{tenant}:open"


def record_key(tenant: str, job_id: str) -> str:
    return f"flawsmith:{tenant}:job:{job_id}"


def items_key(tenant: str, job_id: str) -> str:
    return record_key(tenant, job_id) + ":items"


def step_key(tenant: str, job_id: str) -> str:
    return record_key(tenant, job_id) + ":step"


def events_key(tenant: str, job_id: str) -> str:
    return record_key(tenant, job_id) + ":events"


def all_keys(tenant: str, job_id: str) -> list[str]:
    """Everything of one job but its places in the index and among the open ones."""
    return [
        record_key(tenant, job_id),
        items_key(tenant, job_id),
        step_key(tenant, job_id),
        events_key(tenant, job_id),
    ]


def shard_count(manifest: RequestManifest) -> int:
    """Into how many shards a job is cut."""
    return -(-manifest.count // manifest.shard_size)


def shard_items(manifest: RequestManifest, shard: int) -> range:
    """The items of a shard."""
    first = shard * manifest.shard_size
    return range(first, min(first + manifest.shard_size, manifest.count))


def new_items(manifest: RequestManifest) -> list[Item]:
    """The items of a job on which no work was done."""
    return [Item(index=index, seed=manifest.seed) for index in range(manifest.count)]


def pending_in(manifest: RequestManifest, shard: int, items: dict[bytes, bytes]) -> bool:
    """Whether an item of a shard has no outcome in the hash of the job's items."""
    return any(
        Item.model_validate_json(items[str(index).encode()]).status is ItemStatus.PENDING
        for index in shard_items(manifest, shard)
    )


def leading_done(manifest: RequestManifest, items: list[Item]) -> int:
    """How many shards, from the first on, have no item left to do."""
    pending = [item.index for item in items if item.status is ItemStatus.PENDING]
    return min(pending) // manifest.shard_size if pending else shard_count(manifest)


def count(items: list[Item]) -> Counts:
    """Items by outcome."""
    return Counts(
        succeeded=sum(item.status is ItemStatus.SUCCEEDED for item in items),
        failed=sum(item.status is ItemStatus.FAILED for item in items),
        canceled=sum(item.status is ItemStatus.CANCELED for item in items),
        rejected=sum(item.status is ItemStatus.SUCCEEDED and item.accepted is False for item in items),
    )


@dataclass(frozen=True)
class Record:
    """The hash of a job, without the counters that only scripts read."""

    manifest: RequestManifest
    status: JobStatus
    started_at: datetime | None
    finished_at: datetime | None
    error: Failure | None
    cancel_requested: bool
    shards_queued: int
    """Shards put into the queue so far: the next one to feed."""
    shards_done: int
    state: State | None = None
    """How far a job is that is worked on in slices, if Redis knows."""

    @staticmethod
    def fields_of_new(
        manifest: RequestManifest, shards_queued: int, shards_done: int, cancel: bool
    ) -> RedisFields:
        """The hash of a job that waits; its first ``shards_done`` shards have nothing left to do."""
        fields: RedisFields = {
            "format_version": manifest.format_version,
            "manifest": manifest.model_dump_json(),
            "status": JobStatus.QUEUED.value,
            "shards_queued": shards_queued,
            "shards_done": shards_done,
        }
        fields |= {f"done:{shard}": 1 for shard in range(shards_done)}
        return fields | ({"cancel": 1} if cancel else {})

    @classmethod
    def from_hash(cls, fields: dict[bytes, bytes]) -> Record:
        """Read the hash.

        Raises:
            UnknownFormatVersionError: it was written by a newer Flawsmith.
        """
        check_format_version(int(fields[b"format_version"]), newest=AUGMENTATION_FORMAT)
        started, finished, error = (fields.get(name) for name in (b"started_at", b"finished_at", b"error"))
        manifest = read_request(fields[b"manifest"])
        return cls(
            manifest=manifest,
            status=JobStatus(fields[b"status"].decode()),
            started_at=datetime.fromisoformat(started.decode()) if started else None,
            finished_at=datetime.fromisoformat(finished.decode()) if finished else None,
            error=Failure.model_validate_json(error) if error else None,
            cancel_requested=b"cancel" in fields,
            shards_queued=int(fields[b"shards_queued"]),
            shards_done=int(fields.get(b"shards_done", 0)),
            state=_state(fields, manifest.kind),
        )

    def job(self, items: list[Item], step: float) -> Job:
        """The job as the API shows it."""
        manifest, counts = self.manifest, count(items)
        job = Job(
            id=manifest.job_id,
            kind=manifest.kind,
            status=self.status,
            progress=Progress(
                done=counts.succeeded + counts.failed + counts.canceled,
                total=manifest.count,
                step=0.0 if self.status.is_final else step,
            ),
            counts=counts,
            warnings=manifest.warnings,
            created_at=manifest.created_at,
            started_at=self.started_at,
            finished_at=self.finished_at,
            error=self.error,
            request=manifest.shown(),
        )
        match manifest:
            case AugmentationManifest():
                job.input_sha256, job.mask_sha256 = manifest.input_sha256, manifest.mask_sha256
                job.items = items
            case TrainingManifest():
                job.training = self.state if isinstance(self.state, TrainingState) else TrainingState()
            case EvaluationManifest():
                job.evaluation = self.state if isinstance(self.state, EvaluationState) else EvaluationState()
        return job


def state_field(state: State) -> str:
    """Field of a job's hash that says how far it is."""
    return (JobKind.TRAINING if isinstance(state, TrainingState) else JobKind.EVALUATION).value


def _state(fields: dict[bytes, bytes], kind: JobKind) -> State | None:
    data = fields.get(kind.value.encode())
    if data is None:
        return None
    model = TrainingState if kind is JobKind.TRAINING else EvaluationState
    return model.model_validate_json(data)


def job_from_manifests(request: RequestManifest, result: ResultManifest | None, state: State | None = None) -> Job:
    """The job as the API shows it, from storage alone; without a result it counts as queued."""
    record = Record(
        manifest=request,
        status=result.status if result else JobStatus.QUEUED,
        started_at=result.started_at if result else None,
        finished_at=result.finished_at if result else None,
        error=result.error if result else None,
        cancel_requested=False,
        shards_queued=0,
        shards_done=0,
        state=(result.training or result.evaluation) if result else state,
    )
    return record.job(result.items if result else new_items(request), step=0.0)


_COMMON = """
local function is_final(status)
    return status == 'succeeded' or status == 'failed' or status == 'canceled'
end
local function tell(stream, ...)
    redis.call('XADD', stream, 'MAXLEN', '~', 1000, '*', ...)
    redis.call('PUBLISH', 'flawsmith:changes', string.match(stream, 'job_%w+'))
end
"""

BEGIN_SHARD = (
    _COMMON
    + """
-- KEYS: record, events; ARGV: shard, now. Counts the attempt and marks the job running.
-- Returns: status (false if there is no record), cancel requested, attempt's number, attempts not held against it.
local status = redis.call('HGET', KEYS[1], 'status')
if not status then return {false, 0, 0, 0} end
local cancel = redis.call('HEXISTS', KEYS[1], 'cancel')
if is_final(status) or cancel == 1 then return {status, cancel, 0, 0} end
if status == 'queued' then
    redis.call('HSET', KEYS[1], 'status', 'running')
    redis.call('HSETNX', KEYS[1], 'started_at', ARGV[2])
    tell(KEYS[2], 'event', 'status')
end
local attempt = redis.call('HINCRBY', KEYS[1], 'attempts:' .. ARGV[1], 1)
local spared = tonumber(redis.call('HGET', KEYS[1], 'spared:' .. ARGV[1]) or 0)
return {status, 0, attempt, spared}
"""
)

FINISH_ITEM = (
    _COMMON
    + """
-- KEYS: record, items, events; ARGV: index, item. Sets an item's outcome unless it has one. Returns 1 if it did.
local status = redis.call('HGET', KEYS[1], 'status')
if not status or is_final(status) then return 0 end
local present = redis.call('HGET', KEYS[2], ARGV[1])
if not present or cjson.decode(present).status ~= 'pending' then return 0 end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
tell(KEYS[3], 'event', 'item', 'index', ARGV[1])
return 1
"""
)

REQUEST_CANCEL = (
    _COMMON
    + """
-- KEYS: record. Asks for the end of a job that has not ended. Returns its status, or false without a record.
local status = redis.call('HGET', KEYS[1], 'status')
if status and not is_final(status) then redis.call('HSET', KEYS[1], 'cancel', 1) end
return status
"""
)

FINISH_JOB = (
    _COMMON
    + """
-- KEYS: record, items, step, events, open jobs; ARGV: job, status, finished_at, error or '', seconds to keep,
-- then index, item, … Makes a status final unless one is. Returns 1 if it did.
local status = redis.call('HGET', KEYS[1], 'status')
redis.call('SREM', KEYS[5], ARGV[1])
if not status or is_final(status) then return 0 end
redis.call('HSET', KEYS[1], 'status', ARGV[2], 'finished_at', ARGV[3])
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'error', ARGV[4]) end
for at = 6, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 1]) end
redis.call('DEL', KEYS[3])
tell(KEYS[4], 'event', 'status')
for _, key in ipairs({KEYS[1], KEYS[2], KEYS[4]}) do redis.call('EXPIRE', key, ARGV[5]) end
return 1
"""
)

NOTE_IN_RECORD = """
-- KEYS: record; ARGV: command, then its arguments. A record that is not there is not begun by a note.
if redis.call('HEXISTS', KEYS[1], 'status') == 0 then return 0 end
return redis.call(ARGV[1], KEYS[1], unpack(ARGV, 2))
"""

NOTE_PACE = """
-- KEYS: pace; ARGV: seconds an item took. Keeps a mean in which a fifth is the newest.
local mean = tonumber(redis.call('GET', KEYS[1]) or ARGV[1])
redis.call('SET', KEYS[1], 0.8 * mean + 0.2 * tonumber(ARGV[1]), 'EX', 604800)
return 1
"""
