"""Jobs of several defects, with models that do what the test wants."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from redis import Redis

from flawsmith.contract.files import EXCLUDE_FILE, INPUT_FILE, MASK_FILE, defect_mask_file
from flawsmith.contract.ids import BUILTIN_TENANT
from flawsmith.contract.jobs import Item, ItemStatus, Job, JobStatus
from flawsmith.contract.manifests import AugmentationManifest
from flawsmith.contract.resolved import ResolvedAugmentation
from models.items import ItemRequest, ItemResult
from service.images.canonical import CanonicalImage
from service.images.decoding import decode
from service.images.encoding import encode_mask_png, encode_png
from service.store import keys, records
from service.store.folder import FolderStorage
from service.store.jobs import Jobs
from service.store.registry import Registry
from tests.worker import fake_models
from tests.worker.fake_models import FakeModels
from tests.worker.test_masks import distribution
from tests.worker.tiny_worker import TENANT, TYPE, accept, defect, photo, request, worked_on
from worker import shards as shards_module
from worker.models import ModelMissingError, Models
from worker.settings import WorkerSettings
from worker.shards import Shards

Mask = NDArray[np.bool_]


def box(y0: int, x0: int, y1: int, x1: int) -> Mask:
    mask = np.zeros((64, 64), dtype=np.bool_)
    mask[y0:y1, x0:x1] = True
    return mask


LEFT, RIGHT = box(10, 4, 30, 24), box(10, 40, 30, 60)


class Bench:
    """A worker's shards, and jobs of several defects; None stands for a mask that is to be drawn."""

    def __init__(self, jobs: Jobs, storage: FolderStorage) -> None:
        self.jobs, self.storage = jobs, storage
        self.models = FakeModels(masks=distribution().to_json())
        self.shards = Shards(jobs, storage, self.models.as_models(), lambda: False, lambda: None)
        (record,) = Registry(storage).list(TENANT)
        Registry(storage).publish(record.model_copy(update={"name": "pit"}))

    def accepted(
        self, masks: Sequence[Mask | None], count: int = 2, exclude: Mask | None = None, shard_size: int = 2
    ) -> str:
        manifest = request(count, shard_size=shard_size)
        names = [TYPE if number % 2 == 0 else "pit" for number in range(len(masks))]
        manifest.augmentation = ResolvedAugmentation(
            defects=[
                defect(name, mask="drawn" if mask is None else "sent")
                for name, mask in zip(names, masks, strict=True)
            ],
            count=count,
            seed=7,
        )
        files = {INPUT_FILE: encode_png(CanonicalImage(photo(), manifest.image))}
        files |= {
            defect_mask_file(number): encode_mask_png(mask)
            for number, mask in enumerate(masks)
            if mask is not None
        }
        if all(mask is not None for mask in masks):
            files[MASK_FILE] = encode_mask_png(np.logical_or.reduce([mask for mask in masks if mask is not None]))
        if exclude is not None:
            files[EXCLUDE_FILE] = encode_mask_png(exclude)
            manifest.exclude_sha256 = hashlib.sha256(files[EXCLUDE_FILE]).hexdigest()
        return self.jobs.accept(manifest, files).id

    def worked_on(self, job_id: str) -> Job:
        return worked_on(self.jobs, self.shards, job_id)

    def read(self, key: str) -> NDArray[np.uint8]:
        return np.asarray(decode(self.storage.get(key)).pixels, dtype=np.uint8)

    def labels(self, job_id: str, item: Item) -> list[Mask]:
        """Of each defect, held against its digest."""
        found = []
        for one in item.defects or ():
            data = self.storage.get(keys.item_defect_mask(TENANT, job_id, item, one))
            assert hashlib.sha256(data).hexdigest() == one.mask_sha256
            found.append(np.asarray(decode(data).pixels > 0))
        return found


@pytest.fixture
def bench(jobs: Jobs, storage: FolderStorage) -> Bench:
    return Bench(jobs, storage)


def test_each_item_has_all_defects_each_inside_its_own_mask(bench: Bench) -> None:
    job_id = bench.accepted([LEFT, RIGHT])
    job = bench.worked_on(job_id)

    assert job.status is JobStatus.SUCCEEDED
    manifest = bench.jobs.manifest(TENANT, job_id)
    assert isinstance(manifest, AugmentationManifest)
    for item in job.items:
        image = bench.read(keys.item_image(TENANT, job_id, item, manifest.image))
        assert np.array_equal(image, np.where(LEFT | RIGHT, 255 - photo(), photo()))
        assert np.array_equal(bench.read(keys.item_mask(TENANT, job_id, item)) > 0, LEFT | RIGHT)
        assert all(map(np.array_equal, bench.labels(job_id, item), (LEFT, RIGHT)))
        assert [one.defect_type for one in item.defects or ()] == ["scratch@1", "pit@1"]
        assert (item.request_sha256, item.drawn) == (None, None)
        assert item.measures is not None
        assert [region.defect for region in item.measures.regions] == [0, 1]


def test_an_item_of_one_defect_has_no_list_of_them(bench: Bench) -> None:
    manifest = request(1)
    files = {INPUT_FILE: encode_png(CanonicalImage(photo(), manifest.image)), MASK_FILE: encode_mask_png(LEFT)}
    (item,) = bench.worked_on(bench.jobs.accept(manifest, files).id).items
    assert item.defects is None


def test_an_item_is_judged_by_its_worst_defect(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = fake_models.drawn

    def spoilt(one: ItemRequest) -> ItemResult:
        """The second defect of the second item is bad."""
        result = drawn(one)
        if (one.index, one.defect) != (1, 1):
            return result
        return replace(result, scores=replace(result.scores, seam=0.1), accepted=False, attempts=3)

    monkeypatch.setattr(fake_models, "drawn", spoilt)
    job = bench.worked_on(bench.accepted([LEFT, RIGHT]))

    good, bad = job.items
    assert (good.accepted, bad.accepted) == (True, False)
    assert (good.attempts, bad.attempts) == (1, 3)
    assert good.scores is not None
    assert bad.scores is not None
    assert (bad.scores.seam, bad.scores.quality, bad.scores.presence) == (0.1, 0.1, 0.9)
    assert [one.accepted for one in bad.defects or ()] == [True, False]
    assert [one.scores.seam for one in bad.defects or ()] == [0.8, 0.1]
    assert job.counts.rejected == 1


@pytest.mark.parametrize(
    ("rows", "batches"), [(1, [[0, 0], [1, 1], [2, 2]]), (4, [[0, 0, 1, 1], [2, 2]]), (5, [[0, 0, 1, 1], [2, 2]])]
)
def test_a_batch_holds_all_defects_of_its_items(bench: Bench, rows: int, batches: list[list[int]]) -> None:
    bench.models.batch_shape = rows
    bench.worked_on(bench.accepted([LEFT, RIGHT], count=3, shard_size=3))
    assert bench.models.batches == batches


def test_an_item_fails_as_a_whole_and_takes_no_other_with_it(bench: Bench) -> None:
    def fall_over(batch: list[int]) -> None:
        if 1 in batch:
            raise ValueError("the model fell over")

    bench.models.batch_shape, bench.models.before = 8, fall_over
    job_id = bench.accepted([LEFT, RIGHT], count=3, shard_size=3)
    job = bench.worked_on(job_id)

    assert [item.status for item in job.items] == [
        ItemStatus.SUCCEEDED,
        ItemStatus.FAILED,
        ItemStatus.SUCCEEDED,
    ]
    assert list(bench.storage.list(keys.item_prefix(TENANT, job_id, 1))) == [keys.item_record(TENANT, job_id, 1)]


def test_memory_that_runs_out_is_given_back_and_all_is_drawn(bench: Bench) -> None:
    def too_many(batch: list[int]) -> None:
        if len(batch) > 2:
            raise MemoryError

    bench.models.batch_shape, bench.models.before = 8, too_many
    job = bench.worked_on(bench.accepted([LEFT, RIGHT], count=3, shard_size=3))
    assert job.status is JobStatus.SUCCEEDED
    assert bench.models.batches[-1] == [2, 2]


def test_masks_that_are_drawn_lie_beside_all_others(bench: Bench) -> None:
    exclude = box(0, 0, 64, 6)
    job_id = bench.accepted([None, RIGHT, None], count=3, exclude=exclude)
    for item in bench.worked_on(job_id).items:
        labels = bench.labels(job_id, item)
        assert np.array_equal(labels[1], RIGHT)
        assert np.sum(labels, axis=0).max() == 1
        assert not (np.any(labels, axis=0) & exclude).any()
        requested = bench.read(keys.item_request(TENANT, job_id, item)) > 0
        assert np.array_equal(requested, np.any(labels, axis=0))
        assert item.drawn is not None
        for number in (0, 2):
            areas = [region.area for region in item.drawn if region.defect == number]
            assert sum(areas) == labels[number].sum()
        assert {region.defect for region in item.drawn} == {0, 2}


def test_a_defects_own_mask_does_not_depend_on_those_that_follow(bench: Bench) -> None:
    def labels(count: int) -> list[Mask]:
        job_id = bench.accepted([None] * count, count=1)
        return bench.labels(job_id, bench.worked_on(job_id).items[0])

    two, three = labels(2), labels(3)
    assert all(map(np.array_equal, two, three))
    assert not np.array_equal(three[0], three[1])


def test_a_type_that_is_gone_fails_the_items_with_its_name(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards_module, "_FAILURE_PAUSE_S", 0.0)
    job_id = bench.accepted([LEFT, RIGHT], count=1)
    Registry(bench.storage).delete(BUILTIN_TENANT, "pit", 1)
    for _ in range(10):
        with suppress(ModelMissingError):  # RQ would deliver it again
            bench.shards.run(TENANT, job_id, 0)
    job = bench.jobs.get(TENANT, job_id)
    assert job is not None
    assert job.status is JobStatus.FAILED
    assert job.items[0].error is not None
    assert "pit@1 is not in the registry" in job.items[0].error.detail


def test_a_job_that_was_queued_before_there_were_lists_gives_the_bytes_that_it_would_have_given(
    jobs: Jobs, storage: FolderStorage, client: Redis, backbone_folder: Path
) -> None:
    models = Models(WorkerSettings(backbone=str(backbone_folder), device="cpu"), storage)
    (record,) = models.bundled_types()
    Registry(storage).publish(record, replace=True)
    shards = Shards(jobs, storage, models, lambda: False, lambda: None)
    digests = []
    for first_format in (False, True):
        manifest = request(1)
        job_id = accept(jobs, manifest).id
        if first_format:
            values = manifest.model_dump(mode="json")
            (only,) = values["augmentation"].pop("defects")
            values |= {"format_version": 1, "augmentation": values["augmentation"] | only}
            storage.put(keys.job_request(TENANT, job_id), json.dumps(values).encode())
            fields = {"format_version": 1, "manifest": json.dumps(values)}
            client.hset(records.record_key(TENANT, job_id), mapping=fields)
        shards.run(TENANT, job_id, 0)
        job = jobs.get(TENANT, job_id)
        assert job is not None
        assert job.status is JobStatus.SUCCEEDED
        digests.append(job.items[0].pixels_sha256)
    assert digests[0] == digests[1]
