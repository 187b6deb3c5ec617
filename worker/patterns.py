"""Perceptual hashes: what an image looks like in 256 bits, of which few differ between images that look alike."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from flawsmith.contract.looks import PATTERN_BITS
from service.images.canonical import Pixels

_SIDE = 64
_KEPT = 16
_TAKEN = 6
"""Pixels along a side that are taken of what one covers, at least if there are so many."""
assert _KEPT**2 == PATTERN_BITS


def pattern(pixels: Pixels) -> str:
    """The hash of an image, in hex: of each of its 256 lowest frequencies whether it is stronger than most.

    Light and contrast of the whole image make no difference, nor does its size or noise much finer than a 64th of
    its side. Images of one colour all have the same.

    Args:
        pixels: (H, W) or (H, W, C); alpha is left out.
    """
    small = means(colour(pixels), (_SIDE, _SIDE)).reshape(_SIDE, _SIDE, -1).mean(axis=2)
    spectrum = fft.dctn(small - small.mean(), norm="ortho")[:_KEPT, :_KEPT].ravel()
    spectrum[np.abs(spectrum) < 1e-6] = 0  # of an image of one colour rounding is left
    return np.packbits(spectrum > np.median(spectrum[1:])).tobytes().hex()


def colour(pixels: NDArray[Any]) -> NDArray[Any]:
    """Pixels without alpha: (H, W) or (H, W, 3)."""
    if pixels.ndim == 2:
        return pixels
    return pixels[..., 0] if pixels.shape[2] <= 2 else pixels[..., :3]


def means(pixels: Pixels, size: tuple[int, int]) -> NDArray[np.float64]:
    """``pixels`` (H, W[, C]) at a size (h, w): means of what each covers; pixels of smaller ones are repeated.

    Of large images some of what each covers is taken, evenly spread: they are not worth a second.
    """
    steps = [max(1, length // (wanted * _TAKEN)) for length, wanted in zip(pixels.shape, size, strict=False)]
    found: NDArray[Any] = pixels[:: steps[0], :: steps[1]]
    for axis, wanted in enumerate(size):
        length = found.shape[axis]
        starts = np.arange(wanted) * length // wanted
        counts = np.maximum(np.diff(np.append(starts, length)), 1)
        sums = np.add.reduceat(found, starts, axis=axis, dtype=np.float64)
        found = sums / counts.reshape([-1 if axis == one else 1 for one in range(found.ndim)])
    return found
