"""What is stored as a job ends: finished items count, and what comes later goes."""

from __future__ import annotations

import pytest
from redis import Redis

from flawsmith.contract.ids import new_job_id
from flawsmith.contract.jobs import Item, ItemStatus, JobStatus
from service.store import keys
from service.store.jobs import Jobs
from service.store.storage import Storage, StorageUnavailableError
from tests.service.store.test_jobs import TENANT, accepted, done, got, manifest

OK, CANCELED = ItemStatus.SUCCEEDED, ItemStatus.CANCELED


def store_files(storage: Storage, job_id: str, index: int, digit: str = "a") -> Item:
    """All that an item has but its record, which is returned."""
    digests = {f"{part}_sha256": 64 * digit for part in ("image", "mask", "preview")}
    item = done(index).model_copy(update=digests)
    storage.put(keys.item_image(TENANT, job_id, item, manifest().image), digit.encode())
    for key in (keys.item_mask(TENANT, job_id, item), keys.item_preview(TENANT, job_id, item)):
        storage.put(key, digit.encode())
    return item


def items_in(storage: Storage, job_id: str) -> set[int]:
    prefix = keys.items_prefix(TENANT, job_id)
    return {int(key.removeprefix(prefix).partition("/")[0]) for key in storage.list(prefix)}


def test_a_canceled_job_keeps_an_item_that_was_stored_and_not_counted(jobs: Jobs, storage: Storage) -> None:
    """Its worker lost the answer to its last step, or died after it."""
    job_id = accepted(jobs, manifest(count=3))
    jobs.begin_shard(TENANT, job_id, 0)
    item, _ = (store_files(storage, job_id, index) for index in (0, 1))
    storage.put(keys.item_record(TENANT, job_id, 0), item.model_dump_json().encode())
    jobs.cancel(TENANT, job_id)
    jobs.finish_shard(TENANT, job_id, 0)
    jobs.finish_shard(TENANT, job_id, 1)
    job = got(jobs, job_id)
    assert job.status is JobStatus.CANCELED
    assert [item.status for item in job.items] == [OK, CANCELED, CANCELED]
    assert items_in(storage, job_id) == {0}


@pytest.mark.parametrize(("count", "status"), [(4, JobStatus.CANCELED), (2, JobStatus.SUCCEEDED)])
def test_a_job_that_redis_does_not_know_keeps_what_is_finished_when_it_is_canceled(
    jobs: Jobs, redis: Redis, storage: Storage, count: int, status: JobStatus
) -> None:
    job_id = accepted(jobs, manifest(count=count))
    for index in range(2):
        jobs.finish_item(TENANT, job_id, store_files(storage, job_id, index))
    if count > 2:
        store_files(storage, job_id, 2)  # its worker heard of no end
    redis.flushall()
    job = jobs.cancel(TENANT, job_id)
    assert job is not None
    assert (job.status, job.counts.succeeded, job.counts.canceled) == (status, 2, count - 2)
    assert job.items[0].image_sha256 == 64 * "a"
    assert items_in(storage, job_id) == {0, 1}


def test_an_item_that_comes_after_the_end_goes(jobs: Jobs, storage: Storage) -> None:
    job_id = accepted(jobs, manifest(count=3))
    jobs.cancel(TENANT, job_id)
    assert got(jobs, job_id).status is JobStatus.CANCELED
    item = store_files(storage, job_id, 1)
    assert not jobs.finish_item(TENANT, job_id, item)
    jobs.sweep(TENANT, job_id)
    assert items_in(storage, job_id) == set()
    assert got(jobs, job_id).items[1].status is CANCELED


def test_what_comes_after_a_job_was_deleted_goes(jobs: Jobs, storage: Storage) -> None:
    job_id = accepted(jobs)
    jobs.cancel(TENANT, job_id)
    jobs.delete(TENANT, job_id)
    item = store_files(storage, job_id, 0)
    jobs.finish_item(TENANT, job_id, item)
    jobs.sweep(TENANT, job_id)
    assert list(storage.list(keys.job_prefix(TENANT, job_id))) == []


def test_who_ends_a_job_that_another_ended_and_deleted_meanwhile_leaves_nothing(
    jobs: Jobs, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = accepted(jobs)
    put = storage.put_if_absent

    def late(key: str, data: bytes, media_type: str) -> bool:
        if key == keys.job_result(TENANT, job_id):
            monkeypatch.undo()
            jobs.finalize(TENANT, job_id)
            jobs.delete(TENANT, job_id)
        return put(key, data, media_type)

    monkeypatch.setattr(storage, "put_if_absent", late)
    assert jobs.cancel(TENANT, job_id) is None
    assert list(storage.list(keys.job_prefix(TENANT, job_id))) == []


def test_who_draws_an_item_otherwise_and_late_overwrites_nothing(jobs: Jobs, storage: Storage) -> None:
    """A worker on another device was thought dead, and wrote its files after the one that took over."""
    job_id = accepted(jobs, manifest(count=2))
    jobs.begin_shard(TENANT, job_id, 0)
    first = store_files(storage, job_id, 0)
    assert jobs.finish_item(TENANT, job_id, first)
    late = store_files(storage, job_id, 0, digit="b")
    assert not jobs.finish_item(TENANT, job_id, late)
    assert got(jobs, job_id).items[0] == first
    assert storage.get(keys.item_image(TENANT, job_id, first, manifest().image)) == b"a"
    assert len(list(storage.list(keys.item_prefix(TENANT, job_id, 0)))) == 4


def test_files_of_one_that_died_before_it_was_heard_go_with_the_end(jobs: Jobs, storage: Storage) -> None:
    job_id = accepted(jobs, manifest(count=1))
    jobs.begin_shard(TENANT, job_id, 0)
    store_files(storage, job_id, 0, digit="b")
    item = store_files(storage, job_id, 0)
    jobs.finish_item(TENANT, job_id, item)
    jobs.finish_shard(TENANT, job_id, 0)
    assert got(jobs, job_id).status is JobStatus.SUCCEEDED
    assert len(list(storage.list(keys.item_prefix(TENANT, job_id, 0)))) == 4


def test_nothing_goes_of_a_job_that_has_not_ended(jobs: Jobs, storage: Storage) -> None:
    job_id = accepted(jobs)
    jobs.begin_shard(TENANT, job_id, 0)
    store_files(storage, job_id, 0)
    before = set(storage.list(""))
    jobs.sweep(TENANT, job_id)
    assert set(storage.list("")) == before


def test_an_interrupted_deletion_leaves_a_whole_job_or_none(
    jobs: Jobs, storage: Storage, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = accepted(jobs)
    jobs.cancel(TENANT, job_id)
    delete = storage.delete_prefix

    def break_off_at_the_last(prefix: str, last: str) -> None:
        for key in storage.list(prefix):
            if key != last:
                storage.delete(key)
        _fail(prefix)

    for method, is_left in (("delete", True), ("delete_prefix", False)):
        with monkeypatch.context() as patch:
            patch.setattr(storage, method, _fail)
            with pytest.raises(StorageUnavailableError):
                jobs.delete(TENANT, job_id)
        job = jobs.get(TENANT, job_id)
        assert (job is not None and job.status is JobStatus.CANCELED) is is_left
        assert list(redis.scan_iter(f"*{job_id}*")) == []
    monkeypatch.setattr(storage, "delete_prefix", break_off_at_the_last)
    with pytest.raises(StorageUnavailableError):
        jobs.delete(TENANT, job_id)
    monkeypatch.setattr(storage, "delete_prefix", delete)
    assert jobs.delete(TENANT, job_id), "asked again it takes what is left"
    assert list(storage.list(keys.job_prefix(TENANT, job_id))) == []
    assert not jobs.delete(TENANT, job_id)


def test_what_is_stored_of_a_job_that_is_being_accepted_is_not_left_of_another(
    jobs: Jobs, storage: Storage
) -> None:
    job_id = new_job_id()
    storage.put(keys.job_input(TENANT, job_id), b"here before its request")
    assert not jobs.delete(TENANT, job_id)
    assert storage.exists(keys.job_input(TENANT, job_id))


def _fail(key: str, last: str | None = None) -> None:
    raise StorageUnavailableError("away")
