"""Measures of what was drawn, per connected region of the refined mask, in pixels of the photo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.masks import Mask

MAX_REGIONS = 256
"""Regions measured, the largest first: a speckled mask may have thousands."""


@dataclass(frozen=True)
class RegionMeasures:
    """One connected region.

    Attributes:
        area: pixels.
        length: extent along its principal axis, pixels.
        width: area over length, pixels.
        contrast: mean absolute change over pixels and channels, as a share of the range, 0–1.
        box: x, y, width, height in the photo.
        defect: which of several defects in one image it is of.
    """

    area: float
    length: float
    width: float
    contrast: float
    box: tuple[int, int, int, int]
    defect: int = 0


def measured(
    refined: Mask, difference: NDArray[np.float32], origin: tuple[int, int] = (0, 0)
) -> tuple[RegionMeasures, ...]:
    """Measure every region, largest first.

    Args:
        refined: (H, W).
        difference: (H, W) absolute change in unit range, the mean over channels.
        origin: x, y of the arrays' first pixel in the photo.
    """
    labels, count = ndimage.label(refined, structure=np.ones((3, 3), dtype=np.int8))
    if count == 0:
        return ()
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    areas[0] = 0
    places = ndimage.find_objects(labels)
    largest = np.argsort(-areas[1:], kind="stable")[:MAX_REGIONS] + 1
    return tuple(_region(labels, int(label), places[label - 1], difference, origin) for label in largest)


def length_of(region: Mask) -> float:
    """Extent along its principal axis of a region (H, W) that is not empty, in pixels."""
    points = np.argwhere(region).astype(np.float64)
    centred = points - points.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    along = centred @ axes[:, -1]
    return float(along.max() - along.min() + 1)


def _region(
    labels: NDArray[np.integer[Any]],
    label: int,
    place: tuple[slice, slice],
    difference: NDArray[np.float32],
    origin: tuple[int, int],
) -> RegionMeasures:
    inside = labels[place] == label
    area, length = float(inside.sum()), length_of(inside)
    ys, xs = place
    return RegionMeasures(
        area=area,
        length=length,
        width=area / length,
        contrast=float(difference[place][inside].mean()),
        box=(origin[0] + xs.start, origin[1] + ys.start, xs.stop - xs.start, ys.stop - ys.start),
    )
