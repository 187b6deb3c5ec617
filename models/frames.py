"""The frame that a part fills in its photo, and the coarse cells by which places in it are judged."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.masks import Mask

_SEEN = 160  # cells of the longer side

Frame = tuple[int, int, int, int]
"""Box around the part: top, left, height, width."""


def box_of(mask: Mask) -> Frame:
    """Box around what is set, which must be something."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return int(rows[0]), int(columns[0]), int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1)


def extent_of(frame: Frame) -> float:
    """The length to which lengths on a part are relative, in pixels: a square's side as large as its frame."""
    return math.sqrt(frame[2] * frame[3])


def centre_in(place: tuple[float, float], frame: Frame) -> tuple[float, float]:
    """y, x in pixels of a place within the frame, 0 to 1 each."""
    return frame[0] + place[0] * frame[2], frame[1] + place[1] * frame[3]


def step_of(size: tuple[int, ...]) -> int:
    """Side in pixels of the cells of an image of this height and width."""
    return -(-max(size) // _SEEN)


def cell_at(at: float, step: int, count: int) -> int:
    """Which of so many cells in a row a pixel lies in; the nearest if it lies in none."""
    return int(np.clip(at // step, 0, count - 1))


def cells_of(mask: Mask, step: int) -> Mask:
    """Cells of ``step`` pixels a side that hold a set one."""
    rows, columns = (np.arange(0, side, step) for side in mask.shape)
    return np.asarray(np.logical_or.reduceat(np.logical_or.reduceat(mask, rows, axis=0), columns, axis=1))


def depth_in(part: Mask) -> tuple[NDArray[np.float64], int]:
    """How far each cell lies within the part, negative beyond it, in pixels, (h, w); and the cell's side."""
    step = step_of(part.shape)
    cells = cells_of(part, step)
    if cells.all():
        return np.zeros(cells.shape), step
    inside, outside = ndimage.distance_transform_edt(cells), ndimage.distance_transform_edt(~cells)
    return (inside - outside) * step, step
