"""Work on one shard, with models that do what the test wants."""

from __future__ import annotations

import hashlib
import time

import numpy as np
import pytest
import torch
from redis import Redis
from rq.job import Retry
from rq.timeouts import JobTimeoutException

from flawsmith.contract.jobs import Item, ItemStatus, Job, JobStatus
from flawsmith.contract.manifests import AugmentationManifest
from service.images.canonical import pixels_sha256
from service.images.decoding import decode, read_canonical
from service.store import keys
from service.store.connection import QueueUnavailableError
from service.store.folder import FolderStorage
from service.store.jobs import Jobs
from service.store.opening import open_storage
from service.store.s3 import S3Storage
from service.store.storage import Storage, StorageUnavailableError
from tests.servers import S3Server
from tests.service.store.conftest import s3_settings
from tests.worker.conftest import publish_type
from tests.worker.fake_models import FakeModels
from tests.worker.tiny_worker import TENANT, accept, photo, request
from worker import known
from worker import shards as shards_module
from worker.settings import WorkerSettings
from worker.shards import Shards, ShardTakenError


class Bench:
    """A worker's shards with switches."""

    def __init__(self, jobs: Jobs, storage: Storage) -> None:
        self.jobs = jobs
        self.models = FakeModels()
        self.stopping = False
        self.device_lost = False
        self.shards = Shards(jobs, storage, self.models.as_models(), lambda: self.stopping, self._lose_device)

    def _lose_device(self) -> None:
        self.device_lost = True

    def accept(self, manifest: AugmentationManifest) -> str:
        return accept(self.jobs, manifest).id

    def run(self, job_id: str, shard: int = 0) -> Retry | None:
        return self.shards.run(TENANT, job_id, shard)

    def job(self, job_id: str) -> Job:
        job = self.jobs.get(TENANT, job_id)
        assert job is not None
        return job

    def outcomes(self, job_id: str) -> list[ItemStatus]:
        return [item.status for item in self.job(job_id).items]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards_module, "_OUTAGE_PAUSE_S", 0.0)
    monkeypatch.setattr(shards_module, "_FAILURE_PAUSE_S", 0.0)


@pytest.fixture
def bench(jobs: Jobs, storage: FolderStorage) -> Bench:
    return Bench(jobs, storage)


def test_items_are_stored_as_the_contract_says(bench: Bench, storage: FolderStorage) -> None:
    manifest = request(1)
    manifest.augmentation.pixel_size_um = 10.0
    job_id = bench.accept(manifest)
    assert bench.run(job_id) is None
    job = bench.job(job_id)
    assert job.status is JobStatus.SUCCEEDED
    (item,) = job.items
    assert item.image_url == f"/v1/jobs/{job_id}/items/0/image"
    assert item.mask_url == f"/v1/jobs/{job_id}/items/0/mask"
    assert item.preview_url == f"/v1/jobs/{job_id}/items/0/preview"
    assert (item.seed, item.attempts, item.accepted, item.fingerprint) == (7, 1, True, "fake2")
    assert item.scores is not None
    assert (item.scores.quality, item.scores.background_max_abs_diff) == (0.7, 0)
    assert item.measures is not None
    (region,) = item.measures.regions
    assert (region.area_um2, region.length_um, region.width_um) == (56_000, 280, 200)

    image = storage.get(keys.item_image(TENANT, job_id, item, manifest.image))
    mask = storage.get(keys.item_mask(TENANT, job_id, item))
    assert hashlib.sha256(image).hexdigest() == item.image_sha256
    assert hashlib.sha256(mask).hexdigest() == item.mask_sha256
    pixels, labelled = read_canonical(image).pixels, read_canonical(mask).pixels
    assert pixels_sha256(pixels) == item.pixels_sha256
    assert set(np.unique(labelled)) == {0, 255}
    assert np.array_equal(pixels[labelled == 0], photo()[labelled == 0])
    assert np.all(pixels[labelled > 0] == 255 - photo()[labelled > 0])
    stored_preview = storage.get(keys.item_preview(TENANT, job_id, item))
    assert hashlib.sha256(stored_preview).hexdigest() == item.preview_sha256
    preview = read_canonical(stored_preview)
    assert preview.info.mode == "rgb"
    record = Item.model_validate_json(storage.get(keys.item_record(TENANT, job_id, 0)))
    assert record == item


def test_a_tiff_gives_tiffs(bench: Bench, storage: FolderStorage) -> None:
    manifest = request(1, tiff=True)
    job_id = bench.accept(manifest)
    bench.run(job_id)
    key = keys.item_image(TENANT, job_id, bench.job(job_id).items[0], manifest.image)
    assert key.endswith(".tif")
    image = decode(storage.get(key))
    assert image.info.source_format == "tiff"
    assert pixels_sha256(image.pixels) == bench.job(job_id).items[0].pixels_sha256


def test_items_are_drawn_in_batches(bench: Bench) -> None:
    job_id = bench.accept(request(5, shard_size=5))
    bench.run(job_id)
    assert bench.models.batches == [[0, 1], [2, 3], [4]]


def test_progress_runs_through_the_shard(bench: Bench) -> None:
    seen: list[float] = []
    job_id = bench.accept(request(4, shard_size=4))

    def show(tenant: str, job_id: str, step: float) -> None:
        seen.append(step)

    bench.jobs.progress = show  # type: ignore[method-assign]
    bench.run(job_id)
    assert seen == sorted(seen)
    assert 0 < seen[0] <= seen[-1] <= 1


def test_a_failing_item_takes_no_other_with_it(bench: Bench) -> None:
    def fail(batch: list[int]) -> None:
        if 1 in batch:
            raise ValueError("no room for the mask")

    bench.models.before = fail
    job_id = bench.accept(request(4, shard_size=4))
    assert bench.run(job_id) is None
    ok, bad = ItemStatus.SUCCEEDED, ItemStatus.FAILED
    assert bench.outcomes(job_id) == [ok, bad, ok, ok]
    job = bench.job(job_id)
    assert job.status is JobStatus.SUCCEEDED
    assert job.items[1].error is not None
    assert "no room for the mask" in job.items[1].error.detail
    assert bench.models.batches == [[0, 1], [0], [1], [2, 3]]


def test_a_job_that_no_item_of_which_can_be_drawn_fails(bench: Bench) -> None:
    def fail(batch: list[int]) -> None:
        raise ValueError("nothing works")

    bench.models.before = fail
    job_id = bench.accept(request(2))
    bench.run(job_id)
    job = bench.job(job_id)
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert "nothing works" in job.error.detail


def test_cancel_is_heard_at_the_next_step(bench: Bench) -> None:
    job_id = bench.accept(request(4, shard_size=4))

    def cancel_in_the_second_batch(batch: list[int]) -> None:
        if 2 in batch:
            bench.jobs.cancel(TENANT, job_id)

    bench.models.before = cancel_in_the_second_batch
    bench.models.on_step = _wait_a_step
    assert bench.run(job_id) is None
    kept, canceled = ItemStatus.SUCCEEDED, ItemStatus.CANCELED
    assert bench.outcomes(job_id) == [kept, kept, canceled, canceled]
    assert bench.job(job_id).status is JobStatus.CANCELED


def test_a_worker_that_stops_gives_the_shard_back(bench: Bench) -> None:
    job_id = bench.accept(request(4, shard_size=4))

    def stop_in_the_second_batch(batch: list[int]) -> None:
        bench.stopping = 2 in batch

    bench.models.before = stop_in_the_second_batch
    assert isinstance(bench.run(job_id), Retry)
    assert bench.job(job_id).progress.done == 2

    bench.stopping = False
    bench.models.before = lambda batch: None
    bench.models.batches.clear()
    assert bench.jobs.begin_shard(TENANT, job_id, 0).failures == 0
    assert bench.run(job_id) is None
    assert bench.models.batches == [[2, 3]]
    assert bench.job(job_id).counts.succeeded == 4


@pytest.mark.parametrize("outage", [StorageUnavailableError("full"), QueueUnavailableError("away")])
def test_an_outage_is_not_held_against_the_shard(bench: Bench, outage: Exception) -> None:
    def fail(batch: list[int]) -> None:
        raise outage

    bench.models.before = fail
    job_id = bench.accept(request(2))
    for _ in range(5):
        assert isinstance(bench.run(job_id), Retry)
    assert bench.jobs.begin_shard(TENANT, job_id, 0).failures == 0


def test_an_outage_of_the_queue_while_drawing_is_sat_out(bench: Bench) -> None:
    calls = 0

    def away(tenant: str, job_id: str, step: float) -> None:
        nonlocal calls
        calls += 1
        raise QueueUnavailableError("away")

    bench.jobs.progress = away  # type: ignore[method-assign]
    bench.models.on_step = _wait_a_step
    job_id = bench.accept(request(2))
    assert bench.run(job_id) is None
    assert bench.job(job_id).status is JobStatus.SUCCEEDED
    assert calls == 1


def test_a_shard_that_fails_again_and_again_is_given_up(bench: Bench, storage: FolderStorage) -> None:
    job_id = bench.accept(request(4))
    storage.put(keys.job_input(TENANT, job_id), b"no image")
    for _ in range(3):
        with pytest.raises(Exception, match="PNG"):
            bench.run(job_id)
    assert bench.run(job_id) is None
    items = bench.job(job_id).items
    assert [item.status for item in items] == [ItemStatus.FAILED] * 2 + [ItemStatus.PENDING] * 2
    assert items[0].error is not None
    assert "failed 3 times" in items[0].error.detail
    assert "PNG" in items[0].error.detail


def test_a_jobs_photo_is_read_once_for_shards_that_follow_each_other(
    bench: Bench, storage: FolderStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    get = storage.get

    def counted(key: str) -> bytes:
        read.append(key)
        return get(key)

    monkeypatch.setattr(storage, "get", counted)
    first, other = bench.accept(request(4)), bench.accept(request(2))
    for job_id, shard in ((first, 0), (other, 0), (first, 1)):
        bench.run(job_id, shard)
    assert bench.outcomes(first) == [ItemStatus.SUCCEEDED] * 4
    assert [read.count(keys.job_input(TENANT, job_id)) for job_id in (first, other)] == [1, 1]


def test_items_in_storage_are_not_drawn_again(bench: Bench, storage: FolderStorage) -> None:
    """The worker before died between writing an item and counting it."""
    job_id = bench.accept(request(2))
    item = Item(index=0, status=ItemStatus.SUCCEEDED, seed=7, fingerprint="before")
    storage.put(keys.item_record(TENANT, job_id, 0), item.model_dump_json().encode())
    bench.run(job_id)
    assert bench.models.batches == [[1]]
    assert [item.fingerprint for item in bench.job(job_id).items] == ["before", "fake2"]


def test_what_another_worker_has_stored_since_is_not_drawn_again(bench: Bench, storage: FolderStorage) -> None:
    """The other died with the shard after this worker had listed what there is of the job."""
    job_id = bench.accept(request(4))
    bench.run(job_id)
    bench.jobs.begin_shard(TENANT, job_id, 1)
    item = Item(index=2, status=ItemStatus.SUCCEEDED, seed=7, fingerprint="before")
    storage.put(keys.item_record(TENANT, job_id, 2), item.model_dump_json().encode())
    bench.run(job_id, 1)
    assert bench.models.batches == [[0, 1], [3]]
    assert [item.fingerprint for item in bench.job(job_id).items] == ["fake2", "fake2", "before", "fake2"]


def test_an_item_that_redis_forgot_was_begun_is_drawn_twice_and_kept_once(
    bench: Bench, storage: FolderStorage
) -> None:
    job_id = bench.accept(request(4))
    bench.run(job_id)
    item = Item(index=2, status=ItemStatus.SUCCEEDED, seed=7, fingerprint="before")
    storage.put(keys.item_record(TENANT, job_id, 2), item.model_dump_json().encode())
    bench.run(job_id, 1)
    assert [item.fingerprint for item in bench.job(job_id).items] == ["fake2", "fake2", "before", "fake2"]
    names = [key.partition("/items/2/")[2] for key in storage.list(keys.item_prefix(TENANT, job_id, 2))]
    assert names == ["item.json"]


def test_items_of_a_job_too_large_to_list_are_asked_for(
    bench: Bench, storage: FolderStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known, "_LISTED", 1)
    job_id = bench.accept(request(2))
    item = Item(index=0, status=ItemStatus.SUCCEEDED, seed=7, fingerprint="before")
    storage.put(keys.item_record(TENANT, job_id, 0), item.model_dump_json().encode())
    bench.run(job_id)
    assert bench.models.batches == [[1]]


def test_an_item_on_s3_takes_a_call_for_each_of_its_files(
    client: Redis, settings: WorkerSettings, s3_server: S3Server, bucket: str
) -> None:
    """What shards must know beside is read by the first of them."""
    storage = open_storage(s3_settings(s3_server, bucket))
    assert isinstance(storage, S3Storage)
    publish_type(storage)
    bench = Bench(Jobs(client, storage, settings), storage)
    asked: list[str] = []

    def note(event_name: str, **_: object) -> None:
        asked.append(event_name.rpartition(".")[2])

    job_id = bench.accept(request(6))
    bench.run(job_id)
    storage.client.meta.events.register("before-send.s3", note)
    bench.run(job_id, 1)
    assert asked == ["PutObject"] * 2 * 4
    bench.run(job_id, 2)
    assert bench.job(job_id).counts.succeeded == 6


def test_a_worker_thought_dead_stores_nothing(bench: Bench, storage: FolderStorage) -> None:
    job_id = bench.accept(request(2))
    bench.models.before = lambda batch: _another_begins(bench.jobs, job_id)
    with pytest.raises(ShardTakenError):
        bench.run(job_id)
    assert not any("/items/" in key for key in storage.list(""))
    assert bench.outcomes(job_id) == [ItemStatus.PENDING] * 2


def test_a_shard_that_takes_too_long_is_an_attempt(bench: Bench) -> None:
    def take_too_long(batch: list[int]) -> None:
        raise JobTimeoutException("too long")

    bench.models.before = take_too_long
    job_id = bench.accept(request(2))
    with pytest.raises(JobTimeoutException):
        bench.run(job_id)
    state = bench.jobs.begin_shard(TENANT, job_id, 0)
    assert state.failures == 1
    assert state.last_error == "JobTimeoutException: too long"
    assert bench.outcomes(job_id) == [ItemStatus.PENDING] * 2


def test_a_lost_device_ends_the_worker_and_not_the_items(bench: Bench) -> None:
    def lose(batch: list[int]) -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    bench.models.before = lose
    job_id = bench.accept(request(2))
    with pytest.raises(torch.AcceleratorError):
        bench.run(job_id)
    assert bench.device_lost
    assert bench.outcomes(job_id) == [ItemStatus.PENDING] * 2


def test_a_defect_type_that_is_gone(bench: Bench, storage: FolderStorage) -> None:
    job_id = bench.accept(request(1))
    storage.delete_prefix("builtin/")
    with pytest.raises(Exception, match="not in the registry"):
        bench.run(job_id)


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch, jobs: Jobs, storage: FolderStorage) -> Bench:
    """A worker for which some seconds pass between any two questions."""
    monkeypatch.setattr(known, "_FRESH_S", 0.0)
    return Bench(jobs, storage)


def test_a_defect_type_that_goes_between_two_shards(forgetful: Bench, storage: FolderStorage) -> None:
    job_id = forgetful.accept(request(4))
    forgetful.run(job_id)
    storage.delete_prefix("builtin/")
    with pytest.raises(Exception, match="not in the registry"):
        forgetful.run(job_id, 1)


def test_a_job_that_goes_between_two_shards(forgetful: Bench, storage: FolderStorage, jobs: Jobs) -> None:
    """Its acceptance failed after Redis had taken it."""
    job_id = forgetful.accept(request(4))
    forgetful.run(job_id)
    jobs.erase(TENANT, job_id)
    assert forgetful.run(job_id, 1) is None
    assert forgetful.models.batches == [[0, 1]]
    assert jobs.get(TENANT, job_id) is None


def test_a_job_that_has_just_gone_leaves_nothing(bench: Bench, storage: FolderStorage) -> None:
    """The worker has read what was asked for, and does not ask whether it is there still."""
    job_id = bench.accept(request(4))
    bench.run(job_id)
    bench.jobs.erase(TENANT, job_id)
    bench.run(job_id, 1)
    assert list(storage.list(keys.job_prefix(TENANT, job_id))) == []


def test_nothing_runs_where_no_worker_is() -> None:
    with pytest.raises(RuntimeError, match="python -m worker"):
        shards_module.run(TENANT, "job", 0)


def _wait_a_step() -> None:
    time.sleep(0.03)


def _another_begins(jobs: Jobs, job_id: str) -> None:
    jobs.begin_shard(TENANT, job_id, 0)
