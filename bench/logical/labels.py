"""Printed labels: a row of marks repeats the product's symbol in its ink, as often as its dots say."""

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
SLOTS = 5
NONE = -1
_MIDDLE = (66.0, 64.0)
_HALF = (52.0, 57.0)
_HEAD, _DOTS, _ROW, _BARS = (-30.0, -36.0), -14.0, 10.0, 38.0  # from the label's middle
_STEP = 21.0


@dataclass(frozen=True)
class Label:
    """What is printed: the head's product, and symbol and ink of the mark in each slot, by product or NONE."""

    head: int
    symbols: tuple[int, ...]
    inks: tuple[int, ...]


def count_of(product: int) -> int:
    """How many marks a product has."""
    return 2 + product % (SLOTS - 2)


class Labels(World[Label]):
    """Labels stuck on cartons and covers."""

    name = "labels"
    number = 3
    part = "printed label"
    rule = "as many marks as dots, each the head's symbol in the head's ink"
    anomalies = ("wrong-ink", "wrong-symbol", "missing-mark", "extra-mark")

    def arranged(self, studio: Studio) -> Label:
        head = int(studio.of_own("product").integers(PRODUCTS))
        marks = tuple(head if slot < count_of(head) else NONE for slot in range(SLOTS))
        return Label(head, marks, marks)

    def breaking(self, studio: Studio, kept: Label, anomaly: str) -> Label:
        count, head = count_of(kept.head), kept.head
        if anomaly == "wrong-ink":  # what was left in the press
            return replace(kept, inks=tuple(NONE if ink == NONE else (head - 1) % PRODUCTS for ink in kept.inks))
        if anomaly == "wrong-symbol":
            wrong = tuple(NONE if one == NONE else (head + 1) % PRODUCTS for one in kept.symbols)
            return replace(kept, symbols=wrong)
        slot, mark = (count - 1, NONE) if anomaly == "missing-mark" else (count, head)
        marks = tuple(mark if i == slot else one for i, one in enumerate(kept.symbols))
        return replace(kept, symbols=marks, inks=marks)

    def holds(self, state: Label) -> bool:
        right = tuple(state.head if slot < count_of(state.head) else NONE for slot in range(SLOTS))
        return state.symbols == right and state.inks == right

    def paint(self, studio: Studio, state: Label) -> Field:
        u, rng, own = studio.unit, studio.of_line("label"), studio.of_own("label")
        below = studio.backdrop(("wood", "painted", "plastic", "brushed", "textile"))
        y, x = self._frame(studio)
        outline = np.asarray(box(y, x, _HALF[0] * u, _HALF[1] * u, 4 * u), np.float32)
        paper = colour(rng, (0.82, 1.0), (0.0, 0.15)) * own.normal(1, 0.01, 3).astype(np.float32)
        dark = colour(rng, (0.05, 0.25), (0.0, 0.5))
        palette, names = studio.palette(PRODUCTS, (0.35, 0.85)), of_products(studio.of_line("symbols"), PRODUCTS)
        printed = np.broadcast_to(paper, (*y.shape, 3))

        tone = palette[state.head]
        head = symbol(names[state.head], y - _HEAD[0] * u, x - _HEAD[1] * u, 14 * u)
        printed = mix(printed, tone, edge(np.asarray(head, np.float32)))
        printed = mix(printed, tone, edge(np.abs(y + np.float32(49 * u)) - np.float32(3.5 * u)))
        for dot in range(count_of(state.head)):
            away = np.hypot(y - np.float32(_DOTS * u), x - np.float32((-14 + 8 * dot) * u)) - np.float32(2.4 * u)
            printed = mix(printed, dark, edge(np.asarray(away, np.float32)))
        printed = mix(printed, dark, self._text(studio, y, x))
        printed = mix(printed, dark, self._bars(studio, y, x))
        for slot in range(SLOTS):
            v, w = y - np.float32(_ROW * u), x - np.float32(self._column(slot) * u)
            frame = np.abs(np.asarray(box(v, w, 10.5 * u, 9.5 * u, 2 * u))) - np.float32(0.35 * u)
            printed = mix(printed, dark, 0.45 * edge(np.asarray(frame, np.float32)))
            if state.symbols[slot] != NONE:
                mark = symbol(names[state.symbols[slot]], v, w, 8 * u)
                printed = mix(printed, palette[state.inks[slot]], edge(np.asarray(mark, np.float32)))
        sheen = (
            1 + 0.015 * fractal(own, outline.shape, 3 * u, 2, 0.8) + 0.03 * fractal(own, outline.shape, 50 * u, 2)
        )
        return laid(
            below,
            np.asarray(printed * sheen[..., None], np.float32),
            edge(outline),
            studio.shadow(outline, 0.7),
            0.35,
        )

    def region(self, studio: Studio, kept: Label, broken: Label, anomaly: str) -> Mask:
        u = studio.unit
        y, x = self._frame(studio)
        count = count_of(kept.head)
        first, last = {
            "missing-mark": (count - 1, count - 1),
            "extra-mark": (count, count),
        }.get(anomaly, (0, SLOTS - 1))
        middle = (self._column(first) + self._column(last)) / 2
        half = _STEP / 2 * (last - first + 1) - 0.5
        return np.asarray(box(y - np.float32(_ROW * u), x - np.float32(middle * u), 11.5 * u, half * u) < 0)

    def cue(self, studio: Studio, kept: Label, anomaly: str) -> Mask:
        u = studio.unit
        y, x = self._frame(studio)
        if anomaly in ("wrong-ink", "wrong-symbol"):
            head = box(y - np.float32(_HEAD[0] * u), x - np.float32(_HEAD[1] * u), 14 * u, 14 * u)
            return np.asarray(head < 0)
        slot = count_of(kept.head) - (2 if anomaly == "missing-mark" else 1)
        beside = box(y - np.float32(_ROW * u), x - np.float32(self._column(slot) * u), 11 * u, 10 * u)
        return np.asarray(beside < 0)

    def _frame(self, studio: Studio) -> tuple[Field, Field]:
        """Pixels (down, right) from the label's middle, along its own edges."""
        rng = studio.of_own("place")
        dy, dx = rng.uniform(-1.2, 1.2, 2).tolist()
        return studio.at(_MIDDLE[0] + dy, _MIDDLE[1] + dx, rng.uniform(-0.025, 0.025))

    def _column(self, slot: int) -> float:
        return _STEP * (slot - (SLOTS - 1) / 2)

    def _text(self, studio: Studio, y: Field, x: Field) -> Field:
        """Lines of small print beside the symbol; the lot's is this label's own."""
        u = studio.unit
        place = edge(
            np.asarray(box(y + np.float32(33.5 * u), x - np.float32(16.7 * u), 9.5 * u, 34 * u), np.float32)
        )
        common = lettering(
            studio.stage(studio.of_line("text")), y + np.float32(43 * u), x + np.float32(17 * u), 0.95 * u
        )
        lot = lettering(
            studio.stage(studio.of_own("lot")), y - np.float32(31 * u), x + np.float32(54 * u), 0.8 * u
        )
        foot = edge(np.asarray(box(y - np.float32(_BARS * u), x + np.float32(29 * u), 7 * u, 24 * u), np.float32))
        return np.asarray(np.maximum(common * place, lot * foot), np.float32)

    def _bars(self, studio: Studio, y: Field, x: Field) -> Field:
        u = studio.unit
        bars = studio.of_own("bars").random(64) < 0.5
        inside = edge(
            np.asarray(box(y - np.float32(_BARS * u), x - np.float32(28 * u), 9 * u, 24 * u), np.float32)
        )
        number = np.floor((x - np.float32(4 * u)) / np.float32(1.3 * u)).astype(np.intp)
        return np.asarray(inside * bars[number % 64], np.float32)
