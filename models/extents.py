"""How long and how wide a shape is, and which way it lies."""

from __future__ import annotations

import math

import numpy as np

from models.curves import Points
from models.masks import Mask

_SHAPE = 512  # pixels of the longer side in which a shape can be told


def main_way(mask: Mask) -> tuple[Points, float]:
    """A shape's main way (y, x), a unit vector, and its length over its width."""
    points = _points(mask)
    centred = points - points.mean(axis=0)
    spreads, ways = np.linalg.eigh(centred.T @ centred / len(points) + np.eye(2) / 12)
    way = ways[:, -1] * (1 if ways[np.argmax(np.abs(ways[:, -1])), -1] > 0 else -1)
    return way, float(np.sqrt(spreads[1] / spreads[0]))


def extent(mask: Mask) -> tuple[float, float]:
    """Length along the main way and width across it, in pixels."""
    way, _ = main_way(mask)
    points = _points(mask)
    along, across = points @ way, points @ np.array([-way[1], way[0]])
    return float(np.ptp(along)) + 1, float(np.ptp(across)) + 1


def _points(mask: Mask) -> Points:
    """Where a shape lies; of a large one fewer points."""
    factor = coarseness(mask)
    return np.asarray((np.argwhere(shrunk(mask, factor)) + 0.5) * factor - 0.5, np.float64)


def coarseness(mask: Mask) -> int:
    """By how much a mask is shrunk to tell its shape."""
    return max(1, math.ceil(int(max(mask.shape)) / _SHAPE))


def shrunk(mask: Mask, factor: int) -> Mask:
    """In cells of ``factor`` pixels a side, set where any of their pixels is."""
    if factor == 1:
        return mask
    padded = np.pad(mask, [(0, -side % factor) for side in mask.shape])
    height, width = (side // factor for side in padded.shape)
    return np.asarray(padded.reshape(height, factor, width, factor).any(axis=(1, 3)))
