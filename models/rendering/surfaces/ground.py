"""What is seen beside a part: a table, a belt or a lamp below."""

import numpy as np
from scipy import ndimage

from models.rendering.noise import Field, fractal, value_noise
from models.rendering.shapes import edge
from models.rendering.stage import Stage, colour


def ground(stage: Stage, distance: Field | None = None) -> Field:
    """A ground (H, W, 3), in the shadow of a part of this `distance` (H, W) to its border, if given."""
    backlit = stage.chance(0.2)
    shape = stage.shape
    if backlit:
        value = 1 + 0.03 * value_noise(stage.rng, shape, stage.size(40, 90))
        tone = colour(stage.rng, (0.8, 1.0), (0.0, 0.06))
    else:
        value = 1 + stage.uniform(0.01, 0.08) * fractal(stage.rng, shape, stage.size(2, 40), 4, 0.75)
        value += stage.uniform(0.0, 0.12) * value_noise(stage.rng, shape, stage.size(40, 100))
        dark = stage.chance(0.65)
        tone = colour(stage.rng, (0.03, 0.25) if dark else (0.4, 0.9), (0.0, 0.4 if stage.chance(0.3) else 0.15))
    if distance is not None and not backlit:
        soft = stage.size(2, 12)
        value = value * (1 - stage.uniform(0.2, 0.6) * edge(moved(stage, distance, stage.size(1.5, 9)), soft))
    ground: Field = np.clip(value, 0, 2)[..., None].astype(np.float32) * tone
    return ground


def moved(stage: Stage, distance: Field, by: float) -> Field:
    """A field (H, W) moved away from the light by so many pixels, as a shadow is."""
    away = (-by * stage.light.dy, -by * stage.light.dx)
    shadow: Field = ndimage.shift(distance, away, order=1, mode="nearest", prefilter=False)
    return shadow


def bevel(stage: Stage, distance: Field, width: float) -> Field:
    """Brightening in [−1, 1] of the rounded border, `width` pixels wide, of a part with this distance field."""
    down, right = np.gradient(distance)
    toward = down * np.float32(stage.light.dy) + right * np.float32(stage.light.dx)
    band = np.exp(-((distance + width) ** 2) / np.float32(max(0.6 * width, 0.7) ** 2))
    result: Field = (np.clip(toward, -1, 1) * band).astype(np.float32)
    return result
