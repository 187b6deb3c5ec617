"""Defects: what the light, the colour, the curvature, the border and the parts of a surface make of them."""

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from models.rendering import DEFECT_TYPES, defects
from models.rendering.defects.lines import crack, scratch
from models.rendering.defects.place import Draw, Patch, on_surface
from models.rendering.light import Light
from models.rendering.noise import Field, value_noise
from models.rendering.stage import Outline, Removable, Stage, Surface

SHAPE = (128, 128)
FROM_RIGHT, FROM_LEFT = Light(0.0, 1.0, 0.6), Light(0.0, -1.0, 0.6)
Points = NDArray[np.float64]


def stage(seed: int, light: Light = FROM_RIGHT) -> Stage:
    return Stage(np.random.default_rng(seed), SHAPE, light, 1.0)


def plain(*rgb: float, **more: object) -> Surface:
    image = np.broadcast_to(np.array(rgb, np.float32), (*SHAPE, 3)).copy()
    return replace(Surface(image, "plate"), **more)  # type: ignore[arg-type]


def textured(level: float) -> Surface:
    grain = 1 + 0.15 * value_noise(np.random.default_rng(99), SHAPE, 2.0)
    return Surface(np.repeat((level * grain)[..., None], 3, axis=-1).astype(np.float32), "plate")


def spread(patch: Patch, surface: Surface) -> tuple[Field, Field, Field]:
    """A patch on the canvas: image, what changed by brightness, coverage."""
    image, coverage = surface.image.copy(), np.zeros(SHAPE, np.float32)
    image[patch.rows, patch.columns] = patch.image
    coverage[patch.rows, patch.columns] = patch.coverage
    return image, (image - surface.image).mean(axis=-1), coverage


def drawn(kind: str, seed: int, surface: Surface, light: Light = FROM_RIGHT) -> tuple[Field, Field, Field]:
    draw: Draw = defects.DRAW[kind]
    return spread(draw(stage(seed, light), surface), surface)


def middle(weight: Field) -> tuple[float, float]:
    """Centre of mass (y, x)."""
    y, x = ndimage.center_of_mass(weight)
    return float(y), float(x)


def high_pass(image: Field) -> Field:
    grey = image.mean(axis=-1)
    return np.asarray(grey - ndimage.gaussian_filter(grey, 2.0), np.float32)


def likeness(image: Field, surface: Surface, inside: NDArray[np.bool_]) -> float:
    """Correlation of fine structure with the surface's own."""
    return float(np.corrcoef(high_pass(image)[inside], high_pass(surface.image)[inside])[0, 1])


@pytest.mark.parametrize("kind", DEFECT_TYPES)
def test_the_site_bounds_every_defect_but_those_of_the_border(kind: str) -> None:
    site = np.zeros(SHAPE, np.bool_)
    site[30:90, 20:70] = True
    surface = plain(0.5, 0.5, 0.5, site=site)
    image, coverage = defects.draw(kind, stage(1), surface)
    assert coverage.max() > 0.4
    assert not coverage[~site].any()
    np.testing.assert_array_equal(image[~site], surface.image[~site])


@pytest.mark.parametrize("seed", range(6))
def test_a_dent_is_bright_on_the_side_away_from_the_light(seed: int) -> None:
    surface = plain(0.5, 0.4, 0.3)
    sides = []
    for light in (FROM_RIGHT, FROM_LEFT):
        _, change, _ = drawn("dent", seed, surface, light)
        sides.append(middle(np.clip(change, 0, None))[1] - middle(np.clip(-change, 0, None))[1])
    assert sides[0] < -1
    assert sides[1] > 1


def test_a_dent_keeps_the_colour_in_its_shade() -> None:
    surface = plain(0.6, 0.4, 0.2)
    image, change, coverage = drawn("dent", 3, surface)
    shade = (change < -0.02) & (coverage > 0.9)
    ratio = (image / surface.image)[shade]
    assert np.ptp(ratio, axis=-1).max() < 0.01


@pytest.mark.parametrize("rgb", [(0.8, 0.5, 0.4), (0.4, 0.5, 0.8), (0.45, 0.8, 0.4)])
def test_a_stain_darkens_the_materials_own_hue(rgb: tuple[float, float, float]) -> None:
    for seed in range(5):
        surface = plain(*rgb)
        image, _, coverage = drawn("stain", seed, surface)
        inside = coverage > 0.9
        assert (image[inside] < surface.image[inside] - 0.01).all()
        assert image[inside].mean(axis=0).argmax() == np.argmax(rgb)


def test_a_stain_on_black_is_a_pale_residue() -> None:
    image, change, coverage = drawn("stain", 2, plain(0.06, 0.06, 0.06))
    assert change[coverage > 0.9].min() > 0.05
    assert image.max() < 1


@pytest.mark.parametrize("seed", range(5))
def test_a_hole_is_dark_and_its_far_wall_is_lit(seed: int) -> None:
    surface = plain(0.5, 0.5, 0.5)
    image, _, coverage = drawn("hole", seed, surface)
    inside = coverage > 0.95
    assert np.median(image[inside]) < 0.2
    near, far = inside.copy(), inside.copy()
    x = middle(inside.astype(np.float32))[1]
    near[:, : int(x) + 1] = False
    far[:, int(x) :] = False
    dark = image.mean(axis=-1) * (image.mean(axis=-1) < 0.5)
    assert dark[near].mean() < dark[far].mean()


def test_a_crack_is_thin_dark_and_forks() -> None:
    surface = plain(0.6, 0.6, 0.6)
    for seed in range(6):
        _, change, coverage = drawn("crack", seed, surface)
        assert change.max() <= 0
        inside = coverage > 0.5
        thick = 2 * float(ndimage.distance_transform_edt(inside).max())
        height, width = (np.ptp(axis) + 1 for axis in np.nonzero(inside))
        assert thick < 0.3 * math.hypot(height, width)
        # A single straight line of this thickness would cover less.
        assert change[inside].mean() < -0.35


def test_a_scratch_catches_light_that_a_crack_does_not() -> None:
    surface = plain(0.4, 0.4, 0.4, gloss=0.7)
    for seed in range(6):
        assert drawn("scratch", seed, surface)[1].max() > 0.1
        assert drawn("crack", seed, surface)[1].max() <= 0


def test_a_scratch_bares_the_body() -> None:
    surface = plain(0.1, 0.2, 0.7, body=np.array([0.8, 0.3, 0.1], np.float32))
    image, _, coverage = drawn("scratch", 4, surface)
    tone = image[coverage > 0.9].mean(axis=0)
    assert tone[0] > tone[2]


@pytest.mark.parametrize("draw", [scratch, crack])
def test_a_line_lies_on_a_curved_surface(draw: Draw) -> None:
    def cylinder(points: Points) -> Points:
        return np.stack([points[:, 0], 64 + 50 * np.sin((points[:, 1] - 64) / 50)], axis=-1)

    surface = plain(0.5, 0.5, 0.5, curve=cylinder)
    for seed in range(5):
        _, _, coverage = spread(draw(stage(seed), surface), surface)
        columns = np.nonzero(coverage > 0.5)[1]
        assert columns.min() >= 64 - 54
        assert columns.max() <= 64 + 54


def test_a_laid_line_passes_through_its_centre() -> None:
    def cylinder(points: Points) -> Points:
        return np.stack([points[:, 0], 64 + 50 * np.sin((points[:, 1] - 64) / 50)], axis=-1)

    line = np.stack([np.zeros(5), np.linspace(-20, 20, 5)], axis=-1)
    laid = on_surface(plain(0.5, 0.5, 0.5, curve=cylinder), (30.0, 90.0), line)
    np.testing.assert_allclose(laid[2], (30, 90), atol=0.5)
    steps = np.diff(laid[:, 1])
    assert (steps < 10).all()
    assert (np.diff(steps) < 0).all()


def test_a_chip_at_the_border_shows_what_lies_beyond() -> None:
    x = np.broadcast_to(np.arange(128, dtype=np.float32), SHAPE)
    beyond = np.broadcast_to(np.array([0.0, 1.0, 0.0], np.float32), (*SHAPE, 3))
    distance = np.asarray(x - 80.5, np.float32)
    for seed in range(6):
        surface = plain(0.6, 0.5, 0.5, outline=Outline(distance, beyond), site=distance < -1)
        surface.image[distance > 0] = beyond[distance > 0]
        image, _, coverage = drawn("chip", seed, surface)
        open_now = (np.abs(image - beyond).max(axis=-1) < 0.02) & (distance < -1) & (coverage > 0.9)
        assert open_now.any()
        assert not coverage[distance > 2.5].any()
        face = (coverage > 0.9) & (distance < -1) & ~open_now
        assert face.any()


def test_a_flake_is_cut_in_facets_of_different_light() -> None:
    body = np.array([0.5, 0.5, 0.5], np.float32)
    for seed in range(5):
        image, _, coverage = drawn("chip", seed, plain(0.8, 0.2, 0.2, body=body))
        tones = image[coverage > 0.95]
        assert np.ptp(tones.mean(axis=-1)) > 0.2
        assert np.ptp(tones.mean(axis=0)) < 0.05


def test_contamination_casts_its_shadow_away_from_the_light() -> None:
    surface = plain(0.6, 0.6, 0.6)
    for light, sign in ((FROM_RIGHT, -1), (FROM_LEFT, 1)):
        offsets = []
        for seed in range(12):
            _, _, coverage = drawn("contamination", seed, surface, light)
            shadow = np.isclose(coverage, 0.45).astype(np.float32)
            matter = (coverage > 0.9).astype(np.float32)
            if shadow.sum() > 3:
                offsets.append(middle(shadow)[1] - middle(matter)[1])
        assert len(offsets) > 6
        assert np.mean(np.sign(offsets) == sign) > 0.8


@pytest.mark.parametrize("level", [0.2, 0.4, 0.7])
def test_a_discolouration_keeps_the_texture_and_has_no_rim(level: float) -> None:
    surface = textured(level)
    for seed in range(5):
        image, _, coverage = drawn("discolouration", seed, surface)
        inside = coverage > 0.9
        assert likeness(image, surface, inside) > 0.85
        gain = (image / np.maximum(surface.image, 1e-3)).mean(axis=-1)
        assert np.abs(np.diff(gain, axis=1)).max() < 0.6 * np.abs(gain - 1).max()


def test_a_hole_and_a_missing_patch_do_not_keep_the_texture() -> None:
    surface = textured(0.5)
    for kind in ("hole", "missing"):
        image, _, coverage = drawn(kind, 1, surface)
        assert likeness(image, surface, ndimage.binary_erosion(coverage > 0.9, iterations=2)) < 0.5


def test_missing_shows_the_scene_without_the_part() -> None:
    surface = plain(0.3, 0.3, 0.3)
    without = surface.image.copy()
    coverage = np.zeros(SHAPE, np.float32)
    coverage[40:60, 50:80] = 1.0
    coverage[39, 50:80] = 0.4
    surface.image[39:60, 50:80] = 0.8
    surface = replace(surface, removables=(Removable(coverage, without),), site=np.zeros(SHAPE, np.bool_))
    image, covered = defects.draw("missing", stage(0), surface)
    np.testing.assert_array_equal(image, without)
    np.testing.assert_array_equal(covered, coverage)


def test_a_missing_patch_has_a_flat_floor_with_a_shadow_toward_the_light() -> None:
    surface = plain(0.3, 0.3, 0.3)
    for seed in range(5):
        image, _, coverage = drawn("missing", seed, surface)
        inside = coverage > 0.95
        grey = image.mean(axis=-1)
        floor = float(np.median(grey[inside]))
        assert floor > 0.3
        assert np.mean(np.abs(grey[inside] - floor) < 0.06) > 0.5
        shadow = np.clip(floor - grey, 0, None) * inside
        assert middle(shadow)[1] > middle(inside.astype(np.float32))[1]
