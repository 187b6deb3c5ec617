"""Data sets on a worker: items are made once, kept by what shapes them, and described pixel by pixel."""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco
from rq.job import Retry

from flawsmith.contract.base import FORMAT_VERSION, now
from flawsmith.contract.datasets import DatasetSource, DatasetState, PlannedItem, ResolvedDataset
from flawsmith.contract.files import INPUT_FILE, MASK_FILE, source_file
from flawsmith.contract.ids import BUILTIN_TENANT, new_job_id
from flawsmith.contract.jobs import Item, ItemStatus, Job, JobStatus
from flawsmith.contract.manifests import AugmentationManifest, DatasetManifest
from flawsmith.contract.resolved import ResolvedAugmentation
from flawsmith.contract.rows import ItemAnnotations
from flawsmith.contract.specs import DatasetFormat, DatasetItemKind, DatasetLock, DatasetSplit
from flawsmith.contract.wishes import ContrastRange, SizeRange
from models.batching import OnStep
from models.items import MAX_AIMED_ATTEMPTS, ItemRequest, ItemResult
from service.images.canonical import CanonicalImage, Pixels, pixels_sha256
from service.images.decoding import decode, read_canonical
from service.images.encoding import encode_mask_png, encode_png, encode_tiff
from service.store import keys
from service.store.folder import FolderStorage
from service.store.jobs import Jobs
from service.store.plans import plan_files
from service.store.registry import Registry
from service.store.storage import StorageUnavailableError
from tests.worker import fake_models
from tests.worker.fake_models import FakeModels
from tests.worker.test_masks import distribution
from tests.worker.tiny_worker import TENANT, TYPE, defect, image_info, photo, request, worked_on
from worker import shards as shards_module
from worker.models import ModelMissingError, Models
from worker.settings import WorkerSettings
from worker.shards import Shards

Mask = NDArray[np.bool_]
CLASSES = {TYPE: 2, "pit": 7}
DRAWN: Literal["drawn"] = "drawn"

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools itself


def given_mask() -> Mask:
    mask = np.zeros((64, 64), dtype=np.bool_)
    mask[20:40, 16:44] = True
    return mask


def normal(number: int) -> Pixels:
    return np.asarray(photo() + np.uint8(number), dtype=np.uint8)


def source(number: int, *, tiff: bool = False, images: Callable[[int], Pixels] = normal) -> DatasetSource:
    info = image_info(images(number), tiff=tiff)
    data = encode_png(CanonicalImage(images(number), info))
    return DatasetSource(
        number=number,
        name=f"part-{number}",
        sha256=hashlib.sha256(data).hexdigest(),
        input_sha256=hashlib.sha256(data).hexdigest(),
        image=info,
        mask_sha256=hashlib.sha256(encode_mask_png(given_mask())).hexdigest(),
        group=f"part-{number}",
        split="train",
    )


SOURCES = [source(0), source(1), source(2, tiff=True)]


def planned(
    of: DatasetSource,
    types: Sequence[str] = (),
    *,
    seed: int = 0,
    kind: DatasetItemKind = "defect",
    mask: Literal["sent", "drawn"] = DRAWN,
) -> PlannedItem:
    """A row, but for its place."""
    augmentation = None
    if types:
        defects = [defect(name, mask=mask) for name in types]
        augmentation = ResolvedAugmentation(defects=defects, count=1, seed=seed, control=kind == "control")
    shaped = f"{kind} {of.input_sha256} {of.image.source_format} {augmentation}"
    return PlannedItem(
        index=0,
        name="part",
        kind=kind,
        entry=0 if augmentation else None,
        source=of,
        augmentation=augmentation,
        made=hashlib.sha256(shaped.encode()).hexdigest(),
    )


def rows() -> list[PlannedItem]:
    """Of each of three normal images two types, both together, a control and the image itself."""
    found = []
    for one in SOURCES:
        first = 10 * one.number
        found += [
            planned(one, [TYPE], seed=first + 1),
            planned(one, ["pit"], seed=first + 2),
            planned(one, [TYPE, "pit"], seed=first + 3),
            planned(one, [TYPE], seed=first + 4, kind="control"),
            planned(one, kind="normal"),
        ]
    return found


@dataclass
class SeenModels(FakeModels):
    """Models that remember by which seeds items were asked for, and fail at some."""

    seeds: list[list[int]] = field(default_factory=list)
    failing: set[int] = field(default_factory=set)

    def generate(self, requests: Sequence[ItemRequest], on_step: OnStep) -> list[ItemResult]:
        asked = [request.seed for request in requests]
        self.seeds.append(asked)
        if self.failing & set(asked):
            raise ValueError("the model fell over")
        return super().generate(requests, on_step)

    @property
    def drawn(self) -> list[int]:
        """Seeds of the items that were asked for, each once."""
        return sorted({seed for batch in self.seeds for seed in batch})


class Bench:
    """A worker's shards, and data sets for them."""

    def __init__(self, jobs: Jobs, storage: FolderStorage) -> None:
        self.jobs, self.storage = jobs, storage
        self.models = SeenModels(batch_shape=4, masks=distribution().to_json())
        self.stopping = False
        self.shards = Shards(jobs, storage, self.models.as_models(), lambda: self.stopping, lambda: None)
        (record,) = Registry(storage).list(TENANT)
        Registry(storage).publish(record.model_copy(update={"name": "pit"}))

    def accepted(
        self,
        of: Sequence[PlannedItem],
        *,
        shard_size: int = 4,
        classes: dict[str, int] | None = None,
        formats: Sequence[DatasetFormat] = ("classes", "coco"),
        images: Callable[[int], Pixels] = normal,
        **changes: Any,
    ) -> str:
        numbers = classes or CLASSES
        lock = DatasetLock(format_version=1, defect_types=dict.fromkeys(numbers, 1), backbones={}, classes=numbers)
        normals = [row.source for row in of]
        manifest = DatasetManifest(
            format_version=FORMAT_VERSION,
            tenant=TENANT,
            job_id=new_job_id(),
            created_at=now(),
            shard_size=shard_size,
            dataset=ResolvedDataset(
                entries=[],
                controls=0,
                include_normals=True,
                seed=7,
                split=DatasetSplit(),
                formats=list(formats),
                lock=lock,
                normals=len({one.number for one in normals}),
                items=len(of),
                **changes,
            ),
            state=DatasetState(entries=[], controls=0, normals=len(normals), lock=lock),
        )
        files: dict[str, Any] = {}
        for one in normals:
            files[source_file(one.number, "image")] = encode_png(CanonicalImage(images(one.number), one.image))
            files[source_file(one.number, "mask")] = encode_mask_png(given_mask())
        placed = [row.model_copy(update={"index": index}) for index, row in enumerate(of)]
        return self.jobs.accept(manifest, files | plan_files(placed)).id

    def run(self, job_id: str, shard: int = 0) -> Retry | None:
        return self.shards.run(TENANT, job_id, shard)

    def worked_on(self, job_id: str) -> Job:
        manifest = self.jobs.manifest(TENANT, job_id)
        for shard in range(-(-manifest.count // manifest.shard_size)):
            assert self.run(job_id, shard) is None
        return self.job(job_id)

    def job(self, job_id: str) -> Job:
        job = self.jobs.get(TENANT, job_id)
        assert job is not None
        return job

    def item(self, job_id: str, index: int) -> Item:
        item = self.jobs.finished_item(TENANT, job_id, index)
        assert item is not None
        return item

    def items(self, job_id: str) -> list[Item]:
        return [self.item(job_id, index) for index in range(self.jobs.manifest(TENANT, job_id).count)]

    def mask(self, item: Item) -> Mask:
        data = self.storage.get(keys.item_mask(TENANT, "", item))
        assert hashlib.sha256(data).hexdigest() == item.mask_sha256
        return np.asarray(read_canonical(data).pixels > 0)

    def labels(self, item: Item) -> list[Mask]:
        """Of each defect."""
        if item.defects is None:
            return [self.mask(item)]
        found = [self.storage.get(keys.item_defect_mask(TENANT, "", item, one)) for one in item.defects]
        return [np.asarray(read_canonical(data).pixels > 0) for data in found]

    def annotations(self, item: Item) -> ItemAnnotations:
        assert item.made is not None
        return ItemAnnotations.model_validate_json(self.storage.get(keys.made_annotations(TENANT, item.made)))

    def classes(self, item: Item, numbers: Sequence[int]) -> NDArray[np.uint8]:
        assert item.made is not None
        image = decode(self.storage.get(keys.made_classes(TENANT, item.made, numbers)))
        assert (image.info.mode, image.info.bit_depth) == ("grey", 8)
        return np.asarray(image.pixels, dtype=np.uint8)

    def made_files(self) -> dict[str, bytes]:
        return {key: self.storage.get(key) for key in self.storage.list(keys.made_prefix(TENANT))}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards_module, "_OUTAGE_PAUSE_S", 0.0)
    monkeypatch.setattr(shards_module, "_FAILURE_PAUSE_S", 0.0)


@pytest.fixture
def bench(jobs: Jobs, storage: FolderStorage) -> Bench:
    return Bench(jobs, storage)


def test_every_row_becomes_an_item_that_is_kept_by_what_shapes_it(bench: Bench) -> None:
    of = rows()
    job_id = bench.accepted(of)
    job = bench.worked_on(job_id)

    assert job.status is JobStatus.SUCCEEDED
    assert job.counts.succeeded == len(of)
    assert job.dataset is not None
    assert job.dataset.reused == 0
    for index, (row, item) in enumerate(zip(of, bench.items(job_id), strict=True)):
        assert (item.index, item.made, item.accepted, item.reused) == (index, row.made, True, None)
        assert item.image_url == f"/v1/jobs/{job_id}/items/{index}/image"
        data = bench.storage.get(keys.item_image(TENANT, job_id, item, row.source.image))
        assert hashlib.sha256(data).hexdigest() == item.image_sha256
        image = decode(data)
        assert image.info.source_format == row.source.image.source_format
        assert pixels_sha256(image.pixels) == item.pixels_sha256
        assert (b"compositeWithTrainedAlgorithmicMedia" in data) == (row.kind != "normal")
        record = Item.model_validate_json(bench.storage.get(keys.made_record(TENANT, row.made)))
        assert (record.index, record.image_url, record.preview_url) == (0, None, None)
        assert record.image_sha256 == item.image_sha256
        if row.augmentation is not None:
            assert (item.seed, item.attempts) == (row.augmentation.seed, 1)
            assert item.mask_url == f"/v1/jobs/{job_id}/items/{index}/mask"
            assert item.request_url == f"/v1/jobs/{job_id}/items/{index}/request"
    folders = list(bench.storage.list(keys.items_prefix(TENANT, job_id)))
    assert sorted(folders) == sorted(keys.item_record(TENANT, job_id, index) for index in range(len(of)))


def test_labels_of_classes_and_annotations_are_those_of_the_masks(bench: Bench) -> None:
    of = rows()
    job_id = bench.accepted(of)
    bench.worked_on(job_id)
    for row, item in zip(of, bench.items(job_id), strict=True):
        if row.kind != "defect":
            continue
        assert row.augmentation is not None
        labels = bench.labels(item)
        numbers = [CLASSES[one.defect_type] for one in row.augmentation.defects]
        assert len(labels) == len(numbers)
        expected = np.sum([label * number for label, number in zip(labels, numbers, strict=True)], axis=0)
        assert np.array_equal(bench.classes(item, numbers), expected)
        assert set(np.unique(expected)) == {0, *numbers}
        found = bench.annotations(item)
        read = [np.zeros((64, 64), dtype=np.bool_) for _ in labels]
        for region in found.regions:
            read[region.defect] |= coco.decode({"size": [64, 64], "counts": region.rle.encode()}) > 0
        assert all(map(np.array_equal, read, labels))


def test_a_control_is_drawn_and_labelled_as_good(bench: Bench) -> None:
    job_id = bench.accepted([planned(SOURCES[0], [TYPE, "pit"], seed=4, kind="control")])
    bench.worked_on(job_id)
    item = bench.item(job_id, 0)
    assert bench.models.drawn == [4]
    assert item.pixels_sha256 != SOURCES[0].image.pixels_sha256
    assert not bench.mask(item).any()
    assert not np.any(bench.labels(item))
    assert item.measures is not None
    assert item.measures.regions == []
    assert bench.annotations(item).regions == []
    assert not bench.classes(item, []).any()


@pytest.mark.parametrize("of", [SOURCES[0], SOURCES[2]])
def test_a_normal_image_leaves_by_the_encoder_of_items(bench: Bench, of: DatasetSource) -> None:
    job_id = bench.accepted([planned(of, kind="normal")])
    bench.worked_on(job_id)
    item = bench.item(job_id, 0)
    assert bench.models.seeds == []
    image = CanonicalImage(normal(of.number), of.image)
    data = encode_tiff(image) if of.image.source_format == "tiff" else encode_png(image)
    assert bench.storage.get(keys.item_image(TENANT, job_id, item, of.image)) == data
    assert item.pixels_sha256 == of.image.pixels_sha256
    assert (item.accepted, item.attempts, item.scores, item.mask_sha256) == (True, 0, None, None)
    assert (item.mask_url, item.preview_url) == (None, None)
    assert bench.annotations(item).regions == []
    assert not bench.classes(item, []).any()


def test_what_was_made_is_not_made_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    first = bench.accepted(rows())
    bench.worked_on(first)
    files = bench.made_files()
    bench.models.seeds.clear()

    def no_model(*arguments: object) -> None:
        raise AssertionError("nothing is to be looked up")

    monkeypatch.setattr(bench.models, "adapter", no_model)
    second = bench.accepted(rows()[::-1])
    job = bench.worked_on(second)

    assert bench.models.seeds == []
    assert bench.made_files() == files
    assert job.dataset is not None
    assert job.dataset.reused == job.counts.succeeded == len(rows())
    for before, after in zip(bench.items(first), bench.items(second)[::-1], strict=True):
        assert after.reused is True
        assert (after.image_sha256, after.mask_sha256) == (before.image_sha256, before.mask_sha256)
        assert after.image_url == f"/v1/jobs/{second}/items/{after.index}/image"


def test_a_changed_row_alone_is_made(bench: Bench) -> None:
    bench.worked_on(bench.accepted(rows()))
    bench.models.seeds.clear()
    changed = rows()
    changed[6] = planned(SOURCES[1], ["pit"], seed=99)
    job = bench.worked_on(bench.accepted(changed))
    assert bench.models.seeds == [[99]]
    assert job.dataset is not None
    assert job.dataset.reused == len(changed) - 1


def test_another_lock_shows_the_same_items_under_its_own_numbers(bench: Bench) -> None:
    job_id = bench.accepted(rows())
    bench.worked_on(job_id)
    bench.models.seeds.clear()
    bench.worked_on(bench.accepted(rows(), classes={TYPE: 200, "pit": 1}))
    assert bench.models.seeds == []
    both = bench.item(job_id, 2)
    scratch, pit = bench.labels(both)
    assert np.array_equal(bench.classes(both, [200, 1]), 200 * scratch + pit)
    assert np.array_equal(bench.classes(both, [2, 7]), 2 * scratch + 7 * pit)


def test_no_label_of_classes_is_written_that_nobody_wants(bench: Bench) -> None:
    bench.worked_on(bench.accepted(rows(), formats=["coco"]))
    assert not [key for key in bench.made_files() if "classes" in key]


def test_types_and_normal_images_share_batches(bench: Bench) -> None:
    of = [planned(SOURCES[n], [name], seed=10 * n + m) for n in (0, 1) for m, name in enumerate((TYPE, "pit"))]
    bench.worked_on(bench.accepted(of))
    assert bench.models.seeds == [[0, 1, 10, 11]]


def test_a_normal_image_is_read_once_for_shards_one_after_the_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = [planned(SOURCES[n], [TYPE], seed=10 * n + m) for n in (0, 1) for m in range(6)]
    job_id = bench.accepted(of)
    read: Counter[str] = Counter()
    get = bench.storage.get

    def counting(key: str) -> bytes:
        read[key.rpartition(f"{job_id}/")[2]] += 1
        return get(key)

    monkeypatch.setattr(bench.storage, "get", counting)
    bench.worked_on(job_id)
    assert [read[source_file(number, "image")] for number in (0, 1)] == [1, 1]


def test_an_item_of_which_nothing_is_seen_says_so_though_no_quality_is_asked_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = fake_models.drawn

    def unseen(one: ItemRequest) -> ItemResult:
        label = np.zeros_like(one.mask)
        return replace(drawn(one), refined_mask=label, regions=(), attempts=3, accepted=one.control)

    monkeypatch.setattr(fake_models, "drawn", unseen)
    of = [planned(SOURCES[0], [TYPE], seed=1), planned(SOURCES[0], [TYPE], seed=2, kind="control")]
    assert of[0].augmentation is not None
    assert of[0].augmentation.defects[0].min_quality == 0
    job_id = bench.accepted(of)
    assert bench.worked_on(job_id).counts.rejected == 1
    item, control = bench.items(job_id)
    assert item.rejection is not None
    assert (item.accepted, item.rejection.code) == (False, "nothing-seen")
    assert (control.accepted, control.rejection) == (True, None)


def test_labels_that_are_older_than_the_record_are_described_anew(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The house removed a record and not yet the files; another device drew another label, and died at once or
    nobody wanted its classes."""
    row = planned(SOURCES[0], [TYPE], seed=1)
    bench.worked_on(bench.accepted([row]))
    older = keys.made_annotations(TENANT, row.made), keys.made_classes(TENANT, row.made, [2])
    kept = bench.storage.get(older[0])
    bench.storage.delete(keys.made_record(TENANT, row.made))
    drawn = fake_models.drawn

    def thinner(one: ItemRequest) -> ItemResult:
        refined = drawn(one).refined_mask & (np.arange(64) % 2 == 0)
        return replace(drawn(one), refined_mask=refined)

    monkeypatch.setattr(fake_models, "drawn", thinner)
    bench.worked_on(bench.accepted([row], formats=["coco"]))
    bench.storage.put(older[0], kept)
    for key in older:
        os.utime(bench.storage.root / key, (0, 0))
    job_id = bench.accepted([row])
    bench.worked_on(job_id)
    item = bench.item(job_id, 0)
    assert item.reused
    label = bench.mask(item)
    assert np.array_equal(bench.classes(item, [2]) > 0, label)
    assert sum(region.area for region in bench.annotations(item).regions) == label.sum()


def test_an_item_below_its_least_quality_is_kept_and_not_accepted(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = fake_models.drawn
    monkeypatch.setattr(fake_models, "drawn", lambda one: replace(drawn(one), accepted=False, attempts=3))
    of = [planned(SOURCES[0], [TYPE], seed=1)]
    for reused in (None, True):
        job_id = bench.accepted(of)
        assert bench.worked_on(job_id).counts.rejected == 1
        item = bench.item(job_id, 0)
        assert (item.accepted, item.attempts, item.reused) == (False, 3, reused)
    assert bench.models.seeds == [[1]]


def test_an_item_that_fails_is_not_kept_and_takes_no_other_with_it(bench: Bench) -> None:
    of = [planned(SOURCES[0], [TYPE], seed=seed) for seed in (1, 2, 3)]
    bench.models.failing = {2}
    job_id = bench.accepted(of)
    job = bench.worked_on(job_id)
    assert (job.counts.succeeded, job.counts.failed) == (2, 1)
    failed = bench.item(job_id, 1)
    assert failed.status is ItemStatus.FAILED
    assert failed.seed == 2
    assert failed.error is not None
    assert "the model fell over" in failed.error.detail
    assert not list(bench.storage.list(keys.made_prefix(TENANT, of[1].made)))

    bench.models.failing = set()
    bench.models.seeds.clear()
    assert bench.worked_on(bench.accepted(of)).counts.succeeded == 3
    assert bench.models.seeds == [[2]]


def test_a_mask_that_fits_nowhere_fails_its_item_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    region = np.zeros((64, 64), dtype=np.bool_)
    region[0, 0] = True
    data = encode_mask_png(region)
    narrow = SOURCES[0].model_copy(update={"region_sha256": hashlib.sha256(data).hexdigest()})
    job_id = bench.accepted([planned(narrow, [TYPE], seed=1), planned(SOURCES[1], [TYPE], seed=2)])
    bench.storage.put(keys.job_file(TENANT, job_id, source_file(0, "region")), data)
    bench.worked_on(job_id)
    first, second = bench.items(job_id)
    assert first.error is not None
    assert first.error.code == "no-place"
    assert second.status is ItemStatus.SUCCEEDED


def test_memory_that_runs_out_is_given_back_and_all_is_drawn(bench: Bench) -> None:
    def too_many(batch: list[int]) -> None:
        if len(batch) > 2:
            raise MemoryError

    bench.models.before = too_many
    job = bench.worked_on(bench.accepted(rows()))
    assert job.counts.succeeded == len(rows())
    assert bench.models.batch_shape == 2


def test_cancel_keeps_what_is_done(bench: Bench) -> None:
    of = [planned(SOURCES[0], [TYPE], seed=seed) for seed in range(1, 9)]
    job_id = bench.accepted(of, shard_size=8)

    def cancel_in_the_second_batch(batch: list[int]) -> None:
        if len(bench.models.seeds) == 2:
            bench.jobs.cancel(TENANT, job_id)

    bench.models.before = cancel_in_the_second_batch
    bench.models.on_step = _wait_a_step
    bench.run(job_id)
    job = bench.job(job_id)
    assert job.status is JobStatus.CANCELED
    assert (job.counts.succeeded, job.counts.canceled) == (4, 4)

    bench.models.before, bench.models.on_step = lambda batch: None, lambda: None
    bench.models.seeds.clear()
    bench.worked_on(bench.accepted(of))
    assert bench.models.drawn == [5, 6, 7, 8]


def _wait_a_step() -> None:
    time.sleep(0.03)


def test_cancel_is_heard_while_nothing_is_drawn(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    of = [planned(SOURCES[0], [TYPE], seed=seed) for seed in range(1, 9)]
    bench.worked_on(bench.accepted(of))
    job_id = bench.accepted(of, shard_size=8)
    finish = bench.jobs.finish_item

    def finish_and_cancel(tenant: str, of_job: str, item: Item, *, reused: bool = False) -> bool:
        done = finish(tenant, of_job, item, reused=reused)
        if item.index == 2:
            bench.jobs.cancel(TENANT, job_id)
            _wait_a_step()
        return done

    monkeypatch.setattr(bench.jobs, "finish_item", finish_and_cancel)
    bench.run(job_id)
    assert bench.job(job_id).status is JobStatus.CANCELED
    assert bench.job(job_id).counts.succeeded == 3


def test_a_worker_that_stops_gives_the_shard_back_and_the_next_goes_on(bench: Bench) -> None:
    of = [planned(SOURCES[0], [TYPE], seed=seed) for seed in range(1, 9)]
    job_id = bench.accepted(of, shard_size=8)

    def stop_in_the_second_batch(batch: list[int]) -> None:
        bench.stopping = len(bench.models.seeds) == 2

    bench.models.before = stop_in_the_second_batch
    assert isinstance(bench.run(job_id), Retry)
    assert bench.job(job_id).progress.done == 4
    bench.stopping = False
    bench.models.before = lambda batch: None
    bench.models.seeds.clear()
    assert bench.run(job_id) is None
    assert bench.models.drawn == [5, 6, 7, 8]
    assert bench.job(job_id).status is JobStatus.SUCCEEDED


@pytest.mark.parametrize(
    ("call", "before"),
    [("put_if_absent", "item.json"), ("put", "annotations.json"), ("put", "classes-2.png")],
)
def test_a_worker_that_dies_between_files_changes_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, call: str, before: str
) -> None:
    put, dying = getattr(bench.storage, call), [True]

    def die(key: str, data: bytes, content_type: str = "") -> Any:
        if "/made/" in key and key.endswith(before) and dying:
            dying.pop()
            raise StorageUnavailableError("away")
        return put(key, data, content_type)

    monkeypatch.setattr(bench.storage, call, die)
    of = rows()
    job_id = bench.accepted(of, shard_size=len(of))
    assert isinstance(bench.run(job_id), Retry)
    assert bench.job(job_id).progress.done < len(of)
    assert bench.made_files()  # some are there
    assert bench.run(job_id) is None
    disturbed = bench.made_files()

    bench.storage.delete_prefix(keys.made_prefix(TENANT))
    bench.worked_on(bench.accepted(of))
    assert bench.made_files() == disturbed


def test_of_two_that_make_an_item_otherwise_the_first_record_holds(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other worker's device draws another label: what is kept must be of one piece."""
    row = planned(SOURCES[0], [TYPE], seed=1)
    drawn, put_if_absent = fake_models.drawn, bench.storage.put_if_absent
    bench.worked_on(bench.accepted([row]))
    theirs = bench.made_files()
    for key in theirs:
        bench.storage.delete(key)

    def thinner(one: ItemRequest) -> ItemResult:
        result = drawn(one)
        refined = result.refined_mask & (np.arange(64) % 2 == 0)
        return replace(result, refined_mask=refined, image=np.where(refined, 0, result.image).astype(np.uint8))

    def late(key: str, data: bytes, content_type: str = "") -> bool:
        if "/made/" in key:
            for name, content in theirs.items():
                if not name.endswith("annotations.json") and "/classes-" not in name:
                    bench.storage.put(name, content)
        return put_if_absent(key, data, content_type)

    monkeypatch.setattr(fake_models, "drawn", thinner)
    monkeypatch.setattr(bench.storage, "put_if_absent", late)
    job_id = bench.accepted([row])
    bench.worked_on(job_id)
    assert bench.made_files() == theirs
    record = Item.model_validate_json(bench.storage.get(keys.made_record(TENANT, row.made)))
    assert bench.item(job_id, 0).image_sha256 == record.image_sha256


def test_a_type_that_is_gone_fails_its_items_and_no_others(bench: Bench) -> None:
    of = [planned(SOURCES[0], [TYPE], seed=1), planned(SOURCES[0], ["pit"], seed=2), planned(SOURCES[1], [TYPE])]
    job_id = bench.accepted(of)
    Registry(bench.storage).delete(BUILTIN_TENANT, "pit", 1)
    for _ in range(10):
        with suppress(ModelMissingError):  # RQ would deliver it again
            bench.run(job_id)
    first, second, third = bench.items(job_id)
    assert (first.status, third.status) == (ItemStatus.SUCCEEDED, ItemStatus.SUCCEEDED)
    assert second.error is not None
    assert "pit@1 is not in the registry" in second.error.detail


def test_a_drawn_mask_is_that_of_the_augmentation_of_the_row(bench: Bench) -> None:
    row = planned(SOURCES[1], [TYPE, "pit"], seed=5)
    job_id = bench.accepted([planned(SOURCES[0], [TYPE], seed=3), row])
    bench.worked_on(job_id)
    alone = augmented(bench.jobs, bench.shards, row)
    item = bench.item(job_id, 1)
    assert (item.pixels_sha256, item.mask_sha256, item.request_sha256, item.image_sha256) == (
        alone.pixels_sha256,
        alone.mask_sha256,
        alone.request_sha256,
        alone.image_sha256,
    )


def augmented(jobs: Jobs, shards: Shards, row: PlannedItem) -> Item:
    """The item of the augmentation that a row names."""
    assert row.augmentation is not None
    manifest: AugmentationManifest = request(1, pixels=normal(row.source.number))
    manifest.augmentation = row.augmentation
    manifest.image = row.source.image
    files: dict[str, Any] = {
        INPUT_FILE: encode_png(CanonicalImage(normal(row.source.number), manifest.image)),
    }
    if row.augmentation.masked:
        files[MASK_FILE] = encode_mask_png(given_mask())
    (item,) = worked_on(jobs, shards, jobs.accept(manifest, files).id).items
    return item


def test_an_item_is_pixel_by_pixel_the_augmentation_of_its_row(
    bench: Bench, jobs: Jobs, storage: FolderStorage, backbone_folder: Path
) -> None:
    """By a real pipeline with random weights, and a batch of rows that have nothing in common."""
    models = Models(WorkerSettings(backbone=str(backbone_folder), device="cpu", batch_shape=2), storage)
    (record,) = models.bundled_types()
    Registry(storage).publish(record, replace=True)
    bench.shards = Shards(jobs, storage, models, lambda: False, lambda: None)
    of = [
        planned(SOURCES[0], [TYPE], seed=11, mask="sent"),
        planned(SOURCES[1], [TYPE], seed=12, mask="sent"),
        planned(SOURCES[2], [TYPE], seed=13, mask="sent", kind="control"),
        planned(SOURCES[0], [TYPE], seed=14, mask="sent"),
        planned(SOURCES[1], [TYPE], seed=15, mask="sent"),
    ]
    for row, contrast in zip(of[3:], ((0.0, 0.5), (0.99, 1.0)), strict=True):
        assert row.augmentation is not None
        row.augmentation.defects[0].size = SizeRange(min=6, max=12)
        row.augmentation.defects[0].contrast = ContrastRange(min=contrast[0], max=contrast[1])
    assert of[1].augmentation is not None
    of[1].augmentation.defects[0].severity = 0.6
    of[1].augmentation.defects[0].steps = 5
    job_id = bench.accepted(of)
    assert bench.worked_on(job_id).status is JobStatus.SUCCEEDED
    for row, item in zip(of, bench.items(job_id), strict=True):
        alone = augmented(jobs, bench.shards, row)
        assert (item.pixels_sha256, item.image_sha256) == (alone.pixels_sha256, alone.image_sha256)
        assert item.fingerprint == alone.fingerprint
        assert (item.accepted, item.attempts, item.rejection) == (alone.accepted, alone.attempts, alone.rejection)
        if row.kind == "defect":
            assert item.mask_sha256 == alone.mask_sha256
    *plain, sized, missed = bench.items(job_id)
    assert [item.request_sha256 for item in plain] == [None] * 3
    assert sized.measures is not None
    if sized.accepted:
        assert 6 <= sized.measures.regions[0].length <= 12
    assert sized.request_sha256 is not None
    assert (missed.accepted, missed.attempts) == (False, MAX_AIMED_ATTEMPTS)
    assert missed.rejection is not None
    assert bench.job(job_id).counts.rejected == 2 - bool(sized.accepted)
