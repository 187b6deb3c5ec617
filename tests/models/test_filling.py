"""Patches are cloned without an edge; what lies under a defect is guessed from its surroundings."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_dilation

from models.filling import cloned, emptied, normalised
from models.grafts import grafted
from models.masks import Mask
from models.samples import exemplars_of
from tests.models.teaching.parts import photo


def square() -> Mask:
    mask = np.zeros((48, 64), dtype=np.bool_)
    mask[16:32, 20:40] = True
    return mask


def test_a_patch_that_differs_by_a_constant_leaves_no_trace() -> None:
    image = np.random.default_rng(0).random((48, 64, 3)).astype(np.float32)
    assert np.abs(cloned(image, image + 0.3, square()) - image).max() < 1e-3


def test_outside_the_mask_nothing_changes() -> None:
    rng = np.random.default_rng(0)
    image, patch = (rng.random((48, 64, 1)).astype(np.float32) for _ in range(2))
    changed = (cloned(image, patch, square()) != image).any(axis=2)
    assert not (changed & ~square()).any()
    assert changed[square()].mean() > 0.9


def test_a_defect_vanishes_into_texture_of_the_same_photo() -> None:
    sample = photo(5)
    image = (sample.image / np.float32(255)).astype(np.float32)[..., None]
    normal = normalised(image, sample.mask, np.random.default_rng(0))
    assert image[sample.mask].mean() < 0.35
    assert 0.5 < normal[sample.mask].mean() < 0.7
    around = ~sample.mask
    assert 0.5 < normal[sample.mask].std() / image[around].std() < 1.5


def test_a_photo_that_is_all_defect_stays_finite() -> None:
    image = np.random.default_rng(0).random((20, 20, 3)).astype(np.float32)
    assert np.isfinite(normalised(image, np.ones((20, 20), np.bool_), np.random.default_rng(0))).all()


def test_every_region_gets_a_real_defect_and_equal_generators_the_same() -> None:
    exemplars = exemplars_of([photo(seed) for seed in range(3)])
    frame = np.full((96, 128, 3), 0.6, np.float32)
    requested = np.zeros((96, 128), np.bool_)
    requested[10:40, 10:50] = True
    requested[60:90, 80:120] = True
    (one, lies), (other, _) = (grafted(frame, requested, exemplars, np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(one, other)
    assert not (lies & ~requested).any()
    assert 0.05 < lies.sum() / requested.sum() < 0.6, "a bar does not fill a box"
    for site in (requested & (np.arange(128) < 64), requested & (np.arange(128) >= 64)):
        assert (frame - one)[site].max() > 0.2
        assert (frame - one)[site & lies].mean() > 4 * np.abs(frame - one)[site & ~lies].mean()
    far = ~binary_dilation(requested, iterations=24)
    assert np.abs(frame - one)[far].max() == 0
    assert not np.array_equal(one, grafted(frame, requested, exemplars, np.random.default_rng(5))[0])


def test_what_is_taken_out_of_an_image_leaves_nothing_behind() -> None:
    rng = np.random.default_rng(4)
    image = rng.random((40, 50, 3), np.float32)
    mask = np.zeros((40, 50), np.bool_)
    mask[10:20, 15:30] = True
    other = np.where(mask[..., None], 1 - image, image)
    left = emptied(image, mask)
    np.testing.assert_array_equal(left, emptied(other, mask))
    far = binary_dilation(mask, iterations=3)
    np.testing.assert_array_equal(left[~far], image[~far])
    np.testing.assert_allclose(emptied(image, np.ones_like(mask)), 0.5, atol=1e-3)
