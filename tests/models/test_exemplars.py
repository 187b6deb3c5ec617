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
def test_every_region_gets_a_sketch_and_nothing_far_from_them_changes(defect_type: str, channels: int) -> None:
    mask = two_spots()
    plot = only_plot(mask)
    before = frame(plot, channels)
    after = sketch(before, plot, P, defect_type, key=5, look=5)[0]
    assert after.shape == before.shape
    assert after.dtype == np.float32
    changed = np.abs(after - before).max(axis=2) > 1e-3
    inside = plot.mask_at((slice(plot.y, plot.y + plot.height), slice(plot.x, plot.x + plot.width)))
    labels, count = ndimage.label(inside)
    assert all(changed[labels == i + 1].any() for i in range(count))
    # Lines are two model pixels broader; a plot that is shrunk for drawing carries its sketch a pixel or two over.
    assert ndimage.distance_transform_edt(~inside)[changed].max() <= 4 * plot.side / P


def test_the_keys_alone_settle_a_sketch() -> None:
    plot = only_plot(two_spots())
    one, again, other = (sketch(frame(plot), plot, P, "crack", key, key)[0] for key in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_dents_of_one_look_are_lit_from_one_side() -> None:
    mask = np.zeros((64, 64), np.bool_)
    mask[20:44, 20:44] = True
    plot = only_plot(mask)
    before = frame(plot)

    def side(key: int, look: int) -> NDArray[np.float64]:
        """From dark to bright, a unit vector."""
        change = (sketch(before, plot, P, "dent", key, look)[0] - before).mean(axis=2)
        bright, dark = (np.array(ndimage.center_of_mass(part.clip(0))) for part in (change, -change))
        return np.asarray((bright - dark) / np.hypot(*(bright - dark)))

    agreement = [side(key, look=key) @ side(100 + key, look=key) for key in range(12)]
    assert np.mean(agreement) > 0.6
    agreement = [side(key, look=key) @ side(100 + key, look=50 + key) for key in range(12)]
    assert np.mean(agreement) < 0.6


@pytest.mark.parametrize("defect_type", DEFECT_TYPES)
def test_where_a_sketch_lies_is_where_it_is_seen_and_of_a_large_request_a_part(defect_type: str) -> None:
    large = np.zeros((64, 64), np.bool_)
    large[8:56, 8:56] = True
    plot = only_plot(large)
    before = frame(plot)
    after, lies = sketch(before, plot, P, defect_type, key=4, look=4)
    asked = plot.cells(plot.height, plot.width)
    change = np.abs(after - before).max(axis=2)
    assert not (lies & ~asked).any()
    assert change[lies].mean() > 10 * change[asked & ~lies].mean()
    assert lies.sum() < 0.9 * asked.sum()


def test_a_thin_line_lies_wherever_it_was_asked_for() -> None:
    line = np.zeros((64, 64), np.bool_)
    line[10:54, 30] = True
    plot = only_plot(line)
    lies = sketch(frame(plot), plot, P, "scratch", key=4, look=4)[1]
    np.testing.assert_array_equal(lies, plot.cells(plot.height, plot.width))


def test_a_region_without_a_sketch_lies_there_as_a_whole() -> None:
    many = np.zeros((64, 64), np.bool_)
    for i in range(20):  # more than are sketched
        row, column = 14 + 9 * (i // 5), 10 + 9 * (i % 5)
        many[row : row + 7 - i // 16, column : column + 7] = True
    (plot,) = plan(many, P, L, whole=True)
    lies = sketch(frame(plot), plot, P, "hole", key=4, look=4)[1]
    labels, count = ndimage.label(plot.cells(plot.height, plot.width))
    assert count == 20
    sizes = ndimage.sum_labels(labels > 0, labels, range(1, count + 1))
    shares = ndimage.sum_labels(lies, labels, range(1, count + 1)) / sizes
    assert (shares[np.argsort(-sizes, kind="stable")[16:]] == 1).all()


@pytest.mark.parametrize("defect_type", DEFECT_TYPES)
def test_a_line_is_drawn_along_its_whole_length(defect_type: str) -> None:
    line = np.zeros((128, 128), np.bool_)
    line[20:110, 60] = True
    shown = np.concatenate([change[inside] for change, inside in changes(line, defect_type)])
    assert (shown > 0.02).mean() > 0.8


@pytest.mark.parametrize("defect_type", ["scratch", "crack"])
def test_a_line_runs_through_a_bent_region_without_filling_it(defect_type: str) -> None:
    bent = np.zeros((64, 64), np.bool_)
    bent[6:56, 8:18] = bent[46:56, 8:58] = True
    ((change, inside),) = changes(bent, defect_type)
    drawn = (change > 0.05) & inside
    assert 0.05 < drawn.sum() / inside.sum() < 0.6
    labels, _ = ndimage.label(ndimage.binary_dilation(drawn, iterations=2))
    longest = ndimage.find_objects(labels)[int(np.bincount(labels[drawn]).argmax()) - 1]
    assert all(side.stop - side.start > 25 for side in longest)


@pytest.mark.parametrize("defect_type", DEFECT_TYPES)
def test_a_large_request_gets_a_sketch_that_is_seen(defect_type: str) -> None:
    large = np.zeros((700, 900), np.bool_)
    large[100:600, 150:700] = True
    shown = np.concatenate([change[inside] for change, inside in changes(large, defect_type)])
    assert (shown > 0.05).mean() > 0.02


def changes(mask: NDArray[np.bool_], defect_type: str) -> list[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Of each plot of a request: greatest change over channels, and where it was asked for."""
    pairs = []
    for plot in plan(mask, P, L):
        before = frame(plot)
        change = np.abs(sketch(before, plot, P, defect_type, key=3, look=3)[0] - before).max(axis=2)
        rows, columns = slice(plot.y, plot.y + plot.height), slice(plot.x, plot.x + plot.width)
        pairs.append((change, plot.mask_at((rows, columns))))
    return pairs
