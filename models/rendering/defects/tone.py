"""Tone: a stain dries with a rim, a discolouration shifts the colour softly."""

import math

import numpy as np

from models.ramps import smoothstep
from models.rendering.defects.place import Patch, centre_of, length_between, spot_at
from models.rendering.noise import Field
from models.rendering.shapes import edge
from models.rendering.stage import Stage, Surface, colour, mix, warm

# Oxide on heated steel, from the border inward, relative to the bare metal.
_HEAT = np.array(
    [[1.0, 1.0, 1.0], [1.1, 0.86, 0.42], [0.72, 0.42, 0.28], [0.42, 0.26, 0.5], [0.22, 0.38, 0.85]], np.float32
)
_METALS = ("metal", "spindle", "iron", "steel")


def stain(stage: Stage, surface: Surface) -> Patch:
    """A liquid dried on the surface: darkens its own colour, most at an irregular rim."""
    radius = max(length_between(stage, 3.5, 40), 2.5)
    spot = spot_at(stage, surface, centre_of(stage, surface), 2.6 * radius + 5)
    distance = spot.blob(radius, stage.uniform(0.1, 0.4), stage.uniform(1, 2.0))
    if stage.chance(0.4):
        for _ in range(stage.rng.integers(1, 6)):
            away, angle = radius * stage.uniform(0.9, 1.9), stage.uniform(0, 6.3)
            drop = np.hypot(spot.y - away * math.sin(angle), spot.x - away * math.cos(angle))
            distance = np.minimum(distance, drop - np.float32(radius * stage.uniform(0.08, 0.35)))
    distance = distance + np.float32(min(0.12 * radius, 4.0)) * spot.rough(max(0.5 * radius, 3.0))
    coverage = edge(distance, stage.uniform(1.0, min(1 + 0.08 * radius, 2.5)))
    rim_width = max(0.08 * radius, 0.9)
    rim = np.exp(-((distance + 1.2 * rim_width) ** 2) / np.float32(2 * rim_width**2))
    mottled = spot.rough(max(0.7 * radius, 2.0))
    density = stage.uniform(0.55, 0.95) * (1 + 0.25 * mottled) + stage.uniform(0.5, 1.0) * rim
    density = np.clip(density, 0.3, 2.5).astype(np.float32)
    skin = spot.skin(coverage)
    if float(skin.mean()) < 0.25:
        residue = colour(stage.rng, (0.55, 0.85), (0.0, 0.25))
        marked = mix(spot.image, residue, np.clip(0.5 * density, 0, 0.85))
    else:
        tint = warm(stage.rng, (0.35, 0.6), (0.0, 0.3)) * (skin / max(float(skin.max()), 0.1)) ** np.float32(0.4)
        marked = spot.image * np.exp(np.log(np.clip(tint, 0.1, 1)) * density[..., None])
    return spot.patch(mix(spot.image, marked, coverage), coverage)


def discolouration(stage: Stage, surface: Surface) -> Patch:
    """A soft-bordered shift of hue and lightness that keeps all texture: heat tint, bleaching, yellowing."""
    radius = max(length_between(stage, 6, 42), 4.0)
    spot = spot_at(stage, surface, centre_of(stage, surface), 2.2 * radius + 4)
    distance = spot.blob(radius, stage.uniform(0.0, 0.2), stage.uniform(1, 2.0)) / np.float32(radius)
    distance = distance + np.float32(0.08) * spot.rough(radius, 2)
    share = smoothstep(0.25, stage.uniform(-0.55, -0.3), distance)
    skin = spot.skin(share)
    heated = any(word in surface.part for word in _METALS) and stage.chance(0.6)
    gain = _heat(stage, share) if heated else _shift(stage, skin, share)
    # The faint skirt, which nobody sees, is left as it was.
    coverage = smoothstep(0.0, 0.3, share)
    return spot.patch(mix(spot.image, np.asarray(spot.image * gain, np.float32), coverage), coverage)


def _heat(stage: Stage, share: Field) -> Field:
    """Gain (h, w, 3): bands of straw, brown, purple and blue toward the hottest place."""
    hottest = stage.uniform(2.6, 4.0)
    place = np.clip(share * np.float32(hottest), 0, len(_HEAT) - 1)
    bands = np.stack([np.interp(place, np.arange(len(_HEAT)), _HEAT[:, c]) for c in range(3)], axis=-1)
    return np.asarray(bands, np.float32)


def _shift(stage: Stage, skin: Field, share: Field) -> Field:
    """Gain (h, w, 3) toward another hue and lightness; the lighter if the material leaves room for it."""
    level = float(skin @ np.array([0.3, 0.59, 0.11], np.float32))
    hue = warm(stage.rng, (1.0, 1.0), (0.25, 0.6)) if stage.chance(0.6) else colour(stage.rng, (1, 1), (0.2, 0.5))
    hue = hue / np.float32(max(float(hue @ np.array([0.3, 0.59, 0.11], np.float32)), 0.2))
    other = min(level + stage.uniform(0.26, 0.4), 0.9) if level < 0.5 else level - stage.uniform(0.24, 0.34)
    # Bleaching also takes the material's own hue away.
    plain = stage.uniform(0.2, 0.9)
    target = np.float32(other) * hue * (1 - plain) * skin / max(level, 0.05) + np.float32(other) * plain * hue
    gain = np.clip(target / np.maximum(skin, 0.04), 0.3, 7.0)
    return np.asarray(1 + share[..., None] * (gain - 1), np.float32)
