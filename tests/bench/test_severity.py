from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from bench import severity


def result(image: np.ndarray, refined: np.ndarray) -> SimpleNamespace:
    return SimpleNamespace(image=image, refined_mask=refined)


def test_strength_is_the_mean_change_times_the_area() -> None:
    before = np.full((10, 10, 3), 100, dtype=np.uint8)
    after = before.copy()
    after[2:4, 2:6] += 51
    after[8, 8] = 255  # changed, but not labelled
    refined = np.zeros((10, 10), dtype=bool)
    refined[2:4, 2:6] = True
    assert severity.strength(before, result(after, refined)) == pytest.approx(0.2 * 8, rel=1e-5)
    assert severity.strength(before, result(after, refined & False)) == 0


def test_a_monotone_generator_scores_one_whatever_its_pairs_sizes() -> None:
    rng = np.random.default_rng(0)
    points = np.outer(rng.uniform(0.1, 100, 12), np.array(severity.LEVELS) ** 2)
    row = severity.correlations(points)
    assert row["within"] == pytest.approx(1)
    assert row["pooled"] == pytest.approx(1)
    assert row["interval"] == pytest.approx((1, 1))
    assert row["met"]


def test_a_generator_deaf_to_severity_scores_nothing() -> None:
    row = severity.correlations(np.ones((6, len(severity.LEVELS))))
    assert (row["within"], row["pooled"], row["unchanged"], row["met"]) == (0, 0, 6, False)


def test_a_falling_generator_scores_minus_one() -> None:
    row = severity.correlations(np.outer([1, 9], 1 / np.array(severity.LEVELS)))
    assert row["within"] == pytest.approx(-1)


@pytest.mark.parametrize("number", range(12))
def test_the_thin_line_is_one_or_two_pixels_wide_and_lies_in_the_wide_one(number: int) -> None:
    middle, thin, wide = severity.line((150, 200), 128, number)
    assert middle.any()
    assert not (middle & ~thin).any()
    assert not (thin & ~wide).any()
    assert ndimage.distance_transform_edt(thin).max() < 2
    assert 5 <= ndimage.distance_transform_edt(wide).max() <= 8


def test_the_goal_of_thin_masks_is_met_within_the_interval() -> None:
    assert severity.thin_row([0.9, 1.1, 0.95, 1.2, 0.8])["met"]
    assert not severity.thin_row([0.5, 0.6, 0.55, 0.4])["met"]


def test_a_mask_is_laid_whole_within_a_photo_or_cut_to_it() -> None:
    mask = np.zeros((64, 64), dtype=bool)
    mask[10:30, 20:25] = True
    rng = np.random.default_rng(1)
    assert severity.laid(mask, (100, 90), rng).sum() == mask.sum()
    assert severity.laid(mask, (8, 90), rng).any()
