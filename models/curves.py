"""Curves in a picture and the coordinates along and across them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Points = NDArray[np.float64]
"""(n, 2) of (y, x), in pixels."""
Reals = NDArray[np.float64]
"""(n,)."""


@dataclass(frozen=True, eq=False)
class Curve:
    """A curve whose points lie one pixel apart.

    Attributes:
        points: (n, 2), n ≥ 2.
        ways: (n, 2) unit vectors along it.
    """

    points: Points
    ways: Points

    @classmethod
    def through(cls, points: Points) -> Curve:
        """Through points (n, 2) that are not all one."""
        along = np.concatenate([[0.0], np.hypot(*np.diff(points, axis=0).T).cumsum()])
        count = max(2, round(along[-1]) + 1)
        even = np.linspace(0, along[-1], count)
        placed = np.stack([np.interp(even, along, column) for column in points.T], axis=1)
        ways = np.gradient(placed, axis=0)
        return cls(placed, ways / np.maximum(np.hypot(*ways.T), 1e-9)[:, None])

    @property
    def length(self) -> float:
        """In pixels."""
        return float(len(self.points) - 1)

    def coordinates(self, shape: tuple[int, ...], cells: NDArray[np.int64]) -> tuple[Reals, Reals]:
        """How far along the curve cells (n, 2) of an array lie, and how far to its left, in pixels.

        Beyond its ends the curve goes straight on.

        Raises:
            ValueError: the curve does not come into the array.
        """
        places = np.rint(self.points).astype(np.int64)
        inside = np.flatnonzero(((places >= 0) & (places < np.array(shape))).all(axis=1))
        if not len(inside):
            raise ValueError(f"the curve lies outside an array of {shape}")
        number = np.full(shape, -1)
        number[tuple(places[inside].T)] = inside
        rows, columns = ndimage.distance_transform_edt(number < 0, return_distances=False, return_indices=True)
        nearest = number[rows, columns][tuple(cells.T)]
        away = cells - self.points[nearest]
        way = self.ways[nearest]
        along = nearest + np.einsum("ij,ij->i", away, way)
        return along, away[:, 1] * way[:, 0] - away[:, 0] * way[:, 1]

    def at(self, along: Reals, aside: Reals) -> Points:
        """Points (n, 2) so far along the curve, ``aside`` pixels to its left."""
        places = np.arange(len(self.points), dtype=np.float64)
        y, x, down, right = (np.interp(along, places, column) for column in (*self.points.T, *self.ways.T))
        return np.stack([y - aside * right, x + aside * down], axis=1)
