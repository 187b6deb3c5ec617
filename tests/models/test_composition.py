from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from models.composition import composed, detail_strength, kept_texture, surrounding_grain
from models.refinement import Calibration, Change, change_map, refined_mask
from models.refinement import texture as busyness

RNG = np.random.default_rng(1)


def disc(radius: int = 15) -> np.ndarray:
    y, x = np.mgrid[:80, :80] - 40
    return np.asarray(y**2 + x**2 <= radius**2)


def grainy() -> np.ndarray:
    return (0.5 + RNG.normal(0, 0.03, (80, 80, 3))).astype(np.float32)


def test_where_alpha_is_zero_the_photo_stays_and_where_kappa_is_one_its_grain_does() -> None:
    x = grainy()
    reconstruction = np.full_like(x, 0.5)
    change = np.full_like(x, -0.1)
    alpha = disc()[:, :, None].astype(np.float32)
    y = composed(x, change, reconstruction, alpha, np.ones_like(alpha), np.zeros_like(x))
    assert np.array_equal(y[~disc()], x[~disc()])
    assert y[disc()] == pytest.approx(x[disc()] - 0.1, abs=1e-6)


def test_a_great_change_shows_no_old_texture_but_the_surrounding_grain() -> None:
    x = grainy()
    x[disc()] += np.sin(np.arange(80) * 1.5)[None, :, None].repeat(80, 0)[disc()].astype(np.float32) * 0.2
    reconstruction = np.full_like(x, 0.5)
    change = np.where(disc()[:, :, None], -0.45, 0).astype(np.float32).repeat(3, axis=2)
    kappa = kept_texture(change, scale=1.0)
    inside = disc(8)
    assert kappa[inside].max() < 0.05
    grain = surrounding_grain(x, disc(), key=3)
    y = composed(x, change, reconstruction, disc()[:, :, None].astype(np.float32), kappa, grain)
    assert y[inside].std() == pytest.approx(0.03, rel=0.4)


def test_a_small_change_keeps_the_photos_texture_whole() -> None:
    assert kept_texture(np.full((40, 40, 3), 0.05, dtype=np.float32), scale=1.0).min() == 1.0


def test_detail_is_whole_where_a_drawing_follows_what_it_began_on_and_stronger_where_it_is_stronger() -> None:
    pattern = np.where(disc(), np.random.default_rng(3).normal(-0.2, 0.1, (80, 80)), 0).astype(np.float32)
    begun = pattern[:, :, None].repeat(3, axis=2)
    inside, darker = disc(8), np.float32(0.3) * disc(20)[:, :, None]

    def strength(change: NDArray[np.float32]) -> NDArray[np.float32]:
        return detail_strength(change, begun, scale=1.0)[inside]

    assert strength(begun) == pytest.approx(1, abs=0.02)
    assert strength(begun - darker) == pytest.approx(1, abs=0.02)
    assert strength(0.5 * begun) == pytest.approx(1, abs=0.02)
    assert strength(3 * begun).max() == 1.5
    assert strength(np.zeros_like(begun)).max() == 0
    assert strength(-begun).max() == 0
    assert detail_strength(begun, np.zeros_like(begun), scale=1.0).max() == 0


def test_grain_comes_from_outside_and_repeats_with_its_key() -> None:
    x = grainy()
    stripes = np.zeros((80, 80), dtype=np.bool_)
    stripes[:, np.arange(80) % 10 < 8] = True  # the mirrored place of a stripe's middle lies in the next stripe
    x[stripes] = 0.9
    first, again, other = (surrounding_grain(x, stripes, key) for key in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.isin(first[stripes], first[~stripes]).all()


def test_a_mask_without_surroundings_gets_no_grain() -> None:
    assert (surrounding_grain(grainy(), np.ones((80, 80), dtype=np.bool_), key=1) == 0).all()


def drawn(size: float, texture: float = 0.0) -> Change:
    pixels = np.where(disc()[:, :, None], size, 0).astype(np.float32).repeat(3, axis=2)
    base = (0.5 + texture * RNG.choice([-1, 1], (80, 80, 1))).astype(np.float32).repeat(3, axis=2)
    latents = np.where(disc(), 2.0, 0).astype(np.float32)
    return Change(pixels, base, busyness(base), latents, 1.0, scale=1.0, detail=np.zeros((80, 80, 1), np.float32))


def test_the_refined_mask_is_the_change_inside_the_request() -> None:
    requested = disc(20)
    requested[:, :40] = False
    refined = refined_mask(change_map(drawn(0.4), Calibration()), requested, scale=1.0)
    assert not (refined & ~requested).any()
    assert refined[40, 45]
    assert (refined == (disc() & requested)).mean() > 0.97


def test_busy_surfaces_need_a_greater_change() -> None:
    calibration = Calibration()
    smooth, busy = (change_map(drawn(0.06, texture), calibration)[40, 40] for texture in (0.0, 0.2))
    assert smooth > 1 > busy


def test_specks_are_dropped_beside_a_defect() -> None:
    change = np.zeros((80, 80), dtype=np.float32)
    change[disc()] = 2
    change[2, 2] = 2
    refined = refined_mask(change, np.ones((80, 80), dtype=np.bool_), scale=3.0)
    assert refined[40, 40]
    assert not refined[2, 2]


def test_no_change_leaves_an_empty_label() -> None:
    assert not refined_mask(np.zeros((8, 8), dtype=np.float32), np.ones((8, 8), dtype=np.bool_), 1.0).any()


def test_prints_beside_a_mask_are_no_grain_where_noise_alone_is_wanted() -> None:
    x = grainy()
    x[:, 58:61] = 0.0  # a line beside the disc
    inside = disc()
    with_print, noise = (surrounding_grain(x, inside, 3, noise_alone)[inside] for noise_alone in (False, True))
    assert np.abs(with_print).max() > 0.2
    assert np.abs(noise).max() < 0.15
    assert 0.02 < noise.std() < 0.05
