"""Round metal seen from the side: a ball screw spindle."""

import math

import numpy as np

from models.rendering.noise import Field, streaks
from models.rendering.shapes import edge
from models.rendering.stage import Outline, Stage, Surface, colour, mix
from models.rendering.surfaces.cylinder import Cylinder
from models.rendering.surfaces.ground import ground


def wrapped(shaft: Cylinder, skin: Field, part: str, gloss: float, body: Field | None = None) -> Surface:
    """The skin (H, W, 3) of a cylinder, before a ground."""
    beyond = ground(shaft.stage)
    distance = shaft.distance
    image = mix(beyond, skin, edge(distance))
    outline = Outline(distance, beyond)
    return Surface(image, part, distance < -0.5, body, gloss, shaft.curve, shaft.facing, outline)


def spindle(stage: Stage) -> Surface:
    """A cylinder across the window with thread grooves and bright highlights along it."""
    radius = stage.size(28, 110)
    shaft = Cylinder(stage, stage.uniform(0, math.pi), radius, radius * stage.uniform(-0.5, 0.5))
    v, rise, along = shaft.side, shaft.rise, shaft.along
    pitch = stage.size(9, 34)
    helix = along - np.float32(pitch * stage.uniform(0.3, 1.0)) * rise * np.sign(stage.light.dx)
    groove = np.sin(helix * np.float32(2 * math.pi / pitch))
    flat = np.tanh(groove * np.float32(stage.uniform(1, 4)))
    slant = np.cos(helix * np.float32(2 * math.pi / pitch)) * (1 - flat * flat)
    shine = np.zeros_like(v)
    for _ in range(stage.rng.integers(1, 4)):
        at, spread = stage.uniform(-0.7, 0.7), stage.uniform(0.03, 0.2)
        shine += stage.uniform(0.2, 0.6) * np.exp(-((v - at + 0.05 * slant) ** 2) / np.float32(2 * spread**2))
    grain = streaks(stage.rng, shaft.girth, along, stage.size(20, 60), stage.size(0.8, 1.6))
    value = 0.25 + 0.55 * rise + 0.2 * flat * rise + 0.2 * slant * stage.light.dx + 0.05 * grain
    value = value * stage.uniform(0.5, 0.9) + shine * (0.6 + 0.4 * flat)
    tone = colour(stage.rng, (0.85, 1.0), (0.0, 0.08))
    return wrapped(shaft, value[..., None] * tone, "ball screw spindle", stage.uniform(0.65, 0.95))
