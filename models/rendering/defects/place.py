"""Where a defect lies and how large it is, and the box of the canvas that it is drawn in."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.rendering.noise import Field, fractal, value_noise
from models.rendering.shapes import blob
from models.rendering.stage import Stage, Surface

Points = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Patch:
    """A defect in its box: `image` (h, w, 3) with it, `coverage` (h, w) in [0, 1]; `anywhere` if not only on the
    site."""

    rows: slice
    columns: slice
    image: Field
    coverage: Field
    anywhere: bool = False


@dataclass(frozen=True, eq=False)
class Spot:
    """A box (h, w) of the canvas about a centre.

    stage: the canvas cut to the box. y, x: (h, 1), (1, w), pixels from the centre. image: (h, w, 3), the surface.
    """

    stage: Stage
    surface: Surface
    rows: slice
    columns: slice
    y: Field
    x: Field
    image: Field

    @property
    def origin(self) -> tuple[int, int]:
        """Row and column of the box's corner on the canvas."""
        return self.rows.start, self.columns.start

    def cut(self, field: Field) -> Field:
        """The box's part of a field (H, W) or (H, W, 3)."""
        return field[self.rows, self.columns]

    def patch(self, image: Field, coverage: Field, anywhere: bool = False) -> Patch:
        """What was drawn in this box."""
        return Patch(self.rows, self.columns, image, coverage, anywhere)

    def skin(self, coverage: Field) -> Field:
        """Mean colour (3,) of the surface beneath a coverage (h, w)."""
        if self.surface.site is not None:
            on_site = coverage * self.surface.site[self.rows, self.columns]
            coverage = on_site if on_site.sum() > 1 else coverage
        weight = float(coverage.sum())
        if weight < 1:
            return np.asarray(self.image.mean(axis=(0, 1)), np.float32)
        return np.asarray((self.image * coverage[..., None]).sum(axis=(0, 1)) / weight, np.float32)

    def body(self, coverage: Field) -> Field | None:
        """Mean colour (3,) of the material beneath the skin; None if it is not known."""
        body = self.surface.body
        if body is None or body.ndim == 1:
            return body
        weight = coverage + np.float32(1e-6)
        return np.asarray((self.cut(body) * weight[..., None]).sum(axis=(0, 1)) / weight.sum(), np.float32)

    def noise(self, cell: float) -> Field:
        """Smooth noise (h, w)."""
        return value_noise(self.stage.rng, self.stage.shape, cell)

    def rough(self, cell: float, octaves: int = 3, gain: float = 0.5) -> Field:
        """Fractal noise (h, w)."""
        return fractal(self.stage.rng, self.stage.shape, cell, octaves, gain)

    def blob(self, radius: float, roughness: float, aspect: float) -> Field:
        """Signed distance (h, w) to an irregular shape about the centre."""
        return blob(self.stage.rng, self.y, self.x, radius, roughness, aspect)

    def toward(self) -> Field:
        """Cosine (h, w) of the angle between the way from the centre and the way to the light."""
        light = self.stage.light
        along = self.y * np.float32(light.dy) + self.x * np.float32(light.dx)
        return np.asarray(along / np.maximum(np.hypot(self.y, self.x), 1), np.float32)


Draw = Callable[[Stage, Surface], Patch]


def unit(stage: Stage) -> float:
    """Pixels of a defect's unit length: defects keep their share of the canvas, less than in proportion."""
    return float(math.sqrt(min(stage.shape) / 128))


def length_between(stage: Stage, low: float, high: float) -> float:
    """A length in pixels, log-uniform in [low, high) units."""
    return math.exp(stage.uniform(math.log(low), math.log(high))) * unit(stage)


def centre_of(stage: Stage, surface: Surface) -> tuple[float, float]:
    """A place (y, x) on the part."""
    height, width = stage.shape
    if surface.site is not None and surface.site.any():
        inner = np.zeros_like(surface.site)
        margin = (height // 12, width // 12)
        inside = (slice(margin[0], height - margin[0]), slice(margin[1], width - margin[1]))
        inner[inside] = surface.site[inside]
        spots = np.flatnonzero(inner if inner.any() else surface.site)
        row, column = divmod(int(spots[stage.rng.integers(len(spots))]), width)
        return float(row), float(column)
    return stage.uniform(0.08, 0.92) * height, stage.uniform(0.08, 0.92) * width


def spot_at(stage: Stage, surface: Surface, centre: tuple[float, float], reach: float) -> Spot:
    """The box that holds everything within `reach` pixels of a centre."""
    return _spot(stage, surface, centre, centre, centre, reach)


def spot_around(stage: Stage, surface: Surface, points: Points, reach: float) -> Spot:
    """The box that holds everything within `reach` pixels of points (n, 2)."""
    (top, left), (bottom, right) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return _spot(stage, surface, ((top + bottom) / 2, (left + right) / 2), (top, left), (bottom, right), reach)


def _spot(
    stage: Stage, surface: Surface, centre: tuple[float, float],
    first: tuple[float, float], last: tuple[float, float], reach: float,
) -> Spot:  # fmt: skip
    def side(low: float, high: float, size: int) -> slice:
        start = min(max(int(low - reach), 0), size - 2)
        return slice(start, max(min(int(high + reach) + 2, size), start + 2))

    rows = side(first[0], last[0], stage.shape[0])
    columns = side(first[1], last[1], stage.shape[1])
    local = Stage(stage.rng, (rows.stop - rows.start, columns.stop - columns.start), stage.light, stage.scale)
    y = np.asarray(local.y + np.float32(rows.start - centre[0]), np.float32)
    x = np.asarray(local.x + np.float32(columns.start - centre[1]), np.float32)
    return Spot(local, surface, rows, columns, y, x, surface.image[rows, columns])


def on_surface(surface: Surface, centre: tuple[float, float], points: Points) -> Points:
    """Points (n, 2), relative to a centre in the image, laid on the surface: a line bends as the surface does."""
    middle = np.array([centre], np.float64)
    if surface.curve is None:
        return middle + points
    # The centre's place on the unrolled surface, by fixed point: a projection only ever shortens.
    flat = middle.copy()
    for _ in range(6):
        flat = flat + middle - surface.curve(flat)
    return surface.curve(flat + points)
