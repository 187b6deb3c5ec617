"""Pieces of a mask: a part of where a defect may lie that is as long as a defect is to be."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.masks import Mask
from models.measures import length_of
from models.placement.drawn import DrawnMask, PlacementError

_TRIES = 16
_CLOSE = 0.95  # of the length that is enough
_SHORT = 0.8  # of it, which a piece must have at all
_EIGHT = np.ones((3, 3), dtype=np.int8)


def piece(mask: Mask, length: float, key: int) -> DrawnMask:
    """A connected part of a mask about as long as asked.

    It is what of a region lies in a disc of that diameter around one of its pixels.

    Args:
        mask: (H, W), not empty.
        length: along the principal axis, in pixels.
        key: noise key; equal keys give equal pieces.

    Returns:
        The piece (H, W); it is told of no region, for nothing of it was learned.

    Raises:
        PlacementError: none was found that is nearly as long.
    """
    rng = np.random.default_rng(key)
    labels, _ = ndimage.label(mask, structure=_EIGHT)
    diagonals = np.array(
        [math.hypot(*(side.stop - side.start for side in box)) for box in ndimage.find_objects(labels)]
    )
    long = np.flatnonzero(diagonals >= min(length, diagonals.max())) + 1
    rows, columns = np.nonzero(np.isin(labels, long))
    best, reached = None, 0.0
    for at in rng.integers(len(rows), size=_TRIES):
        row, column = int(rows[at]), int(columns[at])
        place, part = _around(labels, row, column, length)
        if (found := length_of(part)) > reached:
            best, reached = (place, part), found
        if reached >= _CLOSE * length:
            break
    if best is None or reached < _SHORT * length:
        raise PlacementError(
            f"no piece of the mask is {length:.4g} pixels long, the longest that was found {reached:.4g}; ask for"
            " a smaller size, or send a larger mask"
        )
    drawn = np.zeros_like(mask)
    drawn[best[0]] = best[1]
    return DrawnMask(drawn, ())


def _around(labels: NDArray[np.integer], row: int, column: int, length: float) -> tuple[tuple[slice, slice], Mask]:
    """What of a region lies within half the length of one of its pixels and hangs together with it."""
    radius = max(round((length - 1) / 2), 1)
    rows, columns = (
        slice(max(at - radius, 0), min(at + radius + 1, size))
        for at, size in zip((row, column), labels.shape, strict=True)
    )
    y, x = np.ogrid[rows, columns]
    near = (labels[rows, columns] == labels[row, column]) & (
        (y - row) ** 2 + (x - column) ** 2 <= (radius + 0.3) ** 2
    )
    parts, _ = ndimage.label(near, structure=_EIGHT)
    return (rows, columns), np.asarray(parts == parts[row - rows.start, column - columns.start])
