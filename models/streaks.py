"""Streaks: the one way that the fine structure inside a defect runs, if it does, as of grinding or brushing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.curves import Points
from models.extents import main_way
from models.masks import Mask, distance_inside

_FINE = 1.0  # pixels over which levels are smoothed
_EDGE = 2.5  # pixels from a defect's outline, which is no streak
_ENOUGH = 500  # pixels inside, from which structure can be told from a chance
_COHERENT = 0.65  # of 1, which is streaks alone; real defects of other kinds stay below 0.6
_ALONG = np.cos(np.radians(30))  # of a line its own edges run along it, and are no streaks
_ELONGATED = 4.0  # length over width from which a shape may be a line


def streaks(image: NDArray[np.uint8], mask: Mask) -> Points | None:
    """The way (y, x) that streaks inside a defect run, a unit vector; None where there are none.

    It is the way in which levels change least, where they change by far more across it: the structure tensor's
    coherence over the defect [Bigün and Granlund 1987].

    Args:
        image: (h, w, channels).
        mask: (h, w), not empty: the defect.
    """
    inside = distance_inside(mask) > _EDGE
    if inside.sum() < _ENOUGH:
        return None
    levels = image.mean(axis=2, dtype=np.float32)
    slopes = np.stack([ndimage.gaussian_filter(levels, _FINE, order=order)[inside] for order in ((1, 0), (0, 1))])
    changes, ways = np.linalg.eigh((slopes @ slopes.T).astype(np.float64))
    if changes[1] - changes[0] < _COHERENT * max(float(changes.sum()), 1e-9):
        return None
    way = ways[:, 0]
    main, elongation = main_way(mask)
    if elongation > _ELONGATED and abs(way @ main) > _ALONG:
        return None
    return np.asarray(way)
