"""Items of a size: masks of that length, other ones where a label misses it, and a reason where none helped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from flawsmith.contract.files import INPUT_FILE, MASK_FILE
from flawsmith.contract.jobs import Item, Job, JobStatus
from flawsmith.contract.resolved import ResolvedAugmentation
from flawsmith.contract.wishes import ContrastRange, SizeRange
from models.attempts import Attempts
from models.batching import OnStep
from models.items import MAX_AIMED_ATTEMPTS, ItemRequest, ItemResult
from models.measures import length_of, measured
from service.images.canonical import CanonicalImage
from service.images.decoding import decode
from service.images.encoding import encode_mask_png, encode_png
from service.store import keys
from service.store.folder import FolderStorage
from service.store.jobs import Jobs
from tests.worker.fake_models import FakeModels, drawn
from tests.worker.test_masks import distribution
from tests.worker.tiny_worker import TENANT, defect, photo, request, worked_on
from worker import shards as shards_module
from worker.masks import RequestedMasks
from worker.shards import Shards
from worker.subjects import Subject

Mask = NDArray[np.bool_]


def area() -> Mask:
    mask = np.zeros((64, 64), dtype=np.bool_)
    mask[8:56, 4:60] = True
    return mask


def size(low: float, high: float, unit: Any = "px") -> SizeRange:
    return SizeRange(min=low, max=high, unit=unit)


@dataclass
class ShortModels(FakeModels):
    """What they draw is as long as a share of the mask, and of one contrast."""

    share: float = 0.5
    contrast: float = 0.4

    def generate(self, requests: Sequence[ItemRequest], on_step: OnStep) -> list[ItemResult]:
        attempts = [Attempts(one) for one in requests]
        for one in attempts:
            while one.waiting:
                one.take(self._drawn(one.asked))
        return [one.best for one in attempts]

    def _drawn(self, asked: ItemRequest) -> ItemResult:
        refined = asked.mask.copy()
        rows, columns = (np.flatnonzero(refined.any(axis=axis)) for axis in (1, 0))
        refined[rows[0] + max(1, round(self.share * len(rows))) :] = False
        refined[:, columns[0] + max(1, round(self.share * len(columns))) :] = False
        if not refined.any():
            refined[tuple(np.argwhere(asked.mask)[0])] = True
        difference = np.full(refined.shape, self.contrast, np.float32)
        return replace(drawn(asked), refined_mask=refined, regions=measured(refined, difference))


class Bench:
    """A worker's shards, and jobs of defects of a size."""

    def __init__(self, jobs: Jobs, storage: FolderStorage) -> None:
        self.jobs, self.storage = jobs, storage
        self.models = ShortModels(masks=distribution().to_json())
        self.shards = Shards(jobs, storage, self.models.as_models(), lambda: False, lambda: None)

    def worked_on(self, *, sent: Mask | None = None, count: int = 4, **wishes: Any) -> Job:
        manifest = request(count)
        manifest.augmentation.pixel_size_um = wishes.pop("pixel_size_um", None)
        manifest.augmentation.control = wishes.pop("control", False)
        changes = {"mask": "drawn" if sent is None else "sent", **wishes}
        manifest.augmentation.defects[0] = manifest.augmentation.defects[0].model_copy(update=changes)
        files = {INPUT_FILE: encode_png(CanonicalImage(photo(), manifest.image))}
        if sent is not None:
            files[MASK_FILE] = encode_mask_png(sent)
        return worked_on(self.jobs, self.shards, self.jobs.accept(manifest, files).id)

    def requested(self, job: Job, item: Item) -> Mask:
        return np.asarray(decode(self.storage.get(keys.item_request(TENANT, job.id, item))).pixels > 0)

    def label(self, job: Job, item: Item) -> Mask:
        return np.asarray(decode(self.storage.get(keys.item_mask(TENANT, job.id, item))).pixels > 0)


@pytest.fixture
def bench(jobs: Jobs, storage: FolderStorage, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(shards_module, "_FAILURE_PAUSE_S", 0.0)
    return Bench(jobs, storage)


@pytest.mark.parametrize("sent", [None, area()], ids=["drawn", "sent"])
def test_labels_get_the_size_that_is_asked_for_in_masks_of_their_own(bench: Bench, sent: Mask | None) -> None:
    job = bench.worked_on(sent=sent, size=size(40, 80, "um"), pixel_size_um=5.0)
    assert job.status is JobStatus.SUCCEEDED
    masks = [bench.requested(job, item) for item in job.items]
    assert len({mask.tobytes() for mask in masks}) == 4
    assert max(item.attempts for item in job.items) > 1, "half of a mask was too short at first"
    for item, mask in zip(job.items, masks, strict=True):
        label = bench.label(job, item)
        assert item.accepted
        assert item.rejection is None
        assert item.measures is not None
        assert item.measures.regions[0].length_um is not None
        assert 40 <= item.measures.regions[0].length_um <= 80
        assert 8 <= length_of(label) <= 16
        assert not (label & ~mask).any(), "the mask that is told of is that of the attempt that was kept"
        if sent is None:
            assert item.drawn is not None
            assert [region.area for region in item.drawn] == [mask.sum()]
        else:
            assert not (mask & ~sent).any()
            assert item.drawn is None


def test_the_same_request_gives_the_same_items_whatever_the_count(bench: Bench) -> None:
    few, many = (bench.worked_on(size=size(8, 16), count=count) for count in (1, 3))
    for field in ("request_sha256", "image_sha256", "attempts"):
        assert getattr(few.items[0], field) == getattr(many.items[0], field)


def test_what_is_missed_after_all_attempts_is_told_in_its_own_unit(bench: Bench) -> None:
    bench.models.share = 0.0
    job = bench.worked_on(
        sent=area(),
        size=size(60, 80, "um"),
        contrast=ContrastRange(min=0.5, max=0.6),
        pixel_size_um=5.0,
        count=1,
        min_quality=0.9,
    )
    (item,) = job.items
    assert job.counts.rejected == 1
    assert (item.accepted, item.attempts) == (False, MAX_AIMED_ATTEMPTS)
    assert item.rejection is not None
    assert item.rejection.code == "size-missed"
    first, second, third = item.rejection.detail.split("; ")
    assert first.startswith(f"after {MAX_AIMED_ATTEMPTS} attempts its largest region is ")
    assert first.endswith("µm long, and 60 to 80 were asked for")
    assert "the contrast of its largest region is 0.4, and 0.5 to 0.6 were asked for" in second
    assert third == "its quality is 0.7, and the least is 0.9"


def test_a_sent_mask_that_is_too_small_fails_the_item_with_the_reason(bench: Bench) -> None:
    job = bench.worked_on(sent=area(), size=size(200, 300), count=1)
    (item,) = job.items
    assert item.error is not None
    assert item.error.code == "no-place"
    assert "no piece of the mask is" in item.error.detail
    assert "ask for a smaller size" in item.error.detail


def test_where_only_the_shorter_ones_of_a_size_fit_those_are_drawn(bench: Bench) -> None:
    bench.models.share = 1.0
    job = bench.worked_on(sent=area(), size=size(20, 600), count=6)
    assert all(item.accepted for item in job.items)
    assert all(20 <= length_of(bench.label(job, item)) <= 74 for item in job.items)


def test_a_control_lies_in_a_mask_of_the_size_and_misses_none(bench: Bench) -> None:
    job = bench.worked_on(size=size(8, 16), control=True)
    for item in job.items:
        assert (item.accepted, item.attempts) == (True, 1)
        assert 7 <= length_of(bench.requested(job, item)) <= 18


def test_masks_of_several_defects_share_no_pixel_however_often_they_are_made_again() -> None:
    image = CanonicalImage(photo(), request(1).image)
    right = np.zeros((64, 64), dtype=np.bool_)
    right[5:60, 34:62] = True
    wanted = ResolvedAugmentation(
        defects=[defect(mask="sent"), defect(mask="drawn"), defect(mask="drawn")], count=1, seed=5
    )
    sizes = dict.fromkeys(range(3), (6.0, 14.0))
    types = {1: distribution(), 2: distribution()}
    masks = RequestedMasks(Subject(image, request(1).image, {0: right}), wanted, types, sizes)
    for index in range(4):
        first = masks.of(index)
        taken = [
            [first.masks[number], *(masks.again(first, index, number, attempt, 9.0).mask for attempt in (2, 3))]
            for number in range(3)
        ]
        unions = [np.logical_or.reduce(of_defect) for of_defect in taken]
        assert np.sum(unions, axis=0).max() == 1
        assert not (unions[0] & ~right).any()
        assert all(5 <= length_of(mask) <= 15 for of_defect in taken for mask in of_defect)
