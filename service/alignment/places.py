"""Places: how a reference lies in a photo, and what is drawn on it carried over."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Mask = NDArray[np.bool_]
Points = NDArray[np.float64]
"""(n, 2) as (x, y), in pixels; the first pixel is the square from (0, 0) to (1, 1)."""
Coefficients = tuple[float, float, float, float, float, float]
"""(a, b, c, d, e, f) of (x, y) → (a x + b y + c, d x + e y + f)."""


@dataclass(frozen=True)
class Place:
    """Where a reference lies in a photo of its size: turned about the middle of the frame, then shifted.

    A point p lies at ``R(angle) (p − c) + c + (x, y)``, c the middle.

    Attributes:
        x, y: pixels to the right and down.
        angle: degrees, clockwise as one sees it.
    """

    x: float = 0.0
    y: float = 0.0
    angle: float = 0.0

    def turn(self) -> NDArray[np.float64]:
        """R(angle): (2, 2)."""
        cos, sin = math.cos(math.radians(self.angle)), math.sin(math.radians(self.angle))
        return np.array([[cos, -sin], [sin, cos]])

    def scaled(self, factor: float) -> Place:
        """The same on a scale so many times as large."""
        return Place(self.x * factor, self.y * factor, self.angle)

    def to_photo(self, centre: Points) -> Coefficients:
        """From the reference to the photo, about the middle ``centre`` (2,)."""
        turn = self.turn()
        return _coefficients(turn, centre - turn @ centre + (self.x, self.y))

    def from_photo(self, centre: Points) -> Coefficients:
        """The way back."""
        back = self.turn().T
        return _coefficients(back, centre - back @ (centre + np.array([self.x, self.y])))

    def distance(self, other: Place, points: Points, centre: Points) -> float:
        """How far apart two places put some points at most, in pixels."""
        between = (points - centre) @ (self.turn() - other.turn()).T + (self.x - other.x, self.y - other.y)
        return float(np.hypot(*between.T).max())


def carried(mask: Mask, place: Place, *, beyond: bool) -> Mask:
    """A mask (H, W) of a reference in the frame of a photo: in each pixel what the nearest one of it says.

    Args:
        beyond: what is set where the photo shows what the reference does not.
    """
    height, width = mask.shape
    found = Image.fromarray(np.ascontiguousarray(mask).view(np.uint8)).transform(
        (width, height),
        Image.Transform.AFFINE,
        place.from_photo(np.array([width, height]) / 2),
        Image.Resampling.NEAREST,
        fillcolor=int(beyond),
    )
    return np.asarray(found).astype(np.bool_)


def _coefficients(matrix: NDArray[np.float64], off: NDArray[np.float64]) -> Coefficients:
    (a, b), (d, e) = matrix.tolist()
    c, f = off.tolist()
    return a, b, c, d, e, f
