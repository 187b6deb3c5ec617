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


@pytest.mark.parametrize(("shape", "channels"), [((4, 4), 1), ((4, 4, 2), 1), ((4, 4, 3), 3), ((4, 4, 4), 3)])
def test_alpha_is_no_colour(shape: tuple[int, ...], channels: int) -> None:
    assert colour(np.zeros(shape, dtype=np.uint8)).shape == (4, 4, channels)
