"""The queue belongs to one storage: another one, as an empty mount point, makes nothing look gone."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from redis import Redis

from flawsmith.contract.base import now
from service.store import keys, records
from service.store.folder import FolderStorage
from service.store.identity import AnotherStorageError, Identity
from service.store.jobs import Jobs
from service.store.mending import Mender
from service.store.settings import StoreSettings
from service.store.storage import Storage, StorageUnavailableError
from tests.service.store.test_jobs import FILES, TENANT, accepted, manifest


@pytest.fixture
def unmounted(tmp_path: Path) -> FolderStorage:
    """What a process takes for the storage that starts before its disk is mounted."""
    return FolderStorage(tmp_path / "mount point")


def test_a_new_storage_gets_an_id_that_stays(redis: Redis, storage: Storage) -> None:
    Identity(redis, storage).confirm()
    record = storage.get(keys.STORAGE_RECORD)
    for _ in range(2):
        Identity(redis, storage).confirm()
    assert list(storage.list("")) == [keys.STORAGE_RECORD]
    assert storage.get(keys.STORAGE_RECORD) == record


def test_an_emptied_queue_belongs_to_the_storage_that_is_there(
    redis: Redis, storage: Storage, unmounted: FolderStorage
) -> None:
    Identity(redis, storage).confirm()
    redis.flushall()
    Identity(redis, storage).confirm()
    with pytest.raises(AnotherStorageError):
        Identity(redis, unmounted).confirm()


def test_an_empty_or_another_storage_is_refused_with_the_remedy_and_nothing_is_written_there(
    redis: Redis, storage: Storage, unmounted: FolderStorage, tmp_path: Path
) -> None:
    Identity(redis, storage).confirm()
    another = Identity(redis, unmounted)
    for refuse in (another.confirm, another.check):
        with pytest.raises(AnotherStorageError, match=r"mount its disk.*FLAWSMITH_STORAGE_URL.*empty the queue"):
            refuse()
    assert list(unmounted.list("")) == []

    other = FolderStorage(tmp_path / "other")
    redis.flushall()
    Identity(redis, other).confirm()
    with pytest.raises(AnotherStorageError):
        Identity(redis, storage).confirm()


def test_a_storage_of_the_version_before_gets_an_id_but_no_empty_one_in_its_place(
    jobs: Jobs, redis: Redis, storage: Storage, unmounted: FolderStorage
) -> None:
    accepted(jobs)
    with pytest.raises(AnotherStorageError):
        Identity(redis, unmounted).confirm()
    Identity(redis, storage).confirm()
    Identity(redis, storage).check()


def test_processes_that_start_at_once_agree_where_the_store_heeds_no_conditions(
    redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = FolderStorage(tmp_path / "storage")
    put = storage.put

    def write_over(key: str, data: bytes, content_type: str = "") -> bool:
        with monkeypatch.context() as patch:
            patch.setattr(storage, "put_if_absent", lambda *arguments: put(*arguments) or True)
            Identity(redis, storage).confirm()  # the other one, meanwhile
        put(key, data, content_type)
        return True

    monkeypatch.setattr(storage, "put_if_absent", write_over)
    Identity(redis, storage).confirm()
    Identity(redis, storage).confirm()


def test_what_was_confirmed_lately_is_not_asked_again(
    redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = FolderStorage(tmp_path / "storage")
    identity = Identity(redis, storage)
    identity.confirm()

    def away(key: str) -> bytes:
        raise StorageUnavailableError("away")

    monkeypatch.setattr(storage, "get", away)
    identity.confirm(60)
    identity.confirm(0.001)  # what needs no storage goes on without it
    with pytest.raises(StorageUnavailableError):
        identity.confirm()
    with pytest.raises(StorageUnavailableError):
        Identity(redis, storage).confirm(60)


def test_an_empty_folder_made_in_place_of_one_at_work_is_unavailable(redis: Redis, tmp_path: Path) -> None:
    """One process works on the disk; it goes, and another that starts makes the folder beneath it."""
    storage = FolderStorage(tmp_path / "root")
    storage.put("default/a", b"")
    Identity(redis, storage).confirm()
    storage.root.rename(tmp_path / "disk")
    FolderStorage(tmp_path / "root")
    for ask in (storage.exists, storage.get, storage.delete):
        with pytest.raises(StorageUnavailableError, match="not mounted"):
            ask("default/a")
    for put in (storage.put, storage.put_if_absent):
        with pytest.raises(StorageUnavailableError, match="not mounted"):
            put("default/b", b"")
    with pytest.raises(StorageUnavailableError):
        list(storage.list(""))
    with pytest.raises(StorageUnavailableError):
        storage.check()


def test_in_another_storage_no_job_counts_as_gone(
    jobs: Jobs, redis: Redis, storage: Storage, settings: StoreSettings, unmounted: FolderStorage
) -> None:
    Identity(redis, storage).confirm()
    request = manifest(age_s=3600)
    jobs.accept(request, FILES)
    with pytest.raises(AnotherStorageError):
        Jobs(redis, unmounted, settings).begin_shard(TENANT, request.job_id, 0)
    with pytest.raises(AnotherStorageError):
        Mender(redis, unmounted, settings, grace_s=0, orphan_age_s=0).mend_open()
    assert redis.smembers(records.open_key(TENANT)) == {request.job_id.encode()}
    assert jobs.begin_shard(TENANT, request.job_id, 0).pending


def test_after_a_job_was_forgotten_one_looks_again_at_what_is_as_old(
    jobs: Jobs, redis: Redis, storage: Storage, settings: StoreSettings
) -> None:
    mender = Mender(redis, storage, settings, grace_s=0, orphan_age_s=0)
    mender.rebuild()
    redis.set("flawsmith:remembers", now().isoformat())
    job_id = accepted(jobs)
    request = storage.get(keys.job_request(TENANT, job_id))
    storage.delete(keys.job_request(TENANT, job_id))
    redis.set("flawsmith:remembers", (now() + timedelta(days=3)).isoformat())  # as it is when the job is old
    assert jobs.begin_shard(TENANT, job_id, 0).final
    storage.put(keys.job_request(TENANT, job_id), request)
    assert mender.recover_recent(0.001).restored == 1
