"""Previews."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.images.canonical import Pixels
from worker.preview import MAX_WIDTH, preview_png


def shown(source: Pixels, requested: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(preview_png(source, requested, source, [requested]))))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [0, 2, 3, 4])
def test_all_modes_give_three_panels(dtype: type, channels: int) -> None:
    shape = (40, 60, channels) if channels else (40, 60)
    source: Pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape).astype(dtype)
    mask = np.zeros((40, 60), dtype=np.bool_)
    mask[10:20, 10:20] = True
    assert shown(source, mask).shape == (40, 3 * 60 + 8, 3)


def test_large_images_are_reduced_and_thin_masks_stay() -> None:
    source = np.full((500, 4000), 100, dtype=np.uint8)
    mask = np.zeros(source.shape, dtype=np.bool_)
    mask[250, 100:3900] = True
    preview = shown(source, mask)
    assert preview.shape[1] <= MAX_WIDTH
    assert preview.shape[0] == round(500 * 509 / 4000)
    outline, result, label = (preview[:, start : start + 509] for start in (0, 513, 1026))
    assert (outline != 100).any(axis=(0, 2)).mean() > 0.9
    assert np.all(result == 100)
    assert (label != 100).any(axis=(0, 2)).mean() > 0.9


def test_dark_16_bit_images_are_made_visible() -> None:
    ramp = np.tile(np.arange(64, dtype=np.uint16) * 60, (64, 1))
    preview = shown(ramp, np.zeros(ramp.shape, dtype=np.bool_))
    assert preview.max() == 255


def test_each_defects_label_has_a_colour_of_its_own() -> None:
    source = np.full((40, 60), 100, dtype=np.uint8)
    masks = np.zeros((2, 40, 60), dtype=np.bool_)
    masks[0, 5:15, 5:15] = masks[1, 20:30, 30:40] = True
    both = np.asarray(Image.open(io.BytesIO(preview_png(source, masks.any(axis=0), source, list(masks)))))
    label = both[:, 128:]
    assert np.array_equal(label[10, 10], shown(source, masks[0])[:, 128:][10, 10])
    assert not np.array_equal(label[10, 10], label[25, 35])
    assert np.array_equal(label[0, 0], (100, 100, 100))
