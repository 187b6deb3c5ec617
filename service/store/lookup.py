"""Looking a job up in Redis: what that costs grows neither with its shards nor with items it does not list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from flawsmith.contract.jobs import Item
from service.store import records
from service.store.connection import queue_errors
from service.store.records import Record, Tally

if TYPE_CHECKING:
    from redis import Redis

_AT_ONCE = 512  # fields asked for in one command


@dataclass(frozen=True)
class Found:
    """A job as of one moment."""

    record: Record
    items: list[Item]
    """In order; none of a job that lists none."""
    tally: Tally
    """Of a job that lists no items."""


class Lookup:
    """Every method raises `QueueUnavailableError` when Redis cannot be reached, `UnknownFormatVersionError` and
    `pydantic.ValidationError` for what a newer Flawsmith wrote."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._read_job = redis.register_script(records.READ_JOB)

    def job(self, tenant: str, job_id: str) -> Found | None:
        """The job, or None if Redis does not know it."""
        with queue_errors():
            found = self._read_job(
                keys=[records.record_key(tenant, job_id), records.items_key(tenant, job_id)],
                args=[len(records.FIELDS), *records.FIELDS, *records.COUNTERS],
            )
        if found is None:
            return None
        fields, items, counters = found
        return Found(
            Record.from_hash(records.fields_of(fields)),
            sorted((Item.model_validate_json(item) for item in items), key=lambda item: item.index),
            Tally.from_values(counters) if counters else Tally(),
        )

    def record(self, tenant: str, job_id: str) -> Record | None:
        """The same without its items."""
        key = records.record_key(tenant, job_id)
        with queue_errors(), self._redis.pipeline() as pipeline:
            pipeline.exists(key)
            pipeline.hmget(key, records.FIELDS)
            exists, values = pipeline.execute()
        return Record.from_hash(records.fields_of(values)) if exists else None

    def open_shards(self, record: Record) -> list[int]:
        """Shards that are queued or at work, ascending."""
        found = self._open_from(record, record.first_open)
        if len(found) != record.shards_queued - record.shards_done and record.first_open:
            # A worker of the version before has queued one again, and knows nothing of `first_open`.
            return self._open_from(record, 0)
        return found

    def _open_from(self, record: Record, first: int) -> list[int]:
        key = records.record_key(record.manifest.tenant, record.manifest.job_id)
        found = []
        for start in range(first, record.shards_queued, _AT_ONCE):
            shards = range(start, min(start + _AT_ONCE, record.shards_queued))
            with queue_errors():
                done = cast(
                    "list[bytes | None]", self._redis.hmget(key, [records.done_field(shard) for shard in shards])
                )
            found += [shard for shard, value in zip(shards, done, strict=True) if value is None]
        return found
