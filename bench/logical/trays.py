"""Trays: a card tells the kit; its things fill the large compartment, its cap lies in the small one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bench.logical.studio import Studio, laid
from bench.logical.symbols import of_products, symbol
from bench.logical.world import World
from models.masks import Mask
from models.rendering.light import relief
from models.rendering.noise import Field, fractal, value_noise
from models.rendering.shapes import edge
from models.rendering.stage import colour, mix
from models.rendering.surfaces.layers import recess
from models.rendering.surfaces.tray import reach, thing

KITS = 3
PLACES = 6
EMPTY = -1
_KINDS = ("capsules", "tablets", "screws")
_CARD, _CAP, _LARGE = (26.0, 38.0), (26.0, 92.0), (78.0, 64.0)
_CARD_HALF, _CAP_HALF, _LARGE_HALF = (12.0, 19.0), (14.0, 22.0), (30.0, 52.0)
_RADIUS = {"capsules": 6.4, "tablets": 9.5, "screws": 9.0}
_LENGTH = {"capsules": 6.2, "tablets": 0.0, "screws": 0.0}


@dataclass(frozen=True)
class Tray:
    """What lies in a tray.

    Attributes:
        card: the kit that the card names.
        things: the kit of the thing in each place of the large compartment, or EMPTY.
        small: the kit of what lies in the small compartment.
        cap: whether that is a cap, as it should be, or one of the kit's things.
    """

    card: int
    things: tuple[int, ...]
    small: int
    cap: bool = True


class Trays(World[Tray]):
    """Kits in trays, seen from above."""

    name = "trays"
    number = 2
    part = "kit in a tray"
    rule = "the large compartment holds six things of the card's kit, the small one that kit's cap"
    anomalies = ("missing-thing", "wrong-kit", "thing-for-cap")

    def arranged(self, studio: Studio) -> Tray:
        kit = int(studio.of_own("kit").integers(KITS))
        return Tray(kit, (kit,) * PLACES, kit)

    def breaking(self, studio: Studio, kept: Tray, anomaly: str) -> Tray:
        if anomaly == "missing-thing":
            gone = self._gone(studio)
            return replace(kept, things=tuple(EMPTY if i == gone else k for i, k in enumerate(kept.things)))
        if anomaly == "wrong-kit":  # the one that was packed before
            return replace(kept, things=((kept.card - 1) % KITS,) * PLACES)
        return replace(kept, cap=False)

    def holds(self, state: Tray) -> bool:
        return state.cap and all(kit == state.card for kit in (*state.things, state.small))

    def paint(self, studio: Studio, state: Tray) -> Field:
        scene = self._tray(studio, studio.backdrop(("brushed", "wood", "rubber", "painted", "textile")))
        scene = self._carded(studio, scene, state.card)
        for place, kit in enumerate(state.things):
            if kit != EMPTY:
                scene = self._put(studio, scene, kit, _KINDS[kit], self._place(studio, place), f"thing {place}")
        kind = "bottle caps" if state.cap else _KINDS[state.small]
        return self._put(studio, scene, state.small, kind, _CAP, "small")

    def region(self, studio: Studio, kept: Tray, broken: Tray, anomaly: str) -> Mask:
        if anomaly == "wrong-kit":
            return studio.box(*_LARGE, _LARGE_HALF, 6) < -0.5
        if anomaly == "thing-for-cap":
            return studio.box(*_CAP, _CAP_HALF, 5) < -0.5
        row, column = self._place(studio, self._gone(studio))
        return studio.box(row, column, (14.0, 16.0), 4) < 0

    def cue(self, studio: Studio, kept: Tray, anomaly: str) -> Mask:
        if anomaly == "wrong-kit":
            return studio.box(*_CARD, _CARD_HALF) < 0
        if anomaly == "thing-for-cap":
            return studio.box(_LARGE[0] - 16, 82.0, (13.0, 34.0)) < 0
        row, column = self._place(studio, self._gone(studio))
        ring = studio.box(row, column, (18.0, 20.0), 4) < 0
        return np.asarray(ring & (studio.box(*_LARGE, _LARGE_HALF, 6) < -1))

    def _gone(self, studio: Studio) -> int:
        return int(studio.of_own("gone").integers(PLACES))

    def _place(self, studio: Studio, place: int) -> tuple[float, float]:
        """Middle of a place in the large compartment, in units."""
        dy, dx = studio.of_own(f"place {place}").uniform(-0.8, 0.8, 2).tolist()
        return _LARGE[0] - 14.5 + 29.0 * (place // 3) + dy, _LARGE[1] - 34.0 + 34.0 * (place % 3) + dx

    def _tray(self, studio: Studio, below: Field) -> Field:
        """The tray on its table, with two compartments."""
        u, rng, own = studio.unit, studio.of_line("tray"), studio.of_own("tray")
        light = studio.light
        outline = studio.box(66, 64, (58.0, 60.0), 8)
        scene = laid(below, below, np.zeros_like(outline), studio.shadow(outline, 4.0), 0.45)
        if rng.random() < 0.6:
            tone = colour(rng, (0.55, 0.9), (0.0, 0.25))
        else:
            tone = colour(rng, (0.15, 0.5), (0.1, 0.6))
        tone = tone * np.float32(own.uniform(0.92, 1.08)) * own.normal(1, 0.02, 3).astype(np.float32)
        texture = value_noise(own, outline.shape, rng.uniform(1.5, 3.5) * u)
        value = 1 + rng.uniform(0.01, 0.06) * relief(texture, light)
        value = value + 0.03 * fractal(own, outline.shape, 40 * u, 3)
        down, right = np.gradient(outline)
        bevel = (down * light.dy + right * light.dx) * np.exp(-((outline + 2 * u) ** 2) / np.float32(3 * u * u))
        skin = (value + 0.3 * bevel)[..., None] * tone
        deep = 3.0 * u
        for place, half in ((_LARGE, _LARGE_HALF), (_CAP, _CAP_HALF)):
            rim = studio.box(*place, half, 6)
            lit = studio.box(place[0] - 3.0 * light.dy, place[1] - 3.0 * light.dx, half, 6)
            skin = recess(np.asarray(skin, np.float32), rim, lit, deep, rng.uniform(0.72, 0.88))
        return laid(scene, skin, edge(outline))

    def _carded(self, studio: Studio, below: Field, kit: int) -> Field:
        """The card with the kit's symbol in the kit's colour."""
        u, rng, own = studio.unit, studio.of_line("card"), studio.of_own("card")
        row, column = (c + d for c, d in zip(_CARD, own.uniform(-0.7, 0.7, 2).tolist(), strict=True))
        turn = own.uniform(-0.03, 0.03)
        y, x = studio.at(row, column, turn)
        tall, wide = _CARD_HALF[0] * u, _CARD_HALF[1] * u
        outline = np.maximum(np.abs(y) - np.float32(tall), np.abs(x) - np.float32(wide))
        paper = colour(rng, (0.85, 1.0), (0.0, 0.1))
        tone = studio.palette(KITS)[kit]
        name = of_products(studio.of_line("symbols"), KITS)[kit]
        print_ = mix(
            np.broadcast_to(paper, (*y.shape, 3)), tone, edge(np.abs(x + np.float32(0.82 * wide)) - 0.18 * wide)
        )
        print_ = mix(print_, tone, edge(symbol(name, y, x - np.float32(0.15 * wide), 0.75 * tall)))
        grain = 1 + 0.015 * fractal(own, y.shape, 3.0 * u, 2, 0.8)
        return laid(
            below,
            np.asarray(print_ * grain[..., None], np.float32),
            edge(outline),
            studio.shadow(outline, 0.8),
            0.3,
        )

    def _put(
        self, studio: Studio, below: Field, kit: int, kind: str, place: tuple[float, float], name: str
    ) -> Field:
        """One thing at a place (row, column) in units; `name` is what its chance goes by."""
        u, own = studio.unit, studio.of_own(name)
        turn = float(studio.of_line("turn").uniform(0, np.pi)) + own.uniform(-0.1, 0.1)
        radius, length = (_RADIUS[kind] * u, _LENGTH[kind] * u) if kind in _RADIUS else (11.0 * u, 0.0)
        y, x = studio.at(*place)
        tones = self._tones(studio, kit, kind)
        stage = studio.stage(np.random.default_rng(int(own.integers(2**32))))
        tone, cover = thing(stage, kind, y, x, radius, length, turn, tones)
        distance = np.asarray(reach(y, x, length, turn) - np.float32(radius), np.float32)
        return laid(below, tone, cover, studio.shadow(distance, 0.28 * radius / u), 0.5)

    def _tones(self, studio: Studio, kit: int, kind: str) -> tuple[Field, Field]:
        """Both colours of a kit's things: one of them is the kit's own."""
        own, rng = studio.palette(KITS)[kit], studio.of_line(f"second {kit}")
        if kind == "screws":
            metal = colour(rng, (0.6, 0.85), (0.0, 0.1))
            return (np.asarray(0.45 * own + 0.55 * metal, np.float32),) * 2
        pale = colour(rng, (0.8, 1.0), (0.0, 0.2))
        return (own, pale) if kind == "capsules" else (own, own)
