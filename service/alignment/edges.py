"""Edges: what of a photo stays the same when the light is another one."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.alignment.places import Coefficients, Mask
from service.images.canonical import Pixels

Floats = NDArray[np.float32]
Complexes = NDArray[np.complex64]

RADIUS = 4
"""Pixels around one that its edge is made of."""
_SIGMA = 1.2
_STEPS = np.arange(-RADIUS, RADIUS + 1)
_BELL = np.exp(-0.5 * (_STEPS / _SIGMA) ** 2) / np.exp(-0.5 * (_STEPS / _SIGMA) ** 2).sum()
_SLOPE = _STEPS / _SIGMA**2 * _BELL
_NOISE = 3.0
"""An edge so many times as strong as those of the noise is half as strong as one can be."""
_FAINT = 0.1
"""The same, of those that are strongest in the image."""
_STRONGEST = 0.995
_MAD = 0.6745
"""Of a normal distribution: median of distances from the mean, in standard deviations."""


def shrunk(pixels: Pixels, longest: int) -> tuple[Floats, int]:
    """Brightness, as the noise of a camera is even in it, on a scale of at most ``longest`` pixels a side.

    Args:
        pixels: (H, W) or (H, W, C), uint8 or uint16; alpha is not looked at.

    Returns:
        (h, w) in [0, 1], and by what whole number it was shrunk; what is left over to the right and below is cut.
    """
    height, width = pixels.shape[:2]
    factor = math.ceil(max(height, width) / longest)
    colours = 1 if pixels.ndim == 2 or pixels.shape[2] == 2 else 3
    planes = pixels[..., None] if pixels.ndim == 2 else pixels[..., :colours]
    h, w = max(1, height // factor), max(1, width // factor)
    down, across = min(factor, height), min(factor, width)
    found = np.empty((h, w), np.float32)
    for row in range(h):  # row by row, so that no second image of this size comes into being
        strip = planes[row * factor : row * factor + down, : w * across]
        found[row] = strip.reshape(down, w, across, colours).mean(axis=(0, 2, 3), dtype=np.float32)
    return np.sqrt(found / np.float32(np.iinfo(pixels.dtype).max)), factor


def smaller(grey: Floats, factor: int) -> Floats:
    """(H, W) on a scale ``factor`` times as small."""
    height, width = grey.shape
    h, w = max(1, height // factor), max(1, width // factor)
    down, across = min(factor, height), min(factor, width)
    found: Floats = grey[: h * down, : w * across].reshape(h, down, w, across).mean(axis=(1, 3))
    return found


def edges(grey: Floats, known: Mask | None = None) -> Complexes:
    """Edges of an image (H, W): which way they face, x real and y imaginary, and from 0 to 1 how clear they are.

    Args:
        known: (H, W), where the image is known; else, and at its borders, there are none. Everywhere if None.
    """
    inner = np.ones(grey.shape, np.bool_) if known is None else known.copy()
    inner[:RADIUS] = inner[-RADIUS:] = inner[:, :RADIUS] = inner[:, -RADIUS:] = False
    if not inner.any():
        return np.zeros(grey.shape, np.complex64)
    padded = np.pad(grey, RADIUS, mode="edge")
    gradient = _along(_along(padded, _BELL, 0), _SLOPE, 1) + 1j * _along(_along(padded, _SLOPE, 0), _BELL, 1)
    strength = np.abs(gradient)
    noise = _noise(grey, inner) * math.sqrt(float((_SLOPE**2).sum() * (_BELL**2).sum()))
    half = max(_NOISE * noise, _FAINT * float(np.quantile(strength[inner], _STRONGEST)), 1e-4)
    return (gradient * inner * (strength / (strength**2 + half**2))).astype(np.complex64)


def moved(grey: Floats, coefficients: Coefficients, shape: tuple[int, int]) -> tuple[Floats, Mask]:
    """What lies where the coefficients lead from each pixel of a frame (h, w), and where edges of it are known."""
    image = Image.fromarray(grey)
    size = shape[1], shape[0]
    out = image.transform(size, Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR, fillcolor=-1.0)
    found = np.asarray(out)
    known = found >= 0
    for axis in (0, 1):
        line = known.copy()
        for step in range(1, RADIUS + 1):
            ahead, behind = (_slice(axis, slice(step, None)), _slice(axis, slice(None, -step)))
            known[ahead] &= line[behind]
            known[behind] &= line[ahead]
    return np.maximum(found, 0), known


def _slice(axis: int, part: slice) -> tuple[slice, ...]:
    return (part,) if axis == 0 else (slice(None), part)


def _along(values: Floats, kernel: NDArray[np.float64], axis: int) -> Floats:
    """Correlation with a kernel along an axis, as far as it lies within."""
    length = values.shape[axis] - len(kernel) + 1
    found = np.zeros_like(values[_slice(axis, slice(length))])
    for place, weight in enumerate(kernel):
        found += values[_slice(axis, slice(place, place + length))] * np.float32(weight)
    return found


def _noise(grey: Floats, known: Mask) -> float:
    """Standard deviation of the noise, by what of the image no smooth one has."""
    rough = grey[:-2] - 2 * grey[1:-1] + grey[2:]
    rough = rough[:, :-2] - 2 * rough[:, 1:-1] + rough[:, 2:]
    return float(np.median(np.abs(rough[known[1:-1, 1:-1]]))) / _MAD / 6
