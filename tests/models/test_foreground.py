"""The part in a photo: found on a plain background, and the whole image where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from models.foreground import foreground


def on_background(
    height: int = 120, width: int = 160, seed: int = 3
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A bright disc on a grey background that drifts and has grain."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((height, width))
    disc = (y - 60) ** 2 + (x - 80) ** 2 < 40**2
    grey = 90 + 25 * x / width + rng.normal(0, 3, (height, width))
    grey[disc] = 190 + rng.normal(0, 10, int(disc.sum()))
    return np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2), disc


def iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    return float((first & second).sum() / (first | second).sum())


def test_a_part_on_a_background_that_drifts_is_found() -> None:
    image, disc = on_background()
    assert iou(foreground(image), disc) > 0.95


def test_grey_and_sixteen_bits_of_which_ten_are_used_are_seen_the_same() -> None:
    image, disc = on_background()
    grey = image[:, :, 0]
    assert iou(foreground(grey), disc) > 0.95
    assert iou(foreground(grey.astype(np.uint16) * np.uint16(4)), disc) > 0.95


def test_a_large_photo_is_looked_at_from_afar() -> None:
    image, disc = on_background()
    large = image.repeat(9, axis=0).repeat(9, axis=1)[:1075, :1433]
    found = foreground(large)
    assert found.shape == (1075, 1433)
    assert iou(found, disc.repeat(9, axis=0).repeat(9, axis=1)[:1075, :1433]) > 0.93


def test_several_parts_and_highlights_in_them_are_of_the_foreground_and_dirt_is_not() -> None:
    image, disc = on_background(240, 320)
    disc = np.zeros((240, 320), dtype=np.bool_)
    image[20:100, 40:120], image[120:220, 200:300], image[50:60, 60:70] = 20, 20, 110
    image[200, 30:33] = 20
    disc[20:100, 40:120], disc[120:220, 200:300] = True, True
    disc[(np.indices(disc.shape)[0] - 60) ** 2 + (np.indices(disc.shape)[1] - 80) ** 2 < 40**2] = True
    assert iou(foreground(image), disc) > 0.93
    assert not foreground(image)[198:203, 28:35].any()


@pytest.mark.parametrize("size", [(96, 96), (5, 7), (1, 1), (1, 300)])
def test_without_a_plain_background_it_is_the_whole_image(size: tuple[int, int]) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (*size, 3)).astype(np.uint8)
    assert foreground(noise).all()
    assert foreground(np.full(size, 120, np.uint8)).all()


def test_a_small_defect_on_an_even_surface_is_no_part() -> None:
    image = np.full((200, 200), 120, np.uint8)
    image[90:110, 60:70] = 20
    assert foreground(image).all()


def test_what_is_transparent_is_background() -> None:
    image = np.random.default_rng(1).integers(0, 255, (40, 50, 4)).astype(np.uint8)
    image[:, :, 3] = 0
    image[10:30, 5:45, 3] = 255
    assert np.array_equal(foreground(image), image[:, :, 3] == 255)
    image[:, :, 3] = 0
    assert foreground(image).all()
