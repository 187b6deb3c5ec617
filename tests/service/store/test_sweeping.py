"""What is stored as a job ends: finished items count, and what comes later goes."""

from __future__ import annotations

import pytest
from redis import Redis

from flawsmith.contract.jobs import ItemStatus, JobStatus
from service.store import keys
from service.store.jobs import Jobs
from service.store.settings import StoreSettings
from service.store.storage import Storage, StorageUnavailableError
from tests.service.store.test_jobs import TENANT, accepted, done, got, manifest

OK, CANCELED = ItemStatus.SUCCEEDED, ItemStatus.CANCELED


@pytest.fixture
def jobs(redis: Redis, storage: Storage) -> Jobs:
    return Jobs(redis, storage, StoreSettings())


def store_files(storage: Storage, job_id: str, index: int) -> None:
    """All that an item has but its record."""
    for name in ("image.png", "mask.png", "preview.png"):
        storage.put(keys.item_prefix(TENANT, job_id, index) + name, b"")


def items_in(storage: Storage, job_id: str) -> set[int]:
    prefix = keys.items_prefix(TENANT, job_id)
    return {int(key.removeprefix(prefix).partition("/")[0]) for key in storage.list(prefix)}


def test_a_canceled_job_keeps_an_item_that_was_stored_and_not_counted(jobs: Jobs, storage: Storage) -> None:
    """Its worker lost the answer to its last step, or died after it."""
    job_id = accepted(jobs, manifest(count=3))
    jobs.begin_shard(TENANT, job_id, 0)
    for index in (0, 1):
        store_files(storage, job_id, index)
    storage.put(keys.item_record(TENANT, job_id, 0), done(0).model_dump_json().encode())
    jobs.cancel(TENANT, job_id)
    jobs.finish_shard(TENANT, job_id, 0)
    jobs.finish_shard(TENANT, job_id, 1)
    job = got(jobs, job_id)
    assert job.status is JobStatus.CANCELED
    assert [item.status for item in job.items] == [OK, CANCELED, CANCELED]
    assert items_in(storage, job_id) == {0}


def test_an_item_that_comes_after_the_end_goes(jobs: Jobs, storage: Storage) -> None:
    job_id = accepted(jobs, manifest(count=3))
    jobs.cancel(TENANT, job_id)
    assert got(jobs, job_id).status is JobStatus.CANCELED
    store_files(storage, job_id, 1)
    assert not jobs.finish_item(TENANT, job_id, done(1))
    jobs.sweep(TENANT, job_id)
    assert items_in(storage, job_id) == set()
    assert got(jobs, job_id).items[1].status is CANCELED


def test_what_comes_after_a_job_was_deleted_goes(jobs: Jobs, storage: Storage) -> None:
    job_id = accepted(jobs)
    jobs.cancel(TENANT, job_id)
    jobs.delete(TENANT, job_id)
    store_files(storage, job_id, 0)
    jobs.finish_item(TENANT, job_id, done(0))
    jobs.sweep(TENANT, job_id)
    assert list(storage.list(keys.job_prefix(TENANT, job_id))) == []


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
    for method, is_left in (("delete", True), ("delete_prefix", False)):
        with monkeypatch.context() as patch:
            patch.setattr(storage, method, _fail)
            with pytest.raises(StorageUnavailableError):
                jobs.delete(TENANT, job_id)
        job = jobs.get(TENANT, job_id)
        assert (job is not None and job.status is JobStatus.CANCELED) is is_left
        assert list(redis.scan_iter(f"*{job_id}*")) == []


def _fail(key: str) -> None:
    raise StorageUnavailableError("away")
