"""A round part seen from the side: where its skin lies in the image and how it turns to the light."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from models.rendering.noise import Field
from models.rendering.stage import Stage


@dataclass(frozen=True, eq=False)
class Cylinder:
    """A cylinder of `radius` pixels, its axis turned by `angle` and `offset` pixels aside from the centre.

    `profile` takes places along the axis, in pixels from the centre, to the radius there, in radii; None is 1.
    """

    stage: Stage
    angle: float
    radius: float
    offset: float = 0.0
    profile: Callable[[Field], Field] | None = None

    @cached_property
    def _turned(self) -> tuple[Field, Field]:
        return self.stage.turned(self.angle)

    @cached_property
    def side(self) -> Field:
        """(H, W), −1 and 1 at the two outlines, 0 on the axis."""
        side: Field = np.asarray(self.across / np.maximum(self._radius(self.along), 1), np.float32)
        return side

    def _radius(self, along: Field) -> Field:
        one: Field = np.ones_like(along) if self.profile is None else self.profile(along)
        return np.asarray(one * self.radius, np.float32)

    @property
    def across(self) -> Field:
        """(H, W) pixels from the axis."""
        return self._turned[0] - np.float32(self.offset)

    @property
    def along(self) -> Field:
        """(H, W) pixels along the axis from the centre."""
        return self._turned[1]

    @cached_property
    def rise(self) -> Field:
        """(H, W) height of the skin in radii: 1 on the axis, 0 at the outlines and beyond."""
        return np.sqrt(np.clip(1 - self.side**2, 0, 1))

    @cached_property
    def girth(self) -> Field:
        """(H, W) pixels around the skin from the axis' line, for textures that wrap around it."""
        return np.arcsin(np.clip(self.side, -1, 1)) * self._radius(self.along)

    @property
    def distance(self) -> Field:
        """(H, W) pixels to the outline, negative on the cylinder."""
        distance: Field = np.abs(self.across) - self._radius(self.along)
        return distance

    @cached_property
    def facing(self) -> Field:
        """(H, W) in [−1, 1]: cosine between skin and light."""
        return self.lit()[0]

    def lit(self, around: Field | float = 0.0, along: Field | float = 0.0) -> tuple[Field, Field]:
        """Cosines (H, W) of the skin with the light, and with the direction in which it mirrors the light.

        around, along: slopes of a relief on the skin, in these two directions.
        """
        light, side, rise = self.stage.light, np.clip(self.side, -1, 1), self.rise
        flat = math.sqrt(1 - light.elevation**2)
        c, s = math.cos(self.angle), math.sin(self.angle)
        toward = (light.dy * c - light.dx * s) * flat, (light.dy * s + light.dx * c) * flat, light.elevation
        lean = along
        if self.profile is not None:
            half = np.float32(0.5)
            lean = along + np.clip(self._radius(self.along + half) - self._radius(self.along - half), -5, 5)
        normal = side - around * rise, -lean + np.zeros_like(side), rise + around * side
        length = np.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2) + np.float32(1e-6)
        middle = math.sqrt(toward[0] ** 2 + toward[1] ** 2 + (toward[2] + 1) ** 2)
        cosine = sum(n * t for n, t in zip(normal, toward, strict=True)) / length
        mirror = (normal[0] * toward[0] + normal[1] * toward[1] + normal[2] * (toward[2] + 1)) / (length * middle)
        return np.clip(cosine, -1, 1).astype(np.float32), np.clip(mirror, 0, 1).astype(np.float32)

    def curve(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points (n, 2) of the skin, unrolled about the axis' line, to (y, x) in the image; none leaves it."""
        height, width = self.stage.shape
        c, s = math.cos(self.angle), math.sin(self.angle)
        v, u = points[:, 0] - height / 2, points[:, 1] - width / 2
        across, along = v * c - u * s, v * s + u * c
        turn = np.clip((across - self.offset) / self.radius, -1.45, 1.45)
        bent = self.offset + self._radius(along.astype(np.float32)) * np.sin(turn)
        return np.stack([bent * c + along * s + height / 2, along * c - bent * s + width / 2], axis=-1)
