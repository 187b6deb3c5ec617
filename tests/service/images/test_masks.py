"""Which pixels a mask file means."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.images.canonical import CanonicalImage
from service.images.decoding import decode
from service.images.errors import EmptyMaskError, ImageError
from service.images.masks import binarise_mask, check_mask
from tests.service.images import files

SHAPE = (19, 23)
SET = files.noise(*SHAPE) > 127


def upload(pixels: NDArray[Any]) -> CanonicalImage:
    return decode(files.png(pixels))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("values", [(0, 255), (0, 1), (0, 128), (100, 200), (254, 255), (5, 6)])
def test_of_two_values_the_upper_one_is_set(dtype: str, values: tuple[int, int]) -> None:
    mask, warnings = binarise_mask(upload(np.where(SET, values[1], values[0]).astype(dtype)))
    assert mask.dtype == np.bool_
    np.testing.assert_array_equal(mask, SET)
    assert warnings == []


@pytest.mark.parametrize(("dtype", "half"), [("uint8", 128), ("uint16", 32768)])
def test_of_more_values_the_upper_half_is_set(dtype: str, half: int) -> None:
    pixels = files.noise(*SHAPE, dtype=dtype)
    pixels[0, :4] = half - 1, half, 0, np.iinfo(dtype).max
    mask, warnings = binarise_mask(upload(pixels))
    np.testing.assert_array_equal(mask, pixels >= half)
    assert mask[0, :4].tolist() == [False, True, False, True]
    assert warnings == []


@pytest.mark.parametrize("value", [1, 127, 255])
def test_one_value_that_is_not_black_sets_everything(value: int) -> None:
    mask, _ = binarise_mask(upload(np.full(SHAPE, value, np.uint8)))
    assert mask.all()


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_any_colour_counts(channel: int) -> None:
    pixels = np.zeros((*SHAPE, 3), np.uint8)
    pixels[..., channel] = SET * 128
    mask, _ = binarise_mask(upload(pixels))
    np.testing.assert_array_equal(mask, SET)


def test_different_colours_count_alike() -> None:
    pixels = np.zeros((*SHAPE, 3), np.uint8)
    pixels[:5, :, 0] = 255
    pixels[10:, :, 2] = 255
    mask, _ = binarise_mask(upload(pixels))
    np.testing.assert_array_equal(mask, pixels.any(axis=-1))


@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_is_ignored(channels: int) -> None:
    pixels = files.noise(*SHAPE, channels)
    pixels[..., :-1] = (SET * 255)[..., None]
    mask, _ = binarise_mask(upload(pixels))
    np.testing.assert_array_equal(mask, SET)
    pixels[..., :-1] = 0
    with pytest.raises(ImageError, match=r"empty.*alpha channel is not looked at.*Paint"):
        binarise_mask(upload(pixels))


@pytest.mark.parametrize("file_format", ["JPEG", "WEBP"])
def test_lossy_masks_are_cut_at_half_with_a_warning(file_format: str) -> None:
    square = np.zeros((64, 64), np.uint8)
    square[16:48, 16:48] = 255
    image = decode(files.pil(np.dstack([square] * 3), file_format, quality=60))
    mask, warnings = binarise_mask(image)
    np.testing.assert_array_equal(mask, image.pixels.max(axis=-1) >= 128)
    assert mask[32, 32]
    assert not mask[4, 4]
    assert "compressed with loss" in warnings[0]
    assert "128" in warnings[0]


def test_a_lossy_mask_with_faint_values_is_refused() -> None:
    with pytest.raises(ImageError, match="brightest value is"):
        binarise_mask(decode(files.pil(np.full((16, 16), 40, np.uint8), "JPEG")))


def test_only_a_black_mask_is_called_empty() -> None:
    with pytest.raises(EmptyMaskError):
        binarise_mask(upload(np.zeros(SHAPE, np.uint8)))
    with pytest.raises(ImageError) as caught:
        binarise_mask(upload(np.where(SET, 2, np.arange(SHAPE[1]) % 2).astype(np.uint8)))
    assert not isinstance(caught.value, EmptyMaskError)


def test_one_bit_and_palette_masks() -> None:
    from PIL import Image

    mask, _ = binarise_mask(decode(files.pil(SET, "PNG")))
    np.testing.assert_array_equal(mask, SET)
    indexed = Image.fromarray(SET.astype(np.uint8))
    indexed.putpalette([0, 0, 0, 128, 0, 0])
    mask, _ = binarise_mask(decode(files.pil(indexed, "PNG")))
    np.testing.assert_array_equal(mask, SET)


def test_an_empty_mask_says_what_to_do() -> None:
    with pytest.raises(ImageError, match=r"The mask is empty: every pixel is black\. Paint"):
        binarise_mask(upload(np.zeros(SHAPE, np.uint8)))
    labels = np.where(SET, 2, 1).astype(np.uint8)
    labels[0, 0] = 0
    with pytest.raises(ImageError, match=r"brightest value is 2, .* at or above 128 .* black and white"):
        binarise_mask(upload(labels))


def test_mask_and_image_must_be_of_one_size() -> None:
    info = upload(files.noise(30, 40, 3)).info
    check_mask(np.ones((30, 40), np.bool_), info)
    with pytest.raises(ImageError, match=r"mask is 30×40 and the image 40×30.*EXIF"):
        check_mask(np.ones((40, 30), np.bool_), info)


def test_a_mask_is_turned_upright_like_its_image() -> None:
    stored = np.where(SET, 255, 0).astype(np.uint8)
    mask, _ = binarise_mask(decode(files.png(stored, (b"eXIf", files.exif(6)))))
    np.testing.assert_array_equal(mask, np.rot90(SET, -1))


@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.integers(0, 255), min_size=1, max_size=4, unique=True), seed=st.integers(0, 2**16))
def test_the_rule_in_one_sentence(values: list[int], seed: int) -> None:
    """A slow and plain statement of the rule agrees for any set of values."""
    pixels = np.random.default_rng(seed).choice(values, (7, 5)).astype(np.uint8)
    present = sorted(set(pixels.reshape(-1).tolist()))
    lowest_set = 128 if len(present) > 2 else max(1, present[-1])
    chosen = {value for value in present if value >= lowest_set}
    if not chosen:
        with pytest.raises(ImageError):
            binarise_mask(upload(pixels))
    else:
        mask, _ = binarise_mask(upload(pixels))
        np.testing.assert_array_equal(mask, np.isin(pixels, list(chosen)))
