"""Mask distributions: what is drawn looks and lies as in the samples, where it may lie, and never as a copy."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from models.foreground import foreground
from models.measures import length_of
from models.noise import noise_key
from models.placement.distribution import MAX_PLACES, MAX_SHAPES, MaskDistribution, MaskDistributionError
from models.placement.drawn import DrawnMask, PlacementError
from models.samples import Sample

Mask = NDArray[np.bool_]
H, W = 160, 200


def surface(seed: int = 0) -> NDArray[np.uint8]:
    """A part that fills the photo: no background."""
    return np.random.default_rng(seed).integers(60, 190, (H, W)).astype(np.uint8)


def disc() -> Mask:
    y, x = np.indices((H, W))
    return np.asarray((y - 80) ** 2 + (x - 100) ** 2 < 60**2)


def photo(part: Mask) -> NDArray[np.uint8]:
    image = np.full(part.shape, 200, np.uint8)
    image[part] = 60
    return image


def sample(*boxes: tuple[int, int, int, int], image: NDArray[np.uint8] | None = None) -> Sample:
    mask = np.zeros((H, W), dtype=np.bool_)
    for y, x, height, width in boxes:
        mask[y : y + height, x : x + width] = True
    return Sample(surface() if image is None else image, mask, "0" * 64)


def tilted(angle: float, y: int = 80, x: int = 100) -> Sample:
    """A bar of 60 × 8 pixels, turned counter-clockwise from the horizontal."""
    rows, columns = np.indices((H, W))
    turn = np.radians(angle)
    along = (columns - x) * np.cos(turn) - (rows - y) * np.sin(turn)
    across = (columns - x) * np.sin(turn) + (rows - y) * np.cos(turn)
    return Sample(surface(), (abs(along) < 30) & (abs(across) < 4), "0" * 64)


def axis_of(mask: Mask) -> float:
    points = np.argwhere(mask).astype(np.float64)
    _, axes = np.linalg.eigh(np.cov(points.T))
    return float(np.degrees(np.arctan2(-axes[0, 1], axes[1, 1])) % 180)


def keys(count: int) -> list[int]:
    return [noise_key(1, index, "mask", 0) for index in range(count)]


def everywhere() -> Mask:
    return np.ones((H, W), dtype=np.bool_)


def draws(
    distribution: MaskDistribution, count: int = 30, part: Mask | None = None, **where: Any
) -> list[DrawnMask]:
    return [distribution.draw(everywhere() if part is None else part, key, **where) for key in keys(count)]


SPOTS = [
    sample((30, 40, 10, 12)),
    sample((60, 90, 14, 10), (110, 150, 9, 9)),
    sample((80, 60, 12, 16)),
    sample((50, 120, 20, 18)),
]


def test_the_same_key_gives_the_same_mask_and_another_key_another() -> None:
    distribution = MaskDistribution.learned(SPOTS)
    first, again = (distribution.draw(everywhere(), 7) for _ in range(2))
    assert np.array_equal(first.mask, again.mask)
    assert first.regions == again.regions
    assert len({drawn.mask.tobytes() for drawn in draws(distribution)}) == 30


def test_what_was_drawn_is_told_as_it_is() -> None:
    for drawn in draws(MaskDistribution.learned(SPOTS)):
        assert sum(region.area for region in drawn.regions) == drawn.mask.sum()
        for region in drawn.regions:
            x, y, width, height = region.box
            inside = drawn.mask[y : y + height, x : x + width]
            assert inside[0].any()
            assert inside[:, -1].any()
            assert inside.sum() >= region.area
            assert region.of_sample in range(4)
            assert 0.4 < region.scale < 2
            assert -180 <= region.angle <= 180


def test_sizes_and_numbers_are_those_of_the_samples() -> None:
    drawn = draws(MaskDistribution.learned(SPOTS), 60)
    areas = [region.area for one in drawn for region in one.regions]
    assert min(areas) > 35
    assert max(areas) < 550
    assert {len(one.regions) for one in drawn} == {1, 2}


def test_sizes_go_with_the_part() -> None:
    distribution = MaskDistribution.learned(SPOTS)
    large = [distribution.draw(np.ones((4 * H, 4 * W), dtype=np.bool_), key) for key in keys(20)]
    small = draws(distribution, 20)
    ratio = np.median([one.regions[0].area for one in large]) / np.median([one.regions[0].area for one in small])
    assert ratio == pytest.approx(16, rel=0.2)


def test_places_are_those_of_the_samples_more_or_less() -> None:
    corner = [sample((10 + 3 * i, 12 + 4 * i, 8, 8)) for i in range(8)]
    centres = np.array([np.argwhere(one.mask).mean(axis=0) for one in draws(MaskDistribution.learned(corner), 40)])
    near = (centres[:, 0] < H / 2) & (centres[:, 1] < W / 2)
    assert near.mean() > 0.8
    assert len(np.unique(centres.round(), axis=0)) > 30


def test_directions_are_those_of_the_samples() -> None:
    level = MaskDistribution.learned([tilted(angle) for angle in (-4, 0, 3, 5, 178)])
    axes = np.array([axis_of(one.mask) for one in draws(level)])
    assert (np.minimum(axes, 180 - axes) < 20).all()
    assert len(np.unique(axes.round())) > 3
    spread = MaskDistribution.learned([tilted(angle) for angle in (0, 40, 80, 120, 150)])
    quarters = {int(axis_of(one.mask) // 45) for one in draws(spread)}
    assert quarters == {0, 1, 2, 3}


def test_a_single_sample_is_varied_carefully_and_never_copied() -> None:
    (only,) = samples = [tilted(30)]
    for one in draws(MaskDistribution.learned(samples), 60):
        both = (one.mask & only.mask).sum() / (one.mask | only.mask).sum()
        assert both < 0.9
        assert abs((axis_of(one.mask) - 30 + 90) % 180 - 90) < 60


def test_a_defect_is_no_copy_even_where_it_could_lie_nowhere_else() -> None:
    only = sample((70, 90, 20, 20))
    distribution = MaskDistribution.learned([only])
    for one in draws(distribution, 20, region=only.mask):
        assert (one.mask & ~only.mask).sum() == 0
        assert one.mask.sum() < 0.9 * only.mask.sum()


def test_defects_stay_on_a_part_that_can_be_told_from_its_background() -> None:
    part = disc()
    on_it = [sample((y, x, 8, 10), image=photo(part)) for y, x in ((50, 70), (80, 120), (100, 100))]
    distribution = MaskDistribution.learned(on_it)
    assert distribution.on_part
    elsewhere = np.roll(part, (0, 30), axis=(0, 1))
    for one in draws(distribution, 30, foreground(photo(elsewhere))):
        assert not (one.mask & ~foreground(photo(elsewhere))).any()


def test_of_a_type_that_lies_beside_the_part_the_part_binds_none() -> None:
    beside = [sample((y, x, 8, 10), image=photo(disc())) for y, x in ((5, 5), (140, 180), (8, 180))]
    distribution = MaskDistribution.learned(beside)
    assert not distribution.on_part
    drawn = draws(distribution, 30, disc())
    assert np.mean([(one.mask & disc()).sum() / one.mask.sum() for one in drawn]) < 0.3


def test_defects_near_the_rim_stay_near_the_rim_of_another_part() -> None:
    at_rim = [
        sample((80 + round(50 * np.sin(a)) - 3, 100 + round(50 * np.cos(a)) - 3, 6, 6), image=photo(disc()))
        for a in np.linspace(0, 6, 9)
    ]
    distribution = MaskDistribution.learned(at_rim)
    depth = ndimage.distance_transform_edt(disc())
    depths = [float(depth[one.mask].mean()) for one in draws(distribution, 30, disc())]
    assert np.mean(np.array(depths) < 20) > 0.85


def test_what_a_side_of_the_part_cuts_off_lies_at_that_side_again() -> None:
    bottom = MaskDistribution.learned([sample((140, 60, 20, 24)), sample((130, 120, 30, 30))])
    assert all(one.mask[-1].any() for one in draws(bottom))
    across = MaskDistribution.learned([sample((70, 0, 12, W)), sample((40, 0, 20, W))])
    for one in draws(across):
        assert one.mask[:, 0].any()
        assert one.mask[:, -1].any()


def test_region_and_exclude_bind_every_pixel() -> None:
    distribution = MaskDistribution.learned(SPOTS)
    region, exclude = np.zeros((H, W), dtype=np.bool_), np.zeros((H, W), dtype=np.bool_)
    region[60:100, 60:180] = True
    exclude[:, 100:140] = True
    for one in draws(distribution, 40, region=region, exclude=exclude):
        assert one.mask.any()
        assert not (one.mask & (~region | exclude)).any()


def test_a_region_smaller_than_any_sample_gets_a_smaller_defect() -> None:
    region = np.zeros((H, W), dtype=np.bool_)
    region[50:56, 50:57] = True
    for one in draws(MaskDistribution.learned([sample((20, 20, 60, 60))]), 20, region=region):
        assert 4 <= one.mask.sum() <= 42


def test_where_nothing_may_lie_or_nothing_fits_the_error_says_so() -> None:
    distribution = MaskDistribution.learned(SPOTS)
    with pytest.raises(PlacementError, match="within what exclude leave"):
        distribution.draw(everywhere(), 1, exclude=everywhere())
    dots = np.zeros((H, W), dtype=np.bool_)
    dots[::40, ::40] = True
    with pytest.raises(PlacementError, match="no defect of this type fits into the 20 pixels"):
        distribution.draw(everywhere(), 1, region=dots)


def test_defects_of_one_mask_do_not_run_into_each_other() -> None:
    many = MaskDistribution.learned([sample(*[(20 * i + 5, 30 * i + 5, 9, 9) for i in range(5)])])
    for one in draws(many, 20):
        assert ndimage.label(one.mask, structure=np.ones((3, 3)))[1] >= len(one.regions) == 5


def test_specks_beside_a_defect_are_none() -> None:
    distribution = MaskDistribution.learned([sample((40, 40, 30, 30), (140, 180, 2, 2))])
    assert distribution.counts == (1,)


def test_json_goes_there_and_back_and_draws_the_same() -> None:
    distribution = MaskDistribution.learned(SPOTS)
    again = MaskDistribution.from_json(json.loads(json.dumps(distribution.to_json())))
    for key in keys(8):
        assert np.array_equal(again.draw(disc(), key).mask, distribution.draw(disc(), key).mask)


def test_a_defect_far_from_its_part_is_read_back_too() -> None:
    corner = np.zeros((H, W), dtype=np.bool_)
    corner[10:50, 10:50] = True
    far = sample((130, 180, 12, 12), image=photo(corner))
    on = [sample((y, 90, 10, 12), image=photo(disc())) for y in (60, 70, 80, 90)]
    distribution = MaskDistribution.learned([*on, far])
    assert distribution.on_part
    again = MaskDistribution.from_json(json.loads(json.dumps(distribution.to_json())))
    assert again.draw(disc(), 3).mask.any()


def test_a_distribution_whose_defect_was_written_too_far_from_its_part_can_be_read() -> None:
    written = MaskDistribution.learned(SPOTS).to_json()
    written["shapes"][0]["place"] = [4.0, -3.5]
    assert MaskDistribution.from_json(written).known[0].place == (2.0, -1.0)


def test_defects_of_one_and_the_same_direction_keep_it() -> None:
    for angle in range(1, 180, 4):
        distribution = MaskDistribution.learned([tilted(angle, y) for y in (60, 70, 80, 90, 100)])
        assert distribution.turn == pytest.approx(0, abs=3), angle


def test_json_of_many_ragged_samples_stays_small() -> None:
    rng = np.random.default_rng(4)
    image = photo(disc())[::2, ::2]
    samples = [
        Sample(image, np.pad(rng.random((30, 30)) < 0.6, ((y, 50 - y), (x, 70 - x))), "0" * 64)
        for y, x in rng.integers(0, 50, (500, 2))
    ]
    samples += [Sample(np.zeros((600, 600), np.uint8), rng.random((600, 600)) < 0.6, "0" * 64) for _ in range(3)]
    distribution = MaskDistribution.learned(samples)
    assert len(distribution.known) == MAX_SHAPES
    assert len(distribution.places) <= MAX_PLACES
    assert len(json.dumps(distribution.to_json())) <= 200_000
    assert distribution.draw(everywhere(), 3).mask.any()


def test_without_any_mask_there_is_nothing_to_learn() -> None:
    with pytest.raises(MaskDistributionError, match="no sample has a mask"):
        MaskDistribution.learned([sample()])


@pytest.mark.parametrize(
    "change",
    [
        {"format_version": 2},
        {"shapes": []},
        {"shapes": 5},
        {"counts": []},
        {"counts": [0]},
        {"counts": [10_000]},
        {"places": []},
        {"places": [[0.5, float("nan")]]},
        {"depths": ["deep"]},
        {"turn": -1},
        {"turn": None},
    ],
)
def test_what_is_no_distribution_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(MaskDistributionError):
        MaskDistribution.from_json(MaskDistribution.learned(SPOTS).to_json() | change)
    with pytest.raises(MaskDistributionError):
        MaskDistribution.from_json({})


@pytest.mark.parametrize("length", [8.0, 24.0, 60.0, 110.0])
def test_a_length_that_is_asked_for_is_that_of_the_one_region_that_is_drawn(length: float) -> None:
    known = MaskDistribution.learned([tilted(20), tilted(70), sample((20, 30, 12, 9), (90, 90, 8, 8))])
    drawn = draws(known, 12, length=length)
    for one in drawn:
        (region,) = one.regions
        assert region.area == one.mask.sum()
        assert 0.79 * length <= length_of(one.mask) <= 1.26 * length
    assert abs(np.median([length_of(one.mask) for one in drawn]) / length - 1) < 0.1
    assert np.array_equal(drawn[0].mask, draws(known, 1, length=length)[0].mask)
    assert len({one.mask.tobytes() for one in drawn}) > 6


def test_a_shape_is_taken_that_is_likely_to_be_as_long_as_asked() -> None:
    known = MaskDistribution.learned([tilted(20), sample((20, 30, 8, 8))])
    of = {length: [one.regions[0].of_sample for one in draws(known, 30, length=length)] for length in (8.0, 60.0)}
    assert of[8.0].count(1) > 20
    assert of[60.0].count(0) > 20


def test_a_length_for_which_there_is_no_room_is_refused_with_what_would_help() -> None:
    known = MaskDistribution.learned([tilted(20)])
    small = np.zeros((H, W), dtype=np.bool_)
    small[60:80, 60:80] = True
    assert draws(known, 1, length=15.0, region=small)[0].mask.any()
    with pytest.raises(PlacementError, match=r"90 pixels long fits into the 400 pixels.*ask for a smaller size"):
        draws(known, 1, length=90.0, region=small)


def test_a_band_from_side_to_side_is_drawn_as_long_as_asked() -> None:
    known = MaskDistribution.learned([sample((70, 0, 8, W)), sample((40, 0, 8, W))])
    lengths = [length_of(one.mask) for one in draws(known, 8, length=50.0)]
    assert all(40 <= length <= 60 for length in lengths)
