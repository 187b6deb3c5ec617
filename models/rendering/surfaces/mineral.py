"""Mineral materials: ferrite and ceramic tiles, asphalt, concrete and granite."""

import numpy as np

from models.rendering.light import relief
from models.rendering.noise import cells, fractal, streaks, value_noise, white
from models.rendering.stage import Stage, Surface, colour, mix, warm


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


def granite(stage: Stage) -> Surface:
    """Polished stone: grains of three minerals, in irregular cells."""
    size = stage.size(3, 12)
    bend = 0.5 * size
    y = stage.y + bend * value_noise(stage.rng, stage.shape, size * 0.7)
    x = stage.x + bend * value_noise(stage.rng, stage.shape, size * 0.7)
    first, second = cells(stage.rng, y, x, size)
    grain = value_noise(stage.rng, stage.shape, size) + 1.2 * (second - first) - 0.5
    flecks = fractal(stage.rng, stage.shape, size * 0.6, 3, 0.8)
    base = (
        colour(stage.rng, (0.35, 0.8), (0.0, 0.2))
        if stage.chance(0.7)
        else warm(stage.rng, (0.5, 0.8), (0.2, 0.4))
    )
    light = np.minimum(base * stage.uniform(1.2, 1.6) + 0.05, 1)
    image = mix(base * (1 + 0.06 * flecks)[..., None], light, np.clip(grain * 2 - 0.4, 0, 1))
    dark = np.clip((flecks - stage.uniform(0.7, 1.3)) * 3, 0, 1)
    image = mix(image, base * stage.uniform(0.1, 0.35), dark)
    return Surface(image.astype(np.float32), "granite", body=0.85 * light, gloss=stage.uniform(0.4, 0.9))
