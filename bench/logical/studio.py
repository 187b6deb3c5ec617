"""The studio of a line: one camera, one light and one look for all its images, a little chance for each.

Places are in units: 128 to a side, whatever the pixels, (0, 0) the upper left corner; fields are in pixels, as
those of `models.rendering` are.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bench.logical.colours import colour_difference
from models.rendering.camera import Camera
from models.rendering.light import Light, draw_light, falloff
from models.rendering.noise import Field, value_noise, white
from models.rendering.shapes import box, edge
from models.rendering.stage import Stage, Surface, colour, mix
from models.rendering.surfaces.metal import brushed, painted
from models.rendering.surfaces.soft import plastic, rubber, textile, wood

UNITS = 128
"""Units a side."""

_APART = 17.0  # least ΔE00 between colours that a rule tells apart


@dataclass(frozen=True, eq=False)
class Studio:
    """Where the images of a line are taken.

    Attributes:
        line: seeds of what all images of the line share.
        own: seeds of what is this image's own.
        side: pixels a side.
    """

    line: tuple[int, ...]
    own: tuple[int, ...]
    side: int = UNITS

    @property
    def unit(self) -> float:
        """Pixels to a unit."""
        return self.side / UNITS

    def of_line(self, name: str) -> np.random.Generator:
        """Chance by that name, the same for all images of the line."""
        return np.random.default_rng([*self.line, zlib.crc32(name.encode())])

    def of_own(self, name: str) -> np.random.Generator:
        """Chance by that name for this image."""
        return np.random.default_rng([*self.own, zlib.crc32(name.encode())])

    @cached_property
    def light(self) -> Light:
        """The line's light."""
        return draw_light(self.of_line("light"))

    def stage(self, rng: np.random.Generator, larger: float = 1.0) -> Stage:
        """The canvas, or one that is larger, for what `models.rendering` draws."""
        side = round(self.side * larger)
        return Stage(rng, (side, side), self.light, self.unit)

    def at(self, row: float, column: float, turn: float = 0.0) -> tuple[Field, Field]:
        """Pixels (down, right), each (side, side), from a place in units, in axes turned by `turn`."""
        place = (np.arange(self.side, dtype=np.float32) + np.float32(0.5))[:, None]
        y, x = place - np.float32(row * self.unit), place.T - np.float32(column * self.unit)
        c, s = np.float32(math.cos(turn)), np.float32(math.sin(turn))
        return np.asarray(y * c - x * s, np.float32), np.asarray(y * s + x * c, np.float32)

    def box(self, row: float, column: float, half: tuple[float, float], corner: float = 0.0) -> Field:
        """Signed distance in pixels to a box, measures in units."""
        u = self.unit
        return np.asarray(box(*self.at(row, column), half[0] * u, half[1] * u, corner * u), np.float32)

    def palette(self, count: int, value: tuple[float, float] = (0.45, 0.95)) -> NDArray[np.float32]:
        """The line's colours (count, 3), no two of them alike."""
        rng = self.of_line("palette")
        while True:
            hues = (rng.random() + (np.arange(count) + rng.uniform(-0.25, 0.25, count)) / count) % 1
            found = np.stack([_hued(rng, hue, value) for hue in rng.permutation(hues).tolist()])
            pairs = [(i, j) for i in range(count) for j in range(i)]
            if all(colour_difference(found[i], found[j]) >= _APART for i, j in pairs):
                return found

    def backdrop(self, kinds: Sequence[str]) -> Field:
        """What lies behind, (side, side, 3): of one material on a line, never the same piece of it."""
        rng = self.of_line("backdrop")
        whole = _BACKDROPS[kinds[int(rng.integers(len(kinds)))]](self.stage(rng, 1.25)).image
        top, left = self.of_own("backdrop").integers(0, whole.shape[0] - self.side + 1, 2).tolist()
        piece = whole[top : top + self.side, left : left + self.side]
        grey = piece.mean(axis=2, keepdims=True)
        faded = grey + rng.uniform(0.15, 0.7) * (piece - grey)  # tables and walls are rarely gaudy
        return np.asarray(np.clip(faded, 0.02, 1.0), np.float32)

    def camera(self) -> Camera:
        """The line's camera at the moment of this shot."""
        rng, own = self.of_line("camera"), self.of_own("camera")
        place = np.arange(self.side, dtype=np.float32)
        gain = falloff(self.light, place[:, None], place[None], rng.uniform(0, 0.35)) * rng.uniform(0.9, 1.1)
        balance = rng.normal(1, 0.03, 3) * own.normal(1, 0.006, 3) * own.uniform(0.93, 1.07)
        strength = math.exp(rng.uniform(math.log(0.003), math.log(0.015)))
        noise = white(own, (self.side, self.side, 3))
        noise = 0.6 * noise + 0.6 * noise[..., 1:2]
        return Camera(
            exposure=(gain[..., None] * balance).astype(np.float32),
            gamma=rng.uniform(0.85, 1.15),
            blur=rng.uniform(0.35, 0.8) * self.unit,
            noise=noise * np.float32(strength),
            grey=False,
        )

    def shadow(self, distance: Field, by: float) -> Field:
        """Where a thing of this distance field, `by` units high, throws its shadow: cover (side, side)."""
        far = by * self.unit
        rows, columns = (round(-far * way) for way in (self.light.dy, self.light.dx))
        moved = np.pad(distance, self.side, mode="edge")
        start = self.side - rows, self.side - columns
        there = moved[start[0] : start[0] + self.side, start[1] : start[1] + self.side]
        return edge(there - np.float32(0.2 * far), 1 + 0.9 * far)


def laid(below: Field, tone: Field, cover: Field, shadow: Field | None = None, dark: float = 0.5) -> Field:
    """A thing of colour `tone` laid on what is below, (side, side, 3), with its shadow."""
    if shadow is not None:
        below = below * (1 - np.float32(dark) * shadow)[..., None]
    return np.asarray(mix(below, tone, cover), np.float32)


def _hued(rng: np.random.Generator, hue: float, value: tuple[float, float]) -> Field:
    """A full colour (3,) of that hue."""
    ramp = np.clip(np.abs((hue * 6 + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
    strength, light = rng.uniform(0.6, 0.95), rng.uniform(*value)
    return np.asarray(light * (1 - strength * (1 - ramp)), np.float32)


def _panel(stage: Stage) -> Surface:
    """A lit wall: one tone, softly uneven."""
    tone = (
        colour(stage.rng, (0.55, 0.95), (0.0, 0.15))
        if stage.chance(0.6)
        else colour(stage.rng, (0.1, 0.4), (0, 0.3))
    )
    value = 1 + stage.uniform(0.02, 0.08) * value_noise(stage.rng, stage.shape, stage.size(40, 90))
    value += stage.uniform(0.003, 0.02) * value_noise(stage.rng, stage.shape, stage.size(1.5, 4))
    return Surface(np.asarray(value[..., None] * tone, np.float32), "wall")


_BACKDROPS: dict[str, Callable[[Stage], Surface]] = {
    "panel": _panel,
    "brushed": brushed,
    "painted": painted,
    "plastic": plastic,
    "rubber": rubber,
    "textile": textile,
    "wood": wood,
}
