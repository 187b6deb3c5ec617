"""Outcomes of items: written to storage, then counted in Redis, once each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from flawsmith.contract.jobs import Item
from flawsmith.contract.manifests import RequestManifest
from service.store import records
from service.store.connection import queue_errors
from service.store.records import Tally
from service.store.stored import StoredJobs

if TYPE_CHECKING:
    from redis import Redis

_AT_ONCE = 1000  # items looked at in one command
_COUNTED, _ENDED_WITHOUT, _UNKNOWN_JOB = 1, -1, -2


class Outcomes:
    """Every method raises `QueueUnavailableError` when Redis cannot be reached, and storage errors."""

    def __init__(self, redis: Redis, stored: StoredJobs) -> None:
        self._redis = redis
        self._stored = stored
        self._finish_item = redis.register_script(records.FINISH_ITEM)
        self._close_job = redis.register_script(records.CLOSE_JOB)

    def finish(self, tenant: str, job_id: str, item: Item) -> bool:
        """Write an item's outcome to storage, then count it; False if it had one, or the job has ended.

        If storage has an outcome already, that one holds. One of a data set that comes after its end goes again:
        the result, which lists no items, counts without it.
        """
        item, is_new = self._stored.put_item(tenant, job_id, item)
        outcome = records.outcome_of(item)
        with queue_errors():
            found = self._finish_item(
                keys=[
                    records.record_key(tenant, job_id),
                    records.items_key(tenant, job_id),
                    records.events_key(tenant, job_id),
                ],
                args=[item.index, item.model_dump_json(), outcome, *records.OUTCOMES[outcome]],
            )
        of_unknown = found == _UNKNOWN_JOB and item.made is not None and is_new
        if found == _ENDED_WITHOUT or (of_unknown and self._stored.result(tenant, job_id) is not None):
            self._stored.drop_item(tenant, job_id, item.index)
        return bool(found == _COUNTED)

    def pending(self, manifest: RequestManifest, indices: Sequence[int]) -> list[int]:
        """Those items of which Redis knows no outcome."""
        if not indices:
            return []
        key = records.items_key(manifest.tenant, manifest.job_id)
        with queue_errors():
            values = cast("list[bytes | None]", self._redis.hmget(key, [str(index) for index in indices]))
        return [index for index, value in zip(indices, values, strict=True) if records.is_pending(value)]

    def recall(self, manifest: RequestManifest, indices: Sequence[int]) -> bool:
        """Tell Redis what storage knows of items; False if that does not account for all of them."""
        tenant, job_id = manifest.tenant, manifest.job_id
        found = self._stored.items(tenant, job_id, list(indices))
        for item in found:
            self.finish(tenant, job_id, item)
        return len(found) == len(indices)

    def recall_all(self, manifest: RequestManifest) -> None:
        """Tell Redis of all outcomes that storage has and Redis has not heard of."""
        for indices in self._stored.finished(manifest.tenant, manifest.job_id):
            self.recall(manifest, self.pending(manifest, indices))

    def close(self, manifest: RequestManifest) -> Tally | None:
        """Let no more items of a canceled job count; how many do. None if it has ended, or is gone."""
        tenant, job_id = manifest.tenant, manifest.job_id
        with queue_errors():
            counters = self._close_job(
                keys=[records.record_key(tenant, job_id), records.items_key(tenant, job_id)], args=records.COUNTERS
            )
        return None if counters is None else Tally.from_values(counters)

    def drop_late(self, manifest: RequestManifest) -> None:
        """Remove outcomes of a closed job that it counts without: who wrote them died before they counted."""
        tenant, job_id = manifest.tenant, manifest.job_id
        for indices in self._stored.finished(tenant, job_id):
            with queue_errors(), self._redis.pipeline() as pipeline:
                pipeline.hexists(records.record_key(tenant, job_id), "closed")
                pipeline.hmget(records.items_key(tenant, job_id), [str(index) for index in indices])
                closed, values = pipeline.execute()
            if not closed:  # Redis has forgotten what counts
                return
            for index, value in zip(indices, values, strict=True):
                if value is None:
                    self._stored.drop_item(tenant, job_id, index)

    def shards_left(self, manifest: RequestManifest, most: int) -> list[int]:
        """Up to ``most`` shards, ascending, with items of which Redis knows no outcome."""
        found: set[int] = set()
        for start in range(0, manifest.count, _AT_ONCE):
            indices = range(start, min(start + _AT_ONCE, manifest.count))
            found |= {index // manifest.shard_size for index in self.pending(manifest, indices)}
            if len(found) >= most:
                break
        return sorted(found)[:most]
