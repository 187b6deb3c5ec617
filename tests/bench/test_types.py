"""The judge of types, its masks and its control."""

from __future__ import annotations

import numpy as np
import pytest

from bench.places import rendered_places
from bench.rendered import SIDE, Stream, draw_pair, request_mask, square_around
from bench.types import Drawn, Judge, rendered, swapped

TYPES = ("scratch", "discolouration", "missing")


def test_the_judge_tells_rendered_types_apart_and_repeats_itself() -> None:
    judge = Judge.taught(TYPES, 36)
    x, y = rendered(Stream.JUDGE_TEST, TYPES, 15)
    assert (judge.scores(x).argmax(axis=1) == y).mean() > 0.5
    again, _ = rendered(Stream.JUDGE_TEST, TYPES, 3)
    np.testing.assert_array_equal(again, x[:3])


@pytest.mark.parametrize("count", [2, 3, 8, 9])
def test_swapped_is_a_derangement_that_goes_through_all_partners(count: int) -> None:
    turns = np.stack([swapped(count, turn) for turn in range(count - 1)])
    for turn in turns:
        assert sorted(turn) == list(range(count))
        assert (turn != np.arange(count)).all()
    assert all(len(set(column)) == count - 1 for column in turns.T)


@pytest.mark.parametrize("fit", ["fitting", "neutral"])
def test_places_depend_on_the_seed_alone_and_share_their_normal(fit: str) -> None:
    first, again, other = (list(rendered_places(TYPES, fit, 4, seed)) for seed in (0, 0, 1))
    for place, same in zip(first, again, strict=True):
        np.testing.assert_array_equal(place.normal, same.normal)
        np.testing.assert_array_equal(place.masks, same.masks)
        assert all(mask.any() for mask in place.masks)
    assert any(not np.array_equal(a.masks, b.masks) for a, b in zip(first, other, strict=True))


def test_neutral_masks_know_no_type_and_fitting_ones_are_its_own() -> None:
    for place in rendered_places(TYPES, "neutral", 3, 0):
        assert all(mask is place.masks[0] for mask in place.masks)
    for index, place in enumerate(rendered_places(TYPES, "fitting", 3, 0)):
        assert not np.array_equal(place.masks[0], place.masks[1])
        for mask, type_ in zip(place.masks, TYPES, strict=True):
            assert mask[draw_pair(Stream.NORMALS, index, type_, 0).mask].all()


@pytest.mark.parametrize("shape", [(SIDE, SIDE), (60, 200), (512, 300)])
def test_masks_fit_any_picture_and_the_judge_sees_all_of_them(shape: tuple[int, int]) -> None:
    for seed in range(10):
        mask = request_mask(np.random.default_rng(seed), shape)
        assert mask.shape == shape
        rows, columns = square_around(mask)
        side = rows.stop - rows.start
        assert side == columns.stop - columns.start
        height, width = np.ptp(np.argwhere(mask), axis=0) + 1
        if max(height, width) <= min(shape):
            assert mask[rows, columns].sum() == mask.sum()


def test_another_defect_lies_in_the_same_scene() -> None:
    one, other = (draw_pair(Stream.CONTEXT, 0, "stain", another=number) for number in (0, 1))
    np.testing.assert_array_equal(one.normal, other.normal)
    assert not np.array_equal(one.mask, other.mask)


def test_figures_of_scores_that_are_known() -> None:
    """Items named as asked, controls named as drawn."""
    partners = np.stack([swapped(3, turn) for turn in range(4)])
    drawn = Drawn(np.tile(np.eye(3), (4, 1, 1)), {"other": np.eye(3)[partners]}, partners)
    figures = drawn.figures()
    control = figures["controls"]["other"]
    assert figures["accuracy"] == control["as drawn"]["share"] == 1
    assert control["as asked"]["share"] == 0
    assert figures["confusion"] == (4 * np.eye(3, dtype=int)).tolist()
    fewer = drawn.only([0, 2])
    assert fewer.figures()["controls"]["other"]["as drawn"]["share"] == 1
    assert (fewer.partners == -1).sum() == 4
