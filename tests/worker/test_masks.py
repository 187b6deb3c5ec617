"""Jobs without a mask: each item gets one of its own, which is kept and told of."""

from __future__ import annotations

import hashlib
from contextlib import suppress

import numpy as np
import pytest
from numpy.typing import NDArray

from flawsmith.contract.files import EXCLUDE_FILE, INPUT_FILE, REGION_FILE
from flawsmith.contract.jobs import Item, ItemStatus, Job, JobStatus
from models.placement.distribution import MaskDistribution, MaskDistributionError
from models.samples import Sample
from service.images.canonical import CanonicalImage
from service.images.decoding import decode
from service.images.encoding import encode_mask_png, encode_png
from service.store import keys
from service.store.folder import FolderStorage
from service.store.jobs import Jobs
from tests.worker.fake_models import FakeModels
from tests.worker.tiny_worker import TENANT, photo, request, worked_on
from worker import shards as shards_module
from worker.shards import Shards

Mask = NDArray[np.bool_]


def distribution() -> MaskDistribution:
    """Spots of some 10 pixels on the photo of the tests."""
    samples = []
    for y, x, side in ((10, 10, 8), (30, 40, 10), (45, 20, 12)):
        mask = np.zeros((64, 64), dtype=np.bool_)
        mask[y : y + side, x : x + side] = True
        samples.append(Sample(photo(), mask, "0" * 64))
    return MaskDistribution.learned(samples)


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> FakeModels:
    monkeypatch.setattr(shards_module, "_FAILURE_PAUSE_S", 0.0)
    return FakeModels(masks=distribution().to_json())


class Bench:
    """A worker's shards, and jobs without a mask."""

    def __init__(self, jobs: Jobs, storage: FolderStorage, models: FakeModels) -> None:
        self.jobs, self.storage = jobs, storage
        self.shards = Shards(jobs, storage, models.as_models(), lambda: False, lambda: None)

    def accepted(self, count: int, region: Mask | None = None, exclude: Mask | None = None) -> str:
        manifest = request(count)
        manifest.augmentation.defects[0].mask = "drawn"
        files = {INPUT_FILE: encode_png(CanonicalImage(photo(), manifest.image))}
        for name, bound in ((REGION_FILE, region), (EXCLUDE_FILE, exclude)):
            if bound is not None:
                files[name] = encode_mask_png(bound)
        if region is not None:
            manifest.region_sha256 = hashlib.sha256(files[REGION_FILE]).hexdigest()
        if exclude is not None:
            manifest.exclude_sha256 = hashlib.sha256(files[EXCLUDE_FILE]).hexdigest()
        return self.jobs.accept(manifest, files).id

    def worked_on(self, job_id: str) -> Job:
        return worked_on(self.jobs, self.shards, job_id)

    def requested(self, job_id: str, item: Item) -> Mask:
        data = self.storage.get(keys.item_request(TENANT, job_id, item))
        assert hashlib.sha256(data).hexdigest() == item.request_sha256
        return np.asarray(decode(data).pixels > 0)


@pytest.fixture
def bench(jobs: Jobs, storage: FolderStorage, models: FakeModels) -> Bench:
    return Bench(jobs, storage, models)


def test_each_item_gets_a_mask_of_its_own_and_tells_what_was_drawn(bench: Bench) -> None:
    job_id = bench.accepted(4)
    job = bench.worked_on(job_id)
    assert job.status is JobStatus.SUCCEEDED
    masks = [bench.requested(job_id, item) for item in job.items]
    assert len({mask.tobytes() for mask in masks}) == 4
    for item, mask in zip(job.items, masks, strict=True):
        assert item.request_url == f"/v1/jobs/{job_id}/items/{item.index}/request"
        assert item.drawn is not None
        assert sum(region.area for region in item.drawn) == mask.sum()
        refined = decode(bench.storage.get(keys.item_mask(TENANT, job_id, item))).pixels > 0
        assert not (refined & ~mask).any()


def test_the_same_request_gives_the_same_masks_whatever_the_count(bench: Bench) -> None:
    few, many = bench.worked_on(bench.accepted(1)), bench.worked_on(bench.accepted(3))
    assert few.items[0].request_sha256 == many.items[0].request_sha256
    assert few.items[0].image_sha256 == many.items[0].image_sha256


def test_masks_lie_within_region_and_outside_exclude(bench: Bench) -> None:
    region, exclude = np.zeros((64, 64), dtype=np.bool_), np.zeros((64, 64), dtype=np.bool_)
    region[:, 30:] = True
    exclude[20:40] = True
    job_id = bench.accepted(6, region, exclude)
    for item in bench.worked_on(job_id).items:
        mask = bench.requested(job_id, item)
        assert mask.any()
        assert not (mask & (~region | exclude)).any()


def test_an_item_for_which_no_mask_fits_fails_with_the_reason(bench: Bench) -> None:
    dots = np.zeros((64, 64), dtype=np.bool_)
    dots[::16, ::16] = True
    job = bench.worked_on(bench.accepted(2, region=dots))
    assert job.status is JobStatus.FAILED
    for item in job.items:
        assert item.status is ItemStatus.FAILED
        assert item.error is not None
        assert item.error.code == "no-place"
        assert "make the region larger" in item.error.detail


def test_files_of_another_try_go_and_the_drawn_mask_stays(bench: Bench) -> None:
    job_id = bench.accepted(1)
    (item,) = bench.worked_on(job_id).items
    stray = keys.item_prefix(TENANT, job_id, 0) + "request-0123456789abcdef.png"
    bench.storage.put(stray, b"late", "image/png")
    bench.jobs.sweep(TENANT, job_id)
    assert not bench.storage.exists(stray)
    assert bench.storage.exists(keys.item_request(TENANT, job_id, item))


def test_an_adapter_that_cannot_say_how_fails_the_items_and_not_the_worker(
    bench: Bench, models: FakeModels
) -> None:
    models.masks.clear()
    job_id = bench.accepted(1)
    for _ in range(10):
        if (job := bench.jobs.get(TENANT, job_id)) is not None and job.status.is_final:
            break
        with suppress(MaskDistributionError):  # RQ would deliver it again
            bench.shards.run(TENANT, job_id, 0)
    assert job is not None
    assert job.status is JobStatus.FAILED
    assert job.items[0].error is not None
    assert "no mask distribution" in job.items[0].error.detail
