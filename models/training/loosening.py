"""Masks as requests draw them: tight, dilated, hulled or boxed. The label stays tight."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull, Delaunay, QhullError

Mask = NDArray[np.bool_]


def loosened(mask: Mask, rng: np.random.Generator) -> Mask:
    """The mask (P, P) itself, or a looser one around it, at random."""
    kind = rng.choice(4, p=(0.4, 0.3, 0.15, 0.15))
    if kind == 0 or not mask.any():
        return mask
    if kind == 1:
        return dilated(mask, int(rng.integers(1, 1 + max(1, len(mask) // 20))))
    return hulled(mask) if kind == 2 else boxed(mask)


def dilated(mask: Mask, radius: int) -> Mask:
    """All pixels within `radius` of the mask."""
    return np.asarray(ndimage.distance_transform_edt(~mask) <= radius)


def boxed(mask: Mask) -> Mask:
    """The smallest box around the mask."""
    box = np.zeros_like(mask)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    return box


def hulled(mask: Mask) -> Mask:
    """The pixels in the mask's convex hull; a mask on one line is its own."""
    points = np.argwhere(mask)
    try:
        corners = points[ConvexHull(points).vertices]
    except QhullError:
        return mask
    everywhere = np.indices(mask.shape).reshape(2, -1).T
    return (Delaunay(corners).find_simplex(everywhere) >= 0).reshape(mask.shape) | mask


def on_latent_grid(mask: Mask, factor: int) -> NDArray[np.float32]:
    """(P, P) bool → (P/factor, P/factor) 0 or 1 by max-pooling, so that thin masks never vanish."""
    rows, columns = mask.shape[0] // factor, mask.shape[1] // factor
    pooled: Mask = np.any(mask.reshape(rows, factor, columns, factor), axis=(1, 3))
    return pooled.astype(np.float32)
