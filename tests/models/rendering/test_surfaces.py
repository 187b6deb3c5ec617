"""Surfaces: what they draw, and what they tell defects about it."""

from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest

from models.rendering import SURFACES, render
from models.rendering.light import draw_light
from models.rendering.scene import _edged
from models.rendering.stage import Stage, Surface, draw_stage
from models.rendering.surfaces import DRAW

SHAPE = (72, 100)
ROUND = ("spindle", "threaded-metal", "knurled-metal", "bottle", "capsule")
WITH_REMOVABLES = ("tray", "board", "screwed-cover", "connector")


@cache
def drawn(name: str, seed: int, shape: tuple[int, int] = SHAPE) -> Surface:
    return DRAW[name](draw_stage(np.random.default_rng(seed), shape))


def each(name: str, shape: tuple[int, int] = SHAPE) -> Iterator[Surface]:
    for seed in range(5):
        yield drawn(name, seed, shape)


@pytest.mark.parametrize("name", SURFACES)
@pytest.mark.parametrize("shape", [(33, 71), (97, 64)])
def test_scenes_of_odd_sizes_are_in_range(name: str, shape: tuple[int, int]) -> None:
    image = render(np.random.default_rng(3), shape, None, name).image
    assert image.shape == (*shape, 3)
    assert image.dtype == np.float32
    assert np.isfinite(image).all()
    assert 0 <= image.min() < image.max() <= 1


@pytest.mark.parametrize("name", SURFACES)
def test_surfaces_are_finite_and_about_in_range(name: str) -> None:
    for surface in each(name):
        assert surface.image.shape == (*SHAPE, 3)
        assert np.isfinite(surface.image).all()
        assert surface.image.min() > -0.5
        assert np.quantile(surface.image, 0.9) < 2.0
        assert surface.part


@pytest.mark.parametrize("name", SURFACES)
def test_same_seed_gives_the_same_pixels(name: str) -> None:
    again = DRAW[name](draw_stage(np.random.default_rng(1), SHAPE))
    np.testing.assert_array_equal(again.image, drawn(name, 1).image)
    assert not np.array_equal(drawn(name, 2).image, again.image)


@pytest.mark.parametrize("name", SURFACES)
def test_gloss_and_body_are_in_range(name: str) -> None:
    for surface in each(name):
        assert 0 <= surface.gloss <= 1
        if surface.body is not None:
            assert surface.body.shape in {(3,), (*SHAPE, 3)}
            assert surface.body.min() >= 0
            assert surface.body.max() <= 1.2


def test_metal_shines_more_than_cloth() -> None:
    shiny = [surface.gloss for name in ("brushed-metal", "machined-metal", "glass") for surface in each(name)]
    matt = [surface.gloss for name in ("fabric", "textile", "asphalt", "rubber") for surface in each(name)]
    assert min(shiny) > max(matt)


@pytest.mark.parametrize("name", WITH_REMOVABLES)
def test_nothing_but_its_coverage_changes_without_a_removable(name: str) -> None:
    count = 0
    for surface in each(name, (128, 128)):
        for removable in surface.removables:
            count += 1
            assert removable.coverage.min() >= 0
            assert removable.coverage.max() <= 1
            away = removable.coverage == 0
            np.testing.assert_array_equal(removable.without[away], surface.image[away])
            inside = removable.coverage > 0.9
            assert np.abs(removable.without - surface.image)[inside].max() > 0.02
    assert count >= 3


@pytest.mark.parametrize("name", ROUND)
def test_round_parts_turn_to_the_light(name: str) -> None:
    for surface in each(name):
        assert surface.facing is not None
        assert surface.facing.shape == SHAPE
        assert -1 <= surface.facing.min() < surface.facing.max() <= 1
        assert surface.facing.max() > 0.3


@pytest.mark.parametrize("name", ROUND)
def test_points_stay_on_the_skin_and_crowd_toward_its_outline(name: str) -> None:
    for surface in each(name):
        assert surface.curve is not None
        assert surface.outline is not None
        on = np.argwhere(surface.outline.distance < -1).astype(np.float64)
        bent = surface.curve(on)
        assert bent.shape == on.shape
        assert np.isfinite(bent).all()
        shift = np.hypot(*(bent - on).T)
        assert shift.max() > 0.1
        assert shift.max() < max(SHAPE)
        rows, columns = np.rint(bent).astype(int).T
        seen = (rows >= 0) & (rows < SHAPE[0]) & (columns >= 0) & (columns < SHAPE[1])
        # A thread's valleys lie a little below its skin.
        assert (surface.outline.distance[rows[seen], columns[seen]] < 8).all()


def test_an_outline_is_negative_on_the_part() -> None:
    seen = 0
    for name in SURFACES:
        for surface in each(name):
            if surface.outline is None:
                continue
            seen += 1
            assert surface.outline.distance.shape == SHAPE
            assert surface.outline.beyond.shape == (*SHAPE, 3)
            assert surface.site is not None
            assert (surface.outline.distance[surface.site] < 0).all()
            outside = surface.outline.distance > 1
            np.testing.assert_allclose(surface.image[outside], surface.outline.beyond[outside], atol=1e-5)
    assert seen >= 25


def test_an_edge_keeps_what_the_surface_tells() -> None:
    for seed in range(8):
        rng = np.random.default_rng(seed)
        surface = drawn("painted-metal", seed)
        edged = _edged(Stage(rng, SHAPE, draw_light(rng), 1.0), surface)
        assert edged.body is surface.body
        assert edged.gloss == surface.gloss
        assert edged.outline is not None
        assert edged.site is not None
        assert edged.site.any()
        assert (edged.outline.distance[edged.site] < 0).all()
        beyond = edged.outline.distance > 1
        np.testing.assert_allclose(edged.image[beyond], edged.outline.beyond[beyond], atol=1e-5)
