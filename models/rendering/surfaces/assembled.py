"""Rows of like things on a part: screws in a cover, pins in a connector."""

import math

import numpy as np

from models.rendering.noise import Field, value_noise
from models.rendering.shapes import box, edge
from models.rendering.stage import Stage, Surface, colour
from models.rendering.surfaces.layers import Layer, compose, recess, removables, window
from models.rendering.surfaces.metal import brushed, cast, painted
from models.rendering.surfaces.soft import plastic
from models.rendering.surfaces.tray import thing

_COVERS = (brushed, cast, painted, plastic)


def _rows(stage: Stage, step: float, rows: int) -> list[tuple[float, float]]:
    """Points on `rows` parallel lines through the canvas, `step` apart both ways."""
    angle = stage.uniform(-0.1, 0.1) + (math.pi / 2 if stage.chance(0.5) else 0.0)
    c, s = math.cos(angle), math.sin(angle)
    cy, cx = (side * stage.uniform(0.3, 0.7) for side in stage.shape)
    reach = int(math.hypot(*stage.shape) / step) + 1
    places = [(k - (rows - 1) / 2, j) for k in range(rows) for j in range(-reach, reach + 1)]
    return [(cy + step * (v * c + u * s), cx + step * (u * c - v * s)) for v, u in places]


def screwed(stage: Stage) -> Surface:
    """A cover held by a row or two of screws; a threaded hole under each."""
    cover = _COVERS[stage.rng.integers(len(_COVERS))](stage)
    radius = stage.size(7, 18)
    floor, layers = cover.image.astype(np.float32), []
    metal = colour(stage.rng, (0.35, 0.9), (0.0, 0.12))
    for cy, cx in _rows(stage, radius * stage.uniform(3, 6), int(stage.rng.integers(1, 4))):
        view = window(stage.shape, cy, cx, 1.5 * radius + 4)
        if view is None:
            continue
        y, x = stage.y[view[0]] - np.float32(cy), stage.x[:, view[1]] - np.float32(cx)
        away = np.hypot(y, x)
        drilled = np.float32(0.62 * radius)
        depth = 0.4 * radius
        lit = np.hypot(y + depth * stage.light.dy, x + depth * stage.light.dx) - drilled
        floor[view] = recess(floor[view], away - drilled, lit, depth, 0.28)
        tone, head = thing(stage, "screws", y, x, radius, 0.0, stage.uniform(0, 6.3), (metal, metal))
        shadow = np.hypot(y + 0.2 * radius * stage.light.dy, x + 0.2 * radius * stage.light.dx) - radius
        layers.append(Layer(view, tone, head, edge(np.asarray(shadow, np.float32), 0.25 * radius + 1)))
    missing = removables(stage, floor, layers)
    return Surface(compose(floor, layers), "cover with screws", None, cover.body, cover.gloss, removables=missing)


def connector(stage: Stage) -> Surface:
    """A connector's housing with rows of metal pins; an empty socket under each."""
    step = stage.size(9, 26)
    half = step * stage.uniform(0.16, 0.3)
    housing = colour(stage.rng, (0.04, 0.2), (0, 0.2)) if stage.chance(0.6) else colour(stage.rng, (0.3, 0.9))
    value = 1 + 0.05 * value_noise(stage.rng, stage.shape, 1.5)
    value += 0.08 * value_noise(stage.rng, stage.shape, stage.size(40, 90))
    floor: Field = (value[..., None] * housing).astype(np.float32)
    gold = np.array((0.85, 0.68, 0.3) if stage.chance(0.5) else (0.8, 0.8, 0.78), np.float32)
    gold = gold * np.float32(stage.uniform(0.7, 1.1))
    rounded = half if stage.chance(0.3) else 0.15 * half
    layers = []
    for cy, cx in _rows(stage, step, int(stage.rng.integers(1, 5))):
        view = window(stage.shape, cy, cx, 3 * half + 6)
        if view is None:
            continue
        y, x = stage.y[view[0]] - np.float32(cy), stage.x[:, view[1]] - np.float32(cx)
        socket, pin = box(y, x, 1.3 * half, 1.3 * half, rounded), box(y, x, half, half, rounded)
        lit = box(y + half * stage.light.dy, x + half * stage.light.dx, 1.3 * half, 1.3 * half, rounded)
        floor[view] = recess(floor[view], socket, lit, half, 0.35)
        toward = (y * stage.light.dy + x * stage.light.dx) / np.float32(half)
        level = np.where(pin < -0.35 * half, stage.uniform(0.95, 1.1), 0.75 + 0.3 * toward)
        shadow = box(y + 1.5 * half * stage.light.dy, x + 1.5 * half * stage.light.dx, half, half, rounded)
        layers.append(Layer(view, level[..., None] * gold, edge(pin), edge(shadow, 1 + half)))
    missing = removables(stage, floor, layers)
    return Surface(compose(floor, layers), "connector with pins", gloss=0.5, removables=missing)
