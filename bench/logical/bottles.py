"""Bottles: the label tells the juice, and a bottle is full."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bench.logical.studio import Studio, laid
from bench.logical.symbols import of_products, symbol
from bench.logical.world import World
from models.masks import Mask
from models.rendering.noise import Field, fractal
from models.rendering.shapes import box, edge
from models.rendering.stage import colour, mix
from models.rendering.surfaces.label import lettering

PRODUCTS = 4
_FULL, _LOW = 1.0, 0.45
_VALUES = (0.4, 0.82)  # of the products' colours
_BASE = 119.0  # row on which the bottle stands


@dataclass(frozen=True)
class Bottle:
    """Products on label and inside, and the level, as a share of a full bottle's."""

    label: int
    juice: int
    level: float


@dataclass(frozen=True, eq=False)
class _Shape:
    """The bottles of a line, in units; rows grow downward."""

    radius: float
    neck: float
    cap: float  # rows of its upper and lower end
    rim: float
    throat: float  # where the neck begins to widen
    shoulder: float  # where it is widest
    full: float  # row of a full bottle's level
    label: tuple[float, float]  # rows of its middle and half height
    wrap: float  # half of the label's width, in radii around the bottle

    @classmethod
    def of(cls, studio: Studio) -> _Shape:
        rng = studio.of_line("bottle")
        radius = rng.uniform(23, 28)
        shoulder = rng.uniform(40, 46)
        return cls(
            radius=radius,
            neck=rng.uniform(8, 10.5),
            cap=rng.uniform(6, 8),
            rim=rng.uniform(15, 18),
            throat=rng.uniform(21, 25),
            shoulder=shoulder,
            full=rng.uniform(30, 34),
            label=(rng.uniform(78, 82), rng.uniform(15, 18)),
            wrap=rng.uniform(0.62, 0.8),
        )

    def width(self, row: Field) -> Field:
        """Radius in units at rows in units."""
        fall = np.clip((self.shoulder - row) / (self.shoulder - self.throat), 0, 1)
        body = self.neck + (self.radius - self.neck) * np.sqrt(1 - fall**1.8)
        foot = np.clip((row - (_BASE - 4)) / 4, 0, 1)
        return np.asarray(body - 3.5 * (1 - np.sqrt(1 - foot**2)), np.float32)


class Bottles(World[Bottle]):
    """Bottles of juice before a wall."""

    name = "bottles"
    number = 1
    part = "juice bottle"
    rule = "the juice is the label's, and the bottle is full"
    anomalies = ("carried-over", "underfilled", "label-swapped")

    def arranged(self, studio: Studio) -> Bottle:
        product = int(studio.of_own("product").integers(PRODUCTS))
        return Bottle(product, product, _FULL)

    def breaking(self, studio: Studio, kept: Bottle, anomaly: str) -> Bottle:
        if anomaly == "carried-over":  # of the product that was filled before
            return replace(kept, juice=(kept.juice - 1) % PRODUCTS)
        if anomaly == "underfilled":
            return replace(kept, level=_LOW)
        return replace(kept, label=(kept.label + 1) % PRODUCTS)

    def holds(self, state: Bottle) -> bool:
        return state.label == state.juice and state.level == _FULL

    def paint(self, studio: Studio, state: Bottle) -> Field:
        u, shape = studio.unit, _Shape.of(studio)
        y, x, side, glass = self._frame(studio, shape)
        scene = self._room(studio, shape, glass)
        facing = np.sqrt(np.clip(1 - side**2, 0, 1))
        lamp = 0.5 + 0.5 * facing + 0.25 * side * np.float32(studio.light.dx)

        rng = studio.of_line("glass")
        tint = colour(rng, (0.85, 1.0), (0.0, 0.25))
        thick = np.float32(0.35) + np.exp(-np.clip(1 - np.abs(side), 0, 1) * 7) * np.float32(1.4)
        through = scene * (0.93 * np.clip(tint, 0.05, 1)) ** thick[..., None]
        through = through * (1 - 0.45 * np.exp(-np.clip(1 - np.abs(side), 0, 1) * 9))[..., None]
        bottle = mix(scene, np.asarray(through, np.float32), edge(glass))

        juice = self._juice(studio, state, facing, lamp)
        bottle = mix(bottle, juice, self._filled(studio, shape, state, side, glass))
        bottle = bottle + self._meniscus(studio, shape, state, side, glass)[..., None]

        paper, printed = self._label(studio, shape, state, y, x, side)
        lit = printed * (0.45 + 0.6 * np.clip(lamp, 0, 1))[..., None]
        bottle = mix(bottle, np.asarray(lit, np.float32), paper)
        shine = np.zeros_like(side)
        for _ in range(int(rng.integers(1, 4))):
            at, half, strength = rng.uniform(-0.8, 0.8), rng.uniform(0.02, 0.09), rng.uniform(0.08, 0.35)
            shine += np.float32(strength) * np.clip((half - np.abs(side - at)) / 0.06 + 0.5, 0, 1)
        below_cap = edge(np.float32(shape.rim * u) - y)
        bottle = bottle + (shine * edge(glass + 1) * below_cap * (1 - 0.55 * paper))[..., None]
        return self._capped(studio, shape, bottle, y, x)

    def region(self, studio: Studio, kept: Bottle, broken: Bottle, anomaly: str) -> Mask:
        shape = _Shape.of(studio)
        y, x, side, glass = self._frame(studio, shape)
        if anomaly == "label-swapped":
            return np.asarray(self._label(studio, shape, kept, y, x, side)[0] > 0.02)
        full = self._filled(studio, shape, kept, side, glass) > 0.02
        if anomaly == "underfilled":
            left = self._filled(studio, shape, broken, side, glass) > 0.98
            return np.asarray(full & ~left)
        return np.asarray(full & (self._label(studio, shape, kept, y, x, side)[0] < 0.5))

    def cue(self, studio: Studio, kept: Bottle, anomaly: str) -> Mask:
        shape = _Shape.of(studio)
        y, x, side, glass = self._frame(studio, shape)
        paper = self._label(studio, shape, kept, y, x, side)[0] > 0.5
        if anomaly == "carried-over":
            return np.asarray(paper)
        near = np.abs(y - np.float32(shape.label[0] * studio.unit)) < np.float32(24 * studio.unit)
        return np.asarray((self._filled(studio, shape, kept, side, glass) > 0.5) & ~paper & near)

    def _frame(self, studio: Studio, shape: _Shape) -> tuple[Field, Field, Field, Field]:
        """Rows from the upper end and columns from the axis in pixels, place across in radii, distance to the
        outline in pixels."""
        u = studio.unit
        y, x = studio.at(0, 64 + studio.of_own("place").uniform(-1.5, 1.5))
        y, x = np.broadcast_arrays(y, x)
        width = shape.width(y / np.float32(u)) * np.float32(u)
        side = np.asarray(x / width, np.float32)
        glass = np.maximum(np.maximum(np.abs(x) - width, y - np.float32(_BASE * u)), np.float32(shape.cap * u) - y)
        return y, x, side, np.asarray(glass, np.float32)

    def _room(self, studio: Studio, shape: _Shape, glass: Field) -> Field:
        """Wall, belt, and the bottle's shadow on both."""
        wall = studio.backdrop(("panel", "panel", "painted", "brushed", "textile"))
        rng = studio.of_line("belt")
        y, x = studio.at(0, 64)
        horizon = np.float32(rng.uniform(108, 114) * studio.unit)
        grain = 1 + 0.06 * fractal(studio.of_own("belt"), wall.shape[:2], 3 * studio.unit, 3, 0.7)
        belt = grain[..., None] * colour(rng, (0.06, 0.3), (0.0, 0.2)) * 1.2
        scene = mix(wall, np.asarray(belt, np.float32), edge(horizon - y - 0 * x, 2.0))
        scene = laid(scene, scene, np.zeros_like(glass), studio.shadow(glass, 5.0), 0.22)
        foot = np.hypot((y - np.float32(_BASE * studio.unit)) * 4, x) - np.float32(shape.radius * studio.unit)
        return np.asarray(
            scene * (1 - 0.55 * edge(np.asarray(foot, np.float32), 9.0 * studio.unit))[..., None], np.float32
        )

    def _juice(self, studio: Studio, state: Bottle, facing: Field, lamp: Field) -> Field:
        """The juice alone, (H, W, 3): deeper where there is more of it."""
        tone = studio.palette(PRODUCTS, _VALUES)[state.juice]
        cloudy = 1 + 0.05 * fractal(studio.of_own("juice"), facing.shape, 14 * studio.unit, 3)
        depth = (0.55 + 0.75 * facing)[..., None]
        return np.asarray(np.clip(tone, 0.02, 1) ** depth * (cloudy * (0.65 + 0.4 * lamp))[..., None], np.float32)

    def _filled(self, studio: Studio, shape: _Shape, state: Bottle, side: Field, glass: Field) -> Field:
        """How much of each pixel is juice."""
        y, _ = studio.at(0, 64)
        surface = self._surface(studio, shape, state) + np.float32(1.2 * studio.unit) * np.sqrt(
            np.clip(1 - side**2, 0, 1)
        )
        return np.asarray(edge(glass + np.float32(1.6 * studio.unit)) * edge(surface - y), np.float32)

    def _surface(self, studio: Studio, shape: _Shape, state: Bottle) -> float:
        """Row of the level, in pixels."""
        return (_BASE - (_BASE - shape.full) * state.level) * studio.unit

    def _meniscus(self, studio: Studio, shape: _Shape, state: Bottle, side: Field, glass: Field) -> Field:
        y, _ = studio.at(0, 64)
        surface = self._surface(studio, shape, state) + np.float32(1.2 * studio.unit) * np.sqrt(
            np.clip(1 - side**2, 0, 1)
        )
        line = np.exp(-(((y - surface) / np.float32(0.9 * studio.unit)) ** 2))
        return np.asarray(0.16 * line * edge(glass + np.float32(1.6 * studio.unit)), np.float32)

    def _label(
        self, studio: Studio, shape: _Shape, state: Bottle, y: Field, x: Field, side: Field
    ) -> tuple[Field, Field]:
        """Where the label is, and what is printed on it; both around the bottle."""
        u, rng = studio.unit, studio.of_line("label")
        middle, half = shape.label
        down = y - np.float32(middle * u)
        around = np.arcsin(np.clip(side, -1, 1)) * np.float32(shape.radius * u)
        wide = shape.wrap * shape.radius
        cover = edge(box(down, around, half * u, wide * u, 2 * u)) * (np.abs(side) < 0.97)
        paper = colour(rng, (0.85, 1.0), (0.0, 0.12))
        tone = studio.palette(PRODUCTS, _VALUES)[state.label]
        ink = colour(rng, (0.05, 0.25), (0.0, 0.5))
        name = of_products(studio.of_line("symbols"), PRODUCTS)[state.label]
        picture = edge(symbol(name, down + np.float32(0.24 * half * u), around, 0.56 * half * u))
        band = edge(np.abs(down - np.float32(0.8 * half * u)) - np.float32(0.2 * half * u))
        lines = lettering(
            studio.stage(studio.of_line("text")), down - np.float32((0.45 * half - 2.2) * u), around, 0.6 * u
        )
        lines = lines * edge(np.abs(down - np.float32(0.45 * half * u)) - np.float32(2.6 * u))
        printed = mix(
            np.broadcast_to(paper, (*side.shape, 3)),
            ink,
            lines * edge(np.abs(around) - np.float32(0.7 * wide * u)),
        )
        printed = mix(mix(printed, tone, band), tone, picture)
        return np.asarray(cover, np.float32), np.asarray(printed, np.float32)

    def _capped(self, studio: Studio, shape: _Shape, below: Field, y: Field, x: Field) -> Field:
        u, rng = studio.unit, studio.of_line("cap")
        half = 1.12 * shape.neck * u
        middle, tall = (shape.cap + shape.rim) / 2 * u, (shape.rim - shape.cap) / 2 * u
        distance = box(y - np.float32(middle), x, tall, half, 1.2 * u)
        side = np.clip(x / np.float32(half), -1, 1)
        ridges = 1 + 0.16 * np.sin(np.float32(rng.uniform(18, 40)) * np.arcsin(side))
        value = (0.35 + 0.6 * np.sqrt(1 - side**2) + 0.15 * side * np.float32(studio.light.dx)) * ridges
        tone = colour(rng, (0.2, 0.95), (0.0, 0.9))
        return laid(below, np.asarray(value[..., None] * tone, np.float32), edge(np.asarray(distance, np.float32)))
