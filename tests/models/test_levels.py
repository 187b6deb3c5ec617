from __future__ import annotations

import numpy as np
import pytest

from models.levels import Levels, colour, saturation


@pytest.mark.parametrize(("highest", "white"), [(900, 1023), (4095, 4095), (5000, 8191), (65535, 65535), (3, 255)])
def test_sixteen_bits_are_seen_in_the_range_of_their_camera(highest: int, white: int) -> None:
    window = np.linspace(0, highest, 10_000).astype(np.uint16)
    assert Levels.of(window) == Levels(0, white)


def test_a_hot_pixel_does_not_darken_the_window() -> None:
    window = np.full((100, 100), 3000, dtype=np.uint16)
    window[5, 5] = 65535
    assert Levels.of(window).white == 4095


def test_the_white_level_is_the_least_that_999_pixels_of_1000_do_not_exceed() -> None:
    rng = np.random.default_rng(0)
    for bits, size in ((9, 7), (12, 1000), (13, 4001), (16, 20_000)):
        window = (rng.random(size) ** 4 * ((1 << bits) - 1)).astype(np.uint16)
        reached = int(np.percentile(window, 99.9, method="higher"))
        assert Levels.of(window).white == max(255, (1 << reached.bit_length()) - 1)


def test_given_levels_win() -> None:
    assert Levels.of(np.full((4, 4), 900, dtype=np.uint16), 64, 1023) == Levels(64, 1023)


def test_the_map_comes_back_exactly_at_sixteen_bits() -> None:
    pixels = np.arange(65536, dtype=np.uint16)
    levels = Levels.of(pixels)
    assert (levels.from_unit(levels.to_unit(pixels), pixels.dtype, 65535) == pixels).all()


def test_results_stay_within_what_the_camera_can_give() -> None:
    image = np.array([[0, 4000]], dtype=np.uint16)
    bright = np.full((1, 2), 2.0, dtype=np.float32)
    assert Levels.of(image).from_unit(bright, image.dtype, saturation(image)).max() == 4095


def test_an_opaque_alpha_says_nothing_of_what_the_camera_can_give() -> None:
    image = np.full((4, 4, 4), 4000, dtype=np.uint16)
    image[..., 3] = 65535
    assert saturation(image) == 4095


def test_a_dark_photo_may_become_as_bright_as_the_given_white_level() -> None:
    dark = np.full((4, 4), 150, dtype=np.uint16)
    assert (saturation(dark), saturation(dark, 4095)) == (255, 4095)
    assert saturation(np.full((4, 4), 4000, dtype=np.uint16), 1000) == 4095
    assert saturation(np.full((4, 4), 150, dtype=np.uint8), 4095) == 255


def test_of_a_change_is_kept_what_the_levels_hold() -> None:
    levels, dtype = Levels(64, 1023), np.dtype(np.uint16)
    pixels = np.array([0, 64, 700, 1023, 2000, 4095], dtype=np.uint16)
    x = levels.to_unit(pixels)
    small = np.array([0.01, -0.02, 0.03, 0.04, -0.05, -0.06], dtype=np.float32)
    assert np.array_equal(levels.kept(small, x, 4095), small)
    for change in (np.full(6, 9, np.float32), np.full(6, -9, np.float32)):
        cut = levels.to_unit(levels.from_unit(x + change, dtype, 4095))
        np.testing.assert_allclose(x + levels.kept(change, x, 4095), cut, atol=1e-6)


@pytest.mark.parametrize(("shape", "channels"), [((4, 4), 1), ((4, 4, 2), 1), ((4, 4, 3), 3), ((4, 4, 4), 3)])
def test_alpha_is_no_colour(shape: tuple[int, ...], channels: int) -> None:
    assert colour(np.zeros(shape, dtype=np.uint8)).shape == (4, 4, channels)
