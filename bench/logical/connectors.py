"""Connectors: each cable has the colour of the mark at its socket."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from bench.logical.studio import Studio, laid
from bench.logical.world import World
from models.masks import Mask
from models.rendering.light import relief
from models.rendering.noise import Field, fractal, value_noise
from models.rendering.shapes import box, edge
from models.rendering.stage import colour, mix

CABLES = 6
NONE = -1
_FIRST, _STEP = 26.0, 15.6  # rows of the sockets
_LEFT, _RIGHT = 27.0, 101.0  # columns of the sockets
_RADIUS = 3.7


@dataclass(frozen=True)
class Harness:
    """Colours, as numbers of the line's palette, of the marks and of the cables, from above; NONE is no cable."""

    marks: tuple[int, ...]
    cables: tuple[int, ...]


class Connectors(World[Harness]):
    """Two connectors joined by cables."""

    name = "connectors"
    number = 4
    part = "connectors with cables"
    rule = "each cable has the colour of its mark"
    anomalies = ("missing-cable", "doubled-colour", "crossed")

    def arranged(self, studio: Studio) -> Harness:
        marks = tuple(studio.of_own("order").permutation(CABLES).tolist())
        return Harness(marks, marks)

    def breaking(self, studio: Studio, kept: Harness, anomaly: str) -> Harness:
        wrong, cables = self._wrong(studio), list(kept.cables)
        if anomaly == "missing-cable":
            cables[wrong] = NONE
        elif anomaly == "doubled-colour":  # as the cable above
            cables[wrong] = cables[wrong - 1]
        else:
            cables[wrong - 1], cables[wrong] = cables[wrong], cables[wrong - 1]
        return replace(kept, cables=tuple(cables))

    def holds(self, state: Harness) -> bool:
        return state.cables == state.marks

    def paint(self, studio: Studio, state: Harness) -> Field:
        scene = studio.backdrop(("rubber", "textile", "painted", "wood", "panel"))
        palette = studio.palette(CABLES)
        for number, tone in enumerate(state.cables):
            if tone != NONE:
                scene = self._cable(studio, scene, number, palette[tone])
        scene = self._housing(studio, scene, left=False)
        scene = self._housing(studio, scene, left=True)
        for number, tone in enumerate(state.marks):
            scene = self._mark(studio, scene, number, palette[tone])
        return scene

    def region(self, studio: Studio, kept: Harness, broken: Harness, anomaly: str) -> Mask:
        wrong = self._wrong(studio)
        rows = (wrong,) if anomaly != "crossed" else (wrong - 1, wrong)
        near = np.minimum.reduce([np.abs(self._away(studio, number)) for number in rows])
        x = studio.at(0, 0)[1]
        between = (x > _LEFT * studio.unit) & (x < _RIGHT * studio.unit)
        return np.asarray((near < (_RADIUS + 1.6) * studio.unit) & between)

    def cue(self, studio: Studio, kept: Harness, anomaly: str) -> Mask:
        wrong = self._wrong(studio)
        if anomaly == "crossed":
            middle = _FIRST + _STEP * (wrong - 0.5)
            return studio.box(middle, 14.0, (_STEP, 6.0)) < 0
        x = studio.at(0, 0)[1]
        between = (x > _LEFT * studio.unit) & (x < _RIGHT * studio.unit)
        if anomaly == "doubled-colour":
            return np.asarray((np.abs(self._away(studio, wrong - 1)) < _RADIUS * studio.unit) & between)
        return np.asarray((np.abs(self._away(studio, wrong)) < (_RADIUS + 4) * studio.unit) & between)

    def _wrong(self, studio: Studio) -> int:
        return int(studio.of_own("wrong").integers(1, CABLES))

    def _away(self, studio: Studio, number: int) -> Field:
        """Signed pixels across to a cable's axis, positive below it."""
        u, own = studio.unit, studio.of_own(f"cable {number}")
        y, x = studio.at(_FIRST + _STEP * number, _LEFT)
        t = np.clip(x / np.float32((_RIGHT - _LEFT) * u), 0, 1)
        free = np.sin(np.float32(math.pi) * t)
        sag = own.uniform(-1.8, 1.8) * free + own.uniform(-1.2, 1.2) * np.sin(np.float32(2 * math.pi) * t) * free
        slope = np.gradient(sag[0]) * u if sag.ndim == 2 and sag.shape[0] == 1 else np.gradient(sag, axis=1) * u
        return np.asarray((y - np.float32(u) * sag) / np.sqrt(1 + slope**2), np.float32)

    def _cable(self, studio: Studio, below: Field, number: int, tone: Field) -> Field:
        u, light = studio.unit, studio.light
        r = _RADIUS * u
        across = self._away(studio, number) / np.float32(r)
        y, x = studio.at(0, 0)
        between = edge(np.abs(x - np.float32(64 * u)) - np.float32(40 * u)) + 0 * y
        rise = np.sqrt(np.clip(1 - across**2, 0, 1))
        value = 0.32 + 0.62 * rise + 0.22 * across * np.float32(light.dy)
        value = value + 0.02 * fractal(studio.of_own(f"skin {number}"), rise.shape, 6 * u, 2)
        gloss = studio.of_line("sheath").uniform(0.1, 0.45)
        shine = gloss * np.exp(-((across + np.float32(-0.35 * light.dy)) ** 2) / np.float32(0.03))
        distance = np.asarray((np.abs(across) - 1) * np.float32(r), np.float32)
        shadow = studio.shadow(distance, 2.2) * between
        colour_ = value[..., None] * tone + shine[..., None]
        return laid(below, np.asarray(colour_, np.float32), edge(distance) * between, shadow, 0.5)

    def _housing(self, studio: Studio, below: Field, left: bool) -> Field:
        u, rng, own = studio.unit, studio.of_line("housing"), studio.of_own(f"housing {left}")
        column = 14.0 if left else 114.0
        outline = studio.box(65, column, (53.0, 13.0), 3)
        tone = (
            colour(rng, (0.55, 0.92), (0.0, 0.15)) if rng.random() < 0.5 else colour(rng, (0.1, 0.3), (0.0, 0.3))
        )
        texture = value_noise(own, outline.shape, 2.0 * u)
        value = 1 + 0.035 * relief(texture, studio.light) + 0.04 * fractal(own, outline.shape, 40 * u, 2)
        down, right = np.gradient(outline)
        toward = down * np.float32(studio.light.dy) + right * np.float32(studio.light.dx)
        value = value + 0.35 * toward * np.exp(-((outline + 1.5 * u) ** 2) / np.float32(2 * u * u))
        scene = laid(
            below, np.asarray(value[..., None] * tone, np.float32), edge(outline), studio.shadow(outline, 3.0), 0.5
        )
        metal = colour(rng, (0.6, 0.9), (0.0, 0.35))
        end = _LEFT if left else _RIGHT
        for number in range(CABLES):  # the sockets, from which a metal sleeve stands out
            y, x = studio.at(_FIRST + _STEP * number, end)
            sleeve = np.asarray(box(y, x, 4.6 * u, 2.6 * u, 0.6 * u), np.float32)
            shade = 0.4 + 0.6 * np.sqrt(np.clip(1 - (y / np.float32(4.8 * u)) ** 2, 0, 1)) + 0 * x
            scene = laid(
                scene,
                np.asarray(shade[..., None] * metal, np.float32),
                edge(sleeve),
                studio.shadow(sleeve, 1.0),
                0.4,
            )
        return scene

    def _mark(self, studio: Studio, below: Field, number: int, tone: Field) -> Field:
        """A printed field of the cable's colour on the left housing."""
        u = studio.unit
        y, x = studio.at(_FIRST + _STEP * number, 14.0)
        outline = np.asarray(box(y, x, 4.6 * u, 5.2 * u, 1.0 * u), np.float32)
        white_edge = mix(below, np.full(3, 0.92, np.float32), edge(outline - np.float32(0.9 * u)))
        return np.asarray(mix(white_edge, 0.95 * tone, edge(outline)), np.float32)
