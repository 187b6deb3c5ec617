"""Soft materials: woven fabric, leather, rubber, plastic, glass."""

import math

import numpy as np

from models.rendering.light import relief
from models.rendering.noise import Field, cells, fractal, lookup, streaks, value_noise, white
from models.rendering.stage import Stage, Surface, colour, mix, warm


def fabric(stage: Stage) -> Surface:
    """Plain weave or twill, threads of one or two colours."""
    across, along = stage.turned(None if stage.chance(0.3) else stage.uniform(-0.15, 0.15))
    pitch = max(stage.size(2.5, 11), 2.2)
    sway = stage.uniform(0.0, 0.35)
    v = across / np.float32(pitch) + sway * value_noise(stage.rng, stage.shape, pitch * 4)
    u = along / np.float32(pitch) + sway * value_noise(stage.rng, stage.shape, pitch * 4)
    i, j = np.floor(v), np.floor(u)
    step = 2 if stage.chance(0.6) else int(stage.rng.integers(3, 5))
    over = np.mod(i + j, step) < step // 2
    round_v = np.sin(np.float32(math.pi) * (v - i))
    round_u = np.sin(np.float32(math.pi) * (u - j))
    weft = np.sqrt(round_v) * (0.55 + 0.45 * round_u)
    warp = np.sqrt(round_u) * (0.55 + 0.45 * round_v)
    uneven = lookup(white(stage.rng, (64, 2)), v, np.float32(0) * v) * 0.08
    uneven2 = lookup(white(stage.rng, (64, 2)), u, np.float32(0) * u) * 0.08
    fibre = stage.uniform(0.03, 0.12) * white(stage.rng, stage.shape)
    shade = 0.3 + 0.7 * np.where(over, warp * (1 + uneven2), weft * (1 + uneven)) + fibre
    first = colour(stage.rng, (0.25, 0.95), (0.0, 0.7))
    second = first if stage.chance(0.6) else colour(stage.rng, (0.25, 0.95), (0.0, 0.7))
    threads = np.where(over[..., None], first, second)
    return Surface(shade[..., None] * threads, "woven fabric", gloss=stage.uniform(0.0, 0.1))


def textile(stage: Stage) -> Surface:
    """A fine even weave seen close: low contrast, slightly uneven threads, soft folds."""
    across, along = stage.turned(stage.uniform(-0.1, 0.1) if stage.chance(0.7) else None)
    pitch = max(stage.size(2.2, 5.5), 2.2)
    v = across / np.float32(pitch) + 0.06 * value_noise(stage.rng, stage.shape, pitch * 6)
    u = along / np.float32(pitch * stage.uniform(0.8, 1.5)) + 0.06 * value_noise(stage.rng, stage.shape, pitch * 6)
    turn = np.float32(2 * math.pi)
    if stage.chance(0.4):
        weave = np.sin(turn * 0.5 * (v + u)) + 0.4 * np.cos(turn * u)
    else:
        weave = np.cos(turn * 0.5 * v) * np.cos(turn * 0.5 * u) + 0.5 * np.cos(turn * v) + 0.3 * np.cos(turn * u)
    flat = np.float32(0) * v
    uneven = lookup(white(stage.rng, (128, 2)), v, flat) + lookup(white(stage.rng, (128, 2)), u, flat)
    value = 1 + stage.uniform(0.04, 0.14) * weave + stage.uniform(0.01, 0.05) * uneven
    value += stage.uniform(0.01, 0.05) * white(stage.rng, stage.shape)
    value += stage.uniform(0.0, 0.12) * value_noise(stage.rng, stage.shape, stage.size(40, 100))
    tone = colour(stage.rng, (0.25, 0.9), (0.0, 0.25 if stage.chance(0.6) else 0.8))
    return Surface(value[..., None] * tone, "textile", gloss=stage.uniform(0.0, 0.08))


def leather(stage: Stage) -> Surface:
    """Pebbled grain between creases."""
    size = stage.size(4, 14)
    bend = 0.35 * size
    y = stage.y + bend * value_noise(stage.rng, stage.shape, size)
    x = stage.x + bend * value_noise(stage.rng, stage.shape, size)
    first, second = cells(stage.rng, y, x, size)
    dome = np.clip((second - first) * 2.2, 0, 1)
    value = 0.72 + 0.28 * dome + stage.uniform(0.1, 0.5) * relief(dome * np.float32(size * 0.3), stage.light)
    value += 0.06 * fractal(stage.rng, stage.shape, stage.size(30, 60), 3)
    tone = (
        warm(stage.rng, (0.2, 0.75), (0.3, 0.8)) if stage.chance(0.7) else colour(stage.rng, (0.12, 0.6), (0, 0.6))
    )
    fibre = warm(stage.rng, (0.55, 0.8), (0.2, 0.45))
    return Surface(value[..., None] * tone, "leather", body=fibre, gloss=stage.uniform(0.1, 0.45))


def rubber(stage: Stage) -> Surface:
    """Dark and matt, speckled, sometimes ribbed."""
    value = 1 + stage.uniform(0.04, 0.14) * fractal(stage.rng, stage.shape, stage.size(2, 6), 2, 0.8)
    value += 0.08 * value_noise(stage.rng, stage.shape, stage.size(30, 70))
    if stage.chance(0.4):
        _, along = stage.turned()
        ribs = np.tanh(3 * np.sin(along * np.float32(2 * math.pi / stage.size(12, 40))))
        value += 0.06 * ribs + stage.uniform(0.2, 0.6) * relief(ribs * 3, stage.light)
    return Surface(value[..., None] * colour(stage.rng, (0.1, 0.34), (0.0, 0.2)), "rubber", gloss=0.08)


def plastic(stage: Stage) -> Surface:
    """Moulded plastic: plain, eroded texture, or with a raised line."""
    value = 1 + stage.uniform(0.05, 0.3) * stage.turned()[0] / np.float32(max(stage.shape))
    if stage.chance(0.6):
        texture = value_noise(stage.rng, stage.shape, stage.size(1.5, 5))
        value += stage.uniform(0.02, 0.2) * relief(texture, stage.light)
    if stage.chance(0.4):
        across, _ = stage.turned()
        spread = stage.size(2, 6)
        ridge = spread * np.exp(-((across - stage.uniform(-40, 40)) ** 2) / np.float32(2 * spread**2))
        value += 0.5 * relief(ridge, stage.light)
    tone = colour(stage.rng, (0.15, 0.95), (0.0, 0.95))
    return Surface(value[..., None] * tone, "plastic", gloss=stage.uniform(0.2, 0.7))


def glass(stage: Stage) -> Surface:
    """Glass: clear gradients, soft reflections, sometimes the rings of a bottle's base."""
    across, along = stage.turned()
    tone = colour(stage.rng, (0.15, 0.9), (0.0, 0.6))
    image = (1 + 0.3 * along / np.float32(max(stage.shape)))[..., None] * tone
    if stage.chance(0.4):
        away, angle = stage.size(5, 90), stage.uniform(0, 6.3)
        v = stage.y - stage.shape[0] / 2 - away * math.sin(angle)
        u = stage.x - stage.shape[1] / 2 - away * math.cos(angle)
        radius, turn = np.hypot(v, u), np.arctan2(v, u)
        for _ in range(stage.rng.integers(2, 6)):
            at, spread = stage.size(10, 130), stage.size(1, 7)
            ring = np.exp(-((radius - at) ** 2) / np.float32(2 * spread**2))
            ring *= 0.6 + 0.4 * np.cos(turn * float(stage.rng.integers(1, 3)) + stage.uniform(0, 6.3))
            image = image + (stage.uniform(-0.3, 0.45) * ring)[..., None]
        return Surface(image, "glass bottle", gloss=0.95)
    bend = stage.uniform(0, 8) * value_noise(stage.rng, stage.shape, stage.size(40, 90))
    for _ in range(stage.rng.integers(1, 4)):
        half, at = stage.size(4, 30), stage.uniform(-70, 70)
        band: Field = np.clip((half - np.abs(across + bend - at)) / np.float32(stage.size(1, 12)), 0, 1)
        image = mix(image, colour(stage.rng, (0.6, 1.0), (0.0, 0.2)), band * stage.uniform(0.08, 0.45))
    return Surface(image, "glass", gloss=0.95)


def wood(stage: Stage) -> Surface:
    """Growth rings along a plank with pores."""
    across, along = stage.turned()
    bend = streaks(stage.rng, along, across, stage.size(70, 200), stage.size(20, 50))
    wavy = stage.uniform(0.2, 1.2) * bend + across / np.float32(stage.size(5, 22))
    ring = np.mod(wavy, 1).astype(np.float32)
    late = np.minimum(ring**2, (1 - ring) * 6)
    fine = streaks(stage.rng, along, across, stage.size(20, 60), stage.size(0.8, 2))
    pores = np.clip(streaks(stage.rng, along, across, stage.size(6, 18), stage.size(0.8, 1.5)) - 1.4, 0, 1)
    value = 1 - stage.uniform(0.1, 0.45) * late + 0.05 * fine - 0.4 * pores
    value += 0.06 * value_noise(stage.rng, stage.shape, stage.size(40, 80))
    dark = warm(stage.rng, (0.3, 0.9), (0.3, 0.7))
    tint = np.stack([value, value**1.15, value**1.35], axis=-1) if value.min() > 0 else value[..., None]
    pale = warm(stage.rng, (0.75, 0.92), (0.2, 0.4))
    return Surface(tint * dark, "wood", body=pale, gloss=stage.uniform(0.05, 0.4))
