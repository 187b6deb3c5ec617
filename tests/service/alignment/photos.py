"""Photos of a made-up part: where it lies is known."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from service.alignment.places import Place
from tests.service.images import files

HEIGHT, WIDTH = 180, 240
_FINER = 3
"""Samples a side of a pixel."""
LEFT, TOP, RIGHT, BOTTOM = 150, 50, 190, 80
"""A rectangle on the part of `part`, near its round hole."""


def part(
    place: Place | None = None, light: int | None = None, height: int = HEIGHT, width: int = WIDTH
) -> NDArray[np.uint8]:
    """A photo (H, W) of a plate with a hole, a slot and a notch, on a plain ground.

    Args:
        place: how it lies to where it lies otherwise.
        light: another number, another light, with other noise; if None that of a reference.
    """
    a, b, c, d, e, f = (place or Place()).from_photo(np.array([width, height]) / 2)
    v, u = (np.mgrid[0 : _FINER * height, 0 : _FINER * width] + 0.5) / _FINER
    scale = WIDTH / width
    x, y = (a * u + b * v + c) * scale, (d * u + e * v + f) * scale
    shown = np.full(x.shape, 0.15)
    shown = np.where((abs(x - 120) < 85) & (abs(y - 90) < 55) & ~((abs(x - 70) < 9) & (y < 50)), 0.6, shown)
    shown = np.where(np.hypot(x - 170, y - 65) < 14, 0.2, shown)
    shown = np.where((abs(x - 85) < 30) & (abs(y - 115) < 6), 0.85, shown)
    return lit(shown.reshape(height, _FINER, width, _FINER).mean((1, 3)), light)


def lit(shown: NDArray[np.float64], light: int | None = None) -> NDArray[np.uint8]:
    """What a camera makes of brightness (H, W) in [0, 1]; ``light`` as of `part`."""
    rng = np.random.default_rng(light)
    if light is not None:
        across = np.linspace(rng.uniform(0.6, 1), rng.uniform(0.7, 1.1), shown.shape[1])
        shown = shown ** math.exp(rng.uniform(-0.3, 0.3)) * across
        shown = shown + rng.normal(0, 0.015, shown.shape)
    return np.asarray(np.clip(shown, 0, 1) * 255 + 0.5, np.uint8)


def drawn(height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.bool_]:
    """The rectangle (H, W) on the reference."""
    mask = np.zeros((height, width), np.bool_)
    mask[TOP:BOTTOM, LEFT:RIGHT] = True
    return mask


def file(pixels: NDArray[np.uint8] | NDArray[np.bool_]) -> bytes:
    """A PNG file of a photo, or of a mask."""
    return files.png(pixels.astype(np.uint8) * np.uint8(255) if pixels.dtype == np.bool_ else pixels)
