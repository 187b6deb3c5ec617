"""Places, and masks that are carried over."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from service.alignment.places import Place, carried


def some_mask() -> np.ndarray:
    mask = np.zeros((40, 60), np.bool_)
    mask[10:20, 30:34] = mask[15, 10:30] = True
    return mask


def test_a_mask_stays_where_the_part_has_not_moved() -> None:
    assert np.array_equal(carried(some_mask(), Place(), beyond=False), some_mask())


@pytest.mark.parametrize("beyond", [False, True])
def test_a_shifted_mask_is_cut_where_it_leaves_the_frame_and_filled_where_nothing_is_known(beyond: bool) -> None:
    found = carried(some_mask(), Place(x=-15, y=25), beyond=beyond)

    expected = np.full((40, 60), beyond)
    expected[25:, :45] = some_mask()[:15, 15:]
    assert np.array_equal(found, expected)


def test_a_quarter_turn_is_clockwise_as_one_sees_it() -> None:
    mask = np.zeros((40, 40), np.bool_)
    mask[3:9, 20:31] = True
    assert np.array_equal(carried(mask, Place(angle=90), beyond=False), np.rot90(mask, -1))


@pytest.mark.parametrize("angle", [-170.0, -33.3, 12.0, 45.0])
def test_a_thin_line_stays_a_line_however_it_is_turned(angle: float) -> None:
    line = np.zeros((80, 80), np.bool_)
    line[40, 25:55] = True
    found = carried(line, Place(1.5, -2.25, angle), beyond=False)

    assert ndimage.label(found, np.ones((3, 3)))[1] == 1
    ends = np.argwhere(found)[[0, -1]]
    assert float(np.hypot(*(ends[1] - ends[0]))) == pytest.approx(29, abs=1.5)


def test_there_and_back_a_point_is_where_it_was() -> None:
    place, centre = Place(3.5, -20.25, 77.0), np.array([30.0, 20.0])
    (a, b, c, d, e, f), (g, h, i, j, k, m) = place.to_photo(centre), place.from_photo(centre)
    x, y = a * 7 + b * 9 + c, d * 7 + e * 9 + f
    assert (g * x + h * y + i, j * x + k * y + m) == pytest.approx((7, 9))
    assert place.distance(Place(3.5, -20.25, 77.0), np.array([[0.0, 0.0]]), centre) == 0
    assert Place().distance(Place(3, 4), np.array([[0.0, 0.0], [9.0, 5.0]]), centre) == pytest.approx(5)
