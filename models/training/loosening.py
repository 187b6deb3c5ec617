"""Masks as requests draw them: tight, dilated, hulled, boxed, generous or of any shape. The label stays tight."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull, Delaunay, QhullError

Mask = NDArray[np.bool_]

_LEAST = 6  # pixels that a confined defect keeps


def loosened(mask: Mask, rng: np.random.Generator) -> Mask:
    """The mask (P, P) itself, or a looser one around it, at random."""
    kind = rng.choice(6, p=(0.3, 0.2, 0.1, 0.1, 0.1, 0.2))
    if kind == 0 or not mask.any():
        return mask
    if kind == 1:
        return dilated(mask, int(rng.integers(1, 1 + max(1, len(mask) // 20))))
    if kind == 2:
        return hulled(mask)
    if kind == 5:
        return blotted(mask, rng)
    return boxed(mask, rng if kind == 4 else None)


def confined(mask: Mask, rng: np.random.Generator) -> Mask:
    """What a narrow request leaves of a defect: its part in a line 1 to 3 px wide, a small square or a disc."""
    inside = np.argwhere(mask)
    row, column = inside[rng.integers(len(inside))]
    y, x = np.ogrid[-row : mask.shape[0] - row, -column : mask.shape[1] - column]
    kind = rng.choice(3, p=(0.5, 0.2, 0.3))
    if kind == 0:
        angle = rng.uniform(0, np.pi)
        shape = np.abs(y * np.cos(angle) - x * np.sin(angle)) < rng.integers(1, 4) / 2
    elif kind == 1:
        shape = np.maximum(np.abs(y), np.abs(x)) <= rng.integers(1, 4)
    else:
        shape = np.hypot(y, x) < rng.uniform(0.05, 0.2) * len(mask)
    part: Mask = mask & shape
    return part if part.sum() >= _LEAST else mask


def dilated(mask: Mask, radius: int) -> Mask:
    """All pixels within `radius` of the mask."""
    return np.asarray(ndimage.distance_transform_edt(~mask) <= radius)


def boxed(mask: Mask, rng: np.random.Generator | None = None) -> Mask:
    """The smallest box around the mask; with `rng` a generous one, up to a third of the side wider each way."""
    box = np.zeros_like(mask)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    up, down, left, right = (0,) * 4 if rng is None else rng.integers(0, len(mask) // 3 + 1, 4).tolist()
    box[max(rows[0] - up, 0) : rows[-1] + 1 + down, max(columns[0] - left, 0) : columns[-1] + 1 + right] = True
    return box


def blotted(mask: Mask, rng: np.random.Generator) -> Mask:
    """The mask with an ellipse, a box or a bar laid over it, from a pixel to half the side in size: most requests
    are shaped by people who think of a place, not of a defect's outline."""
    inside = np.argwhere(mask)
    row, column = inside[rng.integers(len(inside))] + rng.integers(-len(mask) // 16, len(mask) // 16 + 1, 2)
    y, x = np.ogrid[-row : mask.shape[0] - row, -column : mask.shape[1] - column]
    angle = rng.uniform(0, np.pi)
    across, along = y * np.cos(angle) - x * np.sin(angle), y * np.sin(angle) + x * np.cos(angle)
    width, length = np.exp(rng.uniform(0, np.log(len(mask) / 4), 2))
    if rng.random() < 0.5:
        shape = np.hypot(across / width, along / length) < 1
    else:
        shape = (np.abs(across) < width) & (np.abs(along) < length)
    return np.asarray(mask | shape)


def hulled(mask: Mask) -> Mask:
    """The pixels in the mask's convex hull; a mask on one line is its own."""
    points = np.argwhere(mask)
    try:
        corners = points[ConvexHull(points).vertices]
    except QhullError:
        return mask
    everywhere = np.indices(mask.shape).reshape(2, -1).T
    return (Delaunay(corners).find_simplex(everywhere) >= 0).reshape(mask.shape) | mask
