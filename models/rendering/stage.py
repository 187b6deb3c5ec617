"""What a surface is drawn on: pixel coordinates, a light, a scale and random colours."""

import colorsys
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from models.rendering.light import Light, draw_light
from models.rendering.noise import Field


@dataclass(frozen=True, eq=False)
class Outline:
    """Where a part ends: `distance` (H, W) to its border in pixels, negative on the part, and `beyond` (H, W, 3),
    what is seen where there is no part."""

    distance: Field
    beyond: Field


@dataclass(frozen=True, eq=False)
class Removable:
    """One of several parts: its `coverage` (H, W) in [0, 1], shadow included, and `without` (H, W, 3), the scene
    with this part left out."""

    coverage: Field
    without: Field


@dataclass(frozen=True, eq=False)
class Guide:
    """A way for a line: `points` (n, 2) of (y, x) in pixels, and `room` (n,), how far it may leave them."""

    points: NDArray[np.float64]
    room: NDArray[np.float64]

    @property
    def length(self) -> float:
        """In pixels."""
        return float(np.hypot(*np.diff(self.points, axis=0).T).sum())

    def at(self, t: NDArray[np.float64], aside: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points (k, 2) at shares `t` (k,) of its length, `aside` (k,) rooms to its right."""
        steps = np.hypot(*np.diff(self.points, axis=0).T)
        along = np.concatenate([[0.0], steps.cumsum()]) / max(steps.sum(), 1e-6)
        places, ways = (
            np.stack([np.interp(t, along, column) for column in field.T], axis=-1)
            for field in (self.points, np.gradient(self.points, axis=0))
        )
        right = np.stack([-ways[:, 1], ways[:, 0]], axis=-1) / np.maximum(np.hypot(*ways.T), 1e-6)[:, None]
        return np.asarray(places + right * (aside * np.interp(t, along, self.room))[:, None])


@dataclass(frozen=True, eq=False)
class Surface:
    """A drawn surface.

    image: (H, W, 3) about [0, 1].
    part: the part's name.
    site: (H, W), where a defect may lie; None is everywhere.
    body: (3,) or (H, W, 3), the material beneath the skin (bare metal under paint); None is the skin's own colour.
    gloss: 0 matt … 1 mirror.
    curve: takes points (n, 2) of (y, x) on the unrolled surface to points in the image; None is flat.
    facing: (H, W) in [−1, 1], how far a curved surface turns to the light; None is flat.
    outline: the part's border, if it is in view.
    removables: parts that can be missing.
    guides: ways that lines take; none is any way.
    """

    image: Field
    part: str
    site: NDArray[np.bool_] | None = None
    body: Field | None = None
    gloss: float = 0.3
    curve: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None
    facing: Field | None = None
    outline: Outline | None = None
    removables: tuple[Removable, ...] = ()
    guides: tuple[Guide, ...] = ()


@dataclass(frozen=True, eq=False)
class Stage:
    """A canvas of `shape` (H, W); `scale` multiplies feature sizes in pixels (1 is usual at 128 px)."""

    rng: np.random.Generator
    shape: tuple[int, int]
    light: Light
    scale: float

    @cached_property
    def y(self) -> Field:
        """Row of each pixel, (H, 1)."""
        return np.arange(self.shape[0], dtype=np.float32)[:, None]

    @cached_property
    def x(self) -> Field:
        """Column of each pixel, (1, W)."""
        return np.arange(self.shape[1], dtype=np.float32)[None]

    def uniform(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return self.rng.uniform(low, high)

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self.rng.random() < probability

    def size(self, low: float, high: float) -> float:
        """A feature size in pixels: log-uniform in [low, high), times the scale."""
        return math.exp(self.rng.uniform(math.log(low), math.log(high))) * self.scale

    def turned(self, angle: float | None = None) -> tuple[Field, Field]:
        """Coordinates (across, along), each (H, W), about the centre, turned by `angle` (random if None)."""
        if angle is None:
            angle = self.uniform(0, math.pi)
        c, s = math.cos(angle), math.sin(angle)
        v, u = self.y - self.shape[0] / 2, self.x - self.shape[1] / 2
        return v * c - u * s, v * s + u * c


def draw_stage(rng: np.random.Generator, shape: tuple[int, int]) -> Stage:
    """A stage with a random light and scale; larger canvases show both more and larger features."""
    larger = math.sqrt(min(shape) / 128)
    return Stage(rng, shape, draw_light(rng), math.exp(rng.uniform(math.log(0.6), math.log(2.0))) * larger)


def colour(
    rng: np.random.Generator, value: tuple[float, float], saturation: tuple[float, float] = (0.0, 1.0)
) -> Field:
    """A random colour (3,) of the given ranges, any hue."""
    rgb = colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(*value))
    return np.array(rgb, np.float32)


def warm(rng: np.random.Generator, value: tuple[float, float], saturation: tuple[float, float]) -> Field:
    """A random colour (3,) between red and yellow: wood, leather, brass."""
    rgb = colorsys.hsv_to_rgb(rng.uniform(0.03, 0.14), rng.uniform(*saturation), rng.uniform(*value))
    return np.array(rgb, np.float32)


def mix(below: Field, above: Field, coverage: Field) -> Field:
    """`above` laid over `below`, both (H, W, 3) or (3,), by coverage (H, W)."""
    weight = coverage[..., None]
    return below * (1 - weight) + above * weight
