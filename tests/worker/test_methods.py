"""Items that are pasted, from a real defect in storage to the files of an item."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from flawsmith.contract.jobs import ItemStatus, JobStatus
from flawsmith.contract.manifests import AugmentationManifest
from models.fingerprint import paste_fingerprint
from models.items import ItemRequest, ItemResult
from models.paste import paste
from models.refinement import Calibration
from models.samples import Exemplar, exemplars_to_bytes
from service.images.decoding import read_canonical
from service.store import keys
from service.store.folder import FolderStorage
from service.store.jobs import Jobs
from service.store.registry import Registry
from tests.worker.fake_models import FakeModels
from tests.worker.tiny_worker import TENANT, TYPE, accept, photo, request
from worker import methods, steps
from worker.models import Models
from worker.settings import WorkerSettings
from worker.shards import Shards


def pit() -> Exemplar:
    y, x = np.mgrid[:40, :40]
    defect = np.hypot(y - 20, x - 20) < 7
    grey = np.random.default_rng(0).normal(170, 2, (40, 40, 1)) - 120 * defect[:, :, None]
    return Exemplar(grey.clip(0, 255).astype(np.uint8), defect, 0)


def pasting(count: int, shard_size: int = 2) -> AugmentationManifest:
    manifest = request(count, shard_size=shard_size)
    manifest.augmentation.method = "paste"
    return manifest


def publish_with_exemplars(models: Models, storage: FolderStorage, defects: list[Exemplar]) -> None:
    """The bundled type once more, as one that the tenant has taught."""
    (bundled,) = models.bundled_types()
    adapter, exemplars = models.adapter(bundled).to_bytes(), exemplars_to_bytes(defects)
    storage.put(keys.defect_type_adapter(TENANT, TYPE, 1), adapter)
    storage.put(keys.defect_type_exemplars(TENANT, TYPE, 1), exemplars)
    digests = {
        name: f"sha256:{hashlib.sha256(data).hexdigest()}"
        for name, data in (("adapter_sha256", adapter), ("exemplars_sha256", exemplars))
    }
    Registry(storage).publish(bundled.model_copy(update={"tenant": TENANT, **digests}))


def test_real_defects_out_of_storage_are_pasted(backbone_folder: Path, jobs: Jobs, storage: FolderStorage) -> None:
    models = Models(WorkerSettings(backbone=str(backbone_folder), device="cpu"), storage)
    publish_with_exemplars(models, storage, [pit()])
    shards = Shards(jobs, storage, models, lambda: False, lambda: None)
    results = []
    for _ in range(2):
        manifest = pasting(2)
        manifest.augmentation.defects[0].defect_type_tenant = TENANT
        job_id = accept(jobs, manifest).id
        shards.run(TENANT, job_id, 0)
        job = jobs.get(TENANT, job_id)
        assert job is not None
        assert [item.status for item in job.items] == [ItemStatus.SUCCEEDED] * 2
        results.append([item.pixels_sha256 for item in job.items])
    assert results[0] == results[1]
    assert results[0][0] != results[0][1]
    item = job.items[0]
    assert item.fingerprint == paste_fingerprint(models.generator("tiny").calibration)
    image = read_canonical(storage.get(keys.item_image(TENANT, job_id, item, manifest.image))).pixels
    label = read_canonical(storage.get(keys.item_mask(TENANT, job_id, item))).pixels > 0
    assert label.any()
    assert image[label].mean() < photo()[label].mean() - 40
    assert item.scores is not None
    assert item.scores.background_max_abs_diff == 0


@pytest.fixture
def models() -> FakeModels:
    return FakeModels()


@pytest.fixture
def shards(jobs: Jobs, storage: FolderStorage, models: FakeModels) -> Shards:
    return Shards(jobs, storage, models.as_models(), lambda: False, lambda: None)


def test_no_model_draws_what_is_pasted(jobs: Jobs, models: FakeModels, shards: Shards) -> None:
    models.real_defects = [pit()]
    job_id = accept(jobs, pasting(3, shard_size=3)).id
    shards.run(TENANT, job_id, 0)
    job = jobs.get(TENANT, job_id)
    assert job is not None
    assert {item.fingerprint for item in job.items} == {paste_fingerprint(Calibration())}
    assert models.batches == []


def test_a_type_that_lost_its_real_defects_fails_its_items_with_a_reason(
    jobs: Jobs, models: FakeModels, shards: Shards
) -> None:
    job_id = accept(jobs, pasting(2)).id
    shards.run(TENANT, job_id, 0)
    job = jobs.get(TENANT, job_id)
    assert job is not None
    for item in job.items:
        assert item.error is not None
        assert "no real defects" in item.error.detail


def test_a_paste_hears_that_its_job_was_canceled(
    jobs: Jobs, models: FakeModels, shards: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    models.real_defects = [pit()]
    job_id = accept(jobs, pasting(6, shard_size=6)).id
    made_so_far: list[int] = []

    def cancel_after_the_third(
        item: ItemRequest, exemplars: list[Exemplar], calibration: Calibration
    ) -> ItemResult:
        made_so_far.append(item.index)
        if len(made_so_far) == 3:
            jobs.cancel(TENANT, job_id)
        return paste(item, exemplars, calibration)

    monkeypatch.setattr(methods, "paste", cancel_after_the_third)
    monkeypatch.setattr(steps, "_ASK_EVERY_S", 0.0)
    shards.run(TENANT, job_id, 0)
    job = jobs.get(TENANT, job_id)
    assert job is not None
    assert job.status is JobStatus.CANCELED
    assert made_so_far == [0, 1, 2]
    assert job.counts.succeeded == 2
