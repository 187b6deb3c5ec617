"""Single parts: stamped sheet metal, gears and rings on a ground; a moulded plastic part."""

import math

import numpy as np

from models.rendering.light import relief
from models.rendering.noise import Field, value_noise
from models.rendering.shapes import box, edge
from models.rendering.stage import Outline, Stage, Surface, colour, mix
from models.rendering.surfaces.ground import bevel, ground, moved
from models.rendering.surfaces.metal import brushed, cast, machined, painted

_FINISHES = (brushed, machined, cast, painted)


def _plate(stage: Stage, small: float) -> tuple[Field, str]:
    """A sheet with drilled holes on a grid."""
    across, along = stage.turned(stage.uniform(-0.15, 0.15) if stage.chance(0.6) else None)
    across, along = across - stage.uniform(-0.2, 0.2) * small, along - stage.uniform(-0.2, 0.2) * small
    high, wide = stage.uniform(0.25, 0.5) * small, stage.uniform(0.3, 0.8) * small
    distance = box(across, along, high, wide, stage.uniform(0, 0.3) * high)
    step = stage.uniform(0.22, 0.6) * small
    drill = stage.uniform(0.1, 0.28) * step
    rows, columns = (max(math.floor((side - 1.5 * drill) / step), 0) for side in (high, wide))
    v = across - step * np.clip(np.round(across / step), -rows, rows)
    u = along - step * np.clip(np.round(along / step), -columns, columns)
    hole = np.hypot(v, u) - drill
    if stage.chance(0.3):
        hole = np.minimum(hole, box(across, along, 0.3 * high, 0.35 * wide, 0.1 * high))
    return np.maximum(distance, -hole), "stamped sheet metal part"


def _ring(stage: Stage, small: float) -> tuple[Field, str]:
    """A washer, a ring or a gear."""
    y = stage.y - stage.shape[0] * stage.uniform(0.4, 0.6)
    x = stage.x - stage.shape[1] * stage.uniform(0.4, 0.6)
    radius, bore = stage.uniform(0.3, 0.55) * small, stage.uniform(0.2, 0.75)
    away, turn = np.hypot(y, x), np.arctan2(y, x)
    if stage.chance(0.45):
        return np.maximum(away - radius, bore * radius - away), "metal washer" if bore < 0.6 else "metal ring"
    teeth = int(stage.rng.integers(12, 40))
    flank = np.tanh(stage.uniform(1.5, 4) * np.sin(teeth * turn + stage.uniform(0, 6.3)))
    distance = away - radius * (1 + stage.uniform(0.8, 1.4) / teeth * (flank - 1))
    bore = min(bore, 0.45)
    distance = np.maximum(distance, bore * radius - away)
    if stage.chance(0.5):
        count = int(stage.rng.integers(3, 7))
        step = 2 * math.pi / count
        near = turn - step * np.round(turn / step)
        ring = 0.5 * (bore + 0.85) * radius
        drilled = np.hypot(away * np.cos(near) - ring, away * np.sin(near)) - 0.18 * radius
        distance = np.maximum(distance, -drilled)
    return distance, "gear"


def stamped(stage: Stage) -> Surface:
    """A plate with holes, a washer, a ring or a gear on a ground."""
    distance, part = (_plate if stage.chance(0.5) else _ring)(stage, float(min(stage.shape)))
    distance = np.asarray(distance, np.float32)
    sheet = _FINISHES[stage.rng.integers(len(_FINISHES))](stage)
    beyond = ground(stage, distance)
    inside = edge(distance)
    rounded = stage.uniform(0.15, 0.6) * bevel(stage, distance, stage.size(0.8, 3.0))
    image = mix(beyond, sheet.image * (1 + rounded)[..., None], inside)
    return Surface(image, part, inside > 0.9, sheet.body, sheet.gloss, outline=Outline(distance, beyond))


def moulded(stage: Stage) -> Surface:
    """A plastic part with ribs, bosses and recesses, each in its own shadow."""
    across, along = stage.turned(stage.uniform(-0.1, 0.1) if stage.chance(0.5) else None)
    across, along = across + np.float32(stage.uniform(-40, 40)), along + np.float32(stage.uniform(-40, 40))
    features: list[tuple[Field, float]] = []
    if stage.chance(0.75):
        step, half = stage.size(18, 60), stage.size(1.5, 5)
        features.append((np.abs(across - step * np.round(across / np.float32(step))) - np.float32(half), 1.0))
        if stage.chance(0.4):
            wide = step * stage.uniform(1, 3)
            ribs = np.abs(along - wide * np.round(along / np.float32(wide))) - np.float32(half)
            features[0] = np.minimum(features[0][0], ribs), 1.0
    for _ in range(stage.rng.integers(0 if features else 1, 4)):
        y = stage.y - stage.uniform(0, stage.shape[0])
        x = stage.x - stage.uniform(0, stage.shape[1])
        radius = stage.size(7, 24)
        if stage.chance(0.6):
            boss = np.hypot(y, x) - np.float32(radius)
            features.append((boss, 1.0))
            features.append((boss + np.float32(radius * stage.uniform(0.35, 0.6)), -1.5))
        else:
            features.append((box(y, x, radius, radius * stage.uniform(1, 2), 0.25 * radius), -1.0))
    tone = colour(stage.rng, (0.08, 0.3), (0, 0.3)) if stage.chance(0.4) else colour(stage.rng, (0.35, 0.95))
    value = 1 + stage.uniform(0.0, 0.08) * relief(value_noise(stage.rng, stage.shape, 1.6), stage.light)
    value += stage.uniform(0.0, 0.1) * value_noise(stage.rng, stage.shape, stage.size(40, 90))
    tall = stage.size(1.5, 6)
    for distance, height in features:
        inside, turned = edge(distance), bevel(stage, distance, 0.8 * stage.scale + 0.5)
        lit = edge(moved(stage, distance, tall * abs(height)), 1 + tall)
        cast = lit * (1 - inside) if height > 0 else inside * (1 - lit)
        level = 1 + 0.06 * height if height > 0 else 0.7
        value = value * (1 + (level - 1) * inside) * (1 - 0.45 * cast)
        value = value + math.copysign(stage.uniform(0.15, 0.45), height) * turned
    return Surface(value[..., None] * tone, "moulded plastic part", gloss=stage.uniform(0.2, 0.6))
