"""Retention: what is too old goes, everything else stays."""

from __future__ import annotations

import os
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from redis import Redis

from flawsmith.contract.base import FORMAT_VERSION, now
from flawsmith.contract.ids import BUILTIN_TENANT, job_id_before
from flawsmith.contract.uploads import UploadRecord
from service import uploads
from service.body import SpooledFile
from service.images.door import Admitted
from service.store import keys
from service.store.folder import FolderStorage
from service.store.jobs import Jobs
from service.store.storage import StorageUnavailableError
from tests.service.store.test_jobs import FILES, TENANT, finish, manifest
from worker.house.retention import Retention
from worker.house.settings import HouseSettings

OTHER = "other"


@pytest.fixture
def storage(tmp_path: Path) -> FolderStorage:
    return FolderStorage(tmp_path)


@pytest.fixture
def jobs(redis: Redis, storage: FolderStorage) -> Jobs:
    return Jobs(redis, storage, HouseSettings())


def retention(jobs: Jobs, storage: FolderStorage, **settings: float) -> Retention:
    return Retention(jobs, storage, HouseSettings.model_validate(settings), lambda: False)


def made(jobs: Jobs, days: float, *, ended: datetime | None, tenant: str = TENANT) -> str:
    """A job of some days ago, which ended then or has not."""
    moment = now() - timedelta(days=days)
    request = manifest(count=1, tenant=tenant, age_s=days * 86400)
    request = request.model_copy(update={"job_id": job_id_before(moment)})
    jobs.accept(request, FILES)
    if ended is not None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("service.store.stored.now", lambda: ended)
            jobs.cancel(tenant, request.job_id)
    return request.job_id


def upload(storage: FolderStorage, digit: str, days: float) -> str:
    digest = 64 * digit
    storage.put(keys.upload_canonical(TENANT, digest), b"image")
    record = UploadRecord(
        format_version=FORMAT_VERSION,
        tenant=TENANT,
        id=f"sha256:{digest}",
        size=5,
        created_at=now() - timedelta(days=days),
        image=manifest().image,
    )
    storage.put(keys.upload_record(TENANT, digest), record.model_dump_json().encode())
    return digest


def send(storage: FolderStorage, digest: str) -> int:
    """Upload an image as `POST /v1/uploads` does; what that answers."""
    if uploads._again(storage, TENANT, f"sha256:{digest}") is not None:
        return 200
    admitted = Admitted(b"image", manifest().image, None, None, [])
    uploads._store(storage, TENANT, SpooledFile(Path("image"), 5, digest), admitted)
    return 201


def whole(storage: FolderStorage, digest: str) -> bool:
    record = keys.upload_record(TENANT, digest)
    return storage.exists(record) and storage.exists(keys.upload_canonical(TENANT, digest))


def test_jobs_that_ended_too_long_ago_go_with_all_they_made(jobs: Jobs, storage: FolderStorage) -> None:
    old = made(jobs, 10, ended=now() - timedelta(days=9))
    elsewhere = made(jobs, 11, ended=now() - timedelta(days=9), tenant=OTHER)
    late = made(jobs, 9.5, ended=now() - timedelta(days=1))
    unfinished = made(jobs, 12, ended=None)
    new = made(jobs, 1, ended=now())

    assert retention(jobs, storage, keep_jobs_days=7).sweep() == 2

    assert jobs.get(TENANT, old) is None
    assert jobs.get(OTHER, elsewhere) is None
    assert list(storage.list(keys.job_prefix(TENANT, old))) == []
    assert {job.id for job in jobs.page(TENANT, 10).jobs} == {late, unfinished, new}


def test_the_next_sweep_ends_a_deletion_that_broke_off(
    jobs: Jobs, storage: FolderStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = made(jobs, 10, ended=now() - timedelta(days=9))
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", _break_off)
        with pytest.raises(StorageUnavailableError):
            retention(jobs, storage, keep_jobs_days=7).sweep()
    assert list(storage.list("")) == [keys.job_result(TENANT, old)]
    assert retention(jobs, storage, keep_jobs_days=7).sweep() == 1
    assert list(storage.list("")) == []


def test_uploads_that_are_too_old_go_and_jobs_keep_their_copies(jobs: Jobs, storage: FolderStorage) -> None:
    old, new = upload(storage, "a", 8), upload(storage, "b", 1)
    job_id = made(jobs, 8, ended=None)
    assert retention(jobs, storage, keep_uploads_days=7).sweep() == 1
    assert list(storage.list(keys.upload_prefix(TENANT, old))) == []
    assert storage.exists(keys.upload_record(TENANT, new))
    assert storage.exists(keys.job_input(TENANT, job_id))


def test_what_is_left_of_an_upload_goes_as_well(jobs: Jobs, storage: FolderStorage) -> None:
    """Its deletion broke off behind its record; another one is being written."""
    old, new = 64 * "a", 64 * "b"
    for digest in (old, new):
        storage.put(keys.upload_canonical(TENANT, digest), b"image")
    eight_days_ago = (now() - timedelta(days=8)).timestamp()
    os.utime(storage.root / keys.upload_canonical(TENANT, old), (eight_days_ago, eight_days_ago))
    assert retention(jobs, storage, keep_uploads_days=7).sweep() == 1
    assert list(storage.list("")) == [keys.upload_canonical(TENANT, new)]


def test_an_upload_that_is_sent_again_before_its_image_goes_stays_in_whole(
    jobs: Jobs, storage: FolderStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = upload(storage, "a", 8)
    delete = storage.delete

    def sent_again(key: str) -> None:
        monkeypatch.undo()
        delete(key)
        assert send(storage, old) == 201

    monkeypatch.setattr(storage, "delete", sent_again)
    assert retention(jobs, storage, keep_uploads_days=7).sweep() == 0
    assert whole(storage, old)


def test_an_upload_that_was_sent_again_since_it_was_found_old_stays(
    jobs: Jobs, storage: FolderStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = upload(storage, "a", 8)
    modified = storage.modified

    def sent_again(prefix: str) -> dict[str, datetime]:
        monkeypatch.undo()
        assert send(storage, old) == 200
        return modified(prefix)

    monkeypatch.setattr(storage, "modified", sent_again)
    assert retention(jobs, storage, keep_uploads_days=7).sweep() == 0
    assert whole(storage, old)


def test_an_image_that_was_written_anew_is_not_taken_for_the_old_one(
    jobs: Jobs, storage: FolderStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its record is still to come."""
    old = upload(storage, "a", 8)
    image = keys.upload_canonical(TENANT, old)
    os.utime(storage.root / image, (0, 0))
    delete = storage.delete

    def written_anew(key: str) -> None:
        monkeypatch.undo()
        delete(key)
        storage.put(image, b"image")

    monkeypatch.setattr(storage, "delete", written_anew)
    retention(jobs, storage, keep_uploads_days=7).sweep()
    assert storage.exists(image)


def test_an_image_that_goes_with_what_was_left_comes_back_with_the_next_upload(
    jobs: Jobs, storage: FolderStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = upload(storage, "a", 8)
    delete = storage.delete

    def sent_again(key: str) -> None:
        if key == keys.upload_canonical(TENANT, old):
            monkeypatch.undo()
            assert send(storage, old) == 201
        delete(key)

    monkeypatch.setattr(storage, "delete", sent_again)
    retention(jobs, storage, keep_uploads_days=7).sweep()
    assert not whole(storage, old)
    assert send(storage, old) == 201
    assert whole(storage, old)


def test_what_is_foreign_or_cannot_be_read_keeps_nothing_else(
    jobs: Jobs, storage: FolderStorage, caplog: pytest.LogCaptureFixture
) -> None:
    newer, broken, old = (made(jobs, days, ended=now() - timedelta(days=9)) for days in (13, 12, 11))
    elsewhere = made(jobs, 11, ended=now() - timedelta(days=9), tenant=OTHER)
    for job_id, what in ((newer, b'"format_version": 9'), (broken, b'"format_version": ')):
        result = storage.get(keys.job_result(TENANT, job_id))
        storage.put(keys.job_result(TENANT, job_id), result.replace(b'"format_version": 1', what))
    unreadable, late = upload(storage, "a", 8), upload(storage, "b", 8)
    storage.put(keys.upload_record(TENANT, unreadable), b"{")
    for foreign in ("lost+found", f"{TENANT}/jobs/.Trash", f"{TENANT}/jobs/a copy", f"{TENANT}/uploads/a copy"):
        (storage.root / foreign).mkdir()

    keeping = retention(jobs, storage, keep_jobs_days=7, keep_uploads_days=7)
    assert keeping.sweep() == 3
    assert keeping.sweep() == 0

    assert jobs.get(TENANT, old) is None
    assert jobs.get(OTHER, elsewhere) is None
    assert not storage.exists(keys.upload_record(TENANT, late))
    assert all(storage.exists(keys.job_request(TENANT, job_id)) for job_id in (newer, broken))
    assert storage.exists(keys.upload_canonical(TENANT, unreadable))
    said = [record.getMessage() for record in caplog.records if "cannot be read" in record.getMessage()]
    assert len(said) == 3, "each once"


def test_without_a_setting_everything_is_kept(jobs: Jobs, storage: FolderStorage) -> None:
    made(jobs, 1000, ended=now() - timedelta(days=999))
    upload(storage, "a", 1000)
    before = list(storage.list(""))
    assert retention(jobs, storage).sweep() == 0
    assert list(storage.list("")) == before


def test_what_comes_with_flawsmith_is_never_too_old(jobs: Jobs, storage: FolderStorage) -> None:
    key = keys.defect_type(BUILTIN_TENANT, "scratch", 1)
    storage.put(key, b"{}")
    retention(jobs, storage, keep_jobs_days=0.001, keep_uploads_days=0.001).sweep()
    assert storage.exists(key)


def test_a_job_that_fails_to_end_in_redis_is_left_for_next_time(jobs: Jobs, storage: FolderStorage) -> None:
    request = manifest(count=1, age_s=10 * 86400)
    request = request.model_copy(update={"job_id": job_id_before(now() - timedelta(days=10))})
    jobs.accept(request, FILES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.store.stored.now", lambda: now() - timedelta(days=9))
        patch.setattr(jobs, "_finish_job", lambda **arguments: 0)  # Redis went away just then
        finish(jobs, request.job_id, 0)
    assert storage.exists(keys.job_result(TENANT, request.job_id))
    assert retention(jobs, storage, keep_jobs_days=7).sweep() == 0
    assert jobs.get(TENANT, request.job_id) is not None


def _break_off(folder: Path) -> None:
    raise StorageUnavailableError("away")
