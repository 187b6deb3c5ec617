"""Geometry of masks: soft edges that keep thin masks, thickness, distance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.ramps import smoothstep

Mask = NDArray[np.bool_]


def distance_inside(mask: Mask) -> NDArray[np.float32]:
    """Distance of each set pixel to the nearest clear one, in pixels (≥ 1); beyond the array all is set.

    A mask that touches the image's border has no edge there: nothing lies on the other side.
    """
    if mask.all():
        return np.full(mask.shape, np.float32(max(mask.shape)))
    return np.asarray(ndimage.distance_transform_edt(mask), dtype=np.float32)


def distance_outside(mask: Mask) -> NDArray[np.float32]:
    """Distance of each clear pixel to the nearest set one, in pixels (≥ 1); 0 on set ones; ∞ if none is set."""
    if not mask.any():
        return np.full(mask.shape, np.float32(np.inf))
    return np.asarray(ndimage.distance_transform_edt(~mask), dtype=np.float32)


def local_thickness(inside: NDArray[np.float32], limit: int) -> NDArray[np.int32]:
    """Radius of the largest disc within the mask that covers a pixel, up to ``limit``.

    Args:
        inside: `distance_inside` of the mask.
        limit: radii above count as this one.
    """
    thickness = (inside > 0).astype(np.int32)
    for radius in range(2, limit + 1):
        centres = inside >= radius
        if not centres.any():
            break
        thickness[distance_outside(centres) < radius] = radius
    return np.where(inside > 0, thickness, 0)


def grown_where_thin(cells: Mask) -> Mask:
    """Latent cells of a mask, grown by one wherever it is narrower than three.

    Of a line one cell wide the decoder, which sees the cells beside it too, shows only a part; composing cuts off
    again what is drawn beyond the request.
    """
    square = np.ones((3, 3), dtype=np.bool_)
    thin = cells & ~ndimage.binary_opening(np.pad(cells, 1, mode="edge"), square)[1:-1, 1:-1]
    return np.asarray(cells | ndimage.binary_dilation(thin, square))


def on_latent_grid(mask: Mask, factor: int) -> NDArray[np.float32]:
    """(P, P) bool → (P/factor, P/factor) 0 or 1 by max-pooling, so that thin masks never vanish."""
    rows, columns = mask.shape[0] // factor, mask.shape[1] // factor
    pooled: Mask = np.any(mask.reshape(rows, factor, columns, factor), axis=(1, 3))
    return pooled.astype(np.float32)


def pooled(mask: Mask, shape: tuple[int, ...]) -> Mask:
    """A mask max-pooled onto a grid of another shape: a cell is set if any of its pixels is."""
    return pooled_at(np.nonzero(mask), mask.shape, shape)


def pooled_at(pixels: Sequence[NDArray[np.integer]], size: tuple[int, ...], shape: tuple[int, ...]) -> Mask:
    """`pooled` of the mask of this size that is set at these rows and columns."""
    grid = np.zeros(shape, dtype=np.bool_)
    rows, columns = (
        (2 * at.astype(np.int64) + 1) * cells // (2 * side)
        for at, cells, side in zip(pixels, shape, size, strict=True)
    )
    grid[rows, columns] = True
    return grid


def inner_edge(mask: Mask, width: int) -> NDArray[np.float32]:
    """α: 0 outside, rising to 1 within ``width`` pixels inside, and 1 on the medial axis however thin the mask."""
    inside = distance_inside(mask)
    ramp = inside / np.maximum(local_thickness(inside, width), 1)
    return smoothstep(0.0, 1.0, ramp.astype(np.float32))


def outer_edge(mask: Mask, width: int) -> NDArray[np.float32]:
    """1 inside, falling outside; exactly 0 farther than ``width`` pixels from the mask."""
    distance = distance_outside(mask)
    ramp = np.where(distance <= width, 1 - np.minimum(distance, width) / (width + 1), 0)
    return smoothstep(0.0, 1.0, ramp.astype(np.float32))


def grown(mask: Mask, times: float) -> Mask:
    """What lies nearest to a mask that is not empty, so that it has that many times its area."""
    distance = distance_outside(mask)
    most = min(int(times * mask.sum()), mask.size) - 1
    return np.asarray(distance <= np.partition(distance.ravel(), most)[most])


def around(mask: Mask, margin: int) -> tuple[slice, slice]:
    """Rows and columns of the box around a mask that is not empty, with a margin as far as the array goes."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return spanned(rows, columns, mask.shape, margin)


def spanned(rows: NDArray[Any], columns: NDArray[Any], shape: tuple[int, ...], margin: int) -> tuple[slice, slice]:
    """The same around pixels at these rows and columns of an array of this shape."""
    return (
        slice(max(0, int(rows.min()) - margin), min(shape[0], int(rows.max()) + 1 + margin)),
        slice(max(0, int(columns.min()) - margin), min(shape[1], int(columns.max()) + 1 + margin)),
    )
