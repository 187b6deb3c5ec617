"""Flat metals: brushed, cast, machined, painted."""

import math

import numpy as np

from models.rendering.light import relief
from models.rendering.noise import Field, fractal, streaks, value_noise
from models.rendering.stage import Stage, Surface, colour, warm


def tone(stage: Stage, low: float, high: float) -> Field:
    """A metal's colour (3,): greyish, at times brass or copper."""
    if stage.chance(0.15):
        return warm(stage.rng, (low, high), (0.2, 0.5))
    return colour(stage.rng, (low, high), (0.0, 0.1))


def brushed(stage: Stage) -> Surface:
    """Parallel streaks under a broad highlight."""
    across, along = stage.turned()
    grain = streaks(stage.rng, along, across, stage.size(30, 120), max(stage.size(0.7, 1.8), 0.6))
    coarse = streaks(stage.rng, along, across, stage.size(60, 200), stage.size(3, 12))
    shine = np.cos(along / np.float32(stage.size(25, 90)) + stage.uniform(0, 6.3))
    value = 1 + stage.uniform(0.04, 0.16) * grain + stage.uniform(0.02, 0.1) * coarse
    value += stage.uniform(0.02, 0.25) * shine
    return Surface(value[..., None] * tone(stage, 0.35, 0.75), "brushed metal", gloss=stage.uniform(0.6, 0.9))


def cast(stage: Stage) -> Surface:
    """Dull grey with a bumpy skin."""
    bumps = fractal(stage.rng, stage.shape, stage.size(6, 24), 4, stage.uniform(0.5, 0.75))
    value = 1 + stage.uniform(0.15, 0.5) * relief(bumps, stage.light) * math.sqrt(stage.scale) * 2
    value += stage.uniform(0.02, 0.08) * bumps
    value += 0.08 * value_noise(stage.rng, stage.shape, stage.size(30, 80))
    part = "cast iron" if stage.chance(0.5) else "cast metal"
    skin = tone(stage, 0.22, 0.6)
    return Surface(value[..., None] * skin, part, body=np.minimum(1.4 * skin, 1), gloss=stage.uniform(0.1, 0.35))


def machined(stage: Stage) -> Surface:
    """Turning or milling marks: regular grooves about a near or far centre."""
    height, width = stage.shape
    away = stage.size(10, 600)
    angle = stage.uniform(0, 2 * math.pi)
    v = stage.y - height / 2 - away * math.sin(angle)
    u = stage.x - width / 2 - away * math.cos(angle)
    radius, turn = np.hypot(v, u), np.arctan2(v, u)
    pitch = stage.size(2.2, 9)
    grain = streaks(stage.rng, turn * np.float32(away), radius, stage.size(40, 200), stage.size(0.8, 2.0))
    wave = np.sin(radius * np.float32(2 * math.pi / pitch) + 0.5 * grain)
    if stage.chance(0.3):
        v2 = stage.y - height / 2 + away * math.sin(angle)
        u2 = stage.x - width / 2 + away * math.cos(angle)
        wave = 0.6 * (wave + np.sin(np.hypot(v2, u2) * np.float32(2 * math.pi / pitch)))
    glint = np.cos(2 * turn + stage.uniform(0, 6.3)) ** 4
    value = 1 + stage.uniform(0.04, 0.16) * wave + stage.uniform(0.03, 0.1) * grain
    value += stage.uniform(0.0, 0.35) * glint
    return Surface(value[..., None] * tone(stage, 0.3, 0.7), "machined metal", gloss=stage.uniform(0.6, 0.9))


def painted(stage: Stage) -> Surface:
    """Smooth paint with a faint orange peel and a soft gloss."""
    across, along = stage.turned()
    peel = value_noise(stage.rng, stage.shape, stage.size(3, 8))
    value = 1 + stage.uniform(0.0, 0.06) * relief(peel, stage.light)
    value += stage.uniform(0.05, 0.25) * along / np.float32(max(stage.shape))
    gloss = np.exp(-((across - stage.uniform(-60, 60)) ** 2) / np.float32(2 * stage.size(12, 50) ** 2))
    image = value[..., None] * colour(stage.rng, (0.2, 0.9), (0.0, 0.9))
    if stage.chance(0.3):
        image = image + 0.05 * np.abs(value_noise(stage.rng, stage.shape, 1.3))[..., None]
    image = image + (stage.uniform(0, 0.2) * gloss)[..., None]
    return Surface(image, "painted metal", body=tone(stage, 0.5, 0.8), gloss=stage.uniform(0.35, 0.8))
