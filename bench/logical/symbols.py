"""Printed symbols, by distance fields."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from models.rendering.noise import Field
from models.rendering.shapes import box


def _disc(y: Field, x: Field, r: float) -> Field:
    return np.asarray(np.hypot(y, x) - 0.9 * r, np.float32)


def _ring(y: Field, x: Field, r: float) -> Field:
    return np.asarray(np.abs(np.hypot(y, x) - 0.68 * r) - 0.24 * r, np.float32)


def _square(y: Field, x: Field, r: float) -> Field:
    return np.asarray(box(y, x, 0.78 * r, 0.78 * r, 0.1 * r), np.float32)


def _diamond(y: Field, x: Field, r: float) -> Field:
    return np.asarray((np.abs(y) + 1.25 * np.abs(x) - r) / math.hypot(1, 1.25), np.float32)


def _triangle(y: Field, x: Field, r: float) -> Field:
    return np.asarray(np.maximum(y - 0.72 * r, np.abs(x) * 0.87 - y * 0.5 - 0.5 * r), np.float32)


def _cross(y: Field, x: Field, r: float) -> Field:
    return np.asarray(np.minimum(box(y, x, 0.9 * r, 0.3 * r), box(y, x, 0.3 * r, 0.9 * r)), np.float32)


def _star(y: Field, x: Field, r: float) -> Field:
    turn = np.mod(np.arctan2(x, -y) + math.pi / 5, 2 * math.pi / 5) - math.pi / 5
    away = np.hypot(y, x)
    v, u = away * np.cos(turn), np.abs(away * np.sin(turn))
    tip, dent = (r, 0.0), (0.42 * r * math.cos(math.pi / 5), 0.42 * r * math.sin(math.pi / 5))
    across = (dent[1] - tip[1]) * (v - tip[0]) - (dent[0] - tip[0]) * (u - tip[1])
    return np.asarray(across / math.hypot(dent[0] - tip[0], dent[1] - tip[1]), np.float32)


def _drop(y: Field, x: Field, r: float) -> Field:
    round_part = np.hypot(y - 0.3 * r, x) - 0.62 * r
    tip = np.maximum(np.abs(x) * 0.89 - (y + 0.98 * r) * 0.44, y - 0.05 * r)
    return np.asarray(np.minimum(round_part, tip), np.float32)


def _leaf(y: Field, x: Field, r: float) -> Field:
    v, u = (y + x) * math.sqrt(0.5), (x - y) * math.sqrt(0.5)
    return np.asarray(np.maximum(np.hypot(v - 0.7 * r, u), np.hypot(v + 0.7 * r, u)) - 1.2 * r, np.float32)


def _heart(y: Field, x: Field, r: float) -> Field:
    a = np.abs(x)
    lobe = np.hypot(y + 0.25 * r, a - 0.42 * r) - 0.48 * r
    body = np.maximum((a + y) * math.sqrt(0.5) - 0.62 * r, -(y + 0.25 * r))
    return np.asarray(np.minimum(lobe, body), np.float32)


SYMBOLS: dict[str, Callable[[Field, Field, float], Field]] = {
    "disc": _disc,
    "ring": _ring,
    "square": _square,
    "diamond": _diamond,
    "triangle": _triangle,
    "cross": _cross,
    "star": _star,
    "drop": _drop,
    "leaf": _leaf,
    "heart": _heart,
}
"""Signed distances in pixels, from offsets (down, right) in pixels and a radius that holds the symbol."""


def symbol(name: str, y: Field, x: Field, radius: float) -> Field:
    """Signed distance (H, W) in pixels to a symbol about the origin."""
    return SYMBOLS[name](y, x, radius)


def of_products(rng: np.random.Generator, count: int) -> list[str]:
    """A symbol for each of `count` products, no two the same."""
    return [list(SYMBOLS)[i] for i in rng.permutation(len(SYMBOLS))[:count].tolist()]
