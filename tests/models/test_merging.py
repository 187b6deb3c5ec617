"""Several defects in one image: drawn apart on the normal image, put into one, each inside its own mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.adapters import Adapter
from models.generation import Generator
from models.items import ItemRequest, ItemResult
from models.levels import Pixels
from models.measures import RegionMeasures
from models.merging import merged
from models.scores import Scores
from tests.models.tiny import tiny_adapter, tiny_backbone

SHAPE = (60, 90)
BOXES = ((5, 5, 20, 30), (5, 30, 20, 80), (40, 10, 55, 60))
"""Three masks: the first two touch."""
ADAPTER = Adapter("scratch", 1, "tiny", "sha256:0", torch.zeros(1, 2))


def photo(channels: int | None, dtype: type[np.unsignedinteger]) -> Pixels:
    shape = SHAPE if channels is None else (*SHAPE, channels)
    return np.random.default_rng(3).integers(0, np.iinfo(dtype).max, shape, dtype=dtype)


def box(y0: int, x0: int, y1: int, x1: int) -> NDArray[np.bool_]:
    mask = np.zeros(SHAPE, dtype=np.bool_)
    mask[y0:y1, x0:x1] = True
    return mask


def requests(image: Pixels, adapter: Adapter = ADAPTER) -> list[ItemRequest]:
    base = ItemRequest(image, box(0, 0, 1, 1), adapter, "metal", 0.7, 1.0, 0.9, steps=4, seed=7, index=2)
    return [replace(base, mask=box(*corners), defect=number) for number, corners in enumerate(BOXES)]


def drawn(request: ItemRequest, value: int = 9) -> ItemResult:
    """Everything inside the mask is one value, but for a rim that is not labelled; alpha stays."""
    image = request.image.copy()
    colour = image[..., : image.shape[2] - (image.shape[2] % 2 == 0)] if image.ndim == 3 else image
    colour[request.mask] = value + request.defect
    refined = request.mask.copy()
    refined[np.flatnonzero(request.mask.any(axis=1))[0]] = False
    area = float(refined.sum())
    return ItemResult(
        image=image,
        refined_mask=refined,
        scores=Scores(0.9, 0.8, 0.7, 0.6, background_max_abs_diff=0),
        regions=(RegionMeasures(area, 1.0, area, 0.5, (0, 0, 1, 1)),),
        soft_edge_px=2,
        pixels_per_model_pixel=1.0,
        attempts=1,
        accepted=True,
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [None, 2, 3, 4])
def test_outside_all_masks_and_in_alpha_nothing_changes_and_inside_each_lies_its_own(
    channels: int | None, dtype: type[np.unsignedinteger]
) -> None:
    image = photo(channels, dtype)
    asked = requests(image)
    item = merged(asked, [drawn(request) for request in asked])

    union = np.logical_or.reduce([request.mask for request in asked])
    assert item.image.dtype == image.dtype
    assert np.array_equal(item.image[~union], image[~union])
    for request in asked:
        inside = item.image[request.mask]
        assert (inside if channels is None else inside[:, 0] == 9 + request.defect).all()
        if channels in (2, 4):
            assert np.array_equal(inside[:, -1], image[request.mask][:, -1])
    assert item.scores.background_max_abs_diff == 0
    assert not np.shares_memory(item.image, image)


def test_the_order_of_defects_does_not_matter() -> None:
    asked = requests(photo(3, np.uint8))
    results = [drawn(request) for request in asked]
    there, back = merged(asked, results), merged(asked[::-1], results[::-1])

    assert np.array_equal(there.image, back.image)
    assert np.array_equal(there.refined_mask, back.refined_mask)
    assert there.scores == back.scores
    assert there.regions == back.regions


def test_the_item_is_labelled_where_any_defect_is_and_its_regions_say_whose_they_are() -> None:
    asked = requests(photo(3, np.uint8))
    results = [drawn(request) for request in asked]
    item = merged(asked, results)

    assert np.array_equal(item.refined_mask, np.logical_or.reduce([result.refined_mask for result in results]))
    assert [(region.defect, region.area) for region in item.regions] == [(1, 700.0), (2, 700.0), (0, 350.0)]


def least(*scores: Scores) -> ItemResult:
    asked = requests(photo(3, np.uint8))[: len(scores)]
    return merged(asked, [replace(drawn(one), scores=score) for one, score in zip(asked, scores, strict=True)])


def test_an_item_is_as_good_as_its_worst_defect() -> None:
    first = Scores(0.9, 0.2, 0.7, 0.6, background_max_abs_diff=0, realism=0.5)
    second = Scores(0.4, 0.8, 0.9, 0.9, background_max_abs_diff=0, novelty=0.3)
    scores = least(first, second).scores

    assert scores == Scores(0.4, 0.2, 0.7, 0.6, background_max_abs_diff=0, realism=0.5, novelty=0.3)
    assert scores.quality == min(first.quality, second.quality) == 0.2


@pytest.mark.parametrize("verdicts", [(True, True), (True, False), (False, False)])
def test_an_item_is_accepted_if_all_its_defects_are(verdicts: Sequence[bool]) -> None:
    asked = requests(photo(3, np.uint8))[:2]
    results = [
        replace(drawn(request), accepted=accepted, attempts=1 if accepted else 3, soft_edge_px=number)
        for number, (request, accepted) in enumerate(zip(asked, verdicts, strict=True))
    ]
    item = merged(asked, results)

    assert item.accepted is all(verdicts)
    assert item.attempts == max(result.attempts for result in results)
    assert item.soft_edge_px == 1


def test_masks_that_share_a_pixel_are_refused() -> None:
    first, second, _ = requests(photo(3, np.uint8))
    second = replace(second, mask=box(19, 29, 30, 40))
    with pytest.raises(ValueError, match="defect 1 overlaps"):
        merged([first, second], [drawn(first), drawn(second)])


def test_each_of_several_defects_is_drawn_as_if_the_others_were_not_there() -> None:
    backbone = tiny_backbone()
    adapter = tiny_adapter(backbone)
    asked = requests(photo(3, np.uint8), adapter)
    together = Generator(backbone).generate(asked)
    for request, result in zip(asked, together, strict=True):
        (alone,) = Generator(backbone).generate([request])
        assert np.array_equal(alone.image, result.image)
    assert merged(asked, together).scores.background_max_abs_diff == 0


def test_two_defects_on_one_place_share_no_noise() -> None:
    backbone = tiny_backbone()
    first = requests(photo(3, np.uint8), tiny_adapter(backbone))[0]
    one, other, again = Generator(backbone).generate([first, replace(first, defect=1), first])
    assert not np.array_equal(one.image, other.image)
    assert np.array_equal(one.image, again.image)
