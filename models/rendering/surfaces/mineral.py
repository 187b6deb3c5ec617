"""Mineral materials: ferrite and ceramic tiles, asphalt and concrete."""

import numpy as np

from models.rendering.light import relief
from models.rendering.noise import cells, fractal, streaks, value_noise, white
from models.rendering.stage import Stage, Surface, colour, warm


def tile(stage: Stage) -> Surface:
    """A grey sintered tile: grain and grinding grooves."""
    across, along = stage.turned()
    grain = fractal(stage.rng, stage.shape, stage.size(2, 6), 3, 0.8)
    value = 1 + stage.uniform(0.05, 0.16) * grain
    value += stage.uniform(0.0, 0.12) * streaks(stage.rng, along, across, stage.size(60, 200), stage.size(1, 4))
    value += stage.uniform(0.03, 0.12) * value_noise(stage.rng, stage.shape, stage.size(30, 70))
    tone = colour(stage.rng, (0.2, 0.65), (0.0, 0.08))
    return Surface(value[..., None] * tone, "magnetic tile", body=0.8 * tone, gloss=stage.uniform(0.1, 0.4))


def ceramic(stage: Stage) -> Surface:
    """A light glazed tile, plain or mottled."""
    value = 1 + stage.uniform(0.0, 0.05) * fractal(stage.rng, stage.shape, stage.size(10, 40), 4)
    tone = colour(stage.rng, (0.55, 0.95), (0.0, 0.25))
    image = value[..., None] * tone
    if stage.chance(0.5):
        spots = np.clip(value_noise(stage.rng, stage.shape, stage.size(2, 9)) - stage.uniform(0.6, 1.6), 0, 0.5)
        image = image - spots[..., None] * (1 - colour(stage.rng, (0.1, 0.7), (0.0, 0.5)))
    clay = warm(stage.rng, (0.55, 0.85), (0.1, 0.45))
    return Surface(image, "ceramic tile", body=clay, gloss=stage.uniform(0.6, 0.95))


def asphalt(stage: Stage) -> Surface:
    """Stones in a dark binder, or the fine grain of concrete."""
    if stage.chance(0.4):
        value = 1 + stage.uniform(0.05, 0.14) * white(stage.rng, stage.shape)
        value += 0.08 * fractal(stage.rng, stage.shape, stage.size(20, 60), 4, 0.7)
        return Surface(value[..., None] * colour(stage.rng, (0.35, 0.75), (0.0, 0.12)), "concrete", gloss=0.05)
    size = stage.size(3, 9)
    first, second = cells(stage.rng, stage.y, stage.x, size)
    stone = np.clip((second - first) * 3, 0, 1)
    bright = value_noise(stage.rng, stage.shape, size * 0.6)
    value = 0.55 + (0.35 + stage.uniform(0.05, 0.2) * bright) * stone
    value += 0.3 * relief(stone * np.float32(size * 0.3), stage.light)
    value += 0.08 * white(stage.rng, stage.shape)
    return Surface(value[..., None] * colour(stage.rng, (0.25, 0.6), (0.0, 0.1)), "asphalt", gloss=0.05)
