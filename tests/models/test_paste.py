"""Pasting real defects."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from models.adapters import Adapter
from models.items import MAX_ATTEMPTS, ItemRequest
from models.levels import Pixels
from models.masks import Mask, distance_outside
from models.paste import SOFT_EDGE_PX, paste
from models.references import References
from models.refinement import Calibration
from models.samples import Exemplar

CALIBRATION = Calibration()
SHAPE = (160, 200)


def surface(level: float, grain: float, seed: int = 0, channels: int = 1) -> NDArray[np.float64]:
    noise = np.random.default_rng(seed).normal(0, grain, (*SHAPE, channels))
    return np.clip(level + noise, 0, 255)


def mask(*boxes: tuple[int, int, int, int]) -> Mask:
    made = np.zeros(SHAPE, np.bool_)
    for y, x, height, width in boxes:
        made[y : y + height, x : x + width] = True
    return made


def pit(seed: int = 0, channels: int = 1, depth: int = 90) -> Exemplar:
    """A dark round defect on a lit surface."""
    y, x = np.mgrid[:50, :50]
    defect = np.hypot(y - 25, x - 25) < 9 + seed
    image = np.random.default_rng(seed).normal(150, 4, (50, 50, channels)) + 0.6 * x[..., None]
    image[defect] -= depth
    return Exemplar(np.rint(image).clip(0, 255).astype(np.uint8), np.asarray(defect), seed)


SITE = mask((60, 70, 30, 34))
ADAPTER = Adapter("pit", 1, "tiny", "sha256:0", torch.zeros(1, 16))


def request(image: Pixels, requested: Mask = SITE, seed: int = 0, index: int = 0) -> ItemRequest:
    by_default = ItemRequest.by_default(image, requested, ADAPTER, seed=seed)
    return replace(by_default, index=index, min_quality=0.0)


GREY = np.rint(surface(170, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    "image",
    [
        GREY[:, :, 0],
        GREY,
        np.concatenate([GREY, np.random.default_rng(1).integers(0, 256, GREY.shape).astype(np.uint8)], axis=2),
        np.rint(surface(170, 3, channels=3)).astype(np.uint8),
        np.rint(surface(170, 3, channels=4)).astype(np.uint8),
        np.rint(surface(170, 3)[:, :, 0] * 16).astype(np.uint16),
        np.rint(surface(170, 3, channels=4) * 257).astype(np.uint16),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_only_the_label_and_its_soft_edge_inside_the_request_change(image: Pixels, channels: int) -> None:
    result = paste(request(image), [pit(channels=channels)], CALIBRATION)
    assert result.image.shape == image.shape
    assert result.image.dtype == image.dtype
    changed = result.image != image
    if image.ndim == 3:
        if image.shape[2] in (2, 4):
            assert not changed[:, :, -1].any()
        changed = changed.any(axis=2)
    assert not changed[~SITE].any()
    assert result.scores.background_max_abs_diff == 0
    assert result.refined_mask.any()
    assert not (result.refined_mask & ~SITE).any()
    assert result.soft_edge_px == SOFT_EDGE_PX
    assert distance_outside(result.refined_mask)[changed].max() <= SOFT_EDGE_PX
    assert changed[result.refined_mask].mean() > 0.95


def test_the_defect_stands_out_from_its_new_surroundings_as_from_its_old() -> None:
    result = paste(request(GREY), [pit()], CALIBRATION)
    core = ndimage.binary_erosion(result.refined_mask, iterations=3)
    assert result.image[core].mean() == pytest.approx(170 - 90, abs=15)
    assert result.scores.presence > 0.6
    assert result.scores.seam > 0.8
    assert result.pixels_per_model_pixel == 1
    assert len(result.regions) == 1


def test_a_site_that_cuts_the_defect_does_not_bleed_it_out() -> None:
    tight = mask((70, 80, 8, 120))
    line = Exemplar(
        np.where(np.abs(np.arange(60) - 30) < 12, 60, 150).astype(np.uint8)[:, None, None].repeat(160, axis=1),
        np.broadcast_to((np.abs(np.arange(60) - 30) < 12)[:, None], (60, 160)).copy(),
        0,
    )
    result = paste(request(GREY, tight), [line], CALIBRATION)
    assert result.scores.coverage > 0.9
    assert result.image[73:75, 90:180].mean() < 110


def test_sixteen_bits_are_pasted_and_judged_in_the_range_of_the_whole_photo() -> None:
    photo = np.rint(surface(12, 1)[:, :, 0] * 16).astype(np.uint16)
    photo[:, 150:] = 3500
    asked = request(photo)
    result, told = (paste(one, [pit()], CALIBRATION) for one in (asked, replace(asked, white_level=4095)))
    assert np.array_equal(result.image, told.image)
    assert (result.scores, result.regions) == (told.scores, told.regions)


def test_a_defect_somewhere_in_a_loose_request_is_accepted() -> None:
    """It keeps its size, so it is a small share of the request, and no worse for that."""
    loose = replace(request(GREY, mask((5, 5, 150, 190))), min_quality=0.05)
    result = paste(loose, [pit()], CALIBRATION)
    assert (result.accepted, result.attempts) == (True, 1)
    assert result.refined_mask.sum() < 0.05 * loose.mask.sum()
    assert result.scores.coverage > 0.9


def test_dark_surroundings_give_a_darker_defect_and_never_a_negative_one() -> None:
    dark = np.rint(surface(40, 2)).astype(np.uint8)
    result = paste(request(dark), [pit()], CALIBRATION)
    core = ndimage.binary_erosion(result.refined_mask, iterations=3)
    assert 10 < result.image[core].mean() < 25


def test_a_dark_photo_is_pasted_into_up_to_its_white_level() -> None:
    dark = np.rint(surface(150, 10)[:, :, 0]).astype(np.uint16)
    result = paste(replace(request(dark), white_level=4095), [pit(depth=-90)], CALIBRATION)
    core = ndimage.binary_erosion(result.refined_mask, iterations=3)
    assert 1000 < result.image[core].mean() < 4095
    assert np.array_equal(result.image[~SITE], dark[~SITE])


def test_what_is_cut_off_at_white_is_no_defect() -> None:
    white = np.full(SHAPE, 255, np.uint8)
    result = paste(request(white), [pit(depth=-90)], CALIBRATION)
    assert not result.refined_mask.any()
    assert not result.accepted
    assert np.array_equal(result.image, white)


@pytest.mark.parametrize("grain", [1.0, 10.0])
def test_the_grain_is_that_of_the_photo(grain: float) -> None:
    photo = np.rint(surface(170, grain)).astype(np.uint8)
    result = paste(request(photo), [pit()], CALIBRATION)
    core = ndimage.binary_erosion(result.refined_mask, iterations=4)
    inside = (result.image - ndimage.gaussian_filter(result.image.astype(float), (1.5, 1.5, 0)))[core].std()
    outside = (photo - ndimage.gaussian_filter(photo.astype(float), (1.5, 1.5, 0)))[~SITE].std()
    assert 0.4 < inside / outside < 1.8


def test_equal_requests_give_equal_bytes_and_other_keys_other_defects() -> None:
    exemplars = [pit(seed) for seed in range(3)]
    first = paste(request(GREY), exemplars, CALIBRATION)
    again = paste(request(GREY), exemplars, CALIBRATION)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.refined_mask, again.refined_mask)
    for other in (request(GREY, seed=1), request(GREY, index=1)):
        assert not np.array_equal(first.image, paste(other, exemplars, CALIBRATION).image)


def test_an_item_s_region_does_not_depend_on_the_other_regions() -> None:
    alone = paste(request(GREY), [pit()], CALIBRATION)
    both = paste(request(GREY, SITE | mask((5, 5, 25, 25))), [pit()], CALIBRATION)
    assert np.array_equal(alone.refined_mask, both.refined_mask & SITE)
    assert np.array_equal(alone.image[SITE], both.image[SITE])
    assert len(both.regions) == 2


def test_every_kind_of_request_is_drawn() -> None:
    for requested in (mask((0, 0, *SHAPE)), mask((80, 0, 1, 200)), mask((159, 199, 1, 1)), mask((0, 0, 160, 3))):
        result = paste(request(GREY, requested), [pit(), pit(3)], CALIBRATION)
        assert result.scores.background_max_abs_diff == 0
        assert result.refined_mask.any()


def test_the_likelier_exemplar_is_the_one_that_fits() -> None:
    y, x = np.mgrid[:200, :200]
    large = np.asarray(np.hypot(y - 100, x - 100) < 80)
    huge = Exemplar(np.where(large, 250, 120).astype(np.uint8)[:, :, None], large, 1)
    bright = 0
    for seed in range(12):
        result = paste(request(GREY, seed=seed), [pit(), huge], CALIBRATION)
        bright += int(result.image[result.refined_mask].mean() > 170)
    assert bright <= 3


def test_a_defect_that_nobody_would_see_is_not_labelled_and_changes_nothing() -> None:
    result = paste(request(GREY), [pit(depth=0)], CALIBRATION)
    assert not result.refined_mask.any()
    assert np.array_equal(result.image, GREY)
    assert result.scores.coverage == 0
    assert result.regions == ()
    assert (result.accepted, result.attempts) == (False, MAX_ATTEMPTS)


def test_below_the_wanted_quality_it_is_pasted_again_and_the_best_is_given() -> None:
    exemplars = [pit(), pit(4)]
    wanted = replace(request(GREY), min_quality=1.0)
    best = paste(wanted, exemplars, CALIBRATION)
    assert best.attempts == MAX_ATTEMPTS
    assert not best.accepted
    first = paste(request(GREY), exemplars, CALIBRATION)
    assert first.attempts == 1
    assert best.scores.quality >= first.scores.quality
    assert paste(replace(wanted, min_quality=0.05), exemplars, CALIBRATION).accepted


def test_a_paste_is_judged_for_realism_and_not_for_being_a_copy() -> None:
    exemplars = [pit(seed) for seed in range(3)]
    wanted = replace(request(GREY), references=References.of(exemplars))
    result = paste(wanted, exemplars, CALIBRATION)
    assert result.scores.realism is not None
    assert result.scores.realism > 0.1
    assert result.scores.novelty is None


def test_what_cannot_be_pasted_is_refused() -> None:
    with pytest.raises(ValueError, match="no real defects"):
        paste(request(GREY), [], CALIBRATION)
    with pytest.raises(ValueError, match="no controls"):
        paste(replace(request(GREY), control=True), [pit()], CALIBRATION)
    with pytest.raises(ValueError, match="mask"):
        paste(request(GREY, mask()), [pit()], CALIBRATION)
    with pytest.raises(ValueError, match="mask"):
        paste(request(GREY, SITE[:-1]), [pit()], CALIBRATION)
