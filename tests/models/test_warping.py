"""Real defects warped to where they are wanted."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from models.curves import Curve
from models.masks import Mask
from models.samples import Exemplar
from models.warping import Warped, warped


def mask(shape: tuple[int, int], *boxes: tuple[int, int, int, int]) -> Mask:
    made = np.zeros(shape, np.bool_)
    for y, x, height, width in boxes:
        made[y : y + height, x : x + width] = True
    return made


def exemplar(defect: Mask, channels: int = 1) -> Exemplar:
    image = np.random.default_rng(3).integers(120, 140, (*defect.shape, channels)).astype(np.uint8)
    image[defect] = 30
    return Exemplar(image, defect, 0)


BLOB = exemplar(mask((44, 44), (16, 16, 12, 12)))
LINE = exemplar(mask((44, 104), (20, 12, 4, 80)))
ARC = (lambda y, x: np.abs(np.hypot(y - 100, x - 100) - 70) < 3)(*np.mgrid[:200, :200]) & (
    np.arange(200)[:, None] < 110
)


def fit(one: Exemplar, site: Mask, seed: int = 0) -> Warped:
    return warped(one, site, np.random.default_rng(seed))


def slope(region: Mask) -> float:
    """Of its main axis, in degrees in [0, 180)."""
    points = np.argwhere(region) - np.argwhere(region).mean(axis=0)
    _, ways = np.linalg.eigh(points.T @ points)
    return float(np.degrees(np.arctan2(*ways[:, -1]))) % 180


@pytest.mark.parametrize("one", [BLOB, LINE, exemplar(LINE.mask, 3)])
@pytest.mark.parametrize(
    "site",
    [
        mask((200, 200), (60, 60, 80, 80)),
        mask((200, 200), (60, 90, 3, 100)),
        mask((200, 200), (0, 0, 200, 200)),
        mask((200, 200), (0, 190, 6, 10)),
        mask((200, 200), (77, 80, 1, 1)),
        mask((1, 300), (0, 20, 1, 200)),
        ARC,
    ],
)
def test_a_patch_shows_the_defect_inside_the_site_and_surroundings_around(one: Exemplar, site: Mask) -> None:
    patch = fit(one, site)
    assert patch.mask.any()
    assert not (patch.mask & ~site[patch.place]).any()
    assert (
        patch.image.shape
        == (*site[patch.place].shape, one.image.shape[2])
        == (*patch.mask.shape, patch.image.shape[2])
    )
    assert patch.image.dtype == np.float32
    assert patch.image.min() >= 0
    assert patch.image.max() <= 1
    assert patch.coverage == patch.mask.sum() / site.sum()
    assert 0 < patch.kept <= 1
    assert patch.seen[patch.mask].all()


def test_a_defect_that_fits_keeps_its_scale_and_its_pixels() -> None:
    patch = fit(BLOB, mask((100, 100), (40, 40, 20, 20)))
    assert patch.scale == 1
    assert patch.kept > 0.85
    assert patch.mask.sum() == pytest.approx(144, rel=0.25)
    assert patch.image[ndimage.binary_erosion(patch.mask, iterations=2)] == pytest.approx(30 / 255, abs=0.03)
    ring = patch.seen & ~ndimage.binary_dilation(patch.mask, iterations=4)
    assert patch.image[ring].mean() == pytest.approx(130 / 255, abs=0.02)
    assert patch.image[ring].std() == pytest.approx(BLOB.image[BLOB.mask == 0].std() / 255, rel=0.35)


def test_one_that_does_not_fit_is_made_smaller_and_one_that_would_be_lost_larger() -> None:
    small = fit(BLOB, mask((100, 100), (40, 40, 7, 7)))
    assert small.scale < 1
    assert small.kept > 0.8
    large = fit(BLOB, mask((100, 100), (20, 20, 60, 60)))
    assert 1 < large.scale <= 2
    assert large.kept > 0.85


@pytest.mark.parametrize("has_streaks", [False, True])
def test_a_large_defect_lies_upon_a_line_one_pixel_wide(has_streaks: bool) -> None:
    disc = np.hypot(*np.mgrid[-220:220, -220:220]) < 200
    large = exemplar(disc)
    if has_streaks:
        large.image[disc & (np.arange(440) // 6 % 2 == 0)[:, None]] = 90
    assert (large.streaks is not None) == has_streaks
    line = np.eye(450, dtype=np.bool_)
    for seed in range(6):
        patch = fit(large, line, seed)
        assert patch.mask.sum() >= 10
        assert not (patch.mask & ~line[patch.place]).any()


@pytest.mark.parametrize("angle", [20, 70, 140])
def test_a_long_defect_lies_along_the_main_axis_of_its_site(angle: int) -> None:
    y, x = np.mgrid[-100:100, -100:100]
    turned = np.radians(angle)
    along, across = x * np.cos(turned) + y * np.sin(turned), y * np.cos(turned) - x * np.sin(turned)
    patch = fit(LINE, (along / 70) ** 2 + (across / 25) ** 2 < 1)
    assert patch.scale == 1
    assert abs((slope(patch.mask) - angle + 90) % 180 - 90) < 12


def test_a_line_is_bent_along_its_site_and_repeated_to_its_end() -> None:
    patch = fit(LINE, ARC)
    whole = np.zeros(ARC.shape, np.bool_)
    whole[patch.place] = patch.mask
    assert ndimage.label(whole, np.ones((3, 3)))[1] == 1
    rows, columns = np.nonzero(whole)
    assert np.ptp(columns) > 130
    assert rows.max() > 95
    assert patch.coverage > 0.5


def test_a_round_defect_comes_several_times_along_a_long_thin_site() -> None:
    patch = fit(BLOB, mask((60, 400), (25, 20, 12, 360)))
    count = ndimage.label(patch.mask)[1]
    assert 8 <= count <= 20
    assert 0.2 < patch.coverage < 0.8


def test_only_the_generator_s_state_decides() -> None:
    site = mask((200, 200), (50, 50, 100, 100))
    for one in (BLOB, LINE):
        first, again, other = fit(one, site, 1), fit(one, site, 1), fit(one, site, 2)
        assert np.array_equal(first.image, again.image)
        assert np.array_equal(first.mask, again.mask)
        assert first.place == again.place
        assert first.place != other.place or not np.array_equal(first.image, other.image)


def test_where_a_site_lies_in_its_array_does_not_matter() -> None:
    near, far = mask((100, 100), (30, 30, 40, 40)), mask((300, 300), (130, 180, 40, 40))
    first, second = fit(BLOB, near), fit(BLOB, far)
    assert np.array_equal(first.image, second.image)
    assert second.place[0].start - first.place[0].start == 100
    assert second.place[1].start - first.place[1].start == 150


def test_nothing_is_warped_to_an_empty_site() -> None:
    with pytest.raises(ValueError, match="no site"):
        fit(BLOB, mask((20, 20)))


def test_cells_lie_where_their_coordinates_along_a_curve_say() -> None:
    turn = np.linspace(0, 3, 200)
    curve = Curve.through(np.stack([100 + 80 * np.sin(turn), 100 + 80 * np.cos(turn)], axis=1))
    assert curve.length == pytest.approx(80 * 3, abs=1)
    cells = np.array([[100 + 85, 100], [140, 169], [100 + 70, 100 - 30]])
    along, aside = curve.coordinates((220, 220), cells)
    assert curve.at(along, aside) == pytest.approx(cells, abs=0.3)
    assert along[0] == pytest.approx(80 * np.pi / 2, abs=1)
    assert aside[0] == pytest.approx(5, abs=0.2)


def test_a_curve_outside_an_array_has_no_coordinates_there() -> None:
    with pytest.raises(ValueError, match="outside"):
        Curve.through(np.array([[50.0, 50.0], [60.0, 50.0]])).coordinates((20, 20), np.array([[1, 1]]))


@pytest.mark.parametrize("site", [mask((300, 300), (80, 60, 120, 160)), mask((300, 300), (140, 20, 24, 260)), ARC])
def test_streaks_keep_their_way_in_any_site(site: Mask) -> None:
    y, x = np.mgrid[:120, :160]
    levels = 128 + np.random.default_rng(5).normal(0, 40, 600)[(x + y // 2) % 600]
    one = Exemplar(levels.clip(0, 255).astype(np.uint8)[:, :, None], mask((120, 160), (30, 30, 60, 100)), 0)
    assert one.streaks is not None
    for seed in range(8):
        patch = fit(one, site, seed)
        seen = (patch.image * 255).astype(np.uint8)
        way = Exemplar(seen, patch.defect, 0).streaks
        assert way is None or abs(way @ one.streaks) > np.cos(np.radians(6)), seed
        assert way is not None or patch.scale < 0.5
