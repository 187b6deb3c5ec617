"""Streaks inside a defect: the way they run, and what is none."""

from __future__ import annotations

import numpy as np
import pytest

from models.masks import Mask
from models.streaks import streaks

Image = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


def box(height: int = 60, width: int = 60) -> Mask:
    mask = np.zeros((100, 100), np.bool_)
    mask[20 : 20 + height, 20 : 20 + width] = True
    return mask


def ground(degrees: float, noise: float = 0.0, channels: int = 1) -> Image:
    """A surface ground at an angle from the rows, with noise of so many levels."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:100, :100]
    across = x * np.sin(np.radians(degrees)) - y * np.cos(np.radians(degrees))
    profile = np.convolve(rng.normal(0, 40, 600), np.ones(3) / 3, "same")
    levels = 128 + np.interp(across, np.arange(-300, 300), profile) + rng.normal(0, noise, (100, 100))
    return np.asarray(np.repeat(levels[:, :, None], channels, axis=2).clip(0, 255), np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("degrees", [0, 20, 90, 135])
def test_streaks_are_told_at_any_angle_in_grey_and_in_colour(degrees: int, channels: int) -> None:
    way = streaks(ground(degrees, 5, channels), box())
    assert way is not None
    assert abs(way @ [np.sin(np.radians(degrees)), np.cos(np.radians(degrees))]) > np.cos(np.radians(4))


def test_streaks_across_a_band_are_told_but_not_those_along_a_line() -> None:
    assert streaks(ground(90), box(height=12, width=70)) is not None
    assert streaks(ground(0), box(height=12, width=70)) is None


def test_noise_a_plain_defect_and_a_small_one_have_no_streaks() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (100, 100, 1), dtype=np.uint8)
    assert streaks(noise, box()) is None
    assert streaks(np.full((100, 100, 1), 90, np.uint8), box()) is None
    assert streaks(ground(90), box(20, 20)) is None


def test_the_outline_of_a_defect_is_no_streak() -> None:
    mask = box(height=70, width=14)
    image = np.where(mask, 40, 200).astype(np.uint8)[:, :, None]
    assert streaks(image, mask) is None
