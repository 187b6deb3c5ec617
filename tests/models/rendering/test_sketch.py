"""Sketches: the defect's own shape on a photo of which nothing else is known."""

from __future__ import annotations

import numpy as np
import pytest

from models.rendering import DEFECT_TYPES, render, sketched
from models.rendering.noise import Field


def photo(grey: bool = False) -> Field:
    rng = np.random.default_rng(3)
    plane = rng.uniform(0.4, 0.6, (96, 96, 1 if grey else 3)).astype(np.float32)
    return np.repeat(plane, 3, axis=2) if grey else plane


@pytest.mark.parametrize("defect_type", DEFECT_TYPES)
def test_the_first_generator_settles_the_shape_and_the_second_the_look(defect_type: str) -> None:
    def drawn(shape: int, look: int) -> tuple[Field, Field]:
        return sketched(photo(), None, defect_type, np.random.default_rng(shape), np.random.default_rng(look))

    (image, coverage), (again, _), (relit, same), (_, other) = drawn(1, 1), drawn(1, 1), drawn(1, 2), drawn(2, 1)
    np.testing.assert_array_equal(image, again)
    # A shadow falls where the light lets it: the coverage is almost the same, not quite.
    assert ((coverage > 0.5) & (same > 0.5)).sum() > 0.8 * ((coverage > 0.5) | (same > 0.5)).sum()
    assert not np.array_equal(coverage, other)
    assert image.dtype == relit.dtype == np.float32
    assert 0 <= image.min() < image.max() <= 1


@pytest.mark.parametrize("defect_type", DEFECT_TYPES)
def test_a_grey_photo_gets_a_grey_sketch_and_a_site_holds_it(defect_type: str) -> None:
    site = np.zeros((96, 96), np.bool_)
    site[30:70, 20:60] = True
    before = photo(grey=True)
    after, coverage = sketched(before, site, defect_type, *(np.random.default_rng(i) for i in range(2)))
    np.testing.assert_allclose(after, after[..., :1].repeat(3, axis=2), atol=1e-6)
    changed = np.abs(after - before).max(axis=2) > 0.02
    assert changed.any()
    # Blur carries it a few pixels on.
    assert not changed[:26].any()
    assert not changed[:, 64:].any()
    assert coverage.max() > 0.5


def test_the_sketch_of_a_scene_lies_where_its_defect_does_and_changes_nothing_else() -> None:
    shares = []
    for seed in range(18):
        defect_type = [name for name in DEFECT_TYPES if name not in ("chip", "missing")][seed % 7]
        plain = render(np.random.default_rng(seed), 96, defect_type, "plastic")
        scene = render(np.random.default_rng(seed), 96, defect_type, "plastic", sketch=True)
        assert plain.sketch is None
        assert scene.sketch is not None
        np.testing.assert_array_equal(scene.image, plain.image)
        np.testing.assert_array_equal(scene.mask, plain.mask)
        changed = np.abs(scene.sketch - scene.normal).max(axis=2) > 0.04
        shares.append((changed & scene.mask).sum() / max((changed | scene.mask).sum(), 1))
    assert np.median(shares) > 0.6
