"""A single bottle or capsule that fills the view."""

import math

import numpy as np

from models.rendering.noise import Field, fractal, streaks
from models.rendering.shapes import edge
from models.rendering.stage import Stage, Surface, colour, mix
from models.rendering.surfaces.cylinder import Cylinder
from models.rendering.surfaces.label import lettering
from models.rendering.surfaces.shafts import before_ground


def _strips(stage: Stage, side: Field) -> Field:
    """Brightness (H, W) of lamps mirrored along a round part."""
    shine = np.zeros_like(side)
    for _ in range(stage.rng.integers(1, 4)):
        at, half, soft = stage.uniform(-0.8, 0.8), stage.uniform(0.02, 0.12), stage.uniform(0.02, 0.12)
        shine += stage.uniform(0.15, 0.6) * np.clip((half - np.abs(side - at)) / soft + 0.5, 0, 1)
    return shine


def bottle(stage: Stage) -> Surface:
    """A bottle, upright or lying: plastic or glass, with a neck and a cap or a label in view."""
    small = min(stage.shape)
    radius = stage.uniform(0.27, 0.62) * small
    shoulder = stage.uniform(-0.6, 0.35) * small
    neck, cap = radius * stage.uniform(0.3, 0.6), stage.uniform(1.05, 1.25)
    bend, top = radius * stage.uniform(0.5, 1.1), stage.uniform(0.1, 0.3) * radius
    rim = shoulder - bend - top

    def profile(along: Field) -> Field:
        fall = np.clip((shoulder - along) / bend, 0, 1)
        body = neck + (radius - neck) * np.sqrt(1 - fall**2)
        return np.asarray(np.where(along < rim, neck * cap, body) / radius, np.float32)

    angle = math.pi / 2 + stage.uniform(-0.08, 0.08) if stage.chance(0.7) else stage.uniform(0, math.pi)
    shape = Cylinder(stage, angle, radius, stage.uniform(-0.15, 0.15) * radius, profile)
    diffuse, mirror = shape.lit()
    clear = stage.chance(0.45)
    skin = _glass(stage, shape, diffuse) if clear else _plastic(stage, shape, diffuse)
    if stage.chance(0.65):
        skin = _label(stage, shape, skin, diffuse, shoulder, radius)
    skin = skin + (_strips(stage, shape.side) * (0.8 if clear else stage.uniform(0.1, 0.6)))[..., None]
    ridge = 1 + 0.3 * np.sin(np.float32(stage.uniform(25, 60)) * np.arcsin(np.clip(shape.side, -1, 1)))
    lid = (0.2 + 0.75 * np.clip(diffuse, 0, 1)) * np.where(shape.along > rim - 0.9 * neck, ridge, 1)
    lid *= 1 - 0.6 * edge(np.abs(shape.along - np.float32(rim)) - np.float32(0.02 * radius), 2.0)
    lid += 0.3 * mirror**20
    skin = mix(skin, lid[..., None] * colour(stage.rng, (0.15, 1.0)), edge(shape.along - np.float32(rim)))
    distance = np.maximum(shape.distance, np.float32(rim - stage.uniform(0.8, 1.6) * neck) - shape.along)
    part = "glass bottle" if clear else "plastic bottle"
    body = None if clear else colour(stage.rng, (0.8, 0.95), (0.0, 0.1))
    gloss = stage.uniform(0.8, 0.95) if clear else stage.uniform(0.3, 0.8)
    return before_ground(shape, skin, distance, part, gloss, body)


def _plastic(stage: Stage, shape: Cylinder, diffuse: Field) -> Field:
    tone = colour(stage.rng, (0.75, 1.0), (0.0, 0.1)) if stage.chance(0.5) else colour(stage.rng, (0.3, 1.0))
    value = 0.3 + 0.75 * np.clip(diffuse, 0, 1) + 0.012 * fractal(stage.rng, stage.shape, stage.size(2, 20), 3)
    return value[..., None] * tone


def _glass(stage: Stage, shape: Cylinder, diffuse: Field) -> Field:
    """Thick and dark at the sides, clear in the middle, filled up to a level."""
    tone = colour(stage.rng, (0.35, 0.95), (0.05, 0.9 if stage.chance(0.6) else 0.15))
    thick = 1 / np.maximum(shape.rise, 0.12)
    value = stage.uniform(0.75, 1.1) + 0.2 * diffuse - 0.15 * np.abs(shape.side)
    value += 0.04 * streaks(stage.rng, shape.along, shape.side * 60, 200, stage.size(3, 10))
    wall = np.clip(tone, 0.03, 1) ** (0.35 * thick[..., None])
    level = edge(np.float32(stage.uniform(-0.4, 0.7) * stage.shape[0]) - shape.along, 2.0)
    filled = mix(np.ones(3, np.float32), colour(stage.rng, (0.35, 0.95), (0.0, 0.8)), level)
    return np.asarray(value[..., None] * wall * filled, np.float32)


def _label(stage: Stage, shape: Cylinder, skin: Field, diffuse: Field, shoulder: float, radius: float) -> Field:
    """Printed paper wound around the body below the shoulder."""
    start, length = shoulder + radius * stage.uniform(0.15, 0.5), radius * stage.uniform(0.6, 2.0)
    below = shape.along - np.float32(start)
    cover = edge(np.abs(below - np.float32(length / 2)) - np.float32(length / 2))
    paper = colour(stage.rng, (0.8, 1.0), (0.0, 0.15)) if stage.chance(0.6) else colour(stage.rng, (0.2, 0.9))
    ink = colour(stage.rng, (0.0, 0.3)) if paper.mean() > 0.5 else colour(stage.rng, (0.8, 1.0), (0.0, 0.2))
    text = lettering(stage, below, -shape.girth, max(radius * stage.uniform(0.015, 0.06), 0.8))
    band = edge(np.abs(below - np.float32(0.1 * length)) - np.float32(0.06 * length)) * float(stage.chance(0.6))
    printed = mix(mix(paper, ink, text), colour(stage.rng, (0.3, 0.9)), band)
    return mix(skin, printed * (0.3 + 0.75 * np.clip(diffuse, 0, 1))[..., None], cover)


def capsule(stage: Stage) -> Surface:
    """One gelatine capsule, opaque or translucent, its two halves telescoped."""
    radius = stage.uniform(0.16, 0.34) * min(stage.shape)
    half = radius * stage.uniform(0.8, 1.5)
    joint, overlap = stage.uniform(-0.3, 0.3) * half, stage.uniform(1.02, 1.06)

    def profile(along: Field) -> Field:
        beyond = np.clip((np.abs(along) - half) / radius, 0, 1)
        return np.asarray(np.sqrt(1 - beyond**2) * np.where(along < joint, overlap, 1), np.float32)

    shape = Cylinder(stage, stage.uniform(0, math.pi), radius, stage.uniform(-0.2, 0.2) * radius, profile)
    diffuse, mirror = shape.lit()
    first, second = colour(stage.rng, (0.35, 1.0), (0.2, 1.0)), colour(stage.rng, (0.5, 1.0), (0.0, 1.0))
    tone = mix(first, second, edge(np.float32(joint) - shape.along))
    if stage.chance(0.3):
        tone = mix(np.broadcast_to(first, tone.shape), first * 0.85, edge(shape.along - np.float32(joint)))
    end = np.where(shape.along < joint, overlap, 1) * radius
    distance = np.hypot(np.maximum(np.abs(shape.along) - half, 0), shape.across) - end
    clear = stage.chance(0.4)
    if clear:
        # Light gathers on the side away from the lamp.
        value = 0.75 - 0.35 * diffuse + 0.45 * (shape.rise - 0.5)
        tone = tone ** np.clip(1.6 - shape.rise, 0.7, 1.6)[..., None]
    else:
        value = 0.28 + 0.75 * np.clip(diffuse, 0, 1)
    value = value - 0.25 * np.exp(-((shape.along - np.float32(joint)) ** 2) / np.float32(0.002 * radius**2 + 1))
    if not clear and stage.chance(0.35):
        pixel = radius * stage.uniform(0.06, 0.1)
        text = lettering(stage, shape.girth + np.float32(5 * pixel), shape.along, pixel)
        text *= edge(np.abs(shape.girth) - np.float32(5 * pixel)) * edge(np.abs(shape.along) - np.float32(half))
        tone = mix(tone, colour(stage.rng, (0.0, 0.3)), text)
    value = value + 0.01 * fractal(stage.rng, stage.shape, stage.size(3, 12), 3)
    shine = stage.uniform(0.3, 0.8) * mirror ** stage.uniform(25, 120)
    shine += (_strips(stage, shape.side) * edge(np.abs(shape.along) - np.float32(half), 0.3 * radius)) * 0.5
    skin = (value[..., None] * tone + shine[..., None]).astype(np.float32)
    fill = np.array((0.93, 0.91, 0.86), np.float32)
    return before_ground(shape, skin, distance.astype(np.float32), "capsule", stage.uniform(0.6, 0.9), fill)
