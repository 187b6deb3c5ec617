"""Curves in a picture and the coordinates along and across them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

Points = NDArray[np.float64]
"""(n, 2) of (y, x), in pixels."""


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
    def through(cls, points: Points, beyond: float = 0.0) -> Curve:
        """Through points that are not all one, and straight on for ``beyond`` pixels at both ends."""
        steps = np.diff(points, axis=0)
        lengths = np.hypot(*steps.T)
        kept = np.flatnonzero(lengths > 0)
        run = min(len(kept), 8)
        first = steps[kept[:run]].sum(axis=0)
        last = steps[kept[-run:]].sum(axis=0)
        ends = [
            points[:1] - beyond * first / max(float(np.hypot(*first)), 1e-9),
            points[-1:] + beyond * last / max(float(np.hypot(*last)), 1e-9),
        ]
        whole = np.concatenate([ends[0], points, ends[1]]) if beyond > 0 else points
        along = np.concatenate([[0.0], np.hypot(*np.diff(whole, axis=0).T).cumsum()])
        count = max(2, round(along[-1]) + 1)
        even = np.linspace(0, along[-1], count)
        placed = np.stack([np.interp(even, along, column) for column in whole.T], axis=1)
        ways = np.gradient(placed, axis=0)
        return cls(placed, ways / np.maximum(np.hypot(*ways.T), 1e-9)[:, None])

    @property
    def length(self) -> float:
        """In pixels."""
        return float(len(self.points) - 1)

    def coordinates(self, points: Points) -> tuple[Points, Points]:
        """How far along the curve (n,) points lie, and how far to its right (n,), in pixels."""
        _, nearest = KDTree(self.points).query(points)
        away = points - self.points[nearest]
        way = self.ways[nearest]
        along = nearest + np.einsum("ij,ij->i", away, way)
        return along, away[:, 1] * way[:, 0] - away[:, 0] * way[:, 1]

    def at(self, along: Points, aside: Points) -> Points:
        """Points (n, 2) so far along the curve, ``aside`` pixels to its right."""
        places = np.arange(len(self.points), dtype=np.float64)
        y, x, down, right = (np.interp(along, places, column) for column in (*self.points.T, *self.ways.T))
        return np.stack([y - aside * right, x + aside * down], axis=1)
