"""Shapes of defects: kept small, drawn turned, mirrored and scaled with the area that they should have."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from models.shapes import MAX_CELLS, MAX_DATA, Shape, ShapeError, pose, warp

Mask = NDArray[np.bool_]


def an_l() -> Mask:
    """An L that looks like no turned or mirrored one of itself: 30 high, 12 wide."""
    mask = np.zeros((60, 80), dtype=np.bool_)
    mask[10:40, 20:26] = True
    mask[34:40, 20:32] = True
    return mask


def drawn(shape: Shape, angle: float = 0.0, scale: float = 1.0, mirror: float | None = None) -> Mask:
    canvas = np.zeros((400, 400), dtype=np.bool_)
    place, mask = shape.drawn(pose(angle, scale, mirror), (200, 200), (400, 400))
    canvas[place] = mask
    return canvas


def cut(mask: Mask) -> Mask:
    (box,) = ndimage.find_objects(mask.astype(np.int8))
    return mask[box]


def test_a_shape_drawn_as_it_was_is_the_mask_again() -> None:
    mask = an_l()
    assert np.array_equal(cut(drawn(Shape.of(mask))), cut(mask))


@pytest.mark.parametrize(
    ("angle", "mirror", "expected"),
    [
        (90.0, None, np.rot90),
        (-90.0, None, lambda mask: np.rot90(mask, -1)),
        (180.0, None, lambda mask: np.rot90(mask, 2)),
        (0.0, 90.0, np.fliplr),
        (0.0, 0.0, np.flipud),
    ],
)
def test_it_is_turned_counter_clockwise_and_mirrored_at_an_axis(angle, mirror, expected) -> None:  # type: ignore[no-untyped-def]
    shown = cut(drawn(Shape.of(an_l()), angle, mirror=mirror))
    assert np.array_equal(shown, expected(cut(an_l())))


@pytest.mark.parametrize("scale", [0.1, 0.3, 0.7, 1.5, 5.0])
@pytest.mark.parametrize("angle", [0.0, 33.0])
def test_area_grows_with_the_square_of_the_scale(scale: float, angle: float) -> None:
    area = drawn(Shape.of(an_l()), angle, scale).sum()
    assert area == pytest.approx(an_l().sum() * scale**2, rel=0.15, abs=2)


def test_a_long_thin_line_stays_thin_and_whole_though_it_is_kept_in_coarse_cells() -> None:
    mask = np.zeros((500, 1600), dtype=np.bool_)
    for x in range(1500):
        y = 250 + round(120 * math.sin(x / 200))
        mask[y - 2 : y + 3, 40 + x] = True
    shape = Shape.of(mask)
    assert max(shape.coverage.shape) <= MAX_CELLS
    place, again = shape.drawn(pose(0, 1, None), (250, 800), (500, 1600))
    assert again.sum() == pytest.approx(mask.sum(), rel=0.1)
    whole = np.zeros_like(mask)
    whole[place] = again
    assert ndimage.label(whole, structure=np.ones((3, 3)))[1] == 1
    assert (ndimage.distance_transform_edt(~mask)[whole] <= 12).all()


def test_a_ragged_shape_fits_into_its_text_all_the_same() -> None:
    mask = np.random.default_rng(3).random((700, 700)) < 0.4
    shape = Shape.of(mask)
    assert len(json.dumps(shape.to_json())) < MAX_DATA + 200
    assert shape.area == mask.sum()


def test_a_huge_shape_is_drawn_with_larger_pixels() -> None:
    place, mask = Shape.of(an_l()).drawn(pose(0, 100, None), (1500, 600), (3001, 1201))
    assert mask.shape == (3001, 1201) == tuple(side.stop - side.start for side in place)
    assert mask.sum() == pytest.approx(an_l().sum() * 100**2, rel=0.05)


def test_beyond_the_image_nothing_is_drawn() -> None:
    place, mask = Shape.of(an_l()).drawn(pose(0, 1, None), (-100, 20), (60, 80))
    assert mask.size == 0
    assert np.zeros((60, 80))[place].shape == mask.shape


def test_a_warp_bends_the_outline_and_keeps_the_area() -> None:
    shape = Shape.of(an_l())
    place, bent = shape.drawn(pose(0, 4, None), (200, 200), (400, 400), warp(np.random.default_rng(2), 0.1))
    straight = drawn(shape, scale=4)
    assert bent.sum() == pytest.approx(straight.sum(), rel=0.1)
    overlap = (bent & straight[place]).sum() / (bent | straight[place]).sum()
    assert 0.3 < overlap < 0.95


@pytest.mark.parametrize("angle", [0, 20, 45, 90, 135, 179])
def test_the_main_axis_is_told_in_degrees_counter_clockwise(angle: int) -> None:
    y, x = np.indices((201, 201)) - 100.0
    turn = math.radians(angle)
    along, across = x * math.cos(turn) - y * math.sin(turn), x * math.sin(turn) + y * math.cos(turn)
    axis, longer = Shape.of((abs(along) < 80) & (abs(across) < 10)).axis
    assert min(abs(axis - angle), 180 - abs(axis - angle)) < 1
    assert longer == pytest.approx(8, rel=0.1)


def test_json_goes_there_and_back() -> None:
    shape = Shape.of(an_l())
    again = Shape.from_json(json.loads(json.dumps(shape.to_json())))
    assert np.array_equal(drawn(again, 20), drawn(shape, 20))


@pytest.mark.parametrize(
    "change",
    [
        {"cells": "not base64!"},
        {"cells": "AAAA"},
        {"cells": 5},
        {"height": 0},
        {"width": "12"},
        {"area": 1 << 30},
        {"height": 10_000, "width": 10_000},
        {"cell": True, "height": 31},
        {"cell": None},
    ],
)
def test_what_is_no_shape_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ShapeError):
        Shape.from_json(Shape.of(an_l()).to_json() | change)


def test_cells_that_inflate_without_end_are_refused() -> None:
    bomb = Shape(np.zeros((3000, 300), np.uint8), 1, 30, 12, 10).to_json()
    with pytest.raises(ShapeError):
        Shape.from_json(bomb)
