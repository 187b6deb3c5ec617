from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from models.masks import distance_inside, grown, grown_where_thin, inner_edge, local_thickness, outer_edge, pooled


@pytest.mark.parametrize("thickness", [1, 2, 3, 5, 9])
def test_the_soft_edge_reaches_one_on_the_middle_of_a_line_however_thin(thickness: int) -> None:
    mask = np.zeros((40, 60), dtype=np.bool_)
    mask[10 : 10 + thickness, 5:55] = True
    alpha = inner_edge(mask, width=4)
    assert alpha[10 + thickness // 2, 10:50] == pytest.approx(1.0)
    assert (alpha[~mask] == 0).all()


def test_a_thin_line_keeps_its_middle_where_it_leaves_a_blob() -> None:
    mask = np.zeros((60, 80), dtype=np.bool_)
    mask[20:40, 10:30] = True
    mask[30, 30:70] = True
    alpha = inner_edge(mask, width=4)
    assert (alpha[30, 34:70] == 1).all()
    assert 0 < alpha[30 - 10, 15] < 1


def test_a_mask_at_the_images_border_has_no_soft_edge_there() -> None:
    mask = np.zeros((40, 40), dtype=np.bool_)
    mask[:20, :20] = True
    alpha = inner_edge(mask, width=4)
    assert alpha[0, 0] == 1
    assert alpha[0, 10] == 1
    assert alpha[19, 10] < 1


def test_local_thickness_is_the_radius_of_the_largest_covering_disc() -> None:
    mask = np.zeros((50, 50), dtype=np.bool_)
    mask[10:31, 10:31] = True
    thickness = local_thickness(distance_inside(mask), limit=6)
    assert thickness[20, 20] == 6
    assert thickness[5, 5] == 0


def test_the_outer_edge_ends_at_its_width() -> None:
    mask = np.zeros((40, 40), dtype=np.bool_)
    mask[20, 20] = True
    beta = outer_edge(mask, width=3)
    far = ndimage.distance_transform_edt(~mask)
    assert beta[20, 20] == 1
    assert (beta[far > 3] == 0).all()
    assert (beta[(far > 0) & (far <= 3)] > 0).all()


def test_nothing_refined_leaves_nothing_to_blend() -> None:
    assert (outer_edge(np.zeros((5, 5), dtype=np.bool_), 3) == 0).all()


def test_cells_are_grown_only_where_they_are_narrower_than_three() -> None:
    cells = np.zeros((16, 16), np.bool_)
    cells[2, 1:12] = cells[8:12, 4:8] = cells[14, 15] = True
    expected = cells.copy()
    expected[1:4, 0:13] = expected[13:16, 14:16] = True
    np.testing.assert_array_equal(grown_where_thin(cells), expected)
    border = np.zeros((8, 8), np.bool_)
    border[:2, :] = True  # goes on beyond the grid, as far as anyone knows
    np.testing.assert_array_equal(grown_where_thin(border), border)


@pytest.mark.parametrize("times", [2.0, 3.5])
def test_a_grown_mask_holds_the_mask_and_has_so_many_times_its_area(times: float) -> None:
    mask = np.zeros((60, 80), np.bool_)
    mask[20:30, 30:50] = True
    loose = grown(mask, times)
    assert loose[mask].all()
    assert loose.sum() == pytest.approx(times * mask.sum(), rel=0.2)
    assert grown(mask, 1000.0).all()


def test_a_pooled_mask_keeps_each_pixel_on_grids_finer_and_coarser() -> None:
    mask = np.zeros((40, 60), np.bool_)
    mask[0, 0] = mask[39, 59] = mask[20, 33] = True
    assert np.argwhere(pooled(mask, (10, 15))).tolist() == [[0, 0], [5, 8], [9, 14]]
    assert np.array_equal(pooled(mask, mask.shape), mask)
    assert pooled(mask, (80, 120)).sum() == 3
    assert not pooled(np.zeros((40, 60), np.bool_), (10, 15)).any()
