"""Where the light comes from, and what it does to relief."""

import math
from dataclasses import dataclass

import numpy as np

from models.rendering.noise import Field


@dataclass(frozen=True)
class Light:
    """Light from the direction (dy, dx), a unit vector in the image; `elevation` in (0, 1], 1 from above."""

    dy: float
    dx: float
    elevation: float


def draw_light(rng: np.random.Generator) -> Light:
    """A random light."""
    angle = rng.uniform(0, 2 * math.pi)
    return Light(math.sin(angle), math.cos(angle), rng.uniform(0.35, 0.9))


def relief(height: Field, light: Light) -> Field:
    """Brightening of a height field (H, W): positive on slopes that face the light, negative behind."""
    slope = np.zeros_like(height)
    slope[1:-1] += (height[:-2] - height[2:]) * np.float32(-0.5 * light.dy)
    slope[:, 1:-1] += (height[:, :-2] - height[:, 2:]) * np.float32(-0.5 * light.dx)
    slope[0], slope[-1] = slope[1], slope[-2]
    slope[:, 0], slope[:, -1] = slope[:, 1], slope[:, -2]
    # A slope that rises away from the light faces it.
    return -slope * np.float32(1.3 - light.elevation)


def falloff(light: Light, y: Field, x: Field, strength: float) -> Field:
    """Uneven lighting (H, W), mean about 1: brighter toward the light by up to `strength`."""
    height, width = y.shape[0], x.shape[1]
    v = (y / max(height - 1, 1) - 0.5) * light.dy
    u = (x / max(width - 1, 1) - 0.5) * light.dx
    result: Field = (1 + strength * (u + v)).astype(np.float32)
    return result
