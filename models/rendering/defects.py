"""Defects: what a scratch, a stain and a hole do to a surface, and where."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from models.rendering.noise import Field, fractal, value_noise
from models.rendering.shapes import blob, edge, polyline
from models.rendering.stage import Stage, Surface, colour, mix, warm

Drawn = tuple[Field, Field]  # the surface with the defect (H, W, 3), and the defect's coverage (H, W) in [0, 1]


def _centre(stage: Stage, surface: Surface) -> tuple[float, float]:
    if surface.site is not None and surface.site.any():
        spots = np.flatnonzero(surface.site)
        row, column = divmod(int(spots[stage.rng.integers(len(spots))]), stage.shape[1])
        return float(row), float(column)
    height, width = stage.shape
    return stage.uniform(0.08, 0.92) * height, stage.uniform(0.08, 0.92) * width


def _unit(stage: Stage) -> float:
    """Pixels of a defect's unit length: defects keep their share of the canvas, less than in proportion."""
    return float(math.sqrt(min(stage.shape) / 128))


def _log(stage: Stage, low: float, high: float) -> float:
    return math.exp(stage.uniform(math.log(low), math.log(high))) * _unit(stage)


def scratch(stage: Stage, surface: Surface) -> Drawn:
    """A scored line, or several: bright where it bares the material, dark in its own shadow."""
    length, width = _log(stage, 12, 130), max(_log(stage, 1.1, 5.5), 1.1)
    width = min(width, length / 4)
    path = _path(stage, _centre(stage, surface), length)
    copies = int(stage.rng.integers(2, 5)) if stage.chance(0.2) else 1
    gap = width + _log(stage, 1.5, 7)
    distance, along = polyline(stage.shape, path, copies * gap + 2 * width + 3)
    ragged = 1 + 0.25 * value_noise(stage.rng, stage.shape, 4.0)
    coverage = np.zeros(stage.shape, np.float32)
    profile = np.zeros(stage.shape, np.float32)
    for k in range(copies):
        off = distance - np.float32((k - (copies - 1) / 2) * gap)
        start, stop = (0.0, 1.0) if copies == 1 else (stage.uniform(0, 0.35), stage.uniform(0.65, 1))
        taper = np.clip(np.minimum(along - start, stop - along) * 8 / (stop - start), 0, 1) ** 0.5
        half = 0.5 * width * ragged * taper
        here = np.where(taper > 0, edge(np.abs(off) - half), 0) * np.clip(half * 2, 0, 1)
        profile = np.where(here > coverage, off / np.maximum(half, 0.5), profile)
        coverage = np.maximum(coverage, here)
    image = surface.image
    level = image.mean(axis=-1)
    bare = colour(stage.rng, (0.75, 1.0), (0.0, 0.15))
    style = stage.rng.random()
    contrast = stage.uniform(0.55, 1.0)
    if float(level[coverage > 0.5].mean() if (coverage > 0.5).any() else level.mean()) > 0.72:
        style = 0.7
    if style < 0.55:
        # Which flank is lit follows from the light across the line's own direction.
        (y0, x0), (y1, x1) = path[0].tolist(), path[-1].tolist()
        facing = (stage.light.dx * (y1 - y0) - stage.light.dy * (x1 - x0)) / max(math.hypot(y1 - y0, x1 - x0), 1)
        facing = math.copysign(max(abs(facing), 0.4), facing)
        lit = np.clip(0.5 - 1.2 * facing * profile, 0, 1)
        marked = mix(image * np.float32(0.3), bare, lit)
    elif style < 0.78:
        marked = image * np.float32(stage.uniform(0.1, 0.4))
    else:
        marked = mix(image, bare, np.full_like(level, 0.85))
    patchy = np.clip(contrast + 0.2 * value_noise(stage.rng, stage.shape, 7.0), 0.3, 1)
    return mix(image, marked, coverage * patchy), coverage


def _path(stage: Stage, centre: tuple[float, float], length: float) -> NDArray[np.float64]:
    """Points (n, 2) of a bent, slightly trembling line through `centre`."""
    count = 14 if length > 20 else 6
    t = np.linspace(-0.5, 0.5, count)
    angle = stage.uniform(0, 2 * math.pi)
    bend = stage.rng.normal(0, 0.18)
    tremble = stage.rng.normal(0, 1, count).cumsum() * stage.uniform(0, 0.02)
    v, u = length * (bend * (4 * t * t - 0.5) + tremble - tremble.mean()), length * t
    c, s = math.cos(angle), math.sin(angle)
    return np.stack([centre[0] + v * c + u * s, centre[1] - v * s + u * c], axis=-1)


def stain(stage: Stage, surface: Surface) -> Drawn:
    """A liquid dried on the surface: tints its colour, darker toward an irregular rim."""
    y, x = stage.y, stage.x
    cy, cx = _centre(stage, surface)
    radius = _log(stage, 3, 42)
    distance = blob(stage.rng, y - cy, x - cx, radius, stage.uniform(0.1, 0.4), stage.uniform(1, 2.0))
    if stage.chance(0.4):
        for _ in range(stage.rng.integers(1, 6)):
            away, angle = radius * stage.uniform(0.9, 1.9), stage.uniform(0, 6.3)
            drop = np.hypot(y - cy - away * math.sin(angle), x - cx - away * math.cos(angle))
            distance = np.minimum(distance, drop - np.float32(radius * stage.uniform(0.08, 0.35)))
    roughness = min(0.12 * radius, 4.0)
    distance = distance + roughness * fractal(stage.rng, stage.shape, max(0.5 * radius, 3.0), 3, 0.5)
    coverage = edge(distance, stage.uniform(1.0, 1 + 0.15 * radius))
    rim_width = max(0.09 * radius, 0.9)
    rim = np.exp(-((distance + 1.2 * rim_width) ** 2) / np.float32(2 * rim_width**2))
    mottled = fractal(stage.rng, stage.shape, max(0.7 * radius, 2.0), 3)
    density = stage.uniform(0.4, 0.95) * (1 + 0.25 * mottled) + stage.uniform(0.3, 0.9) * rim
    density = np.clip(density, 0.25, 2.5)
    image = surface.image
    level = float(image[coverage > 0.5].mean()) if (coverage > 0.5).any() else float(image.mean())
    if level < 0.3:
        residue = colour(stage.rng, (0.5, 0.85), (0.0, 0.35))
        marked = mix(image, residue, np.clip(0.55 * density, 0, 0.85))
    else:
        tint = (
            warm(stage.rng, (0.35, 0.65), (0.2, 0.8))
            if stage.chance(0.6)
            else colour(stage.rng, (0.3, 0.6), (0, 0.7))
        )
        marked = image * np.exp(np.log(tint) * density[..., None])
    return mix(image, marked, coverage), coverage


def hole(stage: Stage, surface: Surface) -> Drawn:
    """Missing material: a dark depth, its wall in shadow toward the light and lit on the far side."""
    y, x = stage.y, stage.x
    cy, cx = _centre(stage, surface)
    radius = _log(stage, 2.2, 26)
    drilled = stage.chance(0.35)
    roughness = stage.uniform(0.0, 0.05) if drilled else stage.uniform(0.1, 0.35)
    distance = blob(stage.rng, y - cy, x - cx, radius, roughness, 1.0 if drilled else stage.uniform(1, 2))
    if not drilled:
        distance = distance + min(0.1 * radius, 2.0) * fractal(
            stage.rng, stage.shape, max(0.4 * radius, 2), 3, 0.6
        )
    depth = stage.uniform(0.12, 0.35) * radius
    toward = ((y - cy) * stage.light.dy + (x - cx) * stage.light.dx) / np.maximum(np.hypot(y - cy, x - cx), 1)
    inside = edge(distance)
    rim_width = min(max(0.16 * radius, 0.9), 3.0)
    rim = edge(distance - np.float32(rim_width)) * (1 - inside)
    wall = np.clip(1 + distance / np.float32(max(depth, 1.0)), 0, 1) * inside
    image = surface.image
    # What lies below takes the material's own colour, not the texture of the skin that is gone.
    skin = image[inside > 0.5].mean(axis=0) if (inside > 0.5).any() else image.mean(axis=(0, 1))
    floor = skin * np.float32(stage.uniform(0.05, 0.3))
    if float(skin.mean()) < 0.2:
        floor = floor * np.float32(0.3)
    uneven = 1 + stage.uniform(0.05, 0.3) * fractal(stage.rng, stage.shape, max(0.3 * radius, 1.5), 2)
    lit = np.clip(-toward, 0, 1) * stage.uniform(0.3, 0.9)
    inner = (floor * np.clip(uneven, 0.3, 2)[..., None]) + (wall * lit)[..., None] * (0.6 * skin + 0.15)
    glow = stage.uniform(0.15, 0.45) + (0.25 if float(skin.mean()) < 0.25 else 0.0)
    outer = image * (1 - 0.35 * np.clip(-toward, 0, 1))[..., None] + (glow * np.clip(toward, 0, 1))[..., None]
    return mix(mix(image, outer, rim * np.abs(toward)), inner, inside), np.maximum(inside, rim * np.abs(toward))


DRAW: dict[str, Callable[[Stage, Surface], Drawn]] = {"scratch": scratch, "stain": stain, "hole": hole}
