"""The camera: exposure, colour, focus and sensor noise, the same for a scene with and without its defect."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from models.rendering.light import Light, falloff
from models.rendering.noise import Field, white


@dataclass(frozen=True, eq=False)
class Camera:
    """One shot's settings: `exposure` (H, W, 3) gain, `gamma`, `blur` in pixels, `noise` (H, W, 3)."""

    exposure: Field
    gamma: float
    blur: float
    noise: Field
    grey: bool

    def focus(self, field: Field) -> Field:
        """The lens: blurs (H, W) or (H, W, 3)."""
        if self.blur < 0.3:
            return field
        axes = (0, 1)
        blurred: Field = ndimage.gaussian_filter(field, self.blur, axes=axes, mode="nearest", truncate=2.5)
        return blurred

    def shoot(self, light: Field) -> Field:
        """The photo (H, W, 3) in [0, 1] of a scene (H, W, 3)."""
        seen = self.focus(np.clip(light * self.exposure, 0, 1.3).astype(np.float32))
        if self.grey:
            seen = np.repeat(seen @ np.array([[0.3], [0.59], [0.11]], np.float32), 3, axis=-1)
        if self.gamma != 1:
            seen = seen ** np.float32(self.gamma)
        # Shot noise grows with the light.
        return np.clip(seen + self.noise * (0.6 + 0.8 * np.sqrt(seen)), 0, 1).astype(np.float32)


def draw_camera(rng: np.random.Generator, shape: tuple[int, int], light: Light) -> Camera:
    """A random camera for a canvas (H, W)."""
    y = np.arange(shape[0], dtype=np.float32)[:, None]
    x = np.arange(shape[1], dtype=np.float32)[None]
    gain = falloff(light, y, x, rng.uniform(0, 0.5)) * rng.uniform(0.85, 1.2)
    balance = rng.normal(1, 0.04, 3).astype(np.float32)
    grey = rng.random() < 0.4
    strength = math.exp(rng.uniform(math.log(0.002), math.log(0.025)))
    noise = white(rng, (*shape, 1 if grey else 3))
    if rng.random() < 0.4:
        noise = ndimage.gaussian_filter(noise, 0.6, axes=(0, 1), truncate=2.5) * np.float32(1.8)
    if not grey:
        noise = 0.6 * noise + 0.6 * noise[..., 1:2]
    blur = rng.uniform(0.35, 1.2) if rng.random() < 0.85 else rng.uniform(0, 2.0)
    return Camera(gain[..., None] * balance, rng.uniform(0.75, 1.3), blur, noise * np.float32(strength), grey)
