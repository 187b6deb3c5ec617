"""What drawings begin on: sketches in every region of the request, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from models.exemplars import sketch
from models.rendering import DEFECT_TYPES
from models.windows import Plot, plan

P, L = 64, 16


def frame(plot: Plot, channels: int = 3) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    return rng.uniform(0.45, 0.55, (plot.height, plot.width, channels)).astype(np.float32)


def only_plot(mask: NDArray[np.bool_]) -> Plot:
    (plot,) = plan(mask, P, L)
    return plot


def two_spots() -> NDArray[np.bool_]:
    mask = np.zeros((120, 120), np.bool_)
    mask[40:48, 40:48] = mask[50:54, 50:54] = True
    return mask


@pytest.mark.parametrize("defect_type", DEFECT_TYPES)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_region_gets_a_sketch_and_nothing_else_changes(defect_type: str, channels: int) -> None:
    mask = two_spots()
    plot = only_plot(mask)
    before = frame(plot, channels)
    after = sketch(before, plot, P, defect_type, key=5)
    assert after.shape == before.shape
    assert after.dtype == np.float32
    changed = np.abs(after - before).max(axis=2) > 1e-3
    inside = plot.mask_at((slice(plot.y, plot.y + plot.height), slice(plot.x, plot.x + plot.width)))
    labels, count = ndimage.label(inside)
    assert all(changed[labels == i + 1].any() for i in range(count))
    # A plot that is shrunk for drawing carries its sketch a pixel or two over.
    assert ndimage.distance_transform_edt(~inside)[changed].max() <= 2 * plot.side / P


def test_the_key_alone_settles_a_sketch() -> None:
    plot = only_plot(two_spots())
    one, again, other = (sketch(frame(plot), plot, P, "crack", key) for key in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("defect_type", DEFECT_TYPES)
def test_thin_requests_and_large_ones_are_filled_enough_to_be_seen(defect_type: str) -> None:
    line, large = np.zeros((128, 128), np.bool_), np.zeros((700, 900), np.bool_)
    line[20:110, 60] = True
    large[100:600, 150:700] = True
    for mask in (line, large):
        for plot in plan(mask, P, L):
            before = frame(plot)
            change = np.abs(sketch(before, plot, P, defect_type, key=3) - before).max(axis=2)
            inside = plot.mask_at((slice(plot.y, plot.y + plot.height), slice(plot.x, plot.x + plot.width)))
            assert (change[inside] > 0.05).mean() > 0.02
