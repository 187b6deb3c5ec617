"""The maths of the context benchmark, on arrays that are known."""

from __future__ import annotations

import numpy as np
import pytest

from bench.context import Errors, elsewhere, excess, feature_distance, floor, pixel_error, scenes, summary
from bench.rendered import shifted


def errors(with_context: float, without: float, type_: str = "stain") -> Errors:
    kinds = {"with": with_context, "without": without, "floor": 0.01, "normal": 1.0}
    return Errors(type_, kinds, kinds, kinds)


def test_the_ratio_is_that_of_the_medians_and_lies_in_its_interval() -> None:
    rng = np.random.default_rng(0)
    figures = summary([errors(x, 4 * y) for x, y in rng.uniform(0.9, 1.1, (50, 2))])["pixels"]
    low, high = figures["interval"]
    assert figures["ratio"] == pytest.approx(0.25, rel=0.05)
    assert low <= figures["ratio"] <= high < 0.3
    assert figures["floor"] == pytest.approx(0.01)


def test_an_unknown_floor_is_left_out_of_its_median() -> None:
    one = errors(1.0, 2.0)
    unknown = Errors("stain", {**one.pixels, "floor": float("nan")}, one.features, one.mean_of_seeds)
    assert summary([one, unknown])["pixels"]["floor"] == pytest.approx(0.01)


def test_the_excess_counts_from_the_floor_and_leaves_scenes_without_one_out() -> None:
    kinds = {"with": 0.3, "without": 0.6, "floor": 0.2, "normal": 1.0}
    unknown = {"with": 5.0, "without": 5.0, "floor": float("nan"), "normal": 1.0}
    figures = summary([Errors("stain", one, one, one) for one in (kinds, kinds, unknown)])["pixels"]
    assert figures["excess"] == pytest.approx(0.25)
    assert figures["excess_interval"] == pytest.approx((0.25, 0.25))
    assert "excess" not in summary([errors(1, 2)])["mean_of_seeds"]


def test_an_item_nearer_than_another_true_defect_has_no_excess() -> None:
    assert excess(np.array([[0.1], [0.6], [0.2]])) < 0
    assert np.isnan(excess(np.array([[0.1], [0.2], [0.2]])))


def test_errors_count_the_mask_alone() -> None:
    mask = np.zeros((8, 8), dtype=np.bool_)
    mask[2:4, 2:4] = True
    one, other = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 200, np.uint8)
    other[mask] = 51
    assert pixel_error(one, other, mask) == pytest.approx(0.2)


def test_a_defect_is_at_no_distance_from_itself_and_the_floor_repeats_itself() -> None:
    pair = scenes(["stain"], 2, seed=0)[0]
    assert feature_distance(pair.image, pair.mask, pair.image, pair.mask) == 0
    assert feature_distance(pair.normal, pair.mask, pair.image, pair.mask) > 0
    np.testing.assert_array_equal(floor(pair, 0, 0), floor(pair, 0, 0))


def test_context_is_removed_by_another_surface() -> None:
    pairs = scenes(["stain", "hole"], 4, seed=1)
    assert [pair.type for pair in pairs] == ["stain", "hole", "stain", "hole"]
    for index, pair in enumerate(pairs):
        assert elsewhere(pairs, index).surface != pair.surface
    with pytest.raises(ValueError, match="one surface"):
        elsewhere(pairs[:1], 0)


def test_shifting_moves_and_fills_with_nothing() -> None:
    picture = np.arange(1, 10).reshape(3, 3)
    np.testing.assert_array_equal(shifted(picture, 1, -1), [[0, 0, 0], [2, 3, 0], [5, 6, 0]])
    assert not shifted(picture, 3, 0).any()
