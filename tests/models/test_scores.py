from __future__ import annotations

import numpy as np
import pytest

from models.measures import measured
from models.scores import grain, presence, salience, seam

RNG = np.random.default_rng(0)


def noisy(level: float = 0.5, noise: float = 0.02) -> np.ndarray:
    return (level + RNG.normal(0, noise, (80, 80))).astype(np.float32)


def box() -> np.ndarray:
    mask = np.zeros((80, 80), dtype=np.bool_)
    mask[30:50, 30:50] = True
    return mask


def test_presence_is_a_half_where_controls_end_and_grows_with_salience() -> None:
    assert presence(2.0, control=2.0) == 0.5
    assert presence(0.0, control=2.0) == 0.0
    assert presence(8.0, control=2.0) > presence(4.0, control=2.0) > 0.5


def test_salience_looks_at_the_strongest_part_inside_the_request_alone() -> None:
    change = np.zeros((80, 80), dtype=np.float32)
    change[30:34, 30:34] = 3.0
    change[0, 0] = 99.0
    assert 0.5 < salience(change, box()) < 3.0


def test_an_untouched_photo_has_no_seam_and_a_pasted_patch_has_one() -> None:
    before = noisy()
    pasted = before.copy()
    pasted[box()] += 0.4
    blended = before.copy()
    blended[35:45, 35:45] += 0.4
    assert seam(before, before, box()) == 1.0
    assert seam(before, pasted, box()) < 0.2
    assert seam(before, blended, box()) == 1.0


def test_grain_falls_when_the_inside_is_smoothed_or_noisier_than_its_surroundings() -> None:
    before = noisy()
    smooth, rough = before.copy(), before.copy()
    smooth[box()] = 0.5
    rough[box()] += RNG.normal(0, 0.08, int(box().sum())).astype(np.float32)
    assert grain(before, before, box(), box()) > 0.8
    assert grain(before, smooth, box(), box()) < 0.2
    assert grain(before, rough, box(), box()) < 0.5


def test_a_flat_photo_has_grain_one() -> None:
    flat = np.full((80, 80), 0.3, dtype=np.float32)
    assert grain(flat, flat, box(), box()) == 1.0


def test_measures_of_a_line_and_a_square_are_what_a_ruler_says() -> None:
    mask = np.zeros((80, 80), dtype=np.bool_)
    mask[10, 5:65] = True
    mask[40:50, 40:50] = True
    square, line = measured(mask, np.full(mask.shape, 0.25, dtype=np.float32), origin=(100, 200))
    assert square.area == 100
    assert square.box == (140, 240, 10, 10)
    assert line.length == pytest.approx(60)
    assert line.width == pytest.approx(1)
    assert line.contrast == pytest.approx(0.25)


def test_nothing_refined_has_no_measures() -> None:
    assert measured(np.zeros((5, 5), dtype=np.bool_), np.zeros((5, 5), dtype=np.float32)) == ()
