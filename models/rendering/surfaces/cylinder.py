"""A round part seen from the side: where its skin lies in the image and how it turns to the light."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from models.rendering.noise import Field
from models.rendering.stage import Stage


@dataclass(frozen=True, eq=False)
class Cylinder:
    """A cylinder of `radius` pixels, its axis turned by `angle` and `offset` pixels aside from the centre."""

    stage: Stage
    angle: float
    radius: float
    offset: float = 0.0

    @cached_property
    def _turned(self) -> tuple[Field, Field]:
        return self.stage.turned(self.angle)

    @cached_property
    def side(self) -> Field:
        """(H, W), −1 and 1 at the two outlines, 0 on the axis."""
        return (self._turned[0] - np.float32(self.offset)) / np.float32(self.radius)

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
        return np.arcsin(np.clip(self.side, -1, 1)) * np.float32(self.radius)

    @property
    def distance(self) -> Field:
        """(H, W) pixels to the outline, negative on the cylinder."""
        return (np.abs(self.side) - 1) * np.float32(self.radius)

    @cached_property
    def facing(self) -> Field:
        """(H, W) in [−1, 1]: cosine between skin and light."""
        light = self.stage.light
        across = light.dy * math.cos(self.angle) - light.dx * math.sin(self.angle)
        flat = math.sqrt(1 - light.elevation**2)
        cosine = np.clip(self.side, -1, 1) * np.float32(across * flat) + self.rise * np.float32(light.elevation)
        return np.clip(cosine, -1, 1).astype(np.float32)

    def curve(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points (n, 2) of the skin, unrolled about the axis' line, to (y, x) in the image; none leaves it."""
        height, width = self.stage.shape
        c, s = math.cos(self.angle), math.sin(self.angle)
        v, u = points[:, 0] - height / 2, points[:, 1] - width / 2
        across, along = v * c - u * s, v * s + u * c
        turn = np.clip((across - self.offset) / self.radius, -1.45, 1.45)
        across = self.offset + self.radius * np.sin(turn)
        return np.stack([across * c + along * s + height / 2, along * c - across * s + width / 2], axis=-1)
