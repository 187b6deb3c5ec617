"""Round metal seen from the side: a ball screw spindle, a screw thread, a knurled grip."""

import math

import numpy as np

from models.rendering.noise import Field, streaks
from models.rendering.shapes import edge
from models.rendering.stage import Outline, Stage, Surface, colour, mix
from models.rendering.surfaces.cylinder import Cylinder
from models.rendering.surfaces.ground import ground
from models.rendering.surfaces.metal import tone


def wrapped(shaft: Cylinder, skin: Field, part: str, gloss: float, body: Field | None = None) -> Surface:
    """The skin (H, W, 3) of a cylinder, before a ground."""
    return before_ground(shaft, skin, shaft.distance, part, gloss, body)


def before_ground(
    shaft: Cylinder, skin: Field, distance: Field, part: str, gloss: float, body: Field | None
) -> Surface:
    """The same for a part that ends at its own `distance` (H, W)."""
    beyond = ground(shaft.stage, distance)
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
    tint = colour(stage.rng, (0.85, 1.0), (0.0, 0.08))
    return wrapped(shaft, value[..., None] * tint, "ball screw spindle", stage.uniform(0.65, 0.95))


def _axis(stage: Stage, low: float, high: float) -> Cylinder:
    radius = stage.size(low, high)
    return Cylinder(stage, stage.uniform(0, math.pi), radius, radius * stage.uniform(-0.5, 0.5))


def _zigzag(place: Field) -> tuple[Field, Field]:
    """A triangle wave of period 1 in [0, 1], and the sign of its slope, softened at the turns."""
    phase = np.mod(place, 1)
    wave = 1 - np.abs(2 * phase - 1)
    return wave.astype(np.float32), np.clip(np.sin(np.float32(2 * math.pi) * phase) * 3, -1, 1)


def threaded(stage: Stage) -> Surface:
    """A screw thread, its flanks in turn bright and dark, its outline a zigzag."""
    shaft = _axis(stage, 24, 90)
    pitch = max(stage.size(5, 22), 4.0)
    place = shaft.along / np.float32(pitch) + np.clip(shaft.side, -1, 1) * np.float32(stage.uniform(0.2, 0.5))
    wave, slope = _zigzag(place)
    diffuse, mirror = shaft.lit(along=slope * np.float32(stage.uniform(0.5, 1.1)))
    grain = streaks(stage.rng, shaft.girth, shaft.along, stage.size(15, 60), stage.size(0.7, 1.5))
    value = 0.12 + 0.55 * np.clip(diffuse, 0, 1) * (0.45 + 0.55 * wave) + 0.04 * grain
    value += stage.uniform(0.3, 0.8) * mirror ** stage.uniform(6, 30) * (0.3 + 0.7 * wave)
    distance = shaft.distance + (1 - wave) * np.float32(0.35 * pitch)
    skin = value[..., None] * tone(stage, 0.75, 1.0)
    return before_ground(shaft, skin, distance, "threaded bolt", stage.uniform(0.6, 0.9), None)


def knurled(stage: Stage) -> Surface:
    """A diamond knurl, with smooth collars at times."""
    shaft = _axis(stage, 30, 120)
    pitch = max(stage.size(4, 16), 3.5)
    straight = stage.chance(0.25)
    first, rising = _zigzag((shaft.girth + (0 if straight else 1) * shaft.along) / np.float32(pitch))
    second, falling = _zigzag((shaft.girth - shaft.along) / np.float32(pitch))
    lower = np.ones_like(first) if straight else (first < second).astype(np.float32)
    plain = edge(stage.size(15, 50) - np.abs(shaft.along - np.float32(stage.uniform(-50, 50))), 3.0)
    plain = plain if stage.chance(0.6) else np.ones_like(plain)
    steep = np.float32(stage.uniform(0.35, 0.9)) * plain
    along = (0 if straight else 1) * (rising * lower - falling * (1 - lower))
    around = rising * lower + falling * (1 - lower)
    diffuse, mirror = shaft.lit(around * steep, along * steep)
    depth = 1 - 0.35 * plain * (1 - np.where(lower > 0, first, second))
    value = (0.15 + 0.6 * np.clip(diffuse, 0, 1)) * depth
    value += stage.uniform(0.3, 0.8) * mirror ** stage.uniform(8, 30)
    skin = value[..., None] * tone(stage, 0.7, 1.0)
    return wrapped(shaft, skin, "knurled metal grip", stage.uniform(0.5, 0.85))
