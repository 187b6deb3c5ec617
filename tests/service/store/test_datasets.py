"""Data sets in a real Valkey: counted once, item by item, and never listed."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.client import Pipeline

from flawsmith.contract.base import now
from flawsmith.contract.jobs import Item, Job, JobStatus
from flawsmith.contract.manifests import DatasetManifest, ResultManifest
from service.store import keys, records
from service.store.folder import FolderStorage
from service.store.jobs import Jobs
from service.store.mending import Mender
from service.store.queue import QUEUE_NAME
from service.store.records import Tally
from service.store.settings import StoreSettings
from service.store.storage import StorageUnavailableError
from tests.service.store.planned import TENANT, dataset, digest, drawn, failed, plan
from tests.service.store.test_jobs import FILES, got, manifest, queued

SHARDS = 4


@pytest.fixture
def storage(tmp_path: Path) -> FolderStorage:
    return FolderStorage(tmp_path)


@pytest.fixture
def mender(redis: Redis, storage: FolderStorage, settings: StoreSettings) -> Mender:
    return Mender(redis, storage, settings, grace_s=0, orphan_age_s=0)


def accepted(jobs: Jobs, request: DatasetManifest | None = None) -> str:
    request = request or dataset()
    jobs.accept(request, plan(request.count))
    return request.job_id


def make(jobs: Jobs, job_id: str, shard: int) -> None:
    """Do what a worker does that succeeds."""
    for index in jobs.begin_shard(TENANT, job_id, shard).pending:
        assert jobs.finish_item(TENANT, job_id, drawn(index))
    assert jobs.finish_shard(TENANT, job_id, shard)


def records_of(storage: FolderStorage, job_id: str) -> set[int]:
    """Items that have a record in storage."""
    prefix = keys.items_prefix(TENANT, job_id)
    return {int(key.removeprefix(prefix).partition("/")[0]) for key in storage.list(prefix)}


def whole(job: Job) -> bool:
    return job.status is JobStatus.SUCCEEDED and job.counts.succeeded == job.progress.done == 50


def test_a_data_set_from_begin_to_end(jobs: Jobs, redis: Redis, storage: FolderStorage) -> None:
    request = dataset()
    job = jobs.accept(request, plan(50))
    assert got(jobs, job.id) == job.model_copy(update={"queue_position": 0})
    assert (job.status, job.progress.total, job.items) == (JobStatus.QUEUED, 50, [])
    assert job.dataset == request.state
    assert "defect_type_tenant" not in str(job.request)
    assert storage.exists(keys.job_file(TENANT, job.id, "plan/0.jsonl"))
    assert queued(redis) == [f"{job.id}-0", f"{job.id}-1"]

    state = jobs.begin_shard(TENANT, job.id, 0)
    assert (state.attempt, state.pending, state.manifest) == (1, tuple(range(13)), request)
    assert jobs.finish_item(TENANT, job.id, drawn(0), reused=True)
    assert jobs.finish_item(TENANT, job.id, drawn(1, accepted=False))
    assert jobs.finish_item(TENANT, job.id, failed(2))
    job = got(jobs, job.id)
    assert (job.status, job.progress.done, job.items) == (JobStatus.RUNNING, 3, [])
    assert job.counts.model_dump() == {"succeeded": 2, "failed": 1, "canceled": 0, "rejected": 1}
    assert job.dataset is not None
    assert job.dataset.reused == 1
    for shard in range(SHARDS):
        make(jobs, job.id, shard)

    job = got(jobs, job.id)
    assert job.status is JobStatus.SUCCEEDED
    assert job.counts.model_dump() == {"succeeded": 49, "failed": 1, "canceled": 0, "rejected": 1}
    result = ResultManifest.model_validate_json(storage.get(keys.job_result(TENANT, job.id)))
    assert (result.items, result.counts, result.dataset) == ([], job.counts, job.dataset)
    assert records_of(storage, job.id) == set(range(50))
    assert jobs.finished_item(TENANT, job.id, 0) == drawn(0).model_copy(update={"reused": True})
    assert jobs.page(TENANT, 10).jobs == [job]
    redis.flushall()
    assert got(jobs, job.id) == job


@pytest.mark.parametrize("of_data_set", [True, False])
def test_changes_are_told_of_the_job_whatever_its_tenant_is_called(
    jobs: Jobs, redis: Redis, of_data_set: bool
) -> None:
    tenant = "job_shop"
    request = dataset(tenant=tenant) if of_data_set else manifest(tenant=tenant)
    jobs.accept(request, plan(request.count) if of_data_set else FILES)
    with redis.pubsub() as heard:
        heard.subscribe(records.CHANGES)
        assert heard.get_message(timeout=5)
        jobs.begin_shard(tenant, request.job_id, 0)
        jobs.finish_item(tenant, request.job_id, drawn(0))
        told = [heard.get_message(timeout=5) for _ in range(2)]
    assert [message and message["data"] for message in told] == [request.job_id.encode()] * 2


def test_redis_keeps_no_record_of_an_item(jobs: Jobs, redis: Redis) -> None:
    job_id = accepted(jobs)
    make(jobs, job_id, 0)
    items: Any = redis.hgetall(records.items_key(TENANT, job_id))
    assert max(len(value) for value in items.values()) <= 2
    assert len(items) == 13 + 1  # and a counter


def test_a_shard_costs_the_same_however_many_a_job_has(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands are counted, with what they carry."""
    sent: list[int] = []
    execute, immediately = Redis.execute_command, Pipeline.immediate_execute_command

    def costs(count: int) -> list[int]:
        job_id = accepted(jobs, dataset(count, shard_size=4))
        last = count // 4 - 1
        for shard in range(last):
            make(jobs, job_id, shard)
        sent.clear()
        with monkeypatch.context() as patch:
            patch.setattr(Redis, "execute_command", counted)
            patch.setattr(Pipeline, "immediate_execute_command", counted_immediately)
            jobs.begin_shard(TENANT, job_id, last)
            jobs.finish_shard(TENANT, job_id, 0)  # delivered twice
            got(jobs, job_id)
        return list(sent)

    def counted(self: Redis, *arguments: Any, **options: Any) -> Any:
        found = execute(self, *arguments, **options)
        sent.append(len(arguments) + (len(found) if isinstance(found, dict | list) else 1))
        return found

    def counted_immediately(self: Pipeline, *arguments: Any, **options: Any) -> Any:
        found = immediately(self, *arguments, **options)
        sent.append(len(arguments) + (len(found) if isinstance(found, dict | list) else 1))
        return found

    few, many = costs(8), costs(400)
    assert few == many
    assert max(many) < 64


@pytest.mark.parametrize("bad", [49, 50])
def test_a_data_set_of_which_all_items_failed_has_failed(jobs: Jobs, bad: int) -> None:
    job_id = accepted(jobs)
    for shard in range(SHARDS):
        for index in jobs.begin_shard(TENANT, job_id, shard).pending:
            jobs.finish_item(TENANT, job_id, failed(index) if index < bad else drawn(index))
        jobs.finish_shard(TENANT, job_id, shard)
    job = got(jobs, job_id)
    assert (job.status is JobStatus.FAILED) == (bad == 50)
    assert (job.counts.failed, job.counts.succeeded) == (bad, 50 - bad)
    assert (job.error.detail if job.error else None) == ("the model fell over" if bad == 50 else None)


def test_what_is_done_twice_counts_once(jobs: Jobs, redis: Redis, storage: FolderStorage) -> None:
    job_id = accepted(jobs)
    make(jobs, job_id, 0)
    before = got(jobs, job_id)
    assert jobs.begin_shard(TENANT, job_id, 0).pending == ()
    assert not jobs.finish_item(TENANT, job_id, failed(0))
    assert jobs.finish_shard(TENANT, job_id, 0)
    assert got(jobs, job_id) == before
    assert jobs.finished_item(TENANT, job_id, 0) == drawn(0)
    assert queued(redis) == [f"{job_id}-{shard}" for shard in (0, 1, 2)]


def test_two_workers_that_finish_the_same_items_count_them_once(jobs: Jobs) -> None:
    job_id = accepted(jobs)
    counted: list[bool] = []

    def work(shard: int) -> None:
        for index in jobs.begin_shard(TENANT, job_id, shard).pending:
            counted.append(jobs.finish_item(TENANT, job_id, drawn(index)))
        jobs.finish_shard(TENANT, job_id, shard)

    for shard in range(SHARDS):
        threads = [threading.Thread(target=work, args=(shard,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert counted.count(True) == 50
    assert whole(got(jobs, job_id))


def test_a_shard_that_was_killed_goes_on_where_it_was(jobs: Jobs) -> None:
    job_id = accepted(jobs)
    jobs.begin_shard(TENANT, job_id, 0)
    for index in range(5):
        jobs.finish_item(TENANT, job_id, drawn(index))
    state = jobs.begin_shard(TENANT, job_id, 0)
    assert (state.attempt, state.pending) == (2, tuple(range(5, 13)))
    assert jobs.try_alone(TENANT, job_id, 5)
    assert not jobs.try_alone(TENANT, job_id, 5)
    for shard in range(SHARDS):
        make(jobs, job_id, shard)
    assert whole(got(jobs, job_id))


def test_every_worker_there_is_gets_a_shard_of_a_data_set(
    jobs: Jobs, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.store.shards.shards_at_once", lambda queue, size: [1] * 5)
    job_id = accepted(jobs, dataset(100, shard_size=2))
    assert len(queued(redis)) == 2
    redis.lpop(f"rq:queue:{QUEUE_NAME}")
    make(jobs, job_id, 0)
    assert queued(redis) == [f"{job_id}-{shard}" for shard in range(1, 7)]


def test_all_workers_together_shorten_what_is_left(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = accepted(jobs)
    jobs.note_pace(10.0)
    left = []
    for workers in (1, 5):
        monkeypatch.setattr(Jobs, "workers", lambda self, workers=workers: workers)
        job = got(jobs, job_id)
        assert job.eta is not None
        left.append((job.eta - now()).total_seconds())
    assert left[0] == pytest.approx(500, abs=5)
    assert left[1] == pytest.approx(100, abs=5)


def test_a_type_that_an_entry_draws_is_in_use(jobs: Jobs) -> None:
    job_id = accepted(jobs)
    assert jobs.using(TENANT, "scratch") == {3: job_id}
    assert jobs.using(TENANT, "pit") == {}


# Canceling and deleting


def test_cancel_of_a_queued_data_set_is_final_at_once(jobs: Jobs, redis: Redis, storage: FolderStorage) -> None:
    job_id = accepted(jobs)
    job = jobs.cancel(TENANT, job_id)
    assert job is not None
    assert (job.status, job.counts.canceled, job.progress.done) == (JobStatus.CANCELED, 50, 50)
    assert queued(redis) == []
    assert jobs.begin_shard(TENANT, job_id, 0).final
    redis.flushall()
    assert got(jobs, job_id) == job


def test_a_canceled_data_set_keeps_what_is_finished(jobs: Jobs, storage: FolderStorage) -> None:
    job_id = accepted(jobs)
    make(jobs, job_id, 0)
    jobs.begin_shard(TENANT, job_id, 1)
    jobs.finish_item(TENANT, job_id, drawn(13))
    put_only(storage, job_id, drawn(14))  # its worker died before it counted
    jobs.cancel(TENANT, job_id)
    assert got(jobs, job_id).status is JobStatus.RUNNING
    for shard in (1, 2):
        assert jobs.begin_shard(TENANT, job_id, shard).canceled
        jobs.finish_shard(TENANT, job_id, shard)
    job = got(jobs, job_id)
    assert job.status is JobStatus.CANCELED
    assert (job.counts.succeeded, job.counts.canceled, job.progress.done) == (15, 35, 50)
    assert records_of(storage, job_id) == set(range(15))


def test_an_item_that_comes_after_the_end_goes_and_none_that_counts(
    jobs: Jobs, redis: Redis, storage: FolderStorage
) -> None:
    job_id = accepted(jobs)
    make(jobs, job_id, 0)
    jobs.cancel(TENANT, job_id)
    for shard in (1, 2):
        jobs.finish_shard(TENANT, job_id, shard)
    for forgotten in (False, True):
        assert not jobs.finish_item(TENANT, job_id, drawn(40))
        assert not jobs.finish_item(TENANT, job_id, drawn(0))
        jobs.sweep(TENANT, job_id)
        assert records_of(storage, job_id) == set(range(13))
        if not forgotten:
            redis.flushall()
    assert got(jobs, job_id).counts.succeeded == 13


def test_what_is_stored_while_a_data_set_ends_is_in_the_count_or_goes(
    jobs: Jobs, storage: FolderStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One worker's item is counted too late, another's worker dies before it counts."""
    job_id = accepted(jobs)
    make(jobs, job_id, 0)
    put = storage.put_if_absent

    def late(key: str, data: bytes, media_type: str) -> bool:
        if key == keys.job_result(TENANT, job_id):
            monkeypatch.undo()
            assert not jobs.finish_item(TENANT, job_id, drawn(20))
            put_only(storage, job_id, drawn(21))
        return put(key, data, media_type)

    jobs.cancel(TENANT, job_id)
    jobs.finish_shard(TENANT, job_id, 1)
    monkeypatch.setattr(storage, "put_if_absent", late)
    jobs.finish_shard(TENANT, job_id, 2)
    assert got(jobs, job_id).counts.succeeded == 13
    assert records_of(storage, job_id) == set(range(13))


def test_deleting_leaves_what_data_sets_share(jobs: Jobs, redis: Redis, storage: FolderStorage) -> None:
    job_id = accepted(jobs)
    for index in (0, 30):
        storage.put(keys.item_mask(TENANT, job_id, drawn(index)), b"mask")
        storage.put(keys.made_record(TENANT, digest(index)), drawn(0).model_dump_json().encode())
    made = set(storage.list(keys.made_prefix(TENANT)))
    assert len(made) == 4
    make(jobs, job_id, 0)
    assert not jobs.finish_item(TENANT, job_id, drawn(0).model_copy(update={"mask_sha256": 64 * "9"}))
    jobs.cancel(TENANT, job_id)
    for shard in (1, 2):
        jobs.finish_shard(TENANT, job_id, shard)
    jobs.sweep(TENANT, job_id)
    assert jobs.delete(TENANT, job_id)
    assert set(storage.list("")) == made
    assert not any(job_id.encode() in key for key in redis.scan_iter("flawsmith:*"))
    jobs.finish_item(TENANT, job_id, drawn(31))
    jobs.sweep(TENANT, job_id)
    assert set(storage.list("")) == made


# What Redis loses


@pytest.mark.parametrize("also", [(), (20, 40)])
def test_a_data_set_comes_back_into_an_emptied_redis(
    jobs: Jobs, redis: Redis, storage: FolderStorage, mender: Mender, also: tuple[int, ...]
) -> None:
    job_id = accepted(jobs)
    make(jobs, job_id, 0)
    jobs.begin_shard(TENANT, job_id, 1)
    jobs.finish_item(TENANT, job_id, drawn(13), reused=True)
    for index in also:
        put_only(storage, job_id, drawn(index, accepted=False))
    redis.flushall()
    assert not jobs.finish_item(TENANT, job_id, drawn(14))  # by a worker that does not know
    assert mender.rebuild().restored == 1
    job = got(jobs, job_id)
    assert (job.counts.succeeded, job.counts.rejected) == (15 + len(also), len(also))
    assert job.dataset is not None
    assert job.dataset.reused == 1
    assert queued(redis) == [f"{job_id}-1", f"{job_id}-2"]
    assert 14 not in jobs.begin_shard(TENANT, job_id, 1).pending
    for shard in range(1, SHARDS):
        make(jobs, job_id, shard)
    assert whole(got(jobs, job_id))


def test_a_data_set_of_which_storage_has_all_ends_without_a_worker(
    jobs: Jobs, redis: Redis, storage: FolderStorage, mender: Mender
) -> None:
    job_id = accepted(jobs)
    for index in range(50):
        put_only(storage, job_id, drawn(index))
    redis.flushall()
    mender.rebuild()
    assert whole(got(jobs, job_id))
    assert queued(redis) == []


def test_a_wish_to_cancel_outlives_redis(jobs: Jobs, redis: Redis, mender: Mender) -> None:
    job_id = accepted(jobs)
    make(jobs, job_id, 0)
    jobs.cancel(TENANT, job_id)
    redis.flushall()
    mender.rebuild()
    job = got(jobs, job_id)
    assert (job.status, job.counts.succeeded, job.counts.canceled) == (JobStatus.CANCELED, 13, 37)


def test_a_data_set_that_redis_does_not_know_can_be_canceled(
    jobs: Jobs, redis: Redis, storage: FolderStorage
) -> None:
    job_id = accepted(jobs)
    make(jobs, job_id, 0)
    redis.flushall()
    job = jobs.cancel(TENANT, job_id)
    assert job is not None
    assert (job.status, job.counts.succeeded, job.counts.canceled) == (JobStatus.CANCELED, 13, 37)
    assert records_of(storage, job_id) == set(range(13))


def test_a_shard_whose_items_redis_has_forgotten_is_delivered_again(jobs: Jobs, redis: Redis) -> None:
    job_id = accepted(jobs)
    jobs.begin_shard(TENANT, job_id, 0)
    for index in range(12):
        jobs.finish_item(TENANT, job_id, drawn(index))
    assert not jobs.finish_shard(TENANT, job_id, 0)
    redis.delete(records.items_key(TENANT, job_id))
    jobs.finish_item(TENANT, job_id, drawn(12))
    assert jobs.finish_shard(TENANT, job_id, 0)  # storage knows the others
    assert got(jobs, job_id).counts.succeeded == 13


def test_a_data_set_is_never_ended_with_items_that_nobody_made_or_canceled(jobs: Jobs, redis: Redis) -> None:
    job_id = accepted(jobs)
    make(jobs, job_id, 0)
    make(jobs, job_id, 1)
    lost = {"done:2": 1, "done:3": 1, "shards_done": 4, "shards_queued": 4, "first_open": 4}
    redis.hset(records.record_key(TENANT, job_id), mapping=lost)
    jobs.finalize(TENANT, job_id)
    job = got(jobs, job_id)
    assert (job.status, job.progress.done) == (JobStatus.RUNNING, 26)
    assert job.queue_position is not None
    for shard in (2, 3):
        make(jobs, job_id, shard)
    assert whole(got(jobs, job_id))


def test_the_end_recalls_what_storage_knows_before_it_asks_for_work(jobs: Jobs, redis: Redis) -> None:
    job_id = accepted(jobs)
    for shard in range(SHARDS - 1):
        make(jobs, job_id, shard)
    redis.hdel(records.items_key(TENANT, job_id), "5", "30")
    redis.hincrby(records.items_key(TENANT, job_id), "succeeded", -2)
    make(jobs, job_id, SHARDS - 1)
    assert whole(got(jobs, job_id))


def test_who_died_between_result_and_final_status_is_made_up_for(
    jobs: Jobs, redis: Redis, storage: FolderStorage, mender: Mender, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = accepted(jobs)
    make(jobs, job_id, 0)
    jobs.cancel(TENANT, job_id)
    jobs.finish_shard(TENANT, job_id, 1)

    def die(*arguments: object, **more: object) -> int:
        raise StorageUnavailableError("away")

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "_finish_job", die)
        with pytest.raises(StorageUnavailableError):
            jobs.finish_shard(TENANT, job_id, 2)
    assert not jobs.finish_item(TENANT, job_id, drawn(20))
    mender.mend_open()
    assert mender.mend_open().ended == 1
    job = got(jobs, job_id)
    assert (job.status, job.counts.succeeded) == (JobStatus.CANCELED, 13)
    assert records_of(storage, job_id) == set(range(13))


def test_only_shards_that_are_not_done_are_looked_for(jobs: Jobs, redis: Redis, mender: Mender) -> None:
    job_id = accepted(jobs, dataset(200, shard_size=2))
    for shard in range(60):
        if shard != 41:
            make(jobs, job_id, shard)
    redis.delete(f"rq:queue:{QUEUE_NAME}")
    assert not mender.mend_open()
    assert mender.mend_open().requeued == 2
    assert sorted(queued(redis)) == [f"{job_id}-41", f"{job_id}-60"]


def test_a_record_of_the_version_before_is_read(jobs: Jobs, redis: Redis, mender: Mender) -> None:
    """It has no first open shard, and a worker of that version that ends a shard does not move it."""
    job_id = accepted(jobs, dataset(20, shard_size=2))
    record = records.record_key(TENANT, job_id)
    for shard in range(3):
        make(jobs, job_id, shard)
    redis.hdel(record, "first_open")
    make(jobs, job_id, 3)
    assert redis.hget(record, "first_open") == b"4"
    redis.hdel(record, "done:1")  # queued again by such a worker
    redis.hincrby(record, "shards_done", -1)
    redis.delete(f"rq:queue:{QUEUE_NAME}")
    mender.mend_open()
    assert mender.mend_open().requeued == 3
    assert f"{job_id}-1" in queued(redis)


def test_counters_of_outcomes() -> None:
    found = Tally.of(["s", "S", "r", "f", "F", "R"])
    assert found == Tally(succeeded=4, failed=2, rejected=2, reused=3)
    assert {records.outcome_of(item) for item in (drawn(0), drawn(1, accepted=False), failed(2))} == set("srf")


def put_only(storage: FolderStorage, job_id: str, item: Item) -> None:
    """Write an item's record as a worker does that dies before it counts."""
    storage.put(keys.item_record(TENANT, job_id, item.index), item.model_dump_json().encode())
