"""Views of items: cropped around their place and of 8 bits, made of what is kept and without a model."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco

from flawsmith.contract.datasets import DatasetSource, PlannedItem
from flawsmith.contract.jobs import JobStatus
from flawsmith.contract.rows import ItemView
from flawsmith.contract.wishes import SizeRange
from models.items import ItemRequest, ItemResult
from models.levels import Levels
from service.images.canonical import Pixels
from service.images.decoding import decode
from service.images.provenance import XMP
from service.store import keys
from service.store.folder import FolderStorage
from tests.worker import fake_models
from tests.worker.test_datasets import Bench, Mask, given_mask, normal, planned, source
from tests.worker.test_datasets import bench as bench  # a fixture
from tests.worker.tiny_worker import TENANT, TYPE
from worker.views import Views, crop_box, in_eight_bits

CROP = {"frame": "crop", "crop_size": 40}
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools itself


def deep(number: int) -> Pixels:
    """A photo of a 12-bit camera."""
    return np.asarray(normal(number).astype(np.uint16) * 16 + 3, dtype=np.uint16)


def seen(row: PlannedItem, way: str = "x", place: PlannedItem | None = None) -> PlannedItem:
    """A row that is exported as a view."""
    digest = hashlib.sha256(f"{way} {row.made}".encode()).hexdigest()
    return row.model_copy(update={"view": digest, "place": place.augmentation if place else None})


def rows(of: DatasetSource, way: str = "x") -> list[PlannedItem]:
    """Every kind of item, of drawn masks and of the one that was sent."""
    both = planned(of, [TYPE, "pit"], seed=3)
    return [
        seen(planned(of, [TYPE], seed=1), way),
        seen(planned(of, [TYPE], seed=2, mask="sent"), way),
        seen(both, way),
        seen(planned(of, [TYPE], seed=4, kind="control"), way),
        seen(planned(of, kind="normal"), way, both),
    ]


def of_size(row: PlannedItem) -> PlannedItem:
    """A row whose defects are to be short ones."""
    assert row.augmentation is not None
    defects = [one.model_copy(update={"size": SizeRange(min=4, max=8)}) for one in row.augmentation.defects]
    augmentation = row.augmentation.model_copy(update={"defects": defects})
    digest = hashlib.sha256(f"{row.made} {defects}".encode()).hexdigest()
    return row.model_copy(update={"augmentation": augmentation, "made": digest})


def view_of(bench: Bench, row: PlannedItem) -> ItemView:
    assert row.view is not None
    return ItemView.model_validate_json(bench.storage.get(keys.made_record(TENANT, row.view)))


def image_of(bench: Bench, row: PlannedItem) -> Pixels:
    view = view_of(bench, row)
    data = bench.storage.get(keys.view_image(TENANT, view, row.source.image))
    assert hashlib.sha256(data).hexdigest() == view.image_sha256
    assert (XMP in data) is (row.kind != "normal")
    image = decode(data)
    assert (image.info.height, image.info.width) == (view.height, view.width)
    assert image.info.source_format == row.source.image.source_format
    return image.pixels


def cut(pixels: Any, view: ItemView) -> Any:
    assert view.crop is not None
    x, y, width, height = view.crop
    return pixels[y : y + height, x : x + width]


@pytest.mark.parametrize("tiff", [False, True])
def test_image_and_labels_are_the_same_part_of_the_photo(bench: Bench, tiff: bool) -> None:
    of = rows(source(2 if tiff else 0, tiff=tiff))
    job_id = bench.accepted(of, **CROP)
    assert bench.worked_on(job_id).counts.succeeded == len(of)
    for index, row in enumerate(of):
        item, view = bench.item(job_id, index), view_of(bench, row)
        whole = decode(bench.storage.get(keys.item_image(TENANT, job_id, item, row.source.image))).pixels
        assert np.array_equal(image_of(bench, row), cut(whole, view))
        assert (view.black_level, view.white_level) == (None, None)
        assert min(view.width, view.height) >= 40
        labels = bench.labels(item) if row.kind == "defect" else []
        shown = item.model_copy(update={"made": row.view})
        annotations = bench.annotations(shown)
        assert (annotations.width, annotations.height) == (view.width, view.height)
        for number, label in enumerate(labels):
            found = np.zeros((view.height, view.width), np.bool_)
            for region in annotations.regions:
                if region.defect == number:
                    rle = {"size": [view.height, view.width], "counts": region.rle.encode()}
                    found |= coco.decode(rle).astype(bool)
            assert np.array_equal(found, cut(label, view))
            assert found.sum() == label.sum(), "no part of a defect is cut off"
        numbers = row.classes(bench.jobs.manifest(TENANT, job_id).dataset.lock)
        classes = bench.classes(shown, numbers)
        assert set(np.unique(classes)) == {0, *numbers}
        assert np.array_equal(classes > 0, cut(np.logical_or.reduce([np.zeros((64, 64), bool), *labels]), view))
        if row.kind == "defect":
            mask = bench.storage.get(keys.view_mask(TENANT, view))
            assert hashlib.sha256(mask).hexdigest() == view.mask_sha256
            assert np.array_equal(decode(mask).pixels > 0, cut(bench.mask(item), view))


def test_all_that_is_drawn_on_a_photo_comes_to_8_bits_as_it_does(bench: Bench) -> None:
    of = rows(source(0, images=deep))
    job_id = bench.accepted(of, images=deep, bit_depth="8")
    bench.worked_on(job_id)
    shown = {row.kind: image_of(bench, row) for row in of}
    expected = np.rint(deep(0) / 4095 * 255).astype(np.uint8)
    assert np.array_equal(shown["normal"], expected)
    for index, row in enumerate(of):
        view, pixels = view_of(bench, row), image_of(bench, row)
        assert pixels.dtype == np.uint8
        assert (view.crop, view.black_level, view.white_level) == (None, 0, 4095)
        same = ~bench.mask(bench.item(job_id, index)) if row.kind == "defect" else np.zeros((64, 64), bool)
        assert np.array_equal(pixels[same], expected[same])


def test_another_frame_or_depth_is_no_work_for_a_model_and_the_same_bytes_again(bench: Bench) -> None:
    of = source(1, images=deep)
    bench.worked_on(bench.accepted([row.model_copy(update={"view": None}) for row in rows(of)], images=deep))
    asked = len(bench.models.seeds)
    ways: Sequence[tuple[str, dict[str, Any]]] = (
        ("c", CROP),
        ("d", {"bit_depth": "8"}),
        ("e", CROP | {"bit_depth": "8", "crop_size": 32}),
    )
    for way, changes in ways:
        job = bench.worked_on(bench.accepted(rows(of, way), images=deep, **changes))
        assert job.dataset is not None
        assert job.dataset.reused == len(rows(of))
    assert len(bench.models.seeds) == asked
    before = bench.made_files()
    for way, changes in ways:
        for row in rows(of, way):
            assert row.view is not None
            bench.storage.delete_prefix(keys.made_prefix(TENANT, row.view))
        bench.worked_on(bench.accepted(rows(of, way), images=deep, **changes))
    assert bench.made_files() == before


def test_an_item_made_at_once_with_its_view_has_the_same_as_one_made_before(bench: Bench) -> None:
    of = rows(source(0))
    bench.worked_on(bench.accepted(of, **CROP))
    at_once = bench.made_files()
    bench.storage.delete_prefix(f"{TENANT}/made/")
    bench.worked_on(bench.accepted([row.model_copy(update={"view": None}) for row in of], formats=["coco"]))
    bench.worked_on(bench.accepted(of, **CROP))
    assert bench.made_files() == at_once


def test_another_lock_shows_a_view_under_its_own_numbers(bench: Bench) -> None:
    (row,) = rows(source(0))[:1]
    bench.worked_on(bench.accepted([row], **CROP))
    bench.worked_on(bench.accepted([row], classes={TYPE: 5}, **CROP))
    names = [key.rpartition("/")[2] for key in bench.storage.list(keys.made_prefix(TENANT, row.view or ""))]
    assert {"classes-2.png", "classes-5.png"} <= set(names)


def test_a_view_of_an_item_that_was_drawn_otherwise_is_made_anew(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = rows(source(0))[:1]
    bench.worked_on(bench.accepted([row], **CROP))
    first = view_of(bench, row)
    bench.storage.delete_prefix(keys.made_prefix(TENANT, row.made))
    drawn = fake_models.drawn
    monkeypatch.setattr(fake_models, "drawn", lambda one: replace(drawn(one), image=255 - drawn(one).image))
    bench.worked_on(bench.accepted([row], **CROP))
    assert view_of(bench, row).image_sha256 != first.image_sha256


@pytest.mark.parametrize("wanted_at_once", [True, False])
def test_classes_of_a_view_that_was_made_before_are_drawn_anew(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, wanted_at_once: bool
) -> None:
    (row,) = rows(source(0))[:1]
    assert row.view is not None
    bench.worked_on(bench.accepted([row], **CROP))
    os.utime(bench.storage.root / keys.made_classes(TENANT, row.view, [2]), (0, 0))
    for removed in (row.made, row.view):  # by the house, which lets the files be until its next round
        bench.storage.delete(keys.made_record(TENANT, removed))
    drawn = fake_models.drawn

    def thinner(one: ItemRequest) -> ItemResult:
        refined = drawn(one).refined_mask & (np.arange(64) % 2 == 0)
        return replace(drawn(one), refined_mask=refined)

    monkeypatch.setattr(fake_models, "drawn", thinner)
    if not wanted_at_once:
        bench.worked_on(bench.accepted([row], formats=["coco"], **CROP))
    job_id = bench.accepted([row], **CROP)
    bench.worked_on(job_id)
    shown = bench.item(job_id, 0).model_copy(update={"made": row.view})
    mask = decode(bench.storage.get(keys.view_mask(TENANT, view_of(bench, row)))).pixels > 0
    assert np.array_equal(bench.classes(shown, [2]) > 0, mask)


def test_a_worker_that_dies_before_the_view_is_made_is_followed_by_one_that_makes_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = rows(source(0))[:1]
    job_id = bench.accepted([row], **CROP)

    def dies(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Views, "complete", dies)
        with pytest.raises(KeyboardInterrupt):
            bench.run(job_id)
    asked = len(bench.models.seeds)
    assert bench.worked_on(job_id).status is JobStatus.SUCCEEDED
    assert len(bench.models.seeds) == asked
    assert view_of(bench, row).crop is not None


def test_a_normal_image_is_cropped_where_its_defect_is_asked_for(bench: Bench) -> None:
    """A mask that was sent, in a corner, so that elsewhere a crop would not hold it."""
    of = source(0)
    row = seen(planned(of, kind="normal"), "x", planned(of, [TYPE], mask="sent"))
    bench.worked_on(bench.accepted([row], **CROP))
    assert cut(given_mask(), view_of(bench, row)).sum() == given_mask().sum()
    bare = seen(planned(of, kind="normal"), "y")
    bench.worked_on(bench.accepted([bare], **CROP))
    view = view_of(bench, bare)
    assert (view.width, view.height) == (40, 40)
    assert bench.models.seeds == []


def test_where_a_size_is_asked_for_a_normal_image_is_cropped_around_a_piece_of_its_mask_too(bench: Bench) -> None:
    """Around all of the mask, which is larger than the crop, its crops would be larger than those of defects."""
    of = source(0)
    defects = [of_size(planned(of, [TYPE], seed=seed, mask="sent")) for seed in range(3)]
    control = of_size(planned(of, [TYPE], seed=3, mask="sent", kind="control"))
    rows = [seen(one) for one in (*defects, control)] + [seen(planned(of, kind="normal"), "x", defects[0])]
    bench.worked_on(bench.accepted(rows, frame="crop", crop_size=16))
    assert {(view_of(bench, row).width, view_of(bench, row).height) for row in rows} == {(16, 16)}
    assert cut(given_mask(), view_of(bench, rows[-1])).any()


def test_what_is_below_quality_has_no_view(
    bench: Bench, storage: FolderStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = rows(source(0))[:1]
    drawn = fake_models.drawn
    monkeypatch.setattr(fake_models, "drawn", lambda one: replace(drawn(one), accepted=False))
    bench.worked_on(bench.accepted([row], **CROP))
    assert not list(storage.list(keys.made_prefix(TENANT, row.view or "")))


def square(top: int, left: int, height: int, width: int, of: tuple[int, int]) -> Mask:
    mask = np.zeros(of, np.bool_)
    mask[top : top + height, left : left + width] = True
    return mask


@given(data=st.data())
def test_a_crop_holds_all_that_was_asked_for_with_context(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(8, 300)), data.draw(st.integers(8, 300))
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    mask = square(top, left, data.draw(st.integers(1, height)), data.draw(st.integers(1, width)), (height, width))
    side, digest = data.draw(st.integers(16, 128)), f"{data.draw(st.integers(0, 2**64)):064x}"
    box = crop_box(mask, (height, width), side, digest)
    assert box == crop_box(mask, (height, width), side, digest)
    x, y, across, down = box
    assert x >= 0
    assert y >= 0
    assert x + across <= width
    assert y + down <= height
    assert mask[y : y + down, x : x + across].sum() == mask.sum()
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    longest = max(len(rows), len(columns))
    if longest <= 0.75 * side:
        assert (across, down) == (min(side, width), min(side, height))
    for first, last, begin, length, whole in (
        (rows[0], rows[-1] + 1, y, down, height),
        (columns[0], columns[-1] + 1, x, across, width),
    ):
        assert begin == 0 or first - begin >= length // 8
        assert begin + length == whole or begin + length - last >= length // 8


def test_defects_lie_anywhere_in_their_crops() -> None:
    mask = square(500, 500, 20, 20, (1000, 1000))
    boxes = [crop_box(mask, (1000, 1000), 200, f"{number:064x}") for number in range(400)]
    for axis in (0, 1):
        at = np.array([500 - box[axis] for box in boxes])
        assert at.min() < 40
        assert at.max() > 140
        assert np.histogram(at, bins=4, range=(25, 155))[0].min() > 60
    anywhere = np.array([crop_box(None, (1000, 500), 200, f"{number:064x}")[:2] for number in range(400)])
    assert anywhere.max(axis=0).tolist() == pytest.approx([300, 800], abs=20)
    assert anywhere.min(axis=0).tolist() == pytest.approx([0, 0], abs=20)


def test_values_beyond_the_range_are_cut_off_and_alpha_keeps_its_share() -> None:
    pixels = np.array([[[0, 0], [100, 65535]], [[2147, 257], [4095, 128 * 257]]], np.uint16)
    found = in_eight_bits(pixels, Levels(100, 2147))
    assert found.tolist() == [[[0, 0], [0, 255]], [[255, 1], [255, 128]]]
    assert in_eight_bits(np.array([[1123]], np.uint16), Levels(100, 2147)).tolist() == [[127]]
