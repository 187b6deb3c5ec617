"""Membranes over regions of a picture."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse.linalg import spsolve

from models.masks import Mask
from models.membrane import _laplacian, membrane


def picture(side: int, channels: int = 3) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(2).uniform(0, 1, (side, side, channels)).astype(np.float32)


def disc(side: int, radius: float) -> Mask:
    y, x = np.mgrid[:side, :side]
    return np.asarray(np.hypot(y - side / 2, x - side / 2) < radius)


@pytest.mark.parametrize("radius", [3, 15, 45])
def test_it_solves_the_equation_of_laplace(radius: int) -> None:
    before, region = picture(100), disc(100, radius)
    stiffness, border = _laplacian(before.astype(np.float64), region)
    exact = spsolve(stiffness.tocsc(), border)
    assert np.abs(membrane(before, region)[region] - exact).max() < 0.002


def test_a_slope_goes_on_through_the_region_and_all_around_stays() -> None:
    y, x = np.mgrid[:120, :120]
    slope = ((0.2 + 0.003 * y - 0.001 * x)[:, :, None] * np.array([1.0, 0.5])).astype(np.float32)
    before, region = slope.copy(), disc(120, 50)
    before[region] = 0.9
    after = membrane(before, region)
    assert np.array_equal(after[~region], slope[~region])
    assert after == pytest.approx(slope, abs=0.002)


def test_nothing_overshoots_the_border() -> None:
    before, region = picture(80), disc(80, 35)
    after = membrane(before, region)[region]
    assert after.min() > before[~region].min()
    assert after.max() < before[~region].max()


def test_the_end_of_the_array_is_no_border() -> None:
    before = np.zeros((60, 60, 1), np.float32)
    before[:, 30:] = 0.7
    region = np.zeros((60, 60), np.bool_)
    region[:, 20:] = True
    assert membrane(before, region) == pytest.approx(0.0, abs=1e-3)


def test_a_region_without_a_border_becomes_its_mean() -> None:
    before = picture(40)
    after = membrane(before, np.ones((40, 40), np.bool_))
    assert after == pytest.approx(np.broadcast_to(before.mean(axis=(0, 1)), after.shape), abs=1e-3)


def test_no_region_changes_nothing() -> None:
    before = picture(20)
    assert np.array_equal(membrane(before, np.zeros((20, 20), np.bool_)), before)
