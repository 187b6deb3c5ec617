"""Annotations, as their consumers read them: pycocotools, and OpenCV as detectors of YOLO's kind use it."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from pycocotools import mask as coco
from scipy import ndimage

from worker.annotations import annotated
from worker.runlengths import packed_runs

Mask = NDArray[np.bool_]

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools itself

masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=14))


def of_coco(mask: Mask) -> str:
    return str(coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode())


def painted(polygons: list[list[float]], size: tuple[int, int]) -> Mask:
    """Polygons as detectors of YOLO's kind paint them: read from shares with six digits, cut off, filled."""
    image = np.zeros(size, dtype=np.uint8)
    scale = np.array([size[1], size[0]])
    for polygon in polygons:
        shares = np.round(np.array(polygon).reshape(-1, 2) / scale, 6)
        cv2.fillPoly(image, [(shares * scale).astype(np.int32)], 1)
    return image > 0


def without_holes(mask: Mask) -> Mask:
    return np.asarray(ndimage.binary_fill_holes(mask))


@settings(max_examples=60, deadline=None)
@given(masks)
def test_run_lengths_are_those_of_pycocotools(mask: Mask) -> None:
    if mask.any():
        assert packed_runs(mask, (0, 0), mask.shape) == of_coco(mask)
    for region in annotated([mask], mask.shape).regions:
        read = coco.decode({"size": list(mask.shape), "counts": region.rle.encode()}) > 0
        x, y, width, height = region.box
        assert read.sum() == region.area
        assert (read <= mask).all()
        rows, columns = np.nonzero(read)
        assert (x, x + width) == (columns.min(), columns.max() + 1)
        assert (y, y + height) == (rows.min(), rows.max() + 1)


def test_long_runs_are_packed_as_pycocotools_packs_them() -> None:
    mask = np.zeros((3000, 2000), dtype=np.bool_)
    mask[17:2900, 3] = mask[100:103, 900:1999] = mask[2999, 1999] = True
    assert packed_runs(mask, (0, 0), mask.shape) == of_coco(mask)


def test_runs_go_on_from_one_column_to_the_next() -> None:
    region = np.ones((6, 3), dtype=np.bool_)
    whole = np.zeros((6, 9), dtype=np.bool_)
    whole[:, 2:5] = True
    assert packed_runs(region, (0, 2), (6, 9)) == of_coco(whole)


@settings(max_examples=60, deadline=None)
@given(masks)
def test_outlines_painted_give_the_regions_and_their_holes(mask: Mask) -> None:
    found = annotated([mask], mask.shape)
    _, count = ndimage.label(mask, np.ones((3, 3)))
    assert len(found.regions) == count
    for region in found.regions:
        (polygon,) = region.polygons
        read = coco.decode({"size": list(mask.shape), "counts": region.rle.encode()}) > 0
        assert np.array_equal(painted([polygon], mask.shape), without_holes(read))
        xy = np.array(polygon).reshape(-1, 2)
        x, y, width, height = region.box
        assert np.allclose([*xy.min(axis=0), *xy.max(axis=0)], [x, y, x + width, y + height], atol=0.1)
    polygons = [polygon for region in found.regions for polygon in region.polygons]
    filled = painted(polygons, mask.shape)
    expected = (filled & mask).sum() / filled.sum() if mask.any() else 1.0
    assert found.polygon_iou == pytest.approx(expected)


def test_lines_of_one_pixel_stay() -> None:
    mask = np.zeros((40, 60), dtype=np.bool_)
    mask[5, 3:50] = True
    mask[np.arange(10, 38), np.arange(10, 38)] = True
    mask[np.arange(7, 25), 59 - np.arange(7, 25)] = True
    mask[39, 0] = True
    found = annotated([mask], mask.shape)
    assert found.polygon_iou == 1
    assert len(found.regions) == 4
    assert np.array_equal(painted([region.polygons[0] for region in found.regions], mask.shape), mask)
    assert min(len(region.polygons[0]) for region in found.regions) >= 6


def test_regions_name_their_defect_the_largest_of_each_first() -> None:
    first, second = np.zeros((2, 30, 30), dtype=np.bool_)
    first[2:4, 2:4] = first[20:26, 20:26] = True
    second[10:13, 1:6] = True
    found = annotated([first, np.zeros_like(first), second], first.shape)
    assert [(region.defect, region.area, region.box) for region in found.regions] == [
        (0, 36, (20, 20, 6, 6)),
        (0, 4, (2, 2, 2, 2)),
        (2, 15, (1, 10, 5, 3)),
    ]
    assert (found.width, found.height, found.polygon_iou) == (30, 30, 1)


@pytest.mark.parametrize("labels", [[], [np.zeros((8, 9), dtype=np.bool_)]])
def test_a_label_without_a_pixel_has_no_region(labels: list[Mask]) -> None:
    found = annotated(labels, (8, 9))
    assert (found.regions, found.polygon_iou) == ([], 1)


def test_holes_are_left_out_and_told_of() -> None:
    mask = np.zeros((30, 30), dtype=np.bool_)
    mask[5:25, 5:25] = True
    mask[10:20, 10:20] = False
    assert annotated([mask], mask.shape).polygon_iou == 0.75


def test_a_hole_is_told_of_though_another_defect_fills_it() -> None:
    ring, spot = np.zeros((2, 30, 30), dtype=np.bool_)
    ring[5:25, 5:25] = True
    spot[10:20, 10:20] = True
    ring &= ~spot
    assert annotated([ring, spot], ring.shape).polygon_iou == 0.75
    assert annotated([spot, np.zeros_like(spot), ring], ring.shape).polygon_iou == 0.75


def test_a_scratch_on_a_photo_of_20_megapixels_is_annotated_at_once() -> None:
    mask = np.zeros((4000, 5000), dtype=np.bool_)
    rows = np.arange(300, 3700)
    for shift in range(5):
        mask[rows, 400 + rows + shift] = True
    mask[50:60, 4900:4950] = True
    began = time.process_time()
    found = annotated([mask], mask.shape)
    assert time.process_time() - began < 2
    assert [region.area for region in found.regions] == [17_000, 500]
    assert found.polygon_iou == 1
