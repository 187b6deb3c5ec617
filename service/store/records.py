"""How a job is kept in Redis: names, fields, and the steps that must not be torn apart.

| name | type | what |
|---|---|---|
| ``flawsmith:tenants`` | set | tenants that have or had jobs |
| ``flawsmith:{tenant}:jobs`` | sorted set | ids by creation time in ms |
| ``flawsmith:{tenant}:open`` | set | ids of jobs that have not ended |
| ``flawsmith:{tenant}:job:{id}`` | hash | manifest, status, times, shards |
| ``flawsmith:{tenant}:job:{id}:items`` | hash | index → item; where none is listed, → `OUTCOMES`, and `COUNTERS` |
| ``flawsmith:{tenant}:job:{id}:step`` | string | the model's progress in the shard at work |
| ``flawsmith:{tenant}:job:{id}:events`` | stream | what happened, see `service.store.events` |
| ``flawsmith:changes`` | channel | id of each job to which something happened |
| ``flawsmith:pace`` | string | seconds that an item takes, of late |
| ``flawsmith:check`` | string | is gone at once: written to see whether Redis takes it |
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Self, TypeAlias

from flawsmith.contract.base import check_format_version
from flawsmith.contract.evaluations import EvaluationRecord, EvaluationState
from flawsmith.contract.jobs import Counts, Failure, Item, ItemStatus, Job, JobKind, JobStatus, Progress
from flawsmith.contract.manifests import (
    AUGMENTATION_FORMAT,
    AugmentationManifest,
    DatasetManifest,
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
CHECK_KEY = "flawsmith:check"
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


def done_field(shard: int) -> str:
    """Field of a job's hash that is there once a shard is done."""
    return f"done:{shard}"


def shard_count(manifest: RequestManifest) -> int:
    """Into how many shards a job is cut."""
    return -(-manifest.count // manifest.shard_size)


def shard_items(manifest: RequestManifest, shard: int) -> range:
    """The items of a shard."""
    first = shard * manifest.shard_size
    return range(first, min(first + manifest.shard_size, manifest.count))


def new_items(manifest: RequestManifest) -> list[Item]:
    """The items of a job on which no work was done; none of a job that lists none."""
    if not manifest.lists_items:
        return []
    return [Item(index=index, seed=manifest.seed) for index in range(manifest.count)]


def is_pending(value: bytes | None) -> bool:
    """Whether an item has no outcome.

    Args:
        value: of the item in the hash of the job's items, whether the job lists them or not.
    """
    if value is None:
        return True
    return value.startswith(b"{") and Item.model_validate_json(value).status is ItemStatus.PENDING


def leading_done(manifest: RequestManifest, finished: Container[int]) -> int:
    """How many shards, from the first on, have no item left to do.

    Args:
        finished: indices of the items that have an outcome.
    """
    first = next((index for index in range(manifest.count) if index not in finished), None)
    return shard_count(manifest) if first is None else first // manifest.shard_size


def count(items: list[Item]) -> Counts:
    """Items by outcome."""
    return Counts(
        succeeded=sum(item.status is ItemStatus.SUCCEEDED for item in items),
        failed=sum(item.status is ItemStatus.FAILED for item in items),
        canceled=sum(item.status is ItemStatus.CANCELED for item in items),
        rejected=sum(item.status is ItemStatus.SUCCEEDED and item.accepted is False for item in items),
    )


COUNTERS = ("succeeded", "failed", "canceled", "rejected", "reused")
"""Beside the outcomes of items in the hash of a job that lists none."""
OUTCOMES: dict[str, tuple[str, ...]] = {
    "s": ("succeeded",),
    "r": ("succeeded", "rejected"),
    "f": ("failed",),
    "S": ("succeeded", "reused"),
    "R": ("succeeded", "rejected", "reused"),
    "F": ("failed", "reused"),
}
"""What is kept of an item of a job that lists none, with the counters that it adds to."""


def outcome_of(item: Item) -> str:
    """Which of `OUTCOMES` an item has that succeeded or failed."""
    succeeded = "r" if item.accepted is False else "s"
    letter = succeeded if item.status is ItemStatus.SUCCEEDED else "f"
    return letter.upper() if item.reused else letter


@dataclass(frozen=True)
class Tally:
    """Counters of a job that lists no items."""

    succeeded: int = 0
    failed: int = 0
    canceled: int = 0
    rejected: int = 0
    """Succeeded ones below the least quality asked for."""
    reused: int = 0
    """Items that were there already."""

    @property
    def done(self) -> int:
        """Items that succeeded or failed."""
        return self.succeeded + self.failed

    @property
    def counts(self) -> Counts:
        return Counts(succeeded=self.succeeded, failed=self.failed, canceled=self.canceled, rejected=self.rejected)

    @property
    def fields(self) -> dict[str, int]:
        """As Redis keeps them."""
        return asdict(self)

    @classmethod
    def from_values(cls, values: Sequence[bytes | None]) -> Self:
        """Of what Redis has under `COUNTERS`."""
        return cls(**{name: int(value or 0) for name, value in zip(COUNTERS, values, strict=True)})

    @classmethod
    def of(cls, outcomes: Iterable[str]) -> Self:
        """Of what is kept of items."""
        found = dict.fromkeys(COUNTERS, 0)
        for outcome in outcomes:
            for counter in OUTCOMES[outcome]:
                found[counter] += 1
        return cls(**found)

    @classmethod
    def of_result(cls, result: ResultManifest) -> Self:
        reused = result.dataset.reused if result.dataset is not None else 0
        return cls(**result.counts.model_dump(), reused=reused)


FIELDS = (
    *("format_version", "manifest", "status", "started_at", "finished_at", "error", "cancel"),
    *("shards_queued", "shards_done", "first_open", JobKind.TRAINING.value, JobKind.EVALUATION.value),
)
"""All that a `Record` is read from: a job of many shards has thousands of fields more."""


def fields_of(values: Sequence[bytes | None], names: Sequence[str] = FIELDS) -> dict[bytes, bytes]:
    """The fields that are there, of the values of ``names``."""
    return {name.encode(): value for name, value in zip(names, values, strict=True) if value is not None}


@dataclass(frozen=True)
class Record:
    """The hash of a job, without what is kept of each shard."""

    manifest: RequestManifest
    status: JobStatus
    started_at: datetime | None
    finished_at: datetime | None
    error: Failure | None
    cancel_requested: bool
    shards_queued: int
    """Shards put into the queue so far: the next one to feed."""
    shards_done: int
    first_open: int = 0
    """All shards before are done; those from here on may be, too."""
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
            "first_open": shards_done,
        }
        if not manifest.lists_items:
            fields["unlisted"] = 1
        fields |= {done_field(shard): 1 for shard in range(shards_done)}
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
            first_open=int(fields.get(b"first_open", 0)),
            state=_state(fields, manifest.kind),
        )

    def job(self, items: list[Item], step: float, tally: Tally | None = None) -> Job:
        """The job as the API shows it.

        Args:
            items: of a job that lists them.
            tally: of a job that lists none.
        """
        manifest, tally = self.manifest, tally or Tally()
        counts = count(items) if manifest.lists_items else tally.counts
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
            case DatasetManifest():
                job.dataset = manifest.state.model_copy(update={"reused": tally.reused})
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
    items = result.items if result else new_items(request)
    return record.job(items, 0.0, Tally.of_result(result) if result else None)


_COMMON = """
local function is_final(status)
    return status == 'succeeded' or status == 'failed' or status == 'canceled'
end
local function tell(stream, ...)
    redis.call('XADD', stream, 'MAXLEN', '~', 1000, '*', ...)
    redis.call('PUBLISH', 'flawsmith:changes', string.match(stream, ':job:(job_%w+)'))
end
"""

BEGIN_SHARD = (
    _COMMON
    + """
-- KEYS: record, events; ARGV: shard, now, token. Counts the attempt, once a token, and marks the job running.
-- Returns: status (false if there is no record), cancel requested, attempt's number, attempts not held against it,
-- the last one's error, format version, manifest.
local status = redis.call('HGET', KEYS[1], 'status')
if not status then return {false, 0, 0, 0} end
local cancel = redis.call('HEXISTS', KEYS[1], 'cancel')
if is_final(status) or cancel == 1 then return {status, cancel, 0, 0} end
if status == 'queued' then
    redis.call('HSET', KEYS[1], 'status', 'running')
    redis.call('HSETNX', KEYS[1], 'started_at', ARGV[2])
    tell(KEYS[2], 'event', 'status')
end
local begun = 'begun:' .. ARGV[1]
-- A client that did not hear the answer sends the same again.
local more = redis.call('HGET', KEYS[1], begun) == ARGV[3] and 0 or 1
redis.call('HSET', KEYS[1], begun, ARGV[3])
local attempt = redis.call('HINCRBY', KEYS[1], 'attempts:' .. ARGV[1], more)
local spared = tonumber(redis.call('HGET', KEYS[1], 'spared:' .. ARGV[1]) or 0)
local told = redis.call('HMGET', KEYS[1], 'error:' .. ARGV[1], 'format_version', 'manifest')
return {status, 0, attempt, spared, told[1], told[2], told[3]}
"""
)

FINISH_ITEM = (
    _COMMON
    + """
-- KEYS: record, items, events; ARGV: index, item, outcome, counters that it adds to, …
-- Sets an item's outcome unless it has one. Returns 1 if it did, 0 if not; -1 if a job that lists no items ended
-- without it; -2 if there is no record.
local status = redis.call('HGET', KEYS[1], 'status')
if not status then return -2 end
local unlisted = redis.call('HEXISTS', KEYS[1], 'unlisted') == 1
local present = redis.call('HGET', KEYS[2], ARGV[1])
if is_final(status) or redis.call('HEXISTS', KEYS[1], 'closed') == 1 then
    return (unlisted and not present) and -1 or 0
end
if unlisted then
    if present then return 0 end
    redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
    for at = 4, #ARGV do redis.call('HINCRBY', KEYS[2], ARGV[at], 1) end
    redis.call('PUBLISH', 'flawsmith:changes', string.match(KEYS[3], ':job:(job_%w+)'))
    return 1
end
if present and cjson.decode(present).status ~= 'pending' then return 0 end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
tell(KEYS[3], 'event', 'item', 'index', ARGV[1])
return 1
"""
)

CLOSE_JOB = (
    _COMMON
    + """
-- KEYS: record, items; ARGV: counters. Lets no more items of a canceled job count: its result is to be written.
-- Returns the counters, or false if it has ended, or is gone.
local status = redis.call('HGET', KEYS[1], 'status')
if not status or is_final(status) then return false end
redis.call('HSET', KEYS[1], 'closed', 1, 'cancel', 1)
return redis.call('HMGET', KEYS[2], unpack(ARGV))
"""
)

READ_JOB = """
-- KEYS: record, items; ARGV: how many fields of the record, those fields, then counters.
-- Returns: fields, items, counters (of a job that lists no items alone); false without a record.
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
local last = 1 + tonumber(ARGV[1])
local fields = redis.call('HMGET', KEYS[1], unpack(ARGV, 2, last))
if redis.call('HEXISTS', KEYS[1], 'unlisted') == 1 then
    return {fields, {}, redis.call('HMGET', KEYS[2], unpack(ARGV, last + 1))}
end
return {fields, redis.call('HVALS', KEYS[2]), {}}
"""

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
